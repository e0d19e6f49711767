"""What ``--mount`` shows of images, volumes and directories, and what a container can change of it."""

import json
from pathlib import Path

import pytest

from commands import Sampan
from residents import IMAGE, assert_clean

pytestmark = [pytest.mark.system]
RUN = ("run", "--rm", "--network", "none")


def sh(sampan: Sampan, mount: str, script: str) -> str:
    return sampan(*RUN, "--mount", mount, IMAGE, "sh", "-c", script).stdout


def test_an_image(anyone: Sampan) -> None:
    source = f"type=image,source={IMAGE},target=/image"
    assert (
        sh(anyone, source, "cat /image/data/seed; echo mine > /image/new; cat /image/new") == "from the image\nmine\n"
    )
    script = "ls /image | grep -c new; (echo x > /image/y) 2>/dev/null || echo kept"
    assert sh(anyone, f"{source},readonly", script) == "0\nkept\n"
    assert sh(anyone, f"{source},image-subpath=data", "ls /image; ls / | grep -c data") == "seed\n1\n"
    done = anyone(*RUN, "--mount", f"{source},image-subpath=nowhere", IMAGE, "true", check=False)
    assert (done.returncode, "cannot set up /image in the container" in done.stderr) == (125, True)
    done = anyone(*RUN, "--mount", "type=image,source=nobody,target=/image", IMAGE, "true", check=False)
    assert (done.returncode, "no such image: nobody:latest" in done.stderr) == (125, True)
    assert_clean(anyone)


def test_an_image_stays_as_long_as_a_container_has_it_mounted(root: Sampan) -> None:
    root("tag", IMAGE, "other")
    root(
        "run",
        "--name",
        "first",
        "--network",
        "none",
        "--mount",
        "type=image,source=other,target=/i",
        IMAGE,
        "touch",
        "/i/x",
    )
    root("rmi", "other")
    root("image", "prune", "-f")  # which is not to take the container's own changes for garbage
    assert root("inspect", "-f", "{{json .Mounts}}", "first").stdout.startswith('[{"Type":"image","Source":"other"')
    assert len(json.loads(root("inspect", "first").stdout)[0]["Mounts"]) == 1
    root("start", "-a", "first")
    root("rm", "first")
    assert_clean(root)


def test_a_part_of_a_volume(anyone: Sampan) -> None:
    sh(anyone, "source=data,target=/v", "mkdir /v/part; echo inside > /v/part/file; ln -s / /v/out")
    assert sh(anyone, "source=data,target=/v,volume-subpath=part", "cat /v/file") == "inside\n"
    # A link of the volume's leads nowhere else, and least of all to the host's root.
    assert sh(anyone, "source=data,target=/v,volume-subpath=out", "ls /v") == "out\npart\n"
    done = anyone(*RUN, "--mount", "source=data,target=/v,volume-subpath=none", IMAGE, "true", check=False)
    assert (done.returncode, "_data/none at /v" in done.stderr) == (125, True)


def test_a_volume_that_is_not_filled(anyone: Sampan) -> None:
    assert sh(anyone, "source=empty,target=/data,volume-nocopy,volume-label=a=b", "ls /data") == ""
    assert json.loads(anyone("volume", "inspect", "empty").stdout)[0]["Labels"] == {"a": "b"}
    assert anyone(*RUN, "-v", "bare:/data:nocopy", IMAGE, "ls", "/data").stdout == ""
    assert anyone(*RUN, "-v", "full:/data", IMAGE, "ls", "/data").stdout == "seed\n"


@pytest.mark.root
def test_what_is_mounted_below(root: Sampan, tmp_path: Path) -> None:
    """As a container sees it: one that is privileged makes the mount below for the others."""
    (tmp_path / "inner").mkdir()
    source = f"type=bind,source={tmp_path},target=/a"
    script = (
        "mount -t tmpfs none /a/inner && touch /a/inner/deep;"
        "for o in rbind bind; do mkdir -p /$o; mount -o $o /a /$o; ls /$o/inner; echo .; done"
    )
    assert root(*RUN, "--privileged", "--mount", source, IMAGE, "sh", "-c", script).stdout == "deep\n.\n.\n"
    for recursive, options in (("enabled", "rbind,rro"), ("writable", "rbind,ro"), ("disabled", "bind,rro")):
        root("create", "--name", recursive, "--mount", f"{source},readonly,bind-recursive={recursive}", IMAGE, "true")
        identifier = root("ps", "-aq", "--no-trunc", "-f", f"name={recursive}").stdout.strip()
        spec = json.loads((root.root / "containers" / identifier / "config.json").read_text())
        (found,) = (mount["options"] for mount in spec["mounts"] if mount["destination"] == "/a")
        assert [word for word in found if word in options.split(",")] == options.split(",")
