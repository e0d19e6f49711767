"""Where COPY, ADD and WORKDIR write: the upper directory of a snapshot, without any mount.

What overlayfs would do on writes is done by hand: a directory of the parent that receives something is made in the
upper directory with the same mode, owner and times, so that only what was copied changes. Destinations are resolved
in the merged tree, upper directory included, and never leave it; from there on every path is free of links.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType, TracebackType

from sampan.build.former import describe
from sampan.errors import Invalid
from sampan.layers import owners, whiteouts, xattrs
from sampan.linux import beneath, ownership
from sampan.snapshots.lookup import Found, Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.build.former import Former

UNKNOWN: Mapping[bytes, str] = MappingProxyType({})
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_REMEMBERED = 16 << 20
"""Bytes of small files that a destination may remember; several are at work at once."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Destination:
    """The file system that is written to: ``upper`` on ``stack``; a context manager.

    At its end directories get their times: adding to one changes them. ``now`` (seconds since 1970) is the time of what
    is made. ``rootless``: owners and attributes that are refused are left out, and user.overlay.* is read. ``check`` is
    called before each file, and may raise.

    ``nodes`` are the owners that links and devices were to have and could not, by inode number.

    ``digests`` are those of files that are copied, by their paths there, as far as they are known; ``former`` may have
    some of the files already. ``placed`` describes, by path, those whose digest was known.

    ``settled`` is whether every file that was placed was still as its status said once it was read. ``contents`` are
    those of some small files, by their paths: what has just been written need not be read again.
    """

    __slots__ = (
        "_digests", "_former", "_links", "_now", "_own", "_room", "_rootless", "_times", "_upper", "at", "check",
        "contents", "nodes", "placed", "settled", "tree",
    )  # fmt: skip

    def __init__(
        self,
        upper: str,
        stack: tuple[str, ...],
        *,
        rootless: bool,
        now: float,
        check: Callable[[], object] = lambda: None,
        digests: Mapping[bytes, str] = UNKNOWN,
        former: Former | None = None,
    ) -> None:
        self.check = check
        self._digests = digests
        self._former = former
        self.placed: dict[bytes, bytes] = {}
        self.tree = Tree((upper, *stack), rootless)
        self._upper = beneath.open_root(upper)
        self._own = owners.choose(rootless)
        self._rootless = rootless
        self._now = int(now * 1_000_000_000)
        self._times: dict[bytes, tuple[int, int]] = {}
        self._links: dict[tuple[int, int], bytes] = {}
        self._room = _REMEMBERED
        self.contents: dict[bytes, bytes] = {}
        self.nodes: dict[int, tuple[int, int]] = {}
        self.settled = True
        self.at: int | None = None
        """The time that copies get (seconds since 1970); None: that of what they are copies of."""

    def __enter__(self) -> Destination:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        try:
            for path, times in self._times.items() if kind is None else ():
                fd = self._open_directory(path)
                os.utime(fd, ns=times)
                os.close(fd)
        finally:
            os.close(self._upper)
            self.tree.close()

    def directory(self, path: bytes, owner: tuple[int, int] | None, mode: int) -> int:
        """A descriptor of the directory at ``path`` (free of links) in the upper directory.

        It and its parents are made if need be: as they are in the tree, else with ``owner`` and ``mode``, which in a
        set-group-ID directory are what mkdir(2) gives: the bit, and without an ``owner`` the group too. Raises Invalid
        if one is something else than a directory.
        """
        missing = []
        while (fd := self._open_directory(path)) < 0:
            missing.append(path)
            path = path.rpartition(b"/")[0]
        for each in reversed(missing):
            above = fd
            try:
                fd = self._make_missing(above, each, owner, mode)
            finally:
                os.close(above)
        return fd

    def make_directory(self, above: int, path: bytes, owner: tuple[int, int], mode: int, times: tuple[int, int]) -> int:
        """Makes a directory in the one that ``above`` is open for, and opens it."""
        name = path.rpartition(b"/")[2]
        os.mkdir(name, 0o700, dir_fd=above)
        fd = os.open(name, _DIRECTORY, dir_fd=above)
        self.describe(fd, owner, mode)
        self._times[path] = times
        self.tree.forget(path)
        return fd

    def set_directory(self, fd: int, path: bytes, owner: tuple[int, int], mode: int, times: tuple[int, int]) -> None:
        """Gives an existing directory of the upper one other attributes."""
        self.describe(fd, owner, mode)
        self._times[path] = times

    def describe(self, fd: int, owner: tuple[int, int], mode: int) -> None:
        """Sets owner and mode; in this order, for chown(2) clears set-id bits."""
        self._own(fd, *owner, None)
        os.fchmod(fd, mode)

    def own_node(self, name: bytes, above: int, owner: tuple[int, int]) -> None:
        """Sets the owner of a link or a device."""
        if not self._own(name, *owner, above):
            self.nodes[os.stat(name, dir_fd=above, follow_symlinks=False).st_ino] = owner

    def copy_xattrs(self, reading: int, writing: int, *, owner: bool = False) -> None:
        """Copies the extended attributes that a layer can hold, and with ``owner`` a note of the owner (see
        linux.ownership)."""
        names = xattrs.names(reading)
        self.store_xattrs(writing, xattrs.load(reading, names))
        noted = ownership.noted(reading, names) if owner else None
        if noted:
            self._own(writing, *noted, None)

    def store_xattrs(self, fd: int, values: Mapping[bytes, bytes]) -> None:
        xattrs.store(fd, values, rootless=self._rootless)

    def set_made_now(self, fd: int) -> None:
        os.utime(fd, ns=(self._now, self._now))

    def remember(self, path: bytes, content: bytes, owner: tuple[int, int]) -> None:
        """Keeps the content of a file that has no extended attributes, as long as there is room."""
        has_note = self._rootless and owner != (0, 0)
        if len(content) <= self._room and not has_note:
            self._room -= len(content)
            self.contents[path] = content

    def free(self, above: int, path: bytes) -> None:
        """Makes sure that a file can be made at ``path``, in the directory that ``above`` is open for.

        Raises Invalid if there is a directory.
        """
        existing = self.tree.stat(path)
        if existing is None:
            return
        if stat.S_ISDIR(existing.st_mode):
            raise Invalid(f"cannot replace the directory {shown(path)} with a file")
        try:
            os.unlink(path.rpartition(b"/")[2], dir_fd=above)
        except FileNotFoundError:
            return  # it lies in a lower layer, and what is made above hides it
        self._forget(path)

    def clear(self, above: int, path: bytes) -> None:
        """Makes room at ``path`` whatever is there, a directory included: what is made there next hides the rest."""
        existing = self.tree.stat(path)
        if existing is None or not stat.S_ISDIR(existing.st_mode):
            self.free(above, path)
            return
        with suppress(FileNotFoundError):
            beneath.remove_tree(above, path.rpartition(b"/")[2])
        self.tree.forget()
        self._forget(path)

    def make_opaque(self, fd: int) -> None:
        """Makes a directory of the upper one hide what lower layers have in its place."""
        whiteouts.make_opaque(fd, self._rootless)

    def make_node(self, name: bytes, above: int, kind: int, device: int, mode: int) -> bool:
        """Makes a device or a FIFO; False if that takes a privilege that nobody has without being root."""
        try:
            os.mknod(name, kind | 0o600, device, dir_fd=above)
        except PermissionError:
            if not self._rootless or kind == stat.S_IFIFO:
                raise
            return False
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=above)
        try:
            os.chmod(f"/proc/self/fd/{fd}", mode)
        finally:
            os.close(fd)
        return True

    def make_stub(self, path: bytes, *, is_file: bool) -> None:
        """Makes an empty file or directory, with its parents, as something to mount on. Root's, 0644 or 0755."""
        if not is_file:
            os.close(self.directory(path, (0, 0), 0o755))
            return
        parent, _, name = path.rpartition(b"/")
        above = self.directory(parent, (0, 0), 0o755)
        try:
            os.close(os.open(name, NEW_FILE, 0o644, dir_fd=above))
        finally:
            os.close(above)

    def times(self, status: os.stat_result) -> tuple[int, int]:
        """When the copy of a file was accessed and modified, in nanoseconds since 1970."""
        if self.at is None:
            return status.st_atime_ns, status.st_mtime_ns
        return self.at * 1_000_000_000, self.at * 1_000_000_000

    def taken(
        self, origin: bytes, status: os.stat_result, path: bytes, above: int, owner: tuple[int, int], mode: int
    ) -> bool:
        """Makes ``path`` a name of the file that ``origin`` was copied to in the last build, if it would be the same
        again. Files that have several names in the context are copied."""
        digest = self._digests.get(origin)
        if digest is None or status.st_nlink != 1:
            return False
        self.placed[path] = described = describe(digest, owner, mode, self.times(status)[1])
        return self._former is not None and self._former.link(path, above, described)

    def linked(self, status: os.stat_result, path: bytes, above: int) -> bool:
        """Makes ``path`` a hard link if the same file was placed before; else remembers it as the first."""
        if status.st_nlink < 2:
            return False
        first = self._links.setdefault((status.st_dev, status.st_ino), path)
        if first == path:
            return False
        os.link(first, path.rpartition(b"/")[2], src_dir_fd=self._upper, dst_dir_fd=above, follow_symlinks=False)
        return True

    def forget_links(self) -> None:
        """Files that are placed from now on are not linked to those that were."""
        self._links.clear()

    def _forget(self, path: bytes) -> None:
        """Drops what is remembered of something that was placed and has been removed again."""

        def gone(known: bytes) -> bool:
            return known == path or known.startswith(path + b"/")

        self._links = {file: first for file, first in self._links.items() if not gone(first)}
        self._times = {known: times for known, times in self._times.items() if not gone(known)}
        self.contents = {known: content for known, content in self.contents.items() if not gone(known)}
        self.placed = {known: described for known, described in self.placed.items() if not gone(known)}
        if self._former:
            self._former.linked = {known for known in self._former.linked if not gone(known)}

    def _open_directory(self, path: bytes) -> int:
        """A directory of the upper one; -1 if there is none yet. Raises Invalid for something else."""
        try:
            return beneath.open_in(self._upper, path, _DIRECTORY, links=False)
        except FileNotFoundError:
            return -1
        except NotADirectoryError:
            raise Invalid(f"cannot copy into {shown(path)}: it is not a directory") from None

    def _make_missing(self, above: int, path: bytes, owner: tuple[int, int] | None, mode: int) -> int:
        """Makes a directory that the upper one lacks: as it is in the tree, else anew."""
        existing = self.tree.stat(path)
        if existing is None:
            parent = os.fstat(above)
            inherited = parent.st_mode & stat.S_ISGID
            owner = owner or (0, parent.st_gid if inherited else 0)
            return self.make_directory(above, path, owner, mode | inherited, (self._now, self._now))
        if not stat.S_ISDIR(existing.st_mode):
            raise Invalid(f"cannot copy into {shown(path)}: it is not a directory")
        return self._copy_up(above, path, existing)

    def _copy_up(self, above: int, path: bytes, existing: os.stat_result) -> int:
        lower = self.tree.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            owner = ownership.owner(existing)
            times = (existing.st_atime_ns, existing.st_mtime_ns)
            fd = self.make_directory(above, path, owner, stat.S_IMODE(existing.st_mode), times)
            self.copy_xattrs(lower, fd, owner=True)
            return fd
        finally:
            os.close(lower)


def resolve_destination(to: Destination, dest: str) -> Found:
    """Where ``dest`` leads. Raises Invalid if a component on the way is no directory."""
    try:
        return to.tree.resolve(os.fsencode(dest))
    except OSError as error:
        raise Invalid(f"cannot copy to {dest}: {error.strerror}: {error.filename}") from None


def shown(path: bytes) -> str:
    return "/" + os.fsdecode(path)
