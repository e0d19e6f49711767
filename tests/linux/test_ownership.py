"""Owners and devices noted beside a file."""

import os
import stat
from pathlib import Path

import pytest

from sampan.errors import Invalid
from sampan.linux import ownership


@pytest.fixture
def fd(tmp_path: Path) -> int:
    """A file of which it does not matter whose it is. Closed with the process."""
    return os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)


def test_an_owner(fd: int) -> None:
    assert ownership.recalled(fd) is None
    assert ownership.remember(fd, 1000, 0)
    assert ownership.recalled(fd) == (1000, 0)
    ownership.forget(fd)
    ownership.forget(fd)
    assert ownership.recalled(fd) is None


def test_a_device(fd: int) -> None:
    assert ownership.remember_device(fd, stat.S_IFBLK, os.makedev(7, 300))
    assert ownership.recalled_device(fd) == (stat.S_IFBLK, 7, 300)


def test_what_has_no_room_for_a_note(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p")
    assert not ownership.remember(bytes(tmp_path / "p"), 1, 2)
    assert ownership.recalled(bytes(tmp_path / "p")) is None


@pytest.mark.parametrize("text", [b"", b"1", b"1:", b"-1:2", b"a:b", b"1:2:3", b"4294967295:0", b"1:99999999999"])
def test_a_note_of_someone_else_s(fd: int, text: bytes) -> None:
    os.setxattr(fd, ownership.OWNER, text)
    with pytest.raises(Invalid, match=r"user\.sampan\.owner"):
        ownership.recalled(fd)


@pytest.mark.parametrize("text", [b"", b"c", b"c:1", b"x:1:2", b"c:1:-2", b"c:1:2:3"])
def test_a_device_of_someone_else_s(fd: int, text: bytes) -> None:
    os.setxattr(fd, ownership.DEVICE, text)
    with pytest.raises(Invalid, match=r"user\.sampan\.device"):
        ownership.recalled_device(fd)


@pytest.mark.system
@pytest.mark.root
def test_an_owner_counts_while_the_file_is_root_s(fd: int) -> None:
    ownership.remember(fd, 5, 6)
    assert ownership.noted(fd, [ownership.OWNER]) == (5, 6)
    assert ownership.noted(fd, []) is None
    os.fchown(fd, 7, 0)
    assert ownership.noted(fd, [ownership.OWNER]) is None
