"""A merged tree read as the entries of an archive: all of it, or what it has that another tree below has not.

Each directory comes before what is in it: first its files by name, then its subdirectories, as in ``layers.changes``.
"""

import os
import stat
from collections.abc import Iterator

from sampan.layers import whiteouts, xattrs
from sampan.layers.tarball import BLOCK, CHAR, DIRECTORY, FIFO, FILE, HARD_LINK, SYMLINK, Entry
from sampan.linux import ownership
from sampan.snapshots.lookup import Tree

_KINDS = {
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFREG: FILE,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHAR,
    stat.S_IFBLK: BLOCK,
    stat.S_IFIFO: FIFO,
}
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_SECOND = 1_000_000_000

Entries = Iterator[tuple[Entry, int | None]]


def entries(tree: Tree, below: Tree | None = None, *, epoch: int | None = None) -> Entries:
    """What is in ``tree``; with a regular file a descriptor of its content, open until the next entry is asked for.

    With ``below``, whose directories are the lowest of ``tree``'s own, only what differs from that: as a layer upon it,
    deletions included. The root has no entry, sockets are left out, no mtime is later than ``epoch`` (seconds).
    """
    linked: dict[tuple[int, int], bytes] = {}
    upper = len(tree.layers(b"")) - len(below.layers(b"")) if below else 0
    pending = [b""]
    while pending:
        path = pending.pop()
        status = tree.stat(path)
        before = below.stat(path) if below else None
        if path and status and not _is_same(status, before):
            yield _described(tree, path, status, epoch), None
        children = tree.children(path)
        if below:
            yield from (_deletion(path, name) for name in below.children(path) if name not in children)
        directories = []
        for name, found in children.items():
            child = path + b"/" + name if path else name
            if stat.S_ISDIR(found.st_mode):
                if below is None or tree.layers(child)[0] < upper:
                    directories.append(child)
            elif below is None or not _is_same(found, below.stat(child)):
                yield from _file(tree, child, found, linked, epoch)
        pending += reversed(directories)


def _is_same(status: os.stat_result, before: os.stat_result | None) -> bool:
    return before is not None and os.path.samestat(status, before)


def _deletion(path: bytes, name: bytes) -> tuple[Entry, None]:
    base = whiteouts.PREFIX + name
    return Entry(path + b"/" + base if path else base, FILE, 0o600), None


def _file(
    tree: Tree, path: bytes, status: os.stat_result, linked: dict[tuple[int, int], bytes], epoch: int | None
) -> Entries:
    """Anything but a directory."""
    if stat.S_IFMT(status.st_mode) not in _KINDS:
        return
    entry = _described(tree, path, status, epoch)
    first = linked.setdefault((status.st_dev, status.st_ino), path) if status.st_nlink > 1 else path
    if first != path and entry.kind != FILE:
        entry.kind, entry.link = HARD_LINK, first
    elif entry.kind == SYMLINK:
        entry.link = tree.readlink(path)
    elif entry.kind in (CHAR, BLOCK):
        entry.major, entry.minor = os.major(status.st_rdev), os.minor(status.st_rdev)
    if entry.kind != FILE:
        yield entry, None
        return
    fd = tree.open(path, _OPEN)
    try:
        _describe(entry, fd)
        if first != path:
            entry.kind, entry.link, entry.xattrs = HARD_LINK, first, {}
            yield entry, None
            return
        entry.size = os.fstat(fd).st_size
        yield entry, fd
    finally:
        os.close(fd)


def _described(tree: Tree, path: bytes, status: os.stat_result, epoch: int | None) -> Entry:
    mtime = status.st_mtime_ns if epoch is None else min(status.st_mtime_ns, epoch * _SECOND)
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    entry = Entry(path, kind, stat.S_IMODE(status.st_mode), *ownership.owner(status), 0, mtime)
    if kind == DIRECTORY:
        fd = tree.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _describe(entry, fd)
        finally:
            os.close(fd)
    return entry


def _describe(entry: Entry, fd: int) -> None:
    """Gives ``entry`` what only an open file says."""
    names = xattrs.names(fd)
    entry.xattrs = xattrs.load(fd, names)
    entry.uid, entry.gid = ownership.noted(fd, names) or (entry.uid, entry.gid)
