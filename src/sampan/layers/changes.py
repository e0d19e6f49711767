"""An overlay's upper directory read as the changes that it stands for, in the form of layer entries.

Each directory comes before what is in it: first that it hides everything below (if it does), then its files by name,
then its subdirectories by name. So equal trees give equal sequences, entries of one directory stand together, and the
walk holds one descriptor however deep the tree is.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator, Iterator, Mapping
from types import MappingProxyType

from sampan.errors import Conflict, Invalid, Unsupported
from sampan.layers import whiteouts, xattrs
from sampan.layers.tarball import BLOCK, CHAR, DIRECTORY, FIFO, FILE, HARD_LINK, SYMLINK, Entry
from sampan.layers.tarwriter import Content, Member
from sampan.linux import beneath, ownership

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple, NoReturn
else:
    from sampan.values import NamedTuple

_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS = {stat.S_IFLNK: SYMLINK, stat.S_IFCHR: CHAR, stat.S_IFBLK: BLOCK, stat.S_IFIFO: FIFO}
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
_SWAPPED = "%s was replaced while it was read"
_SECOND = 1_000_000_000

# What overlay writes when redirect_dir or metacopy is on: the upper directory alone then does not say what is in it.
_INCOMPLETE = frozenset(prefix + name for prefix in xattrs.OVERLAY for name in (b"redirect", b"metacopy"))

Changes = Iterator[tuple[Entry, Content]]
Contents = Mapping[bytes, "bytes | Member"]
"""What is known of regular files, by path."""
NOTHING: Contents = MappingProxyType({})


Nodes = Mapping[int, tuple[int, int]]
"""The owners that links and devices were to have and could not, by inode number: there is no room for a note of them
beside such a file (``linux.ownership``)."""
AS_FOUND: Nodes = MappingProxyType({})


def changes(
    root_fd: int,
    *,
    userxattr: bool,
    epoch: int | None = None,
    contents: Contents = NOTHING,
    nodes: Nodes = AS_FOUND,
) -> Changes:
    """The entries of the upper directory behind ``root_fd``; with a regular file a descriptor of its content, or what
    is among ``contents``: the content itself (of files that have no extended attributes), or a whole member, and then
    the entry has the name and the size alone. ``nodes`` is for whoever has no ids to give.

    The descriptor is open until the next entry is asked for. The root itself has no entry, as in Docker. Sockets are
    left out. No mtime is later than ``epoch`` (seconds). Raises Unsupported for what needs redirect_dir or metacopy,
    Invalid for a file named like a whiteout, OSError.
    """
    walk = _Walk(None if epoch is None else epoch * _SECOND, {}, contents, nodes)
    pending = [b""]
    while pending:
        path = pending.pop()
        prefix = path + b"/" if path else b""
        try:
            fd = beneath.open_in(root_fd, path, os.O_RDONLY | os.O_DIRECTORY, links=False)
        except OSError as error:
            _complain(path, error)
        try:
            directory = _described(path, DIRECTORY, os.fstat(fd), walk)
            names = _attributes(fd, directory)
            if path:
                yield directory, None
            opaque = whiteouts.opaque_xattr(userxattr)
            if opaque in names and os.getxattr(fd, opaque) == b"y":
                yield _marker(prefix + whiteouts.OPAQUE), None
            subdirectories = yield from _files(fd, prefix, walk)
            pending += [prefix + name for name in reversed(subdirectories)]
        finally:
            os.close(fd)


class _Walk(NamedTuple):
    """``latest`` is the last mtime (ns) that may be, ``linked`` the first names of files that have several."""

    latest: int | None
    linked: dict[tuple[int, int], bytes]
    contents: Contents
    nodes: Nodes


def _files(fd: int, prefix: bytes, walk: _Walk) -> Generator[tuple[Entry, Content], None, list[bytes]]:
    """What is directly in one directory; returns the names of its subdirectories."""
    with os.scandir(fd) as found:
        children = sorted(
            (os.fsencode(item.name), item.is_dir(follow_symlinks=False), item.is_file(follow_symlinks=False))
            for item in found
        )
    for name, is_directory, is_file in children:
        if name.startswith(whiteouts.PREFIX):
            raise Invalid(
                f"{os.fsdecode(prefix + name)} cannot be stored in a layer, where such names mean deletions",
                hint="rename the file: names in images cannot begin with .wh.",
            )
        if is_file:
            path = prefix + name
            content = walk.contents.get(path)
            if isinstance(content, Member):
                yield Entry(path, size=content.size), content
            else:
                yield from _file(fd, name, path, walk) if content is None else _known(fd, name, path, content, walk)
        elif not is_directory:
            yield from _special(fd, name, prefix, walk)
    return [name for name, is_directory, _ in children if is_directory]


def _file(dir_fd: int, name: bytes, path: bytes, walk: _Walk) -> Changes:
    try:
        fd = os.open(name, _OPEN_FILE, dir_fd=dir_fd)
    except OSError as error:
        _complain(path, error)
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise Conflict(_SWAPPED % os.fsdecode(path))
        entry = _described(path, FILE, info, walk)
        if _linked(entry, info, walk.linked):
            entry.uid, entry.gid = ownership.noted(fd, xattrs.names(fd)) or (entry.uid, entry.gid)
        else:
            names = _attributes(fd, entry)
            if ownership.DEVICE in names:
                kind, entry.major, entry.minor = ownership.recalled_device(fd)
                entry.kind = _KINDS[kind]
                yield entry, None
                return
            entry.size = info.st_size
        yield entry, fd
    finally:
        os.close(fd)


def _known(dir_fd: int, name: bytes, path: bytes, content: bytes, walk: _Walk) -> Changes:
    """A regular file whose content is known."""
    info = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    if not stat.S_ISREG(info.st_mode) or info.st_size != len(content):
        raise Conflict(_SWAPPED % os.fsdecode(path))
    entry = _described(path, FILE, info, walk)
    if not _linked(entry, info, walk.linked):
        entry.size = info.st_size
    yield entry, content


def _special(dir_fd: int, name: bytes, prefix: bytes, walk: _Walk) -> Changes:
    """A deletion, symbolic link, device or FIFO."""
    try:
        info = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except OSError as error:
        _complain(prefix + name, error)
    if whiteouts.is_whiteout(info):
        yield _marker(prefix + whiteouts.PREFIX + name), None
        return
    kind = _KINDS.get(stat.S_IFMT(info.st_mode))
    if kind is None:  # a socket: it has no meaning without the process behind it
        return
    entry = _described(prefix + name, kind, info, walk)
    entry.uid, entry.gid = walk.nodes.get(info.st_ino, (entry.uid, entry.gid))
    if not _linked(entry, info, walk.linked):
        if kind == SYMLINK:
            entry.link = os.readlink(name, dir_fd=dir_fd)
        elif kind != FIFO:
            entry.major, entry.minor = os.major(info.st_rdev), os.minor(info.st_rdev)
    yield entry, None


def _complain(path: bytes, error: OSError) -> NoReturn:
    if error.errno in _GONE:
        raise Conflict(_SWAPPED % os.fsdecode(path), hint="stop what is at work there first") from error
    raise error


def _described(path: bytes, kind: bytes, info: os.stat_result, walk: _Walk) -> Entry:
    mtime = info.st_mtime_ns if walk.latest is None else min(info.st_mtime_ns, walk.latest)
    return Entry(path, kind, stat.S_IMODE(info.st_mode), *ownership.owner(info), 0, mtime)


def _marker(name: bytes) -> Entry:
    """The empty file that stands for a deletion: nothing of it but the name has a meaning, so nothing else varies."""
    return Entry(name, FILE, 0o600)


def _linked(entry: Entry, info: os.stat_result, linked: dict[tuple[int, int], bytes]) -> bool:
    """Turns ``entry`` into a hard link if it is another name of an earlier one."""
    if info.st_nlink < 2:
        return False
    first = linked.setdefault((info.st_dev, info.st_ino), entry.name)
    if first == entry.name:
        return False
    entry.kind, entry.link = HARD_LINK, first
    return True


def _attributes(fd: int, entry: Entry) -> list[bytes]:
    """Gives ``entry`` its attributes; returns the names of all that are there. Raises Unsupported."""
    names = xattrs.names(fd)
    if names:
        if not _INCOMPLETE.isdisjoint(names):
            raise Unsupported(
                f"{os.fsdecode(entry.name)} cannot be read from its layer alone",
                hint="it was written by an overlay with redirect_dir or metacopy on",
            )
        entry.xattrs = xattrs.load(fd, names)
        entry.uid, entry.gid = ownership.noted(fd, names) or (entry.uid, entry.gid)
    return names
