"""Who owns what a layer unpacks: one function, chosen once and passed down.

An owners function gives ``target`` (a descriptor, or a name in ``dir_fd``, links not followed) to ``uid`` and ``gid``
and says whether that was possible.
"""

import errno
import os
from collections.abc import Callable

Owners = Callable[[int | bytes, int, int, int | None], bool]

_REFUSALS = (errno.EPERM, errno.EINVAL)  # not permitted; no such id in this user namespace


def as_stored(target: int | bytes, uid: int, gid: int, dir_fd: int | None = None) -> bool:
    """As the layer says. Raises OSError."""
    if dir_fd is None:
        os.chown(target, uid, gid)
    else:
        os.chown(target, uid, gid, dir_fd=dir_fd, follow_symlinks=False)
    return True


def where_allowed(target: int | bytes, uid: int, gid: int, dir_fd: int | None = None) -> bool:
    """As the layer says where the kernel lets us; the rest stays with the caller. Raises OSError for anything else."""
    try:
        return as_stored(target, uid, gid, dir_fd)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        return False


def choose(rootless: bool) -> Owners:
    """What fits: as root a layer's owners are law, without root they are a wish."""
    return where_allowed if rootless else as_stored
