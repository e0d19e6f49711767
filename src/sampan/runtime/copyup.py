"""``tmpcopyup``: a new file system in memory begins with what lay below it."""

from __future__ import annotations

import os
import stat

from sampan.linux import beneath

_CHUNK = 1 << 20


def copy(source: int, target: int) -> None:
    """Copies the tree in the directory behind ``source`` into that behind ``target``: files, links, nodes, owners.

    Links are copied, never followed. Raises OSError.
    """
    pending = [(beneath.reopen(source, os.O_RDONLY | os.O_DIRECTORY), beneath.reopen(target, os.O_RDONLY))]
    _dress(os.fstat(source), pending[0][1])
    while pending:
        from_fd, to_fd = pending.pop()
        try:
            for name in os.listdir(from_fd):
                below = _copy_entry(name, from_fd, to_fd)
                if below:
                    pending.append(below)
        finally:
            os.close(from_fd)
            os.close(to_fd)


def _copy_entry(name: str, from_fd: int, to_fd: int) -> tuple[int, int] | None:
    """Copies one entry; for a directory, both sides of it, whose entries are still to be copied."""
    status = os.stat(name, dir_fd=from_fd, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=from_fd), name, dir_fd=to_fd)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=to_fd, follow_symlinks=False)
        return None
    if stat.S_ISDIR(status.st_mode):
        os.mkdir(name, 0o700, dir_fd=to_fd)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        below = os.open(name, flags, dir_fd=from_fd), os.open(name, flags, dir_fd=to_fd)
        _dress(status, below[1])
        return below
    if not stat.S_ISREG(status.st_mode):
        os.mknod(name, status.st_mode, status.st_rdev, dir_fd=to_fd)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=to_fd, follow_symlinks=False)
        return None
    reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=from_fd)
    writing = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=to_fd)
    try:
        while os.sendfile(writing, reading, None, _CHUNK):
            pass
        _dress(status, writing)
    finally:
        os.close(reading)
        os.close(writing)
    return None


def _dress(status: os.stat_result, fd: int) -> None:
    os.fchown(fd, status.st_uid, status.st_gid)
    os.fchmod(fd, stat.S_IMODE(status.st_mode))
    os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))
