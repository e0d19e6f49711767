"""cp, both ways, with running and stopped containers, as root and as an ordinary user; and what must not come of it."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from commands import Sampan
from residents import IMAGE

pytestmark = pytest.mark.system


@pytest.fixture(params=["running", "stopped"])
def container(request: pytest.FixtureRequest, anyone: Sampan) -> str:
    """The name of a container with a volume on /vol."""
    name: str = request.param
    common = (f"--name={name}", "--network=none", "-v", "shared:/vol", IMAGE, "sh", "-c")
    script = (
        "echo in volume > /vol/file; mkdir -p /d/sub; echo 1 > /d/a; echo 2 > /d/sub/b; ln -s a /d/link; ln -s / /up"
    )
    anyone("run", *common, script)
    if name == "running":
        anyone("rm", "running")
        anyone("run", "-d", *common, f"{script}; touch /ready; sleep 1000")
        while anyone("exec", name, "test", "-e", "/ready", check=False).returncode:
            continue
    return name


@pytest.fixture
def home(anyone: Sampan, tmp_path: Path) -> Path:
    """A directory of the host that the user may write to, and that his commands run in."""
    if anyone.account is None:
        return tmp_path
    home = anyone.account.home / "files"
    home.mkdir()
    os.chown(home, anyone.account.uid, anyone.account.gid)
    return home


def cp(sampan: Sampan, home: Path, source: str, target: str, *flags: str, code: int = 0) -> str:
    done = sampan("cp", *flags, source, target, check=False, cwd=home)
    assert done.returncode == code, done.stderr
    return done.stderr


def make_source(home: Path) -> None:
    """A directory to copy, which belongs to whom ``home`` belongs to."""
    (home / "src" / "sub").mkdir(parents=True)
    (home / "src" / "a").write_text("one\n")
    (home / "src" / "sub" / "b").write_text("two\n")
    (home / "src" / "link").symlink_to("a")
    (home / "src" / "sub").chmod(0o750)
    for path in (home / "src", *(home / "src").rglob("*")):
        os.chown(path, home.stat().st_uid, home.stat().st_gid, follow_symlinks=False)


def tree(sampan: Sampan, home: Path, container: str, path: str) -> list[str]:
    """The names below a path of a container, as ``cp`` itself tells them."""
    done = sampan("cp", f"{container}:{path}", "archive", cwd=home)
    assert done.returncode == 0
    found = sorted(str(each.relative_to(home / "archive")) for each in (home / "archive").rglob("*"))
    for each in sorted((home / "archive").rglob("*"), reverse=True):
        each.rmdir() if each.is_dir() and not each.is_symlink() else each.unlink()
    (home / "archive").rmdir()
    return found


WHOLE = ["a", "link", "sub", "sub/b"]


def test_out(anyone: Sampan, container: str, home: Path) -> None:
    assert cp(anyone, home, f"{container}:/d/a", "copy") == "Successfully copied 2B to copy\n"
    assert (home / "copy").read_text() == "1\n"
    assert (home / "copy").stat().st_uid == (anyone.account.uid if anyone.account else 0)
    cp(anyone, home, f"{container}:/d", "new")
    assert sorted(str(path.relative_to(home / "new")) for path in (home / "new").rglob("*")) == WHOLE
    assert os.readlink(home / "new/link") == "a"
    cp(anyone, home, f"{container}:/d", "new")  # into what is there now
    assert (home / "new/d/sub/b").read_text() == "2\n"
    cp(anyone, home, f"{container}:/d/.", "new")
    cp(anyone, home, f"{container}:vol/file", ".")
    assert (home / "file").read_text() == "in volume\n"
    cp(anyone, home, f"{container}:/d/link", "link")
    assert os.readlink(home / "link") == "a"
    assert cp(anyone, home, f"{container}:/d/link", "followed", "-L", "-q") == ""
    assert (home / "followed").read_text() == "1\n"


def test_in(anyone: Sampan, container: str, home: Path) -> None:
    make_source(home)
    cp(anyone, home, "src", f"{container}:/new")
    assert tree(anyone, home, container, "/new") == WHOLE
    cp(anyone, home, "src", f"{container}:/new")
    assert tree(anyone, home, container, "/new/src") == WHOLE
    cp(anyone, home, "src/.", f"{container}:/flat")
    cp(anyone, home, "src/.", f"{container}:/flat")
    assert tree(anyone, home, container, "/flat") == WHOLE
    cp(anyone, home, "src/a", f"{container}:/d/a")
    cp(anyone, home, f"{container}:/d/a", "back")
    assert (home / "back").read_text() == "one\n"
    cp(anyone, home, "src/a", f"{container}:/vol")
    cp(anyone, home, f"{container}:/vol/a", "volume")
    assert (home / "volume").read_text() == "one\n"
    cp(anyone, home, f"{container}:/new/sub", "mode")
    assert (home / "mode").stat().st_mode & 0o777 == 0o750


@pytest.mark.root
def test_what_cannot_be_copied(root: Sampan, tmp_path: Path) -> None:
    home, container = tmp_path, "box"
    root("create", "--name=box", "--network=none", IMAGE, "true")
    make_source(home)
    cp(root, home, "src", "box:/d")
    for source, target, said in (
        ("nosuch", f"{container}:/", "could not find the file nosuch"),
        (f"{container}:/nosuch", ".", f"could not find the file {container}:/nosuch"),
        ("src/a", f"{container}:/none/", "no such directory"),
        ("src/a", f"{container}:/none/x", "no such directory"),
        ("src", f"{container}:/d/a", "is no directory"),
        ("src/a", f"{container}:/d/a/b", "is no directory"),
        ("src/a", "other", "at least one container source"),
        (f"{container}:/d", f"{container}:/e", "between containers"),
        ("src", "nosuch:/d", "no such container"),
    ):
        assert said in cp(root, home, source, target, code=1)
    (home / "a").mkdir()
    assert "cannot overwrite the directory" in cp(root, home, f"{container}:/d/a", ".", code=1)


def test_an_archive_on_standard_output(anyone: Sampan, container: str) -> None:
    done = anyone("cp", f"{container}:/d", "-", errors="surrogateescape", encoding="utf-8")
    with tarfile.open(fileobj=io.BytesIO(done.stdout.encode("utf-8", "surrogateescape"))) as archive:
        assert sorted(archive.getnames()) == ["d", "d/a", "d/link", "d/sub", "d/sub/b"]
        content = archive.extractfile("d/sub/b")
        assert content
        assert content.read() == b"2\n"


def test_no_link_leads_to_the_host(anyone: Sampan, container: str, home: Path) -> None:
    make_source(home)
    cp(anyone, home, "src/a", f"{container}:/up/escaped")
    assert not Path("/escaped").exists()
    cp(anyone, home, f"{container}:/escaped", "found")
    assert (home / "found").read_text() == "one\n"
    # A directory of the source meets a link at the destination: it is not gone through.
    (home / "tree" / "up").mkdir(parents=True)
    (home / "tree" / "up" / "x").write_text("x")
    assert "cannot overwrite up" in cp(anyone, home, "tree/.", f"{container}:/", code=1)


def test_no_magic_link_leads_out(anyone: Sampan, home: Path) -> None:
    anyone("run", "-d", "--name=web", "--network=none", IMAGE, "sleep", "1000")
    for path in ("/proc/1/root/etc", "/proc/self/cwd/x", "/proc/1/fd/0"):
        cp(anyone, home, f"web:{path}", "copied", "-L", code=1)
        assert not (home / "copied").exists()


def tar(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for entry, data in entries:
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, 0o644
    return info, data


def feed(sampan: Sampan, home: Path, data: bytes, target: str) -> tuple[int, str]:
    (home / "in.tar").write_bytes(data)
    with (home / "in.tar").open("rb") as file:
        done = sampan("cp", "-", target, check=False, stdin=file)
    return done.returncode, done.stderr


def test_an_archive_from_standard_input(anyone: Sampan, container: str, home: Path) -> None:
    data = tar(
        entry("./new/", tarfile.DIRTYPE),
        entry("./new/.wh.file", data=b"no deletion"),
        entry("new/hard", tarfile.LNKTYPE, "./new/.wh.file"),
        entry("new/deep/er", data=b"x"),
    )
    assert feed(anyone, home, data, f"{container}:/d") == (0, "")
    cp(anyone, home, f"{container}:/d/new/hard", "hard")
    assert (home / "hard").read_bytes() == b"no deletion"
    cp(anyone, home, f"{container}:/d/new/deep/er", "deep")
    assert (home / "deep").read_bytes() == b"x"


@pytest.mark.root
@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([entry("../evil", data=b"x")], "points outside"),
        ([entry("a/../../evil", data=b"x")], "points outside"),
        ([entry("l", tarfile.SYMTYPE, "/etc"), entry("l/evil", data=b"x")], "is no directory"),
        ([entry("l", tarfile.SYMTYPE, ".."), entry("l/l2/evil", data=b"x")], "is no directory"),
        ([entry("h", tarfile.LNKTYPE, "../../etc/passwd")], "points outside"),
    ],
    ids=["parent", "hidden parent", "through a link", "through a link up", "hard link"],
)
def test_archives_that_reach_out(
    root: Sampan, tmp_path: Path, entries: list[tuple[tarfile.TarInfo, bytes]], said: str
) -> None:
    root("create", "--name=box", "--network=none", IMAGE, "true")
    code, error = feed(root, tmp_path, tar(*entries), "box:/bin")
    assert code == 1
    assert said in error
    assert not Path("/evil").exists()
    assert not Path("/etc/evil").exists()


@pytest.mark.root
def test_what_is_no_archive(root: Sampan, tmp_path: Path) -> None:
    root("create", "--name=box", "--network=none", IMAGE, "true")
    code, error = feed(root, tmp_path, b"no archive at all" * 100, "box:/")
    assert code == 1
    assert "archive" in error
    code, error = feed(root, tmp_path, tar(entry("a")), "box:/nosuch")
    assert (code, "no such directory" in error) == (1, True)


def test_nothing_stays_mounted(anyone: Sampan, container: str, home: Path) -> None:
    cp(anyone, home, f"{container}:/d/a", "a")
    assert str(anyone.root) not in Path("/proc/self/mountinfo").read_text() or container == "running"


@pytest.mark.root
def test_owners(root: Sampan, tmp_path: Path) -> None:
    root("create", "--name=box", "--network=none", IMAGE, "stat", "-c", "%u %n", "/plain", "/kept")
    (tmp_path / "file").write_text("x")
    os.chown(tmp_path / "file", 1234, 1234)
    cp(root, tmp_path, "file", "box:/plain")
    cp(root, tmp_path, "file", "box:/kept", "-a")
    assert root("start", "-a", "box").stdout == "0 /plain\n1234 /kept\n"
    cp(root, tmp_path, "box:/kept", "out")
    cp(root, tmp_path, "box:/kept", "same", "-a")
    assert [(tmp_path / name).stat().st_uid for name in ("out", "same")] == [os.getuid(), 1234]
