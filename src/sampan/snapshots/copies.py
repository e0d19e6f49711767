"""Snapshots where overlayfs cannot be mounted: the stack is copied into one directory, as references to the same blocks
where the file system can, and what changed there is brought back to the upper directory in overlay's form.

That a file is as it was copied is told by its inode and ctime, which nobody can set. ``WORK/merged`` is the copy,
``WORK/index`` says how each file was that came from a lower directory; it is written last.
"""

from __future__ import annotations

import errno
import json
import os
import stat

from sampan.errors import Unavailable
from sampan.layers import owners, whiteouts, xattrs
from sampan.linux import beneath, ownership
from sampan.linux.copying import copy_data
from sampan.snapshots.lookup import Tree
from sampan.snapshots.overlay import Rootfs
from sampan.store.trees import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
Index = dict[str, list[int]]


def assemble(rootfs: Rootfs) -> Rootfs:
    """A single directory with all that ``rootfs`` shows, made unless it is there already. Raises OSError."""
    merged, index = f"{rootfs.work}/merged", f"{rootfs.work}/index"
    if not os.path.exists(index):
        remove_tree(merged)
        os.mkdir(merged, 0o755)
        known = _Copy(rootfs, merged).perform()
        with open(f"{index}.new", "w") as file:
            json.dump(known, file)
        os.rename(f"{index}.new", index)
    return Rootfs((), merged, rootfs.work, rootfs.userxattr)


def harvest(rootfs: Rootfs, without: Collection[bytes] = ()) -> None:
    """Brings what changed in the copy, if there is one, to the upper directory, but nothing of the files ``without``.
    May be called again. Raises OSError."""
    try:
        with open(f"{rootfs.work}/index") as file:
            known: Index = json.load(file)
    except FileNotFoundError:
        return
    _Harvest(rootfs, known, without).perform()


class _Copy:
    """One stack being copied to ``target``."""

    def __init__(self, rootfs: Rootfs, target: str) -> None:
        self._rootfs = rootfs
        self._root = beneath.open_root(target)
        self._linked: dict[tuple[int, int], bytes] = {}
        self._times: list[tuple[bytes, os.stat_result]] = []
        self._lower: list[bytes] = []

    def perform(self) -> Index:
        rootfs = self._rootfs
        try:
            with (
                Tree((rootfs.upper, *rootfs.lower), rootfs.userxattr) as tree,
                Tree(rootfs.lower, rootfs.userxattr) as below,
            ):
                self._walk(tree, below)
            for path, status in reversed(self._times):
                fd = beneath.open_in(self._root, path, _DIRECTORY, links=False)
                os.fchmod(fd, stat.S_IMODE(status.st_mode))
                os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))
                os.close(fd)
            return {os.fsdecode(path): _identity(self._stat(path)) for path in self._lower}
        finally:
            os.close(self._root)

    def _walk(self, tree: Tree, below: Tree) -> None:
        pending = [b""]
        while pending:
            path = pending.pop()
            fd = beneath.open_in(self._root, path, _DIRECTORY, links=False)
            try:
                for name, status in tree.children(path).items():
                    child = path + b"/" + name if path else name
                    before = below.stat(child)
                    if before is not None and os.path.samestat(before, status):
                        self._lower.append(child)
                    if stat.S_ISDIR(status.st_mode):
                        os.mkdir(name, 0o700, dir_fd=fd)
                        self._describe_directory(tree, child, name, fd, status)
                        pending.append(child)
                    else:
                        self._place(tree, child, name, fd, status)
            finally:
                os.close(fd)

    def _describe_directory(self, tree: Tree, path: bytes, name: bytes, above: int, status: os.stat_result) -> None:
        source, target = tree.open(path, _DIRECTORY), os.open(name, _DIRECTORY, dir_fd=above)
        try:
            describe(source, target, status)
        finally:
            os.close(source)
            os.close(target)
        self._times.append((path, status))

    def _place(self, tree: Tree, path: bytes, name: bytes, above: int, status: os.stat_result) -> None:
        if status.st_nlink > 1:
            first = self._linked.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                os.link(first, name, src_dir_fd=self._root, dst_dir_fd=above, follow_symlinks=False)
                return
        if stat.S_ISREG(status.st_mode):
            source, target = tree.open(path), os.open(name, _NEW_FILE, 0o600, dir_fd=above)
            try:
                copy_data(source, target)
                describe(source, target, status)
                os.fchmod(target, stat.S_IMODE(status.st_mode))
                os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
            finally:
                os.close(source)
                os.close(target)
            return
        if stat.S_ISLNK(status.st_mode):
            os.symlink(tree.readlink(path), name, dir_fd=above)
        else:
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=above)
            os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=above)
        owners.where_allowed(name, status.st_uid, status.st_gid, above)
        os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=above, follow_symlinks=False)

    def _stat(self, path: bytes) -> os.stat_result:
        return os.stat(path, dir_fd=self._root, follow_symlinks=False)


class _Harvest:
    """What changed in one copy being brought to its upper directory."""

    def __init__(self, rootfs: Rootfs, known: Index, without: Collection[bytes]) -> None:
        self._rootfs = rootfs
        self._without = without
        self._known = known
        self._merged = beneath.open_root(f"{rootfs.work}/merged")
        self._upper = beneath.open_root(rootfs.upper)
        self._made = {b""}

    def perform(self) -> None:
        try:
            self._clear()
            with Tree(self._rootfs.lower, self._rootfs.userxattr) as below:
                pending = [b""]
                while pending:
                    pending += self._directory(pending.pop(), below)
            for path in sorted(self._made, reverse=True):
                status = os.stat(path or b".", dir_fd=self._merged, follow_symlinks=False)
                fd = beneath.open_in(self._upper, path, _DIRECTORY, links=False)
                os.fchmod(fd, stat.S_IMODE(status.st_mode))
                os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))
                os.close(fd)
        finally:
            os.close(self._merged)
            os.close(self._upper)

    def _clear(self) -> None:
        fd = os.open(b".", _DIRECTORY, dir_fd=self._upper)
        try:
            for name in os.listdir(fd):
                try:
                    os.unlink(name, dir_fd=fd)
                except IsADirectoryError:
                    beneath.remove_tree(fd, os.fsencode(name))
        finally:
            os.close(fd)

    def _directory(self, path: bytes, below: Tree) -> list[bytes]:
        """Brings what changed directly in a directory; gives its subdirectories."""
        subdirectories, seen = [], set()
        fd = beneath.open_in(self._merged, path, _DIRECTORY, links=False)
        try:
            with os.scandir(fd) as found:
                for entry in found:
                    name, status = os.fsencode(entry.name), entry.stat(follow_symlinks=False)
                    child = path + b"/" + name if path else name
                    seen.add(name)
                    is_directory = stat.S_ISDIR(status.st_mode)
                    if is_directory:
                        subdirectories.append(child)
                    if self._known.get(os.fsdecode(child)) == _identity(status) or child in self._without:
                        continue
                    if is_directory:
                        self._ensure(child)
                    else:
                        self._ensure(path)
                        os.link(name, child, src_dir_fd=fd, dst_dir_fd=self._upper, follow_symlinks=False)
        finally:
            os.close(fd)
        for name in below.children(path).keys() - seen:
            if (path + b"/" + name if path else name) in self._without:
                continue
            self._ensure(path)
            above = beneath.open_in(self._upper, path, _DIRECTORY, links=False)
            try:
                whiteouts.delete(name, above)
            finally:
                os.close(above)
        return subdirectories

    def _ensure(self, path: bytes) -> None:
        """Makes a directory of the copy, and those above it, in the upper directory too."""
        parts = path.split(b"/") if path else []
        for count in range(1, len(parts) + 1):
            each = b"/".join(parts[:count])
            if each in self._made:
                continue
            os.mkdir(each, 0o700, dir_fd=self._upper)
            self._made.add(each)
            source, target = (
                beneath.open_in(root, each, _DIRECTORY, links=False) for root in (self._merged, self._upper)
            )
            try:
                describe(source, target, os.fstat(source))
            finally:
                os.close(source)
                os.close(target)


def describe(source: int, target: int, status: os.stat_result) -> None:
    """Gives a file the owner and the attributes of another, with notes (linux.ownership)."""
    owners.where_allowed(target, status.st_uid, status.st_gid)
    names = xattrs.names(source)
    values = {name: os.getxattr(source, name) for name in names if name.startswith(ownership.PREFIX)}
    for name, value in values.items():
        os.setxattr(target, name, value)
    xattrs.store(target, xattrs.load(source, names), rootless=True)


def _identity(status: os.stat_result) -> list[int]:
    return [status.st_ino, status.st_ctime_ns]


def overlay_works(directory: str, *, userxattr: bool) -> bool:
    """Whether overlayfs can be mounted with its upper directory on the file system of ``directory``; tried, and undone.

    The caller must be root of the user namespace that its mount namespace belongs to. Raises Unavailable for a file
    system without extended attributes, in which no directory can be marked, and OSError for what has nothing to do with
    overlayfs.
    """
    from sampan.linux import mounts

    trial = f"{directory}/trial-{os.getpid()}-{os.urandom(4).hex()}"
    os.makedirs(trial, 0o700)
    try:
        for name in ("lower", "upper", "work"):
            os.mkdir(f"{trial}/{name}")
        os.setxattr(f"{trial}/upper", "user.sampan.trial" if userxattr else "trusted.sampan.trial", b"y")
        options: list[tuple[str, str | None]] = [
            (f"{name}dir", f"{trial}/{name}") for name in ("lower", "upper", "work")
        ]
        if userxattr:
            options.append(("userxattr", None))
        os.close(mounts.filesystem("overlay", tuple(options)))
    except OSError as error:
        if error.errno == errno.ENOTSUP and error.filename:
            raise Unavailable(
                f"the file system of {directory} keeps no extended attributes, and layers need them",
                hint="choose another with --root DIR or SAMPAN_ROOT, on a local disk for example",
            ) from None
        if error.errno not in (errno.EPERM, errno.EINVAL, errno.ENODEV, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        return error.errno == errno.ENOSYS  # a kernel before fsopen(2), which says nothing of overlayfs
    finally:
        remove_tree(trial)
    return True
