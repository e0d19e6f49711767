"""Mounts by file descriptor: the mount API of Linux 5.2 and 5.12 (open_tree(2), move_mount(2), fsopen(2), fsconfig(2),
fsmount(2), mount_setattr(2)), and the old calls where the new ones have no equal.

A target that is a descriptor cannot be swapped for a symbolic link between a check and the mount.
"""

import os
import sys

from sampan.linux import syscalls
from sampan.linux.syscalls import call, named

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MS_UNBINDABLE = 0x20000

MNT_DETACH = 0x2

MOUNT_ATTR_RDONLY = 0x00000001
MOUNT_ATTR_NOSUID = 0x00000002
MOUNT_ATTR_NODEV = 0x00000004
MOUNT_ATTR_NOEXEC = 0x00000008
MOUNT_ATTR__ATIME = 0x00000070
MOUNT_ATTR_NOATIME = 0x00000010
MOUNT_ATTR_STRICTATIME = 0x00000020
MOUNT_ATTR_NODIRATIME = 0x00000080
MOUNT_ATTR_IDMAP = 0x00100000
MOUNT_ATTR_NOSYMFOLLOW = 0x00200000

AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
OPEN_TREE_CLONE = 1
MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_EMPTY_PATH = 0x40
FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6

LONGEST_OPTION = 255
PROC_SUPER_MAGIC = 0x9FA0
OVERLAYFS_SUPER_MAGIC = 0x794C7630

# mount(8)'s words → (attributes to set, attributes to clear)
ATTRIBUTES = {
    "ro": (MOUNT_ATTR_RDONLY, 0),
    "rw": (0, MOUNT_ATTR_RDONLY),
    "nosuid": (MOUNT_ATTR_NOSUID, 0),
    "suid": (0, MOUNT_ATTR_NOSUID),
    "nodev": (MOUNT_ATTR_NODEV, 0),
    "dev": (0, MOUNT_ATTR_NODEV),
    "noexec": (MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, MOUNT_ATTR_NOEXEC),
    "noatime": (MOUNT_ATTR_NOATIME, 0),
    "strictatime": (MOUNT_ATTR_STRICTATIME, 0),
    "nostrictatime": (0, MOUNT_ATTR__ATIME),
    "relatime": (0, MOUNT_ATTR__ATIME),
    "norelatime": (0, MOUNT_ATTR__ATIME),  # the kernel's default, which has been relatime since Linux 2.6.30
    "atime": (0, MOUNT_ATTR__ATIME),
    "nodiratime": (MOUNT_ATTR_NODIRATIME, 0),
    "diratime": (0, MOUNT_ATTR_NODIRATIME),
    "nosymfollow": (MOUNT_ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, MOUNT_ATTR_NOSYMFOLLOW),
}
OF_FILESYSTEMS = ("sync", "async", "dirsync", "lazytime", "nolazytime", "mand")
"""Words that are about a whole file system, and mean nothing for a further view of it."""
PROPAGATION = {
    "private": (MS_PRIVATE, False),
    "rprivate": (MS_PRIVATE, True),
    "slave": (MS_SLAVE, False),
    "rslave": (MS_SLAVE, True),
    "shared": (MS_SHARED, False),
    "rshared": (MS_SHARED, True),
    "unbindable": (MS_UNBINDABLE, False),
    "runbindable": (MS_UNBINDABLE, True),
}


def mount(source: bytes, target: bytes, fstype: bytes | None, flags: int, data: bytes | None = None) -> None:
    """mount(2). ``target`` is a path of the host's own, never one from an image."""
    named("mount", source, target, fstype, flags, data)


def umount(target: bytes, flags: int = 0) -> None:
    """umount2(2)."""
    named("umount2", target, flags)


def open_tree(path: bytes, *, dir_fd: int = -100, recursive: bool = False, clone: bool = True) -> int:
    """open_tree(2): a detached copy of the mount at ``path`` (b"" for ``dir_fd`` itself)."""
    flags = os.O_CLOEXEC | (OPEN_TREE_CLONE if clone else 0) | (AT_RECURSIVE if recursive else 0)
    if not path:
        flags |= AT_EMPTY_PATH
    return call("open_tree", syscalls.SYS_OPEN_TREE, dir_fd, path, flags)


class seen_by:
    """For a ``with`` block of a process with one thread: paths are those of the mount namespace of process ``pid``, or
    as they are with 0. Nothing may be imported meanwhile."""

    __slots__ = ("_here", "_own", "_pid")

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def __enter__(self) -> None:
        if not self._pid:
            return
        self._own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._here = os.open(".", os.O_PATH | os.O_CLOEXEC)
        other = os.open(f"/proc/{self._pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.setns(other, syscalls.CLONE_NEWNS)
        finally:
            os.close(other)

    def __exit__(self, *rest: object) -> None:
        if not self._pid:
            return
        syscalls.setns(self._own, syscalls.CLONE_NEWNS)
        os.fchdir(self._here)
        os.close(self._own)
        os.close(self._here)


def attach(mount_fd: int, target_fd: int) -> None:
    """Puts the detached mount ``mount_fd`` on ``target_fd`` (move_mount(2))."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    call("move_mount", syscalls.SYS_MOVE_MOUNT, mount_fd, b"", target_fd, b"", flags)


def filesystem(fstype: str, options: tuple[tuple[str, str | None], ...] = (), attributes: int = 0) -> int:
    """A new detached mount of ``fstype`` (fsopen(2) … fsmount(2)); an option without a value is a flag."""
    context = call("fsopen", syscalls.SYS_FSOPEN, fstype.encode(), FSOPEN_CLOEXEC)
    try:
        for key, value in options:
            kind = FSCONFIG_SET_FLAG if value is None else FSCONFIG_SET_STRING
            text = None if value is None else value.encode()
            call(f"fsconfig({key})", syscalls.SYS_FSCONFIG, context, kind, key.encode(), text, 0)
        call(f"fsconfig({fstype})", syscalls.SYS_FSCONFIG, context, FSCONFIG_CMD_CREATE, None, None, 0)
        return call("fsmount", syscalls.SYS_FSMOUNT, context, FSMOUNT_CLOEXEC, attributes)
    finally:
        os.close(context)


def overlay(lower: tuple[str, ...], upper: str, work: str, *, userxattr: bool) -> int:
    """A new detached mount of overlayfs: the ``lower`` directories, topmost first, and one that takes changes.

    An option has 255 bytes at most (fsconfig(2)): directories are named relative to the one that holds them all, which
    this process goes to, and one by one if that is still too much (Linux 6.5).
    """
    base = os.path.dirname(os.path.dirname(upper))
    os.chdir(base)
    names = [os.path.relpath(path, base) for path in lower]
    together = ":".join(names)
    options: list[tuple[str, str | None]] = [("lowerdir", together)]
    if len(together) > LONGEST_OPTION:
        options = [("lowerdir+", name) for name in names]
    options += [("upperdir", os.path.relpath(upper, base)), ("workdir", os.path.relpath(work, base))]
    return filesystem("overlay", tuple(options + ([("userxattr", None)] if userxattr else [])))


def set_attributes(fd: int, set_: int = 0, clear: int = 0, *, propagation: int = 0, recursive: bool = False) -> None:
    """mount_setattr(2) on the mount behind ``fd``."""
    if set_ & (MOUNT_ATTR_NOATIME | MOUNT_ATTR_STRICTATIME):
        clear |= MOUNT_ATTR__ATIME
    _set(fd, (set_, clear, propagation, 0), recursive=recursive)


def map_ids(fd: int, namespace: int, *, recursive: bool = False) -> None:
    """Has the detached mount ``fd`` show its files' owners as the user namespace behind ``namespace`` maps them."""
    _set(fd, (MOUNT_ATTR_IDMAP, 0, 0, namespace), recursive=recursive)


def _set(fd: int, values: tuple[int, int, int, int], *, recursive: bool) -> None:
    attributes = b"".join(value.to_bytes(8, sys.byteorder) for value in values)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    call("mount_setattr", syscalls.SYS_MOUNT_SETATTR, fd, b"", flags, attributes, len(attributes))


def filesystem_type(fd: int) -> int:
    """The magic number of the file system that ``fd`` lies on (statfs(2))."""
    result = syscalls.buffer(256)
    named("fstatfs", fd, result)
    return int.from_bytes(result.raw[:8], sys.byteorder)
