"""What a file is to be and cannot be without privileges, kept beside it in extended attributes of its own.

A user namespace has few ids, often a single one, and no devices. So that an owner that was asked for is not lost on the
way to a layer, ``user.sampan.owner`` ("UID:GID") says it, and an empty file with ``user.sampan.device`` ("c:1:3")
stands for a device. Only regular files and directories have room for such attributes (xattr(7)). An owner is said of a
file that is root's (0:0) and counts no more once the file belongs to someone else.
"""

from __future__ import annotations

import errno
import os
import stat

from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

PREFIX = b"user.sampan."
OWNER = b"user.sampan.owner"
DEVICE = b"user.sampan.device"
_NO_ROOM = (errno.ENOTSUP, errno.EPERM)  # the file system has no such attributes; this kind of file has none
_MAX_ID = (1 << 32) - 2

Target = int | bytes
"""A descriptor, or a path of the caller's own such as /proc/self/fd/N."""


def remember(target: Target, uid: int, gid: int) -> bool:
    """Notes an owner; False where there is no room for it. Raises OSError."""
    return _set(target, OWNER, b"%d:%d" % (uid, gid))


def remember_device(target: Target, kind: int, device: int) -> bool:
    """Notes that a file stands for a device: S_IFCHR or S_IFBLK, and its number. Raises OSError."""
    letter = b"c" if stat.S_ISCHR(kind) else b"b"
    return _set(target, DEVICE, b"%b:%d:%d" % (letter, os.major(device), os.minor(device)))


def forget(target: Target) -> None:
    """Drops a noted owner, if there is one. Raises OSError."""
    try:
        os.removexattr(target, OWNER)
    except OSError as error:
        if error.errno not in (errno.ENODATA, *_NO_ROOM):
            raise


def recalled(target: Target) -> tuple[int, int] | None:
    """The noted owner. Raises Invalid for a note that nobody of ours wrote, and OSError."""
    try:
        text = os.getxattr(target, OWNER)
    except OSError as error:
        if error.errno in (errno.ENODATA, *_NO_ROOM):
            return None
        raise
    uid, colon, gid = text.partition(b":")
    if not (colon and uid.isdigit() and gid.isdigit() and int(uid) <= _MAX_ID and int(gid) <= _MAX_ID):
        raise Invalid(f"the extended attribute user.sampan.owner of a file is no owner: {text!r}")
    return int(uid), int(gid)


def owner(info: os.stat_result) -> tuple[int, int]:
    """Whose a file is in the image. What is our own, we who are not even root of a namespace, stands for root's."""
    own = os.geteuid()
    return (0, 0) if own and info.st_uid == own else (info.st_uid, info.st_gid)


def noted(fd: int, names: Collection[bytes]) -> tuple[int, int] | None:
    """The owner that the file behind ``fd`` is to have instead of its own, if so; ``names`` are its attributes'. Raises
    as ``recalled``."""
    if OWNER not in names:
        return None
    return recalled(fd) if owner(os.fstat(fd)) == (0, 0) else None


def recalled_device(target: Target) -> tuple[int, int, int]:
    """The device that a file with the attribute stands for: S_IFCHR or S_IFBLK, its major and minor number. Raises
    Invalid for a note that nobody of ours wrote, and OSError."""
    text = os.getxattr(target, DEVICE)
    letter, *numbers = text.split(b":")
    if letter not in (b"b", b"c") or len(numbers) != 2 or not all(each.isdigit() for each in numbers):
        raise Invalid(f"the extended attribute user.sampan.device of a file is no device: {text!r}")
    return stat.S_IFCHR if letter == b"c" else stat.S_IFBLK, int(numbers[0]), int(numbers[1])


def is_pretended() -> bool:
    """Whether files seem to be given to ids that do not exist here, as in a container of one id (runtime/pretence)."""
    fd = os.memfd_create("owner")
    try:
        os.fchown(fd, _MAX_ID, _MAX_ID)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _set(target: Target, name: bytes, value: bytes) -> bool:
    try:
        os.setxattr(target, name, value)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        return False
    return True
