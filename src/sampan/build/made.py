"""Whose a step's files are, where there is but one user id: what nobody asked for while the command ran is noted beside
each file afterwards (linux.ownership).

A file that takes another's place is its owner's: programs that write a file anew (useradd, sed -i) give it the owner
that they saw on the old one, and stat(2) showed them the one id.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from sampan.linux import beneath, ownership
from sampan.snapshots.lookup import Tree


def settle(upper: str, stack: Sequence[str], maker: tuple[int, int]) -> dict[int, tuple[int, int]]:
    """Notes owners for all in ``upper`` that has none yet: that of what it replaces in ``stack``, else ``maker``.

    Gives those of links and other files without room for a note by inode number. Raises OSError.
    """
    nodes: dict[int, tuple[int, int]] = {}
    root = beneath.open_root(upper)
    try:
        with Tree(stack, userxattr=True) as below:
            pending = [b""]
            while pending:
                path = pending.pop()
                fd = beneath.open_in(root, path, os.O_RDONLY | os.O_DIRECTORY, links=False)
                try:
                    pending += _settle(fd, path + b"/" if path else b"", below, maker, nodes)
                finally:
                    os.close(fd)
    finally:
        os.close(root)
    return nodes


def _settle(
    directory: int, prefix: bytes, below: Tree, maker: tuple[int, int], nodes: dict[int, tuple[int, int]]
) -> list[bytes]:
    """As ``settle``, for what is directly in one directory; gives the paths of its subdirectories."""
    subdirectories = []
    with os.scandir(directory) as found:
        for entry in found:
            status, path = entry.stat(follow_symlinks=False), prefix + os.fsencode(entry.name)
            is_directory = stat.S_ISDIR(status.st_mode)
            if is_directory:
                subdirectories.append(path)
            owner = _owner(below, path) or maker
            if owner == (0, 0):
                continue
            if is_directory or stat.S_ISREG(status.st_mode):
                _note(directory, entry.name, owner)
            else:
                nodes[status.st_ino] = owner
    return subdirectories


def _owner(below: Tree, path: bytes) -> tuple[int, int] | None:
    """Whose a file is in the lower directories; None if there is none."""
    status = below.stat(path)
    if status is None:
        return None
    if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
        fd = below.open(path, os.O_PATH | os.O_NOFOLLOW)
        try:
            return ownership.recalled(f"/proc/self/fd/{fd}".encode()) or (0, 0)
        finally:
            os.close(fd)
    return 0, 0


def _note(directory: int, name: str, owner: tuple[int, int]) -> None:
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        path = f"/proc/self/fd/{fd}".encode()
        if ownership.recalled(path) is None:
            ownership.remember(path, *owner)
    finally:
        os.close(fd)
