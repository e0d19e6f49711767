"""A layer tar unpacked into a directory, in the form that overlay wants of an upper directory.

Nothing in a layer reaches past the root: names with ``..`` are refused, absolute ones count from the root, a parent
that is a symbolic link (of this layer) leads to where it would lead in a container, and all work is done on
descriptors (``linux/beneath``).

Where the OCI image specification leaves room, Docker's behaviour is followed: a later entry of the same name replaces
an earlier one, except that directories merge; missing parents are made, 0755 and the caller's; a hard link needs a
target that the same layer brought before, and links to a symbolic link itself.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from functools import partial

from sampan.errors import Corrupt, Denied, Invalid, SampanError, Unavailable
from sampan.layers import owners, whiteouts, xattrs
from sampan.layers.compression import Hashing, inflate
from sampan.layers.pipeline import Ahead
from sampan.layers.tarball import (
    BLOCK,
    CHAR,
    DIRECTORY,
    FIFO,
    FILE,
    HARD_LINK,
    LIMITS,
    SYMLINK,
    Entry,
    Limits,
    read,
)
from sampan.layers.window import Source
from sampan.linux import beneath
from sampan.oci.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple, TypeVar

    Made = TypeVar("Made")
else:
    from sampan.values import NamedTuple

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_NODE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_DEVICES = {CHAR: stat.S_IFCHR, BLOCK: stat.S_IFBLK}
_CACHED_PARENTS = 64
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Applied(NamedTuple):
    """What ``apply`` did: entries, bytes of file contents, entries whose owner was refused and is lost, devices left
    out.

    ``implied`` are the directories that the layer puts something into and does not describe, upper ones first: what
    they are like is for a lower layer to say, if it has them.
    """

    entries: int
    size: int
    unowned: int
    skipped: int
    implied: tuple[bytes, ...] = ()


def apply(stream: Source, root_fd: int, *, userxattr: bool, rootless: bool = False, limits: Limits = LIMITS) -> Applied:
    """Unpacks the uncompressed layer ``stream`` into the directory behind ``root_fd`` (O_PATH is enough).

    ``userxattr`` chooses the attribute that marks opaque directories. ``rootless`` lets a refused owner, device or
    attribute pass, and counts it. The stream is read to its end, so a digest taken on the way is the diff id.

    Raises Invalid (what is in the layer), Denied, Unavailable (disk full, I/O error). After an error the directory
    holds a part of the layer: the caller throws it away.
    """
    layer = _Layer(root_fd, userxattr, rootless)
    try:
        for entry in read(stream, limits):
            layer.place(entry)
        layer.finish()
    finally:
        layer.close()
    return Applied(layer.entries, layer.size, layer.unowned, layer.skipped, layer.implied())


def unpack(
    source: Source,
    root_fd: int,
    diff_id: Digest,
    *,
    how: str = "auto",
    userxattr: bool,
    rootless: bool = False,
    limits: Limits = LIMITS,
) -> Applied:
    """Unpacks a stored layer: ``apply`` of what ``source`` inflates to (``how`` as in ``compression.inflate``).

    Inflating runs in a thread of its own. Raises what ``apply`` and ``inflate`` raise, and Corrupt when the layer's
    digest is not ``diff_id``.
    """
    with Ahead(inflate(source, how, size=limits.size)) as ahead:
        plain = Hashing(ahead)
        applied = apply(plain, root_fd, userxattr=userxattr, rootless=rootless, limits=limits)
    if plain.digest() != diff_id:
        raise Corrupt(f"a layer is corrupt: its diff id is {plain.digest()}, not {diff_id}")
    return applied


class _Layer:
    """The directory while a layer is unpacked into it."""

    def __init__(self, root_fd: int, userxattr: bool, rootless: bool) -> None:
        self.entries = self.size = self.unowned = self.skipped = 0
        self._root = root_fd
        self._userxattr = userxattr
        self._rootless = rootless
        self._own = owners.choose(rootless)
        self._parents: dict[bytes, int] = {}  # consecutive entries mostly share their directory
        self._stale = False
        self._implied: set[bytes] = set()
        self._times: dict[bytes, int] = {}  # of directories: set at the end, as every entry in them changes them

    def place(self, entry: Entry) -> None:
        """Makes what ``entry`` says."""
        if self._stale:
            self._forget()
        try:
            name = _clean(entry.name, entry)
            parent, _, base = name.rpartition(b"/")
            if whiteouts.PREFIX in name and whiteouts.is_reserved(name):
                self._whiteout(name, parent, base)
            elif not base:
                self._root_directory(entry)
            else:
                self._make(entry, name, base, self._parent(parent))
        except OSError as error:
            raise _explained(entry, error) from error
        self.entries += 1

    def _make(self, entry: Entry, name: bytes, base: bytes, parent_fd: int) -> None:
        kind = entry.kind
        if kind == FILE:
            self._file(entry, base, parent_fd)
        elif kind == DIRECTORY:
            self._directory(entry, name, base, parent_fd)
        elif kind == SYMLINK:
            self._symlink(entry, base, parent_fd)
        elif kind == HARD_LINK:
            self._hard_link(entry, base, parent_fd)
        else:
            self._node(entry, base, parent_fd)

    def _file(self, entry: Entry, base: bytes, parent_fd: int) -> None:
        fd = self._open_new(base, parent_fd)
        try:
            if entry.size:
                entry.copy_to(fd)
                self.size += entry.size
            self._describe(fd, entry)
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(fd)

    def _describe(self, fd: int, entry: Entry) -> None:
        # In this order: chown(2) clears set-id bits and capabilities, and a read-only mode would not stop us.
        if not self._own(fd, entry.uid, entry.gid, None):
            self.unowned += 1
        os.fchmod(fd, entry.mode)
        if entry.xattrs:
            xattrs.store(fd, entry.xattrs, rootless=self._rootless)

    def _directory(self, entry: Entry, name: bytes, base: bytes, parent_fd: int) -> None:
        hides = False
        try:
            os.mkdir(base, 0o700, dir_fd=parent_fd)
        except FileExistsError:
            info = os.stat(base, dir_fd=parent_fd, follow_symlinks=False)
            if not stat.S_ISDIR(info.st_mode):
                hides = whiteouts.is_whiteout(info)
                self._clear(base, parent_fd)
                os.mkdir(base, 0o700, dir_fd=parent_fd)
        fd = os.open(base, _OPEN_DIRECTORY, dir_fd=parent_fd)
        try:
            self._describe(fd, entry)
            if hides:  # the whiteout goes, what it hid stays hidden
                whiteouts.make_opaque(fd, self._userxattr)
        except BaseException:
            os.close(fd)
            raise
        self._times[name] = entry.mtime
        self._remember(name, fd)

    def _symlink(self, entry: Entry, base: bytes, parent_fd: int) -> None:
        self._instead(base, parent_fd, lambda: os.symlink(entry.link, base, dir_fd=parent_fd))
        if not self._own(base, entry.uid, entry.gid, parent_fd):
            self.unowned += 1
        os.utime(base, ns=(entry.mtime, entry.mtime), dir_fd=parent_fd, follow_symlinks=False)

    def _hard_link(self, entry: Entry, base: bytes, parent_fd: int) -> None:
        target = _clean(entry.link, entry)
        above, _, last = target.rpartition(b"/")
        try:
            source_fd = beneath.open_directory(self._root, above)
        except OSError as error:
            raise _no_target(entry) from error
        try:
            info = os.stat(last or b".", dir_fd=source_fd, follow_symlinks=False)
            if stat.S_ISDIR(info.st_mode) or whiteouts.is_whiteout(info):
                raise _no_target(entry)
            if not _is_at(info, base, parent_fd):
                link = partial(os.link, last, base, src_dir_fd=source_fd, dst_dir_fd=parent_fd, follow_symlinks=False)
                self._instead(base, parent_fd, link)
        except FileNotFoundError as error:
            raise _no_target(entry) from error
        finally:
            os.close(source_fd)

    def _node(self, entry: Entry, base: bytes, parent_fd: int) -> None:
        """A device or a FIFO. A device 0:0 is a whiteout in any case: it is what the kernel takes it for."""
        kind = _DEVICES.get(entry.kind, stat.S_IFIFO)
        if kind == stat.S_IFCHR and entry.major == entry.minor == 0:
            self._hide(base, parent_fd)
            return
        device = os.makedev(entry.major, entry.minor)
        try:
            self._instead(base, parent_fd, lambda: os.mknod(base, kind | 0o600, device, dir_fd=parent_fd))
        except PermissionError:
            if not self._rootless or entry.kind == FIFO:
                raise
            self.skipped += 1
            return
        if not self._own(base, entry.uid, entry.gid, parent_fd):
            self.unowned += 1
        fd = os.open(base, _OPEN_NODE, dir_fd=parent_fd)
        try:
            os.chmod(f"/proc/self/fd/{fd}", entry.mode)
        finally:
            os.close(fd)
        os.utime(base, ns=(entry.mtime, entry.mtime), dir_fd=parent_fd, follow_symlinks=False)

    def _root_directory(self, entry: Entry) -> None:
        if entry.kind != DIRECTORY:
            raise Invalid("the layer's root is not a directory")
        fd = os.open(b".", _OPEN_DIRECTORY, dir_fd=self._root)
        try:
            self._describe(fd, entry)
        finally:
            os.close(fd)
        self._times[b""] = entry.mtime

    def _whiteout(self, name: bytes, parent: bytes, base: bytes) -> None:
        if whiteouts.is_meta(name):
            return
        if not base.startswith(whiteouts.PREFIX) or whiteouts.is_reserved(parent):
            raise Invalid(f"{os.fsdecode(name)} in the layer lies below a whiteout")
        target = None if base == whiteouts.OPAQUE else whiteouts.target(base)
        parent_fd = self._parent(parent)
        if target is None:
            self._make_opaque(b".", parent_fd)
        else:
            self._hide(target, parent_fd)

    def _hide(self, base: bytes, parent_fd: int) -> None:
        """Hides what the layers below have under this name, and nothing that this layer itself brings."""
        try:
            whiteouts.delete(base, parent_fd)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(base, dir_fd=parent_fd, follow_symlinks=False).st_mode):
                self._make_opaque(base, parent_fd)

    def _make_opaque(self, base: bytes, parent_fd: int) -> None:
        fd = os.open(base, _OPEN_DIRECTORY, dir_fd=parent_fd)
        try:
            whiteouts.make_opaque(fd, self._userxattr)
        finally:
            os.close(fd)

    def _open_new(self, base: bytes, parent_fd: int) -> int:
        return self._instead(base, parent_fd, lambda: os.open(base, _CREATE, 0o600, dir_fd=parent_fd))

    def _instead(self, base: bytes, parent_fd: int, make: Callable[[], Made]) -> Made:
        """What ``make`` makes under the name ``base``, in place of what an earlier entry made there."""
        try:
            return make()
        except FileExistsError:
            self._clear(base, parent_fd)
            return make()

    def _clear(self, base: bytes, parent_fd: int) -> None:
        """Makes room for a later entry of the same name."""
        mode = os.stat(base, dir_fd=parent_fd, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            beneath.remove_tree(parent_fd, base)
        else:
            os.unlink(base, dir_fd=parent_fd)
        self._stale |= stat.S_ISDIR(mode) or stat.S_ISLNK(mode)

    def _parent(self, path: bytes) -> int:
        """The directory ``path``, which is made if it is missing; open until the next entry."""
        fd = self._parents.get(path)
        if fd is None:
            try:
                fd = beneath.open_directory(self._root, path)
            except FileNotFoundError:
                fd = beneath.make_directories(self._root, path)
                parts = path.split(b"/")
                self._implied.update(b"/".join(parts[:count]) for count in range(1, len(parts) + 1))
            except NotADirectoryError:
                self._uncover(path)
                fd = beneath.make_directories(self._root, path)
            self._remember(path, fd)
        return fd

    def _uncover(self, path: bytes) -> None:
        """Where a whiteout of this layer stands in for a parent, an empty opaque directory says the same."""
        parts = path.split(b"/")
        for count, part in enumerate(parts):
            above = beneath.open_directory(self._root, b"/".join(parts[:count]))
            try:
                if whiteouts.is_whiteout(os.stat(part, dir_fd=above, follow_symlinks=False)):
                    os.unlink(part, dir_fd=above)
                    os.close(beneath.make_directories(above, part))
                    self._make_opaque(part, above)
                    return
            finally:
                os.close(above)

    def _remember(self, path: bytes, fd: int) -> None:
        if path in self._parents:
            os.close(self._parents[path])
        self._parents[path] = fd
        self._stale |= len(self._parents) > _CACHED_PARENTS

    def _forget(self) -> None:
        for fd in self._parents.values():
            os.close(fd)
        self._parents.clear()
        self._stale = False

    def implied(self) -> tuple[bytes, ...]:
        """Directories that were made for what is in them, and that no entry described."""
        return tuple(sorted(self._implied - self._times.keys()))

    def finish(self) -> None:
        """Sets the times of directories."""
        for name, mtime in self._times.items():
            try:
                fd = beneath.open_in(self._root, name, _OPEN_DIRECTORY)
            except OSError as error:
                if error.errno in _GONE:  # a later entry took its place
                    continue
                raise
            try:
                os.utime(fd, ns=(mtime, mtime))
            finally:
                os.close(fd)

    close = _forget


def _clean(name: bytes, entry: Entry) -> bytes:
    """``name`` as a path below the root: no empty, no "." components. Raises Invalid for ".."."""
    if b"/." not in name and b"//" not in name and not name.startswith((b".", b"/")):
        return name.rstrip(b"/")
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise Invalid(f"{os.fsdecode(entry.name)} in the layer points outside of it: {os.fsdecode(name)}")
    return b"/".join(parts)


def _is_at(info: os.stat_result, base: bytes, dir_fd: int) -> bool:
    """Whether ``base`` is another name of the file that ``info`` is about: to replace it would lose the file."""
    try:
        return os.path.samestat(info, os.stat(base, dir_fd=dir_fd, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _no_target(entry: Entry) -> Invalid:
    return Invalid(
        f"{os.fsdecode(entry.name)} in the layer is a hard link to {os.fsdecode(entry.link)}, "
        "which is no file that the layer brought before"
    )


def _explained(entry: Entry, error: OSError) -> SampanError:
    name, reason = os.fsdecode(entry.name), os.strerror(error.errno or 0)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable(f"{name} could not be unpacked: {reason}", hint="free some space and try again")
    if error.errno in (errno.EPERM, errno.EACCES, errno.EROFS):
        return Denied(f"{name} could not be unpacked: {reason}")
    if error.errno in (errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
        return Unavailable(f"{name} could not be unpacked: {reason}")
    return Invalid(f"{name} in the layer cannot be unpacked: {reason}")
