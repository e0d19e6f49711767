"""Who owns what a layer unpacks: one function, chosen once and passed down.

An owners function gives ``target`` (a descriptor, or a name in ``dir_fd``, links not followed) to ``uid`` and ``gid``
and says whether that was possible. What the kernel refuses to an ordinary user is noted beside the file
(``linux.ownership``), from where a layer gets it again.
"""

import errno
import os
from collections.abc import Callable
from functools import cache

from sampan.linux import ids, ownership

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
    """As the layer says where the kernel lets us; the rest stays with the caller, with a note of the owner where there
    is room for one (not on links and devices). Raises OSError for anything else."""
    try:
        if os.geteuid():
            raise PermissionError(errno.EPERM, "only root gives files away")  # also not to himself: see ownership.owner
        if (uid, gid) != (0, 0) and _is_single():
            raise PermissionError(errno.EPERM, "nobody else is there")  # whatever a container around us pretends
        as_stored(target, uid, gid, dir_fd)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        if (uid, gid) == (0, 0) and os.geteuid():
            if isinstance(target, int):
                ownership.forget(target)
            return True
        return isinstance(target, int) and ownership.remember(target, uid, gid)
    if isinstance(target, int):
        ownership.forget(target)
    return True


@cache
def _is_single() -> bool:
    """Whether there is a single user id: asked once, for a process that is root of a namespace stays in it."""
    return ids.mapped_ids() == 1


def choose(rootless: bool) -> Owners:
    """What fits: as root a layer's owners are law, without root they are a wish."""
    return where_allowed if rootless else as_stored
