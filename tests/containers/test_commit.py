"""commit and export of containers."""

import io
import json
import tarfile

import pytest

import commands
import images

pytestmark = [pytest.mark.system, pytest.mark.root, pytest.mark.needs("busybox")]
CHANGES = "echo new > /new; rm /data/seed; mkdir -p /d/e; chmod 700 /tmp; ln /new /d/same"


@pytest.fixture
def changed(sampan: commands.Sampan) -> commands.Sampan:
    """A store with a container "box" that has changed its files."""
    images.put(sampan, "base", config={"Labels": {"kept": "1"}})
    sampan("run", "--name", "box", "--network=none", "-e", "X=1", "-w", "/d", "base", "sh", "-c", CHANGES)
    return sampan


def test_commit(changed: commands.Sampan) -> None:
    identifier = changed("commit", "-a", "me", "-m", "why", "-c", "LABEL a=b", "-c", "USER bob", "box", "made:1").stdout
    (image,) = json.loads(changed("inspect", "made:1").stdout)
    assert image["Id"] == identifier.strip()
    assert (image["Author"], image["Comment"]) == ("me", "why")
    assert image["Config"]["Labels"] == {"kept": "1", "a": "b"}
    assert (image["Config"]["User"], image["Config"]["WorkingDir"]) == ("bob", "/d")
    assert "X=1" in image["Config"]["Env"]
    assert image["Config"]["Cmd"] == ["sh", "-c", CHANGES]
    (base,) = json.loads(changed("inspect", "base").stdout)
    assert image["RootFS"]["Layers"][:-1] == base["RootFS"]["Layers"]
    script = "cat /new; ls /data; stat -c %a /tmp; stat -c %h /new; echo $X"
    assert changed("run", "--rm", "--network=none", "made:1", "sh", "-c", script).stdout == "new\n700\n2\n1\n"


def test_the_layer_has_only_what_changed(changed: commands.Sampan, tmp_path_factory: pytest.TempPathFactory) -> None:
    changed("commit", "box", "made")
    directory = tmp_path_factory.mktemp("layout")
    changed("copy", "-q", "made", f"oci:{directory}")
    index = json.loads((directory / "index.json").read_text())
    blobs = directory / "blobs/sha256"
    manifest = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_text())
    with tarfile.open(blobs / manifest["layers"][-1]["digest"][7:]) as layer:
        names = [entry.name for entry in layer]
    assert names == ["new", "d", "d/same", "d/e", "data", "data/.wh.seed", "tmp"]


def test_commit_of_one_that_runs(changed: commands.Sampan) -> None:
    changed("run", "-d", "--name", "on", "--network=none", "base", "sh", "-c", "echo x > /x; sleep 1000")
    changed("exec", "on", "sh", "-c", "while ! [ -s /x ]; do sleep 0.1; done")
    changed("commit", "on", "live")
    assert changed("run", "--rm", "--network=none", "live", "cat", "/x").stdout == "x\n"
    assert changed("exec", "on", "echo", "goes on").stdout == "goes on\n"


def test_export_and_import(changed: commands.Sampan, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("export") / "box.tar"
    changed("export", "-o", file, "box")
    with tarfile.open(file) as archive:
        names = archive.getnames()
        assert archive.getmember("d/same").linkname == "new" or archive.getmember("new").linkname == "d/same"
    assert "data/seed" not in names
    assert {"bin/busybox", "new", "data", "d/e"} <= set(names)
    assert not [name for name in names if ".wh." in name]
    with file.open() as stream:
        changed("import", "-c", "CMD cat /new", "-", "back:1", stdin=stream)
    assert changed("run", "--rm", "--network=none", "back:1").stdout == "new\n"


def test_what_cannot_be(changed: commands.Sampan) -> None:
    for words, said in (
        (("commit", "nosuch"), "no such container: nosuch"),
        (("commit", "box", "Upper"), "repository names are lower case"),
        (("commit", "-c", "RUN x", "box"), "RUN is not a valid change command"),
        (("export", "nosuch"), "no such container: nosuch"),
        (("export", "-o", "/", "box"), "/ is a directory"),
    ):
        done = changed(*words, check=False)
        assert done.returncode == 1
        assert said in done.stderr
    assert io.StringIO(changed("images", "-q").stdout).read().count("\n") == 1
