"""Limits of directory trees, where a file system keeps project quotas (quotactl(2), ioctl_fs(2); ext4 and XFS do when
they are mounted with "prjquota"). It takes CAP_SYS_ADMIN."""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from sampan.errors import Unsupported
from sampan.linux import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_QUOTACTL_FD = 443  # on every machine
_PRJQUOTA = 2
_GET, _SET = 0x800007, 0x800008
_LIMITS = struct.Struct("=8QI4x")  # struct if_dqblk: limits of blocks (hard, soft), bytes used, limits of files, …
_BLOCK_LIMITS_VALID = 1
_BLOCK = 1024

_GET_ATTRIBUTES, _SET_ATTRIBUTES = 0x801C581F, 0x401C5820  # FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR
_ATTRIBUTES = struct.Struct("=5I8x")  # struct fsxattr: flags, extent size, extents, project, extent size of copies
_INHERIT = 0x200  # FS_XFLAG_PROJINHERIT: what is made inside belongs to the project too
_FIRST, _NUMBERS = 1 << 20, 1 << 30
_ABSENT = (errno.ENOSYS, errno.ESRCH, errno.ENOTSUP, errno.EINVAL, errno.ENOTTY, errno.EPERM)


def limit(directories: Sequence[str], seed: int, size: int) -> None:
    """Lets these directories, which are empty, hold ``size`` bytes together. ``seed`` tells their project from others.

    Raises Unsupported, which names the file system and what it lacks.
    """
    fd = os.open(directories[0], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        project = _free_project(fd, seed)
        _set(fd, project, -(-size // _BLOCK))
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        raise Unsupported(
            f"the size of a container cannot be limited here: {_describe(directories[0])}",
            hint="a directory (--root) on ext4 or XFS that is mounted with the option prjquota can be limited, by root",
        ) from None
    finally:
        os.close(fd)
    for directory in directories:
        _assign(directory, project)


def release(directory: str) -> None:
    """Forgets the limit of a project, before its directories are removed; nothing happens without one."""
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        project = _ATTRIBUTES.unpack(fcntl.ioctl(fd, _GET_ATTRIBUTES, bytes(_ATTRIBUTES.size)))[3]
        if project:
            _set(fd, project, 0)
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
    finally:
        os.close(fd)


def _free_project(fd: int, seed: int) -> int:
    """A number that nothing on the file system belongs to."""
    for attempt in range(1000):
        project = _FIRST + (seed + attempt) % _NUMBERS
        memory = syscalls.buffer(_LIMITS.size)
        try:
            _control(fd, _GET, project, syscalls.address(memory))
        except FileNotFoundError:  # XFS knows no such project
            return project
        hard, _, used, _, _, files, *_ = _LIMITS.unpack(memory.raw)
        if not hard and not used and not files:
            return project
    raise Unsupported("the file system's projects are all taken")


def _set(fd: int, project: int, blocks: int) -> None:
    memory = syscalls.buffer(_LIMITS.pack(blocks, blocks, 0, 0, 0, 0, 0, 0, _BLOCK_LIMITS_VALID))
    _control(fd, _SET, project, syscalls.address(memory))


def _control(fd: int, command: int, project: int, address: int) -> None:
    syscalls.call("quotactl_fd", _QUOTACTL_FD, fd, command << 8 | _PRJQUOTA, project, address)


def _assign(directory: str, project: int) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags, extent, extents, _, copied = _ATTRIBUTES.unpack(
            fcntl.ioctl(fd, _GET_ATTRIBUTES, bytes(_ATTRIBUTES.size))
        )
        fcntl.ioctl(fd, _SET_ATTRIBUTES, _ATTRIBUTES.pack(flags | _INHERIT, extent, extents, project, copied))
    finally:
        os.close(fd)


def _describe(path: str) -> str:
    """Which file system a path is on, and what of project quotas is missing there."""
    device = os.stat(path).st_dev
    found = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo") as file:
        for line in file:
            head, _, tail = line.partition(" - ")
            words = head.split()
            if words[2] == found:
                kind, _, options = tail.split()[:3]
                if kind not in ("ext4", "xfs"):
                    return f"{words[4]} is a {kind}, which has no project quotas"
                if not {"prjquota", "pquota"} & set(options.split(",")):
                    return f"{words[4]} is mounted without the option prjquota"
                return f"{words[4]} does not let this user set project quotas"
    return f"{path} is on a file system without project quotas"
