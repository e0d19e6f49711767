"""The merged view of a stack: whiteouts, opaque directories, links that stay inside, and the kernel's own opinion."""

import ctypes
import os
import random
import stat
from pathlib import Path

import pytest

from sampan.errors import Invalid
from sampan.snapshots.lookup import Tree


def layer(root: Path, **files: str | None) -> str:
    """A directory with files by path (``__`` for /); None for a whiteout."""
    root.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            os.mknod(path, stat.S_IFCHR, 0)
        else:
            path.write_text(content)
    return str(root)


def read(tree: Tree, path: bytes) -> bytes | None:
    return tree.read_file(path, 1000)


def test_topmost_counts_and_directories_merge(tmp_path: Path) -> None:
    top = layer(tmp_path / "2", etc__a="new", etc__b="b")
    low = layer(tmp_path / "1", etc__a="old", etc__c="c", usr__x="x")
    with Tree([top, low], True) as tree:
        assert read(tree, b"/etc/a") == b"new"
        assert list(tree.children(b"etc")) == [b"a", b"b", b"c"]
        assert list(tree.children(b"")) == [b"etc", b"usr"]
        assert read(tree, b"/etc/nothing") is None


def test_whiteout_hides_and_stops(tmp_path: Path) -> None:
    stack = [
        layer(tmp_path / "3", d__new="n"),
        layer(tmp_path / "2", d=None, e__f=None),
        layer(tmp_path / "1", d__old="o", e__f="f", e__g="g"),
    ]
    with Tree(stack, True) as tree:
        assert list(tree.children(b"d")) == [b"new"]
        assert tree.stat(b"d/old") is None
        assert tree.stat(b"e/f") is None
        assert list(tree.children(b"e")) == [b"g"]


def test_opaque_directory_hides_what_is_below(tmp_path: Path) -> None:
    top, low = layer(tmp_path / "2", d__new="n"), layer(tmp_path / "1", d__old="o")
    os.setxattr(f"{top}/d", "user.overlay.opaque", b"y")
    with Tree([top, low], True) as tree:
        assert list(tree.children(b"d")) == [b"new"]
        assert tree.stat(b"d/old") is None
    with Tree([top, low], False) as tree:
        assert list(tree.children(b"d")) == [b"new", b"old"]


def test_file_between_directories_separates_them(tmp_path: Path) -> None:
    stack = [layer(tmp_path / "3", d__a="a"), layer(tmp_path / "2", d="file"), layer(tmp_path / "1", d__z="z")]
    with Tree(stack, True) as tree:
        assert list(tree.children(b"d")) == [b"a"]
    with Tree(stack[1:], True) as tree:
        assert tree.children(b"d") == {}
        with pytest.raises(NotADirectoryError):
            tree.resolve(b"/d/z")


@pytest.mark.parametrize(
    ("link", "target", "path", "leads"),
    [
        ("l", "/etc", b"/l/a", b"etc/a"),
        ("l", "etc", b"l/a", b"etc/a"),
        ("l", "../../../../../etc", b"/l/a", b"etc/a"),
        ("usr/l", "../etc/../etc/./a", b"usr/l", b"etc/a"),
        ("l", "/missing/x", b"/l/y", b"missing/x/y"),
        ("l", "/etc", b"/l/../a", b"a"),
        ("l", "/", b"l/l/l/etc", b"etc"),
        ("etc/up", "..", b"/etc/up/etc/up/../etc/a", b"etc/a"),
    ],
)
def test_links_stay_inside(tmp_path: Path, link: str, target: str, path: bytes, leads: bytes) -> None:
    top, low = layer(tmp_path / "2", usr__x="x"), layer(tmp_path / "1", etc__a="inside")
    os.symlink(target, f"{top if '/' not in link or link.startswith('usr') else low}/{link}")
    with Tree([top, low], True) as tree:
        found = tree.resolve(path)
        assert found.path == leads
        assert (found.status is not None) == (leads in (b"etc/a", b"etc"))


def test_last_link_can_be_kept(tmp_path: Path) -> None:
    root = layer(tmp_path / "1", a="a")
    os.symlink("a", f"{root}/l")
    with Tree([root], True) as tree:
        found = tree.resolve(b"l", follow=False)
        assert found.status is not None
        assert stat.S_ISLNK(found.status.st_mode)
        assert tree.readlink(b"l") == b"a"


def test_loop_is_an_error(tmp_path: Path) -> None:
    root = layer(tmp_path / "1")
    os.symlink("b", f"{root}/a")
    os.symlink("a", f"{root}/b")
    with Tree([root], True) as tree, pytest.raises(OSError, match="symbolic links"):
        tree.resolve(b"a/x")


def test_files_outside_are_out_of_reach(tmp_path: Path) -> None:
    (tmp_path / "canary").write_text("secret")
    root = layer(tmp_path / "1", etc__x="x")
    os.symlink(str(tmp_path / "canary"), f"{root}/absolute")
    os.symlink("../canary", f"{root}/relative")
    os.symlink(str(tmp_path), f"{root}/dir")
    with Tree([root], True) as tree:
        for path in (b"absolute", b"relative", b"dir/canary", b"../canary", b"etc/../../canary"):
            assert read(tree, path) is None
        with pytest.raises(OSError):
            os.close(tree.open(b"absolute"))


def test_only_regular_files_of_bounded_size_are_read(tmp_path: Path) -> None:
    root = layer(tmp_path / "1", big="x" * 1001, d__f="")
    os.mkfifo(f"{root}/fifo")
    with Tree([root], True) as tree:
        for path in (b"big", b"fifo", b"d"):
            with pytest.raises(Invalid):
                read(tree, path)


def test_an_empty_stack_is_an_empty_tree() -> None:
    with Tree([], True) as tree:
        assert tree.resolve(b"/a/b").path == b"a/b"
        assert tree.resolve(b"/").status is None
        assert tree.children(b"") == {}


@pytest.mark.system
@pytest.mark.root
@pytest.mark.parametrize("seed", range(6))
def test_the_kernel_agrees(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    stack = [_random_layer(chance, tmp_path / str(number)) for number in range(4)]
    merged = tmp_path / "merged"
    merged.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    options = b"lowerdir=" + ":".join(stack).encode()
    if libc.mount(b"overlay", os.fsencode(merged), b"overlay", 1, options):
        raise OSError(ctypes.get_errno(), "mount overlay")
    try:
        with Tree(stack, False) as tree:
            assert _seen(tree, b"") == _real(merged, b"")
    finally:
        libc.umount2(os.fsencode(merged), 2)


def _random_layer(chance: random.Random, root: Path) -> str:
    root.mkdir()
    for _ in range(40):
        path = root.joinpath(*(chance.choice("abc") for _ in range(chance.randint(1, 4))))
        try:
            match chance.choice("fdwol"):
                case "f":
                    path.write_text(root.name)
                case "d":
                    path.mkdir(parents=True)
                case "w":
                    os.mknod(path, stat.S_IFCHR, 0)
                case "o":
                    path.mkdir()
                    os.setxattr(path, "trusted.overlay.opaque", b"y")
                case "l":
                    path.symlink_to("a/b")
        except OSError:
            continue  # the place is taken, or its parent is a file: another one then
    return str(root)


def _seen(tree: Tree, path: bytes) -> dict[bytes, object]:
    found: dict[bytes, object] = {}
    for name, status in tree.children(path).items():
        below = path + b"/" + name if path else name
        if stat.S_ISDIR(status.st_mode):
            found[name] = _seen(tree, below)
        elif stat.S_ISLNK(status.st_mode):
            found[name] = tree.readlink(below)
        else:
            found[name] = read(tree, below)
    return found


def _real(merged: Path, path: bytes) -> dict[bytes, object]:
    found: dict[bytes, object] = {}
    for entry in os.scandir(os.path.join(os.fsencode(merged), path)):
        below = path + b"/" + entry.name if path else entry.name
        if not os.path.lexists(entry.path):
            continue  # a whiteout in a directory that is merged from one layer only: listed, and not to be looked up
        if entry.is_dir(follow_symlinks=False):
            found[entry.name] = _real(merged, below)
        elif entry.is_symlink():
            found[entry.name] = os.readlink(entry.path)
        else:
            found[entry.name] = Path(os.fsdecode(entry.path)).read_bytes()
    return found
