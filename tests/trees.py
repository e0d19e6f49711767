"""Directories from a short description, and short descriptions of directories."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class File(NamedTuple):
    content: str = ""
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)


class Directory(NamedTuple):
    mode: int = 0o755
    owner: tuple[int, int] = (0, 0)


class Link(NamedTuple):
    target: str


class Hard(NamedTuple):
    """Another name of the file at ``path``, which sorts before."""

    path: str


WHITEOUT = None
Node = File | Directory | Link | Hard | str | None
MTIME = 1_000_000_000


def make(root: Path, nodes: Mapping[str, Node]) -> str:
    """Makes what ``nodes`` says below ``root``, every mtime MTIME; a bare text is a file with that content."""
    root.mkdir(parents=True, exist_ok=True)
    for name, node in nodes.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        match node:
            case None:
                os.mknod(path, stat.S_IFCHR, 0)
            case str():
                path.write_text(node)
                path.chmod(0o644)
            case File():
                path.write_text(node.content)
                os.chown(path, *node.owner)
                path.chmod(node.mode)
            case Directory():
                path.mkdir(exist_ok=True)
                os.chown(path, *node.owner)
                path.chmod(node.mode)
            case Link():
                path.symlink_to(node.target)
            case Hard():
                path.hardlink_to(root / node.path)
    for directory, _, files in os.walk(root, topdown=False):
        for file in files:
            os.utime(f"{directory}/{file}", (MTIME, MTIME), follow_symlinks=False)
        os.utime(directory, (MTIME, MTIME))
    return str(root)


def describe(root: Path | str) -> dict[str, Node]:
    """The inverse of ``make``, for all but times; hard links name the first path of the file."""
    inodes: dict[int, str] = {}
    paths = [os.path.join(top, name) for top, directories, files in os.walk(root) for name in directories + files]
    names = sorted(os.path.relpath(path, root) for path in paths)
    return {name: _describe(os.path.join(root, name), name, inodes) for name in names}


def _describe(path: str, name: str, inodes: dict[int, str]) -> Node:
    status = os.lstat(path)
    owner, mode = (status.st_uid, status.st_gid), stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return Link(os.readlink(path))
    if stat.S_ISDIR(status.st_mode):
        return Directory(mode, owner)
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
        return WHITEOUT
    if status.st_nlink > 1 and inodes.setdefault(status.st_ino, name) != name:
        return Hard(inodes[status.st_ino])
    return File(Path(path).read_text(), mode, owner)


class PlainContext:
    """A build context without .dockerignore."""

    def __init__(self, root: Path | str) -> None:
        self.root = str(root)

    def children(self, path: bytes) -> dict[bytes, os.stat_result]:
        directory = os.path.join(os.fsencode(self.root), path)
        return {name: os.lstat(os.path.join(directory, name)) for name in sorted(os.listdir(directory))}
