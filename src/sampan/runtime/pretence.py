"""What a container with a single user id is told: that it may do what takes several.

In a user namespace of one id nobody can give a file to another, become someone else or make a device, and package
managers will not do without. A seccomp filter has these calls "succeed". Those that change who a process is are
answered by the filter itself: the process stays who it was. Those that change a file are answered by the container's
watcher (``Pretence``), which notes beside the file what was asked for (``linux.ownership``), so that a layer that is
made of it says so; stat(2) inside goes on to show the one id. Isolation is not touched: all that the container has are
the rights of one user, whatever it takes itself for.

The idea of answering with success is Charliecloud's (--seccomp).
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import stat
import struct
import sys

from sampan.errors import Invalid
from sampan.linux import ownership, seccomp, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple

_IDENTITY = (
    "setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups "
    "setuid32 setgid32 setreuid32 setregid32 setresuid32 setresgid32 setfsuid32 setfsgid32 setgroups32"
)
_OWNERS = "chown fchown lchown fchownat chown32 fchown32 lchown32"
_DEVICES = (stat.S_IFCHR, stat.S_IFBLK)

# linux/seccomp.h: the ioctls of a listener, struct seccomp_notif and struct seccomp_notif_resp
_RECEIVE, _SEND, _IS_VALID = 0xC0502100, 0xC0182101, 0x40082102
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")
_ANSWER = struct.Struct("=QqiI")

_UNCHANGED = 0xFFFFFFFF  # (uid_t) -1
_AT_FDCWD = -100
_AT_SYMLINK_NOFOLLOW = 0x100
_AT_EMPTY_PATH = 0x1000
_PATH_MAX = 4096
_PAGE = 4096
_64_BIT = 0x80000000  # __AUDIT_ARCH_64BIT
_OPEN = os.O_PATH | os.O_CLOEXEC


def prepare(process: dict[str, Any]) -> None:
    """Has a container's process (runtime-spec ``process``) pretend: it runs as the one id that there is, and
    ``process["pretence"]`` has the filter in hexadecimal and the ``user`` that was asked for, if another one."""
    user = process["user"]
    asked = f"{user['uid']}:{user['gid']}" if user["uid"] or user["gid"] else ""
    process["pretence"] = {"filter": program(os.uname().machine).hex(), "user": asked}
    user |= {"uid": 0, "gid": 0, "additionalGids": []}


def program(machine: str) -> bytes:
    """The filter. Raises Unsupported for a machine without a table of its calls."""
    rules: list[dict[str, Any]] = [
        {"names": _OWNERS.split(), "action": "SCMP_ACT_NOTIFY"},
        {"names": _IDENTITY.split(), "action": "SCMP_ACT_ERRNO", "errnoRet": 0},
    ]
    for name, index in (("mknod", 1), ("mknodat", 2)):
        for kind in _DEVICES:
            is_kind = {"index": index, "op": "SCMP_CMP_MASKED_EQ", "value": 0o170000, "valueTwo": kind}
            # 0:0 is no device but overlayfs' sign of a deletion, which anybody may make (Linux 5.8).
            is_device = {"index": index + 1, "op": "SCMP_CMP_NE", "value": 0}
            rules.append({"names": [name], "action": "SCMP_ACT_NOTIFY", "args": [is_kind, is_device]})
    others = ["SCMP_ARCH_X86", "SCMP_ARCH_ARM"]
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": others, "syscalls": rules}
    return seccomp.compile(profile, machine, listener=True)


class Call(NamedTuple):
    """A system call that was notified. ``process`` is the thread that made it and waits for an answer."""

    name: str
    process: int
    arguments: tuple[int, ...]
    is_wide: bool
    """Whether ids have 32 bits; those of the oldest calls of 32-bit machines have 16."""


class Pretence:
    """Answers the calls that ``listener``, a descriptor that is its own from now on, notifies of a container.

    ``upper`` is the directory that receives the container's changes, where there is one; ``nodes`` are the owners that
    links and devices in it were to have, by inode number.
    """

    def __init__(self, listener: int, upper: str) -> None:
        self.listener = listener
        self.nodes: dict[int, tuple[int, int]] = {}
        self._upper = os.fsencode(upper)
        self._mount = b""
        names = [*_OWNERS.split(), "mknod", "mknodat"]
        self._calls = seccomp.calls(names, os.uname().machine)

    def answer(self) -> bool:
        """Answers one call; to be called when the listener is readable. False once there is nobody left to ask."""
        poll = select.poll()
        poll.register(self.listener, select.POLLIN)
        mask = sum(mask for _, mask in poll.poll(0))
        if not mask & select.POLLIN:
            return not mask & select.POLLHUP
        message = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(self.listener, _RECEIVE, message)
        except OSError as error:
            if error.errno != errno.ENOENT:  # whoever asked is gone
                raise
            return True
        identifier, process, _, number, architecture, _, *arguments = _NOTIFICATION.unpack(message)
        name = self._calls[architecture, number]
        is_wide = bool(architecture & _64_BIT) or name.endswith("32") or name == "fchownat"
        try:
            self._perform(Call(name.removesuffix("32"), process, tuple(arguments), is_wide), identifier)
            code = 0
        except OSError as error:
            code = error.errno or errno.EIO
        except Invalid:
            code = errno.EINVAL
        try:
            fcntl.ioctl(self.listener, _SEND, _ANSWER.pack(identifier, 0, -code, 0))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
        return True

    def close(self) -> None:
        os.close(self.listener)

    def _perform(self, call: Call, identifier: int) -> None:
        one, two, three, four, five, _ = call.arguments
        if call.name == "mknod":
            self._make_device(call, identifier, _AT_FDCWD, one, two, three)
        elif call.name == "mknodat":
            self._make_device(call, identifier, _signed(one), two, three, four)
        elif call.name == "fchown":
            self._own(call, identifier, _open_descriptor(call.process, _signed(one)), two, three)
        elif call.name == "fchownat":
            target = _target(call.process, _signed(one), _read_path(call.process, two), five)
            self._own(call, identifier, target, three, four)
        else:
            flags = _AT_SYMLINK_NOFOLLOW if call.name == "lchown" else 0
            self._own(
                call, identifier, _target(call.process, _AT_FDCWD, _read_path(call.process, one), flags), two, three
            )

    def _own(self, call: Call, identifier: int, target: int | None, uid: int, gid: int) -> None:
        """Notes the owner of the file behind ``target``, and closes that."""
        if target is None:
            return
        try:
            self._check(identifier)
            self._mount = self._mount or _mount_of(f"/proc/{call.process}/root")
            path = f"/proc/self/fd/{target}".encode()
            if _mount_of(os.fsdecode(path)) != self._mount:
                return  # no layer is made of what was mounted, and whose it is there is not the image's business
            asked = (_id(uid, call.is_wide), _id(gid, call.is_wide))
            mode = os.fstat(target).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                self._own_node(target, path, asked)
                return
            was = ownership.recalled(path) or (0, 0)
            now = _merged(asked, was)
            if now != was:
                ownership.remember(path, *now)
            if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                # As chown(2): who is given a program is not given another's rights with it.
                sgid = stat.S_ISGID if mode & stat.S_IXGRP else 0
                os.chmod(path, stat.S_IMODE(mode) & ~(stat.S_ISUID | sgid))
        finally:
            os.close(target)

    def _own_node(self, target: int, path: bytes, asked: tuple[int | None, int | None]) -> None:
        """A link or a FIFO has no room for a note: it is kept here, by the inode in the upper directory."""
        if not self._upper:
            return
        os.chown(path, -1, -1)  # changes nothing, and has overlayfs copy up what is still in a lower directory
        inside = os.readlink(path).lstrip(b"/")
        number = os.lstat(os.path.join(self._upper, inside)).st_ino
        self.nodes[number] = _merged(asked, self.nodes.get(number, (0, 0)))

    def _make_device(self, call: Call, identifier: int, dir_fd: int, address: int, mode: int, device: int) -> None:
        """An empty file stands for the device."""
        path = _read_path(call.process, address)
        directory, slash, name = path.rpartition(b"/")
        if not name:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        parent = _target(call.process, dir_fd, directory or slash or b".", 0)
        if parent is None:
            return
        try:
            self._check(identifier)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, 0o600, dir_fd=parent)
            try:
                os.fchmod(fd, stat.S_IMODE(mode) & ~_umask(call.process))
                ownership.remember_device(fd, stat.S_IFMT(mode), device)
            finally:
                os.close(fd)
        finally:
            os.close(parent)

    def _check(self, identifier: int) -> None:
        """Makes sure that whoever asked still waits: otherwise his number may be another's by now. Raises ENOENT."""
        fcntl.ioctl(self.listener, _IS_VALID, identifier.to_bytes(8, sys.byteorder))


def _id(value: int, is_wide: bool) -> int | None:
    """The id of an argument; None for the one that stands for "as it is"."""
    limit = _UNCHANGED if is_wide else 0xFFFF
    return None if value & limit == limit else value & limit


def _merged(asked: tuple[int | None, int | None], was: tuple[int, int]) -> tuple[int, int]:
    uid, gid = asked
    return was[0] if uid is None else uid, was[1] if gid is None else gid


def _signed(value: int) -> int:
    """An argument that is an int, as C has them."""
    return (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000


def _read_path(process: int, address: int) -> bytes:
    """A string in another process' memory. Raises EFAULT, ENAMETOOLONG, and ESRCH when it is gone."""
    text = b""
    fd = os.open(f"/proc/{process}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        while len(text) < _PATH_MAX:
            piece = os.pread(fd, _PAGE - address % _PAGE, address)
            before, nul, _ = piece.partition(b"\0")
            text += before
            if nul:
                return text
            address += len(piece)
            if not piece:
                break
    except OverflowError:
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT)) from None
    except OSError as error:
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT)) from error
    finally:
        os.close(fd)
    raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))


def _open_descriptor(process: int, number: int) -> int:
    try:
        return os.open(f"/proc/{process}/fd/{number}", _OPEN)
    except FileNotFoundError:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None


def _target(process: int, dir_fd: int, path: bytes, flags: int) -> int | None:
    """What a process means by ``path``, open with O_PATH and never outside of its root; None for what is the kernel's
    (/dev/stdout leads to a file that only the process itself can name). Raises OSError."""
    if path.startswith((b"/dev/", b"/proc/")):
        return None
    if not path and flags & _AT_EMPTY_PATH:
        return _open_descriptor(process, dir_fd)
    if not path:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    nofollow = os.O_NOFOLLOW if flags & _AT_SYMLINK_NOFOLLOW else 0
    base = b""
    if not path.startswith(b"/"):
        here = f"/proc/{process}/cwd" if dir_fd == _AT_FDCWD else f"/proc/{process}/fd/{dir_fd}"
        found = _child(here, path) if b"/" not in path and path != b".." else -1
        if found >= 0 and (nofollow or not stat.S_ISLNK(os.fstat(found).st_mode)):
            return found
        if found >= 0:
            os.close(found)
        base = _inside(process, here)
    root = os.open(f"/proc/{process}/root", _OPEN)
    try:
        return syscalls.openat2(root, os.path.join(b"/", base, path), _OPEN | nofollow, syscalls.RESOLVE_IN_ROOT)
    finally:
        os.close(root)


def _child(directory: str, name: bytes) -> int:
    """A name directly in a directory, links not followed."""
    fd = os.open(directory, _OPEN | os.O_DIRECTORY)
    try:
        return os.open(name, _OPEN | os.O_NOFOLLOW, dir_fd=fd)
    finally:
        os.close(fd)


def _inside(process: int, link: str) -> bytes:
    """Where a link of /proc/PID leads, as seen from the process' own root, which chroot(2) may have moved."""
    path, root = (os.fsencode(os.readlink(each)) for each in (link, f"/proc/{process}/root"))
    return path if root == b"/" else b"/" + path.removeprefix(root).lstrip(b"/")


def _mount_of(path: str) -> bytes:
    """The number of the mount that something lies on (proc_pid_fdinfo(5), mnt_id)."""
    fd = os.open(path, _OPEN)
    try:
        return _field(f"/proc/self/fdinfo/{fd}", b"mnt_id:")
    finally:
        os.close(fd)


def _umask(process: int) -> int:
    return int(_field(f"/proc/{process}/status", b"Umask:"), 8)


def _field(path: str, name: bytes) -> bytes:
    with open(path, "rb") as file:
        return next(line[len(name) :].strip() for line in file if line.startswith(name))
