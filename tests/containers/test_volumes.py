"""``-v``: directories and files of the host, named volumes, anonymous ones, and an image's own."""

import os
from pathlib import Path

import pytest

import commands
import images
from commands import Sampan
from residents import IMAGE, assert_clean
from trees import Directory, File, Link

pytestmark = [pytest.mark.system]

RUN = ("run", "--rm", "--network", "none")


@pytest.fixture
def shared(anyone: Sampan) -> Path:
    """A directory of the user's."""
    directory = anyone.root / "shared"
    directory.mkdir()
    (directory / "canary").write_text("canary\n")
    if anyone.account:
        for path in (directory, directory / "canary"):
            os.chown(path, anyone.account.uid, anyone.account.gid)
    return directory


def test_a_directory_is_shared(anyone: Sampan, shared: Path) -> None:
    done = anyone(
        *RUN, "-v", f"{shared}:/mnt/deep", IMAGE, "sh", "-c", "cat /mnt/deep/canary; echo new > /mnt/deep/new"
    )
    assert done.stdout == "canary\n"
    assert (shared / "new").read_text() == "new\n"
    owner = anyone.account.uid if anyone.account else 0
    assert (shared / "new").stat().st_uid == owner


def test_read_only_means_it(anyone: Sampan, shared: Path) -> None:
    script = "echo x > /mnt/canary; rm /mnt/canary; chmod 777 /mnt; mount -o remount,rw,bind /mnt; touch /mnt/new"
    anyone(*RUN, "-v", f"{shared}:/mnt:ro", IMAGE, "sh", "-c", script, check=False)
    assert [path.name for path in shared.iterdir()] == ["canary"]
    assert (shared / "canary").read_text() == "canary\n"
    assert shared.stat().st_mode & 0o777 != 0o777


def test_read_only_holds_for_what_is_mounted_below(root: Sampan, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    # In a mount namespace of its own, so that the host never sees the mount.
    command = root.command(*RUN, "-v", f"{tmp_path}:/mnt:ro", IMAGE, "touch", "/mnt/inner/x")
    script = f"mount -t tmpfs none {inner} && ! {' '.join(command)}"
    assert "Read-only file system" in commands.run(["unshare", "-m", "sh", "-c", script], check=True).stderr


def test_a_single_file_is_shared(anyone: Sampan, shared: Path) -> None:
    options = ("-v", f"{shared}/canary:/etc/deep/canary:ro", "-v", f"{shared}/canary:/etc/passwd")
    assert anyone(*RUN, *options, IMAGE, "cat", "/etc/deep/canary", "/etc/passwd").stdout == "canary\ncanary\n"


def test_a_source_that_is_missing_is_made(anyone: Sampan) -> None:
    anyone(*RUN, "-v", f"{anyone.root}/made/here:/mnt", IMAGE, "touch", "/mnt/x")
    assert (anyone.root / "made/here/x").exists()


def test_relative_sources_begin_with_a_dot(anyone: Sampan, shared: Path) -> None:
    assert anyone(*RUN, "-v", "./shared:/mnt", IMAGE, "ls", "/mnt", cwd=anyone.root).stdout == "canary\n"


def test_no_device_is_born_on_a_shared_directory(root: Sampan, tmp_path: Path) -> None:
    done = root(*RUN, "-v", f"{tmp_path}:/mnt", IMAGE, "sh", "-c", "mknod /mnt/null c 1 3; : > /mnt/null", check=False)
    assert done.returncode != 0


def test_a_named_volume_keeps_what_is_in_it(anyone: Sampan) -> None:
    anyone(*RUN, "-v", "kept:/data", IMAGE, "sh", "-c", "echo more > /data/more")
    # A new volume begins with what the image has in its place.
    assert anyone(*RUN, "-v", "kept:/mnt", IMAGE, "sh", "-c", "ls /mnt; cat /mnt/seed /mnt/more").stdout == (
        "more\nseed\nfrom the image\nmore\n"
    )
    anyone(*RUN, "-v", "kept:/data", IMAGE, "rm", "/data/seed")
    assert anyone(*RUN, "-v", "kept:/data:ro", IMAGE, "ls", "/data").stdout == "more\n"


def test_copied_up_files_keep_owner_and_mode(root: Sampan) -> None:
    nodes: dict[str, images.Node] = {
        "own": Directory(0o750, (1000, 1001)),
        "own/file": File("x", 0o640, (1000, 1001)),
        "own/link": Link("/etc/passwd"),
    }
    images.put(root, "owned", nodes, {"Volumes": {"/own": {}}})
    script = "stat -c '%n %u:%g %a %N' /own /own/file /own/link; touch /own/new"
    assert root(*RUN, "-u", "bob", "owned", "sh", "-c", script).stdout.splitlines() == [
        "/own 1000:1001 750 /own",
        "/own/file 1000:1001 640 /own/file",
        "/own/link 0:0 777 '/own/link' -> '/etc/passwd'",
    ]


def test_volumes_of_the_image(anyone: Sampan) -> None:
    images.put(anyone, "voluminous", {}, {"Volumes": {"/data": {}, "/empty/new": {}}})
    script = "cat /data/seed; ls -A /empty/new; mount | grep -c -e ' /data ' -e ' /empty/new '"
    assert anyone(*RUN, "voluminous", "sh", "-c", script).stdout == "from the image\n2\n"
    assert_clean(anyone)
    assert not list((anyone.root / "volumes").iterdir())
    # One of the user's own takes its place.
    assert anyone(*RUN, "-v", "mine:/data", "voluminous", "cat", "/data/seed").stdout == "from the image\n"
    assert [path.name for path in (anyone.root / "volumes").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "volume", ["/", "a:/", "x:relative", "/proc", "a:/proc/sys", "a:/x:nonsense", "a:b:c:d", "a//b:/x", "../x", ":/x"]
)
def test_volumes_that_cannot_be(anyone: Sampan, volume: str) -> None:
    done = anyone(*RUN, "-v", volume, IMAGE, "true", check=False)
    assert done.returncode == 125
    assert done.stderr.startswith("sampan: ")
    assert_clean(anyone)


def test_links_in_an_image_keep_mounts_inside(anyone: Sampan, shared: Path) -> None:
    outside = anyone.root / "outside"
    outside.mkdir()
    if anyone.account:
        os.chown(outside, anyone.account.uid, anyone.account.gid)
    images.put(anyone, "linked", {"way": Link(str(outside)), "up": Link("../../../../../..")})
    options = ("-v", f"{shared}:/way/made", "-v", f"{shared}:/up/made2", "-v", "vol:/way/vol")
    assert anyone(*RUN, *options, "linked", "ls", "/way/made", "/up/made2").returncode == 0
    assert list(outside.iterdir()) == []
    assert not Path("/made2").exists()


def test_volumes_of_another_container(anyone: Sampan, shared: Path) -> None:
    anyone("create", "--name", "data", "-v", "/own", "-v", f"{shared}:/shared:ro", "-v", "kept:/kept", IMAGE, "true")
    script = "echo x > /own/x && echo y > /kept/y && ls /shared && ! touch /shared/new"
    done = anyone(*RUN, "--volumes-from", "data", IMAGE, "sh", "-c", script)
    assert done.stdout == "canary\n"
    # What is asked for comes before what is inherited, and the end of the one takes nothing from the other.
    script = "cat /own/x; ls /kept; ! touch /own/z"
    done = anyone(*RUN, "--volumes-from", "data:ro", "-v", "/kept", IMAGE, "sh", "-c", script)
    assert done.stdout == "x\n"
    anyone("create", "--name", "heir", "--volumes-from", "data", IMAGE, "cat", "/own/x")
    anyone("rm", "-v", "data")
    assert anyone("start", "-a", "heir").stdout == "x\n"
    anyone("rm", "-v", "heir")
    assert anyone("volume", "ls", "-q").stdout == "kept\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("nobody", "no such container: nobody"), ("x:z", "invalid --volumes-from 'x:z': 'z' is not a mode")],
)
def test_volumes_of_nobody(root: Sampan, text: str, sentence: str) -> None:
    done = root(*RUN, "--volumes-from", text, IMAGE, "true", check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (125, f"sampan: {sentence}")
