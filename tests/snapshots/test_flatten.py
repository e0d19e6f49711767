"""A stack of directories as one archive, and as one layer upon what lies below."""

import io
import os
import tarfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from sampan.layers import apply, tarball
from sampan.layers.write import write
from sampan.oci.digest import sha256
from sampan.snapshots.flatten import entries
from sampan.snapshots.lookup import Tree
from trees import Directory, File, Link, make


def tar(stack: Sequence[Path], below: int = 0, epoch: int | None = None) -> bytes:
    """The archive of a stack (topmost first); with ``below`` upon that many of its lowest directories."""
    output = io.BytesIO()
    with ExitStack() as opened:
        tree = opened.enter_context(Tree([str(path) for path in stack], True))
        base = opened.enter_context(Tree([str(path) for path in stack[-below:]], True)) if below else None
        write(entries(tree, base, epoch=epoch), output.write)
    return output.getvalue()


def names(data: bytes) -> list[str]:
    return [entry.name.decode().rstrip("/") for entry in tarball.read(io.BytesIO(data))]


def unpacked(data: bytes, directory: Path) -> Path:
    directory.mkdir()
    fd = os.open(directory, os.O_RDONLY)
    apply.unpack(io.BytesIO(data), fd, sha256(data), how="none", userxattr=True, rootless=True)
    os.close(fd)
    return directory


@pytest.fixture
def stack(tmp_path: Path) -> list[Path]:
    base, middle, top = (tmp_path / name for name in ("base", "middle", "top"))
    for directory in (base, middle, top):
        directory.mkdir()
    make(base, {"a": "1", "d/x": "x", "d/y": "y", "deep/er/z": "z", "kept/k": "k", "s": Link("a"), "t": "t"})
    make(middle, {"b": File("2", 0o640), "d/x": "X", "t/u": "now a directory"})
    make(top, {"a": "3", "d": Directory(0o700), "new/n": "n"})
    os.link(top / "a", top / "new/same")
    os.mknod(top / "s", 0o020000, 0)  # deleted
    os.mknod(top / "d/y", 0o020000, 0)
    return [top, middle, base]


pytestmark = pytest.mark.root


def test_all_of_a_tree(stack: list[Path], tmp_path: Path) -> None:
    data = tar(stack)
    assert names(data) == [
        *("a", "b", "d", "d/x", "deep", "deep/er", "deep/er/z", "kept", "kept/k", "new", "new/n", "new/same"),
        *("t", "t/u"),
    ]
    place = unpacked(data, tmp_path / "place")
    assert (place / "a").read_text() == "3"
    assert (place / "d/x").read_text() == "X"
    assert (place / "d").stat().st_mode & 0o777 == 0o700
    assert (place / "b").stat().st_mode & 0o777 == 0o640
    assert (place / "a").samefile(place / "new/same")


def test_a_layer_upon_what_lies_below(stack: list[Path], tmp_path: Path) -> None:
    data = tar(stack, below=1)
    assert names(data) == [".wh.s", "a", "b", "d", "d/.wh.y", "d/x", "new", "new/n", "new/same", "t", "t/u"]
    squashed = unpacked(data, tmp_path / "squashed")
    assert tar([squashed, stack[-1]]) == tar(stack)


def test_nothing_changed(stack: list[Path]) -> None:
    assert names(tar(stack, below=3)) == []


def test_no_time_is_later(stack: list[Path]) -> None:
    with tarfile.open(fileobj=io.BytesIO(tar(stack, epoch=1000))) as archive:
        assert {entry.mtime for entry in archive} == {1000}
