"""Directories made and removed below a root."""

import os

import pytest

from sampan.linux import beneath


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    fd = beneath.open_root(tmp_path / "root")
    yield tmp_path / "root", fd
    os.close(fd)


def _made(fd, path):
    made = beneath.make_directories(fd, path, 0o751)
    try:
        return os.readlink(f"/proc/self/fd/{made}")
    finally:
        os.close(made)


@pytest.mark.parametrize(
    ("link", "path", "expected"),
    [
        ("elsewhere", b"a/b/c", "a/b/c"),
        ("elsewhere", b"/x/./y//z/", "elsewhere/y/z"),
        ("/abs/elsewhere", b"x/y", "abs/elsewhere/y"),
        ("../../../up", b"x/y", "up/y"),
        ("..", b"x/y/../z", "z"),
        ("one/two/..", b"x/y", "one/y"),
        (".", b"x/x/x/y", "y"),
        ("x", b"../../a", "a"),
    ],
)
def test_directories_are_made_inside(root, tmp_path, link, path, expected):
    top, fd = root
    (top / "x").symlink_to(link)
    assert _made(fd, path) == str(top / expected)
    assert _made(fd, path) == str(top / expected)
    assert (top / expected).stat().st_mode & 0o777 == 0o751
    assert os.listdir(tmp_path) == ["root"]


def test_what_is_no_directory_stops(root):
    top, fd = root
    (top / "file").touch()
    (top / "loop").symlink_to("loop")
    (top / "grows").symlink_to("grows2/x")
    (top / "grows2").symlink_to("grows/y")
    (top / "to-file").symlink_to("file")
    for number in range(50):  # each dangles until the one before it has been made
        (top / f"chain{number}").symlink_to(f"made{number}/../chain{number + 1}")
    before = len(os.listdir("/proc/self/fd"))
    for path in (b"file", b"file/x", b"to-file/x", b"loop", b"loop/x", b"grows/x", b"chain0/x"):
        with pytest.raises(OSError):
            _made(fd, path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_trees_are_removed_whole_and_alone(root, tmp_path):
    top, fd = root
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch()
    for path in ("t/0/1/2", "t/1/0", "t/b/c"):
        (top / path).mkdir(parents=True)
        (top / path / "file").touch()
    (top / "t/b/link").symlink_to(tmp_path / "kept")
    (top / "t/2").symlink_to("0")
    (top / "other").mkdir()
    beneath.remove_tree(fd, b"t")
    assert os.listdir(top) == ["other"]
    assert os.listdir(tmp_path / "kept") == ["file"]


def test_deep_trees_are_removed(root):
    top, fd = root
    os.close(beneath.make_directories(fd, b"d/" * 1500))
    before = len(os.listdir("/proc/self/fd"))
    beneath.remove_tree(fd, b"d")
    assert os.listdir(top) == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_only_directories_are_trees(root, tmp_path):
    top, fd = root
    (top / "link").symlink_to(tmp_path)
    (top / "file").touch()
    for name in (b"link", b"file", b"missing"):
        with pytest.raises(OSError):
            beneath.remove_tree(fd, name)
    assert sorted(os.listdir(top)) == ["file", "link"]
