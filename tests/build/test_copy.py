"""COPY and ADD. What is expected in the first table is what BuildKit does with the same files (docker 20.10's, unless
said), found by running it."""

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

import trees
from sampan.build.context import open_context
from sampan.build.copy import Attributes, copy
from sampan.build.destination import Destination
from sampan.build.source import ContextFiles, below, select
from sampan.build.unpack import unpack
from sampan.errors import Denied, Invalid, NotFound
from sampan.layers.changes import changes
from sampan.layers.write import write
from sampan.linux import beneath
from sampan.snapshots.lookup import Tree
from trees import Directory, File, Hard, Link, PlainContext

pytestmark = pytest.mark.root  # owners

NOW = 1_700_000_000
CONTEXT: dict[str, trees.Node] = {
    "a": "a",
    "b": File("b", 0o750),
    "setuid": File("s", 0o4755, (7, 8)),
    "dir/x": File("x", 0o600, (7, 8)),
    "dir/sub/y": "y",
    "dir/sub": Directory(0o750, (7, 8)),
    "dir/ln": Link("x"),
    "dir/abs": Link("/etc/shadow"),
    "dir": Directory(0o700),
    "dlink": Link("dir"),
    "flink": Link("a"),
    "out": Link("/etc/shadow"),
    "outdir": Link("/etc"),
    "up": Link("../../../../../../../../../etc"),
    "f1.txt": "1",
    "f2.txt": "2",
    "arr[0].txt": "arr",
    "hl/one": "h",
    "hl/two": Hard("hl/one"),
    "over/sub/new": "n",
    "over/sub": Directory(0o777),
    "over/old": File("changed", 0o777),
    "linkclash/link/z": "z",
    "fileoverdir/exist": "f",
    "diroverfile/file/z": "z",
    "revive/gone/new": "n",
}
LOWER: dict[str, trees.Node] = {
    "exist/old": File("old", 0o640),
    "exist/sub/deep": "deep",
    "exist/sub": Directory(0o700, (3, 4)),
    "gone/old": "o",
    "file": "file",
}
UPPER: dict[str, trees.Node] = {
    "exist": Directory(0o711, (5, 6)),
    "gone": trees.WHITEOUT,
    "link": Link("exist"),
    "abs": Link("/exist"),
    "flink": Link("exist/old"),
    "dangling": Link("/nowhere/x"),
    "up": Link("../../.."),
}
EXIST = {"exist": Directory(0o711, (5, 6))}
SUB = {**EXIST, "exist/sub": Directory(0o700, (3, 4))}


def contents(of: str, owner: tuple[int, int] = (0, 0), mode: int | None = None) -> dict[str, trees.Node]:
    """The context's ``dir`` as it is expected in ``of``."""
    return {
        f"{of}abs": Link("/etc/shadow"),
        f"{of}ln": Link("x"),
        f"{of}sub": Directory(mode or 0o750, owner),
        f"{of}sub/y": File("y", mode or 0o644, owner),
        f"{of}x": File("x", mode or 0o600, owner),
    }


class Case:
    def __init__(self, root: Path) -> None:
        self.canary = root / "canary"
        self.canary.write_text("untouched")
        self.context = root / "context"
        trees.make(self.context, CONTEXT)
        self.stack = (trees.make(root / "2", UPPER), trees.make(root / "1", LOWER))
        self.upper = root / "upper"
        self.upper.mkdir()

    def copy(self, *sources: str, dest: str, owner: tuple[int, int] | None = (0, 0), mode: int | None = None) -> None:
        """COPY; ``owner`` None keeps owners, as from a stage."""
        with ContextFiles(PlainContext(self.context)) as files, self.destination() as to:
            for source in sources:
                copy(files, select(files, source), dest, to, Attributes(owner, mode, True))

    def add(self, source: str, dest: str, owner: tuple[int, int] | None = None, mode: int | None = None) -> bool:
        with ContextFiles(PlainContext(self.context)) as files, self.destination() as to:
            return unpack(files, select(files, source)[0], dest, to, Attributes(owner, mode, True))

    def destination(self) -> Destination:
        return Destination(str(self.upper), self.stack, rootless=False, now=NOW)

    def result(self) -> dict[str, trees.Node]:
        assert self.canary.read_text() == "untouched"
        return trees.describe(self.upper)


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    made = Case(tmp_path)
    mask = os.umask(0o077)  # the caller's umask must not matter
    try:
        yield made
    finally:
        os.umask(mask)


A = File("a")


@pytest.mark.parametrize(
    ("source", "dest", "expected"),
    [
        ("a", "/new", {"new": A}),
        ("/a", "/new", {"new": A}),
        ("a", "/new/", {"new": Directory(), "new/a": A}),
        ("a", "/exist", {**EXIST, "exist/a": A}),
        ("a", "/exist/", {**EXIST, "exist/a": A}),
        ("a", "/exist/old", {**EXIST, "exist/old": A}),
        ("a", "/exist/sub", {**SUB, "exist/sub/a": A}),
        ("a", "/n1/n2/f", {"n1": Directory(), "n1/n2": Directory(), "n1/n2/f": A}),
        ("dir", "/new", {"new": Directory(), **contents("new/")}),
        ("dir", "/new/", {"new": Directory(), **contents("new/")}),
        ("dir/", "/new", {"new": Directory(), **contents("new/")}),
        ("dir", "/exist", {**EXIST, **contents("exist/")}),
        (
            "over",
            "/exist",
            {
                **EXIST,
                "exist/old": File("changed", 0o777),
                "exist/sub": Directory(0o777),
                "exist/sub/new": File("n"),
            },
        ),
        ("dir/.", "/", contents("")),
        ("dlink", "/new", {"new": Directory(), **contents("new/")}),
        ("flink", "/new", {"new": A}),
        ("flink", "/new/", {"new": Directory(), "new/flink": A}),
        ("dlink/x", "/new", {"new": File("x", 0o600)}),
        ("a", "/link", {**EXIST, "exist/a": A}),
        ("a", "/link/", {**EXIST, "exist/a": A}),
        ("a", "/link/inner/f", {**EXIST, "exist/inner": Directory(), "exist/inner/f": A}),
        ("a", "/abs/f", {**EXIST, "exist/f": A}),
        ("a", "/flink", {**EXIST, "exist/old": A}),
        ("a", "/dangling", {"nowhere": Directory(), "nowhere/x": A}),
        ("a", "/dangling/", {"nowhere": Directory(), "nowhere/x": Directory(), "nowhere/x/a": A}),
        ("a", "/up/f", {"f": A}),
        ("a", "/../../f", {"f": A}),
        ("dir", "/link", {**EXIST, **contents("exist/")}),
        ("f*.txt", "/new/", {"new": Directory(), "new/f1.txt": File("1"), "new/f2.txt": File("2")}),
        ("f*.txt", "/new", {"new": File("2")}),
        ("f1*.txt", "/new", {"new": File("1")}),
        ("f[^2].txt", "/new", {"new": File("1")}),
        ("f?.t[a-x]t", "/new", {"new": File("2")}),
        ("zzz*", "/new/", {}),
        ("di?", "/new/", {"new": Directory(), **contents("new/")}),
        ("dlin?/x", "/new/", {}),
        ("flin*", "/new/", {"new": Directory(), "new/flink": A}),
        ("arr[[]0].txt", "/new/", {"new": Directory(), "new/arr[0].txt": File("arr")}),
        ("../../a", "/new", {"new": A}),
        ("hl", "/new", {"new": Directory(), "new/one": File("h"), "new/two": Hard("new/one")}),
        ("setuid", "/new", {"new": File("s", 0o4755)}),
        ("revive", "/", {"gone": Directory(), "gone/new": File("n")}),
    ],
)
def test_as_buildkit_does(case: Case, source: str, dest: str, expected: dict[str, trees.Node]) -> None:
    case.copy(source, dest=dest)
    assert case.result() == expected


@pytest.mark.parametrize(
    ("source", "dest"),
    [
        ("linkclash", "/"),
        ("fileoverdir", "/"),
        ("diroverfile", "/"),
        ("dir", "/file"),
        ("a", "/file/x"),
        ("a", "/file/"),
        ("a", "/flink/x"),
    ],
)
def test_what_is_in_the_way(case: Case, source: str, dest: str) -> None:
    with pytest.raises(Invalid):
        case.copy(source, dest=dest)


@pytest.mark.parametrize("source", ["nothing", "out", "outdir", "up", "outdir/passwd", "up/passwd", "a/b", "dir/*"])
def test_what_is_not_in_the_context(case: Case, source: str) -> None:
    """Links that lead out of it lead to nothing; a file of the host is never what they mean."""
    with pytest.raises(NotFound):
        case.copy(source, dest="/new")
    assert case.result() == {}


@pytest.mark.parametrize("source", ["[", "a[", "a[]b]", "a[b-]", "a\\", "[^]"])
def test_malformed_pattern(case: Case, source: str) -> None:
    if source == "a\\":  # no wildcard: a name
        with pytest.raises(NotFound):
            case.copy(source, dest="/new")
        return
    with pytest.raises(Invalid):
        case.copy(source, dest="/new")


@pytest.mark.parametrize(("owner", "made"), [(None, (0, 6)), ((7, 8), (7, 8))])
def test_directories_that_are_made_take_after_a_set_group_id_directory(
    case: Case, owner: tuple[int, int] | None, made: tuple[int, int]
) -> None:
    os.chmod(f"{case.stack[0]}/exist", 0o2771)
    case.copy("dir/x", dest="/exist/new/deep/", owner=owner)
    made_directory = Directory(0o2755, made)
    found = case.result()
    assert (found["exist/new"], found["exist/new/deep"]) == (made_directory, made_directory)
    assert found["exist"] == Directory(0o2771, (5, 6))


def test_owner_and_mode_reach_directories_that_are_made(case: Case) -> None:
    case.copy("a", dest="/n1/f", owner=(50, 60), mode=0o711)
    assert case.result() == {"n1": Directory(0o711, (50, 60)), "n1/f": File("a", 0o711, (50, 60))}


def test_owner_and_mode_of_a_tree(case: Case) -> None:
    case.copy("dir", dest="/exist", owner=(50, 60), mode=0o640)
    assert case.result() == {**EXIST, **contents("exist/", (50, 60), 0o640)}


def test_owners_are_kept_from_a_stage(case: Case) -> None:
    case.copy("dir/x", "setuid", dest="/n/", owner=None)
    assert case.result() == {"n": Directory(), "n/setuid": File("s", 0o4755, (7, 8)), "n/x": File("x", 0o600, (7, 8))}


def test_times(case: Case) -> None:
    case.copy("dir", dest="/exist/new")
    times = {name: os.lstat(case.upper / name).st_mtime for name in case.result()}
    assert times == {
        "exist": trees.MTIME,  # as it was: nothing of it was copied
        "exist/new": NOW,
        **{f"exist/new/{name}": trees.MTIME for name in ("abs", "ln", "sub", "sub/y", "x")},
    }


def test_several_sources_of_one_step(case: Case) -> None:
    case.copy("a", "over/old", "dir", "b", dest="/exist/")
    assert case.result() == {
        **EXIST,
        **contents("exist/"),
        "exist/a": A,
        "exist/b": File("b", 0o750),
        "exist/old": File("changed", 0o777),
    }


def test_a_later_source_replaces_an_earlier_one(case: Case) -> None:
    case.copy("a", "b", dest="/new")
    assert case.result() == {"new": File("b", 0o750)}


def test_a_hard_link_never_leads_to_what_replaced_its_first_name(case: Case) -> None:
    trees.make(case.context / "one", {"f": "linked"})
    trees.make(case.context / "two", {"f": "other"})
    os.link(case.context / "one/f", case.context / "two/g")
    case.copy("one", "two", dest="/n/")
    assert case.result() == {"n": Directory(), "n/f": File("other"), "n/g": File("linked")}


def test_xattrs_are_kept(case: Case) -> None:
    os.setxattr(case.context / "a", "user.kept", b"1")
    os.setxattr(case.context / "a", "user.overlay.opaque", b"y")
    case.copy("a", dest="/new")
    assert os.listxattr(case.upper / "new") == ["user.kept"]


def test_nodes_that_are_no_files(case: Case) -> None:
    os.mkfifo(case.context / "dir/fifo")
    os.mknod(case.context / "dir/null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    case.copy("dir/fifo", "dir/null", dest="/n/")
    assert stat.S_ISFIFO(os.lstat(case.upper / "n/fifo").st_mode)
    assert os.lstat(case.upper / "n/null").st_rdev == os.makedev(1, 3)
    os.mknod(case.context / "dir/whiteout", stat.S_IFCHR, 0)
    with pytest.raises(Invalid, match="0:0"):
        case.copy("dir", dest="/exist")


def test_a_file_that_becomes_a_link_is_not_followed(case: Case) -> None:
    """Between the listing and the copy someone swaps a file of the context for a link to one of the host."""
    with ContextFiles(PlainContext(case.context)) as files, case.destination() as to:
        selected = select(files, "a")
        os.unlink(case.context / "a")
        os.symlink(case.canary, case.context / "a")
        with pytest.raises(Denied):
            copy(files, selected, "/new", to, Attributes((0, 0), None, True))


@pytest.fixture
def deep_root(tmp_path: Path) -> Iterator[Path]:
    """A directory in which trees may be deeper than pytest's own clean-up recurses."""
    root = tmp_path / "deep"
    root.mkdir()
    yield root
    fd = os.open(tmp_path, os.O_RDONLY)
    beneath.remove_tree(fd, b"deep")
    os.close(fd)


def test_a_tree_deeper_than_the_interpreter_recurses(deep_root: Path) -> None:
    deep = "/".join("a" * 1500)
    first, second, context = (deep_root / name for name in ("first", "second", "context"))
    for directory in (first, second, context):
        directory.mkdir()
    (context / "t.tar").write_bytes(archive((f"{deep}/f", F, 0o644, "f")))
    attributes = Attributes(None, None, True)
    with ContextFiles(PlainContext(context)) as files, Destination(str(first), (), rootless=False, now=NOW) as to:
        assert unpack(files, select(files, "t.tar")[0], "/", to, attributes)
    stack = (str(first),)
    with Tree(stack, False) as tree, Destination(str(second), stack, rootless=False, now=NOW) as to:
        assert len(list(below(tree, b"a"))) == 1500
        copy(tree, select(tree, "/a"), "/b", to, attributes)
    with Tree((str(second),), False) as tree:
        assert tree.read_file(f"/b/{deep[2:]}/f".encode(), 10) == b"f"


def test_into_an_empty_file_system(tmp_path: Path) -> None:
    context = PlainContext(trees.make(tmp_path / "context", {"d/f": "f"}))
    (tmp_path / "upper").mkdir()
    with ContextFiles(context) as files, Destination(str(tmp_path / "upper"), (), rootless=False, now=NOW) as to:
        copy(files, select(files, "."), "/", to, Attributes((0, 0), None, True))
    assert trees.describe(tmp_path / "upper") == {"d": Directory(), "d/f": File("f")}


def test_the_tree_of_a_stage_is_a_source(case: Case) -> None:
    with Tree(case.stack, False) as tree, case.destination() as to:
        copy(tree, select(tree, "/"), "/all", to, Attributes(None, None, True))
    expected = {**LOWER, **UPPER, "all": Directory()}
    del expected["gone"], expected["gone/old"], expected["all"]
    listed = {f"all/{name}": File(node) if isinstance(node, str) else node for name, node in expected.items()}
    assert case.result() == dict(sorted({"all": Directory(), **listed}.items()))


Member = tuple[str, bytes, int, str]
F, D, L, H = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def archive(*members: Member) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as writer:
        for name, kind, mode, text in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid, info.mtime = kind, mode, 77, 78, 1_300_000_000
            info.linkname = text if kind in (L, H) else ""
            info.size = len(text) if kind == F else 0
            writer.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


ARCHIVE = archive(
    ("./", D, 0o700, ""),
    ("./d/", D, 0o750, ""),
    ("./d/f", F, 0o640, "tarred"),
    ("./imp/f", F, 0o600, "i"),
    ("l", L, 0o777, "d/f"),
    ("h", H, 0o640, "./d/f"),
    ("sub/", D, 0o755, ""),
    ("sub/via", F, 0o644, "v"),
)
THEIRS = (77, 78)


def unpacked(root: str) -> dict[str, trees.Node]:
    return {
        f"{root}/d": Directory(0o750, THEIRS),
        f"{root}/d/f": File("tarred", 0o640, THEIRS),
        f"{root}/h": Hard(f"{root}/d/f"),
        f"{root}/imp": Directory(),
        f"{root}/imp/f": File("i", 0o600, THEIRS),
        f"{root}/l": Link("d/f"),
        f"{root}/sub": Directory(0o755, THEIRS),
        f"{root}/sub/via": File("v", 0o644, THEIRS),
    }


@pytest.mark.parametrize(
    "pack",
    [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.compress],
    ids=["tar", "gz", "bz2", "xz", "zstd"],
)
def test_add_unpacks(case: Case, pack: type[bytes]) -> None:
    (case.context / "no-name").write_bytes(pack(ARCHIVE))
    assert case.add("no-name", "/new")
    assert case.result() == {"new": Directory(), **unpacked("new")}
    assert os.lstat(case.upper / "new/d").st_mtime == 1_300_000_000


def test_an_empty_directory_changes_none_that_is_there(case: Case) -> None:
    (case.context / "empty").mkdir()
    case.copy("empty", dest="/exist")
    assert case.result() == {}
    case.copy("empty", dest="/new")
    assert case.result() == {"new": Directory()}


def test_add_unpacks_for_an_owner(case: Case) -> None:
    """BuildKit since May 2025; --chmod changes nothing, not even the directory that is made."""
    (case.context / "t.tar").write_bytes(ARCHIVE)
    assert case.add("t.tar", "/new", (5, 6), 0o700)
    expected = {"new": Directory(), **unpacked("new")}
    for name, node in expected.items():
        if isinstance(node, File | Directory) and name != "new/imp":
            expected[name] = node._replace(owner=(5, 6))
    assert case.result() == expected


@pytest.mark.parametrize("dest", ["/exist", "/exist/", "/link", "/abs"])
def test_add_keeps_the_destination_directory(case: Case, dest: str) -> None:
    (case.context / "t.tar").write_bytes(ARCHIVE)
    assert case.add("t.tar", dest)
    assert case.result() == {**EXIST, **unpacked("exist")}


@pytest.mark.parametrize(
    "content",
    [
        b"not an archive",
        gzip.compress(b"not an archive" * 100, mtime=0),
        bytes(10240),
        b"",
        b"\x1f\x8b",
        b"BZh91",
        b"\xfd7zXZ\0",
        zlib.compress(ARCHIVE),
    ],
)
def test_add_copies_what_is_no_archive(case: Case, content: bytes) -> None:
    (case.context / "x.tar.gz").write_bytes(content)
    assert not case.add("x.tar.gz", "/new")
    assert case.result() == {}


def test_add_replaces_what_has_the_name_of_a_member(case: Case) -> None:
    """Docker replaces everything but a directory by a directory."""
    data = archive(
        ("file/", D, 0o755, ""), ("file/in", F, 0o644, "in"),
        ("exist", F, 0o644, "now a file"),
        ("abs", L, 0o777, "file"),
        ("dangling/", D, 0o700, ""),
    )  # fmt: skip
    (case.context / "t").write_bytes(data)
    assert case.add("t", "/")
    assert case.result() == {
        "abs": Link("file"),
        "dangling": Directory(0o700, THEIRS),
        "exist": File("now a file", 0o644, THEIRS),
        "file": Directory(0o755, THEIRS),
        "file/in": File("in", 0o644, THEIRS),
    }


def test_add_hides_what_it_replaced_twice(case: Case) -> None:
    data = archive(("exist", F, 0o644, "x"), ("exist/", D, 0o755, ""), ("exist/n", F, 0o644, "n"))
    (case.context / "t").write_bytes(data)
    assert case.add("t", "/")
    with Tree((str(case.upper), *case.stack), False) as tree:
        assert list(tree.children(b"exist")) == [b"n"]


def test_add_follows_links_inside(case: Case) -> None:
    data = archive(("link/through", F, 0o644, "t"), ("esc", L, 0o777, "/../../../../tmp"), ("esc/f", F, 0o644, "f"))
    (case.context / "t").write_bytes(data)
    assert case.add("t", "/sub")
    assert case.result()["tmp/f"] == File("f", 0o644, THEIRS)
    assert case.result()["sub/link/through"] == File("t", 0o644, THEIRS)


@pytest.mark.parametrize(
    "members",
    [
        [("../canary", F, 0o644, "x")],
        [("a/../../canary", F, 0o644, "x")],
        [("h", H, 0o644, "../canary")],
        [("h", H, 0o644, "../../../../../../../etc/passwd")],
        [("h", H, 0o644, "file")],
        [("l", L, 0o777, "../../../../.."), ("h", H, 0o644, "l/etc/passwd")],
    ],
)
def test_add_refuses_what_leads_out(case: Case, members: list[Member]) -> None:
    (case.context / "t").write_bytes(archive(*members))
    with pytest.raises(Invalid):
        case.add("t", "/")
    assert os.stat(case.canary).st_nlink == 1
    case.result()


@pytest.mark.parametrize("cut", [700, 1300, 1540])
def test_add_refuses_a_damaged_archive(case: Case, cut: int) -> None:
    (case.context / "t").write_bytes(ARCHIVE[:cut])
    with pytest.raises(Invalid) as caught:
        case.add("t", "/new")
    assert caught.value.message == "t: the archive is truncated: the archive ends in the middle of an entry"


def test_what_is_remembered_is_what_was_written(case: Case) -> None:
    """Also of files that replace others, are replaced, or lie where there was nothing."""
    (case.context / "second").mkdir()
    (case.context / "second/x").write_text("another x")
    (case.context / "second/large").write_bytes(bytes(100_000))
    os.link(case.context / "a", case.context / "second/link")
    plain = Attributes((0, 0), None, False)
    with ContextFiles(PlainContext(case.context)) as files, case.destination() as to:
        for source in ("dir", "second"):
            copy(files, select(files, source), "/n", to, plain)
            copy(files, select(files, source), "/exist", to, plain)
        assert {b"n/x", b"exist/x", b"n/link"} <= to.contents.keys()
        assert b"n/large" not in to.contents
        assert to.settled
    for path, content in to.contents.items():
        assert (case.upper / os.fsdecode(path)).read_bytes() == content
    layers = []
    for contents in ({}, to.contents):
        layer = io.BytesIO()
        fd = os.open(case.upper, os.O_RDONLY)
        write(changes(fd, userxattr=False, contents=contents), layer.write)
        os.close(fd)
        layers.append(layer.getvalue())
    assert layers[0] == layers[1]


@pytest.mark.parametrize("name", ["a", "twin", "link"])
def test_a_file_that_changed_since_it_was_listed_is_told(case: Case, name: str) -> None:
    os.link(case.context / "a", case.context / "twin")
    (case.context / "link").symlink_to("a")
    with ContextFiles(open_context(str(case.context))) as files, case.destination() as to:
        selected = select(files, ".")
        assert len(list(below(files, b""))) > 5
        os.unlink(case.context / name)
        if name == "link":
            (case.context / name).symlink_to("x")
        else:
            (case.context / name).write_text("later")
        copy(files, selected, "/n", to, Attributes((0, 0), None, False))
        assert not to.settled
