"""A container's terminal (pts(4)): made in its own devpts, shown as its console and in place of standard descriptors.

Part of the first process, after the pivot; nothing is imported late.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import sys
import termios

from sampan.errors import SampanError
from sampan.linux import mounts
from sampan.linux.sockets import Connection
from sampan.runtime import handshake

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TIOCGPTPEER = 0x5441
_TIOCSPTLCK = 0x40045431
_DEVPTS_SUPER_MAGIC = 0x1CD1


def make(process: dict[str, Any], end: Connection, *, bind: bool, owner: int = -1) -> tuple[int, int, int]:
    """A terminal of the container's own, whose other side is sent to the parent, as standard descriptors. It belongs to
    the program's user, or to ``owner`` unless that is negative."""
    master, slave = _open()
    if bind:
        _bind(slave)
    size = process.get("consoleSize") or {}
    if size.get("height") and size.get("width"):
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", size["height"], size["width"], 0, 0))
    uid = owner if owner >= 0 else (process.get("user") or {}).get("uid", 0)
    if os.fstat(slave).st_uid != uid:
        os.fchown(slave, uid, -1)
    handshake.tell_console(end, master)
    os.close(master)
    return slave, slave, slave


def _open() -> tuple[int, int]:
    """A new pseudo-terminal of the container's own devpts: master and slave (pts(4), ioctl_tty(2) TIOCGPTPEER)."""
    master = os.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC)
    if mounts.filesystem_type(master) != _DEVPTS_SUPER_MAGIC:
        raise SampanError("the container's /dev/pts is not a devpts file system")
    fcntl.ioctl(master, _TIOCSPTLCK, (0).to_bytes(4, sys.byteorder))
    slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    return master, slave


def _bind(slave: int) -> None:
    """Shows the terminal as /dev/console too, by descriptor: a link there would lead elsewhere (CVE-2025-52565)."""
    try:
        os.mknod("/dev/console", stat.S_IFREG | 0o600)
    except FileExistsError:
        pass  # whatever it is, it is covered, and never opened for more than that
    target = os.open("/dev/console", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    kind = stat.S_IFMT(os.fstat(target).st_mode)
    if kind in (stat.S_IFLNK, stat.S_IFDIR):
        raise SampanError(f"the container's /dev/console is a {'link' if kind == stat.S_IFLNK else 'directory'}")
    clone = mounts.open_tree(b"", dir_fd=slave)
    mounts.attach(clone, target)
    os.close(clone)
    os.close(target)


def place(stdio: tuple[int, int, int], terminal: bool) -> None:
    """Makes ``stdio`` the standard descriptors, and a terminal the controlling one."""
    if terminal:
        fcntl.ioctl(stdio[0], termios.TIOCSCTTY, 0)
    # Moved out of the way first: a source may itself be 0, 1 or 2.
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in stdio]
    for number, fd in enumerate(high):
        os.dup2(fd, number, inheritable=True)
