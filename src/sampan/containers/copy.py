"""``cp``: files between the host and a container, as entries of an archive that is not written down.

Where something goes is as with docker cp (docs.docker.com): a directory goes into one that is there, or becomes one
that is not; with ``/.`` only what is in it goes. Every path of a container is opened below its root, so no link in it
leads to the host, and what is written is never written through a link that was put in its way (CVE-2018-15664).
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from sampan.errors import Conflict, Invalid, NotFound
from sampan.layers import tarball, xattrs
from sampan.layers.changes import changes
from sampan.layers.tarball import DIRECTORY, FILE, HARD_LINK, SYMLINK, Entry
from sampan.layers.tarwriter import Member, Writer
from sampan.linux import beneath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import NamedTuple

    from sampan.layers.window import Sink

    Entries = Iterable[tuple[Entry, int | bytes | None]]
else:
    from sampan.values import NamedTuple

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_STEP = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = {tarball.CHAR: stat.S_IFCHR, tarball.BLOCK: stat.S_IFBLK, tarball.FIFO: stat.S_IFIFO}
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY


class Place(NamedTuple):
    """A path below the directory behind ``root``; the host's own paths are below its "/"."""

    root: int
    path: bytes
    shown: str

    @property
    def name(self) -> bytes:
        """Its last part, without the slashes and the ``/.`` at the end."""
        parts = [part for part in self.path.split(b"/") if part not in (b"", b".")]
        return parts[-1] if parts else b""

    @property
    def means_contents(self) -> bool:
        """Whether it ends in ``/.``: what is in a directory, not the directory."""
        return self.path == b"." or self.path.endswith(b"/.")

    @property
    def means_directory(self) -> bool:
        return self.path.endswith(b"/") or self.means_contents


def read(source: Place, *, follow: bool) -> Iterator[tuple[Entry, int | bytes | None]]:
    """What is at ``source`` as entries: the first one, named ``b""``, is it itself. With a file its content's
    descriptor, which is open until the next entry is asked for. ``follow`` goes through a link at its end.

    Raises NotFound, Invalid for what cannot be copied, Conflict for what changes meanwhile.
    """
    fd = _open_source(source, follow=follow or source.means_directory)
    try:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            yield _described(b"", DIRECTORY, status), None
            for entry, content in changes(fd, userxattr=False):
                assert not isinstance(content, Member)  # those come from who knows the files already
                yield entry, content
        elif stat.S_ISLNK(status.st_mode):
            entry = _described(b"", SYMLINK, status)
            entry.link = os.readlink(b"", dir_fd=fd)
            yield entry, None
        elif stat.S_ISREG(status.st_mode):
            content = beneath.reopen(fd, _READ)
            try:
                entry = _described(b"", FILE, status)
                entry.size = status.st_size
                yield entry, content
            finally:
                os.close(content)
        else:
            raise Invalid(f"{source.shown} is neither a file nor a directory nor a link")
    finally:
        os.close(fd)


def write(entries: Entries, source: Place, target: Place, *, owner: tuple[int, int] | None) -> int:
    """Writes what ``read`` gave to where ``target`` says, and gives the bytes of its files. ``owner`` owns all of it;
    None is who owned it. Raises NotFound, Conflict and Invalid."""
    name, total = b"", 0
    directory = -1
    try:
        for entry, content in entries:
            if directory < 0:
                directory, name = _settle(target, source, entry)
            entry.name = b"/".join(part for part in (name, entry.name) if part)
            if entry.kind == HARD_LINK:
                entry.link = b"/".join(part for part in (name, entry.link) if part)
            if entry.name:
                _put(entry, content, directory, owner)
            total += entry.size
    finally:
        if directory >= 0:
            os.close(directory)
    return total


def unpack(archive: Iterable[Entry], target: Place) -> None:
    """Unpacks an archive into the directory ``target``, with the owners that it says. Raises NotFound and Invalid."""
    directory = _open_directory(target)
    try:
        for entry in archive:
            entry.name = _clean(entry.name)
            entry.link = _clean(entry.link) if entry.kind == HARD_LINK else entry.link
            if entry.name:
                _put(entry, None, directory, None)
    finally:
        os.close(directory)


def archive(entries: Entries, source: Place, sink: Sink) -> None:
    """Writes what ``read`` gave as a tar archive, with the name that the source has."""
    writer = Writer(sink)
    top = b"" if source.means_contents else source.name
    for entry, content in entries:
        entry.name = b"/".join(part for part in (top, entry.name) if part) or b"."
        if entry.kind == HARD_LINK:
            entry.link = b"/".join(part for part in (top, entry.link) if part)
        writer.add(entry, content)
    writer.finish()


def _settle(target: Place, source: Place, first: Entry) -> tuple[int, bytes]:
    """The directory to write to, and the name that the first entry gets there; b"" if it is that directory itself."""
    is_directory = first.kind == DIRECTORY
    try:
        directory = beneath.open_in(target.root, target.path, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        if target.means_directory and not is_directory:
            raise NotFound(f"no such directory: {target.shown}", hint="cp makes no parents") from None
    except NotADirectoryError:
        if is_directory or target.means_directory:
            raise Conflict(f"{target.shown} is no directory") from None
    else:
        return directory, b"" if is_directory and source.means_contents else source.name
    above = target.path.rstrip(b"/").rpartition(b"/")[0] or (b"/" if target.path.startswith(b"/") else b".")
    return _open_directory(target._replace(path=above, shown=os.fsdecode(above))), target.name


def _open_source(source: Place, *, follow: bool) -> int:
    flags = os.O_PATH if follow else os.O_PATH | os.O_NOFOLLOW
    try:
        return beneath.open_in(source.root, source.path, flags)
    except FileNotFoundError:
        raise NotFound(f"could not find the file {source.shown}") from None
    except OSError as error:
        raise Invalid(f"{source.shown} cannot be read: {os.strerror(error.errno or 0).lower()}") from None


def _open_directory(place: Place) -> int:
    try:
        return beneath.open_in(place.root, place.path, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        raise NotFound(f"no such directory: {place.shown}", hint="cp makes no parents") from None
    except OSError as error:
        raise Conflict(f"{place.shown} is no directory to write to: {os.strerror(error.errno or 0).lower()}") from None


def _put(entry: Entry, content: int | bytes | None, root: int, owner: tuple[int, int] | None) -> None:
    """Makes one entry below ``root``. No link on the way is followed."""
    parent_name, _, base = entry.name.rpartition(b"/")
    try:
        parent = beneath.open_in(root, parent_name, _STEP, links=False)
    except FileNotFoundError:
        parent = beneath.make_directories(root, parent_name)
    except OSError as error:
        raise Conflict(
            f"{os.fsdecode(parent_name)} at the destination is no directory: {os.strerror(error.errno or 0).lower()}"
        ) from None
    uid, gid = owner or (entry.uid, entry.gid)
    try:
        if entry.kind == DIRECTORY:
            _put_directory(entry, parent, base, uid, gid)
        elif entry.kind == FILE:
            _put_file(entry, content, parent, base, uid, gid)
        else:
            _clear(parent, base, entry)
            _put_node(entry, root, parent, base, uid, gid)
    finally:
        os.close(parent)


def _put_directory(entry: Entry, parent: int, base: bytes, uid: int, gid: int) -> None:
    try:
        os.mkdir(base, 0o700, dir_fd=parent)
    except FileExistsError:
        if not stat.S_ISDIR(os.stat(base, dir_fd=parent, follow_symlinks=False).st_mode):
            raise Conflict(f"cannot overwrite {os.fsdecode(entry.name)}, which is no directory, with one") from None
    fd = os.open(base, _STEP, dir_fd=parent)
    try:
        _describe(fd, entry, uid, gid)
    finally:
        os.close(fd)


def _put_file(entry: Entry, content: int | bytes | None, parent: int, base: bytes, uid: int, gid: int) -> None:
    try:
        _clear(parent, base, entry)
        fd = os.open(base, _NEW, 0o600, dir_fd=parent)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        # Something is mounted there, as on /etc/hosts: only its content can be another.
        fd = os.open(base, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if content is None:
            entry.copy_to(fd)
        elif isinstance(content, bytes):
            os.write(fd, content)
        else:
            while os.sendfile(fd, content, None, 1 << 30):
                continue
        _describe(fd, entry, uid, gid)
    finally:
        os.close(fd)


def _put_node(entry: Entry, root: int, parent: int, base: bytes, uid: int, gid: int) -> None:
    if entry.kind == HARD_LINK:
        above, _, name = entry.link.rpartition(b"/")
        directory = beneath.open_in(root, above, _STEP, links=False)
        try:
            os.link(name, base, src_dir_fd=directory, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(directory)
        return
    if entry.kind == SYMLINK:
        os.symlink(entry.link, base, dir_fd=parent)
    else:
        os.mknod(base, _KINDS[entry.kind] | entry.mode, os.makedev(entry.major, entry.minor), dir_fd=parent)
    with suppress(OSError):  # an owner that does not exist in this user namespace (EINVAL, EPERM)
        os.chown(base, uid, gid, dir_fd=parent, follow_symlinks=False)
    os.utime(base, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)


def _clear(parent: int, base: bytes, entry: Entry) -> None:
    """Removes what is in the way, unless it is a directory."""
    try:
        os.unlink(base, dir_fd=parent)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        raise Conflict(f"cannot overwrite the directory {os.fsdecode(entry.name)} with something else") from None


def _describe(fd: int, entry: Entry, uid: int, gid: int) -> None:
    with suppress(OSError):  # an owner that does not exist in this user namespace (EINVAL, EPERM)
        os.fchown(fd, uid, gid)
    os.fchmod(fd, entry.mode)
    xattrs.store(fd, entry.xattrs, rootless=True)
    os.utime(fd, ns=(entry.mtime, entry.mtime))


def _described(name: bytes, kind: bytes, status: os.stat_result) -> Entry:
    return Entry(name, kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, mtime=status.st_mtime_ns)


def _clean(name: bytes) -> bytes:
    """A name of an archive below the destination. Raises Invalid if it leads out of it."""
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise Invalid(f"{os.fsdecode(name)} in the archive points outside of it")
    return b"/".join(parts)
