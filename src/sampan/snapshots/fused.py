"""Snapshots under fuse-overlayfs (``linux.fuse``): whether it works here, and its own marks made overlayfs'."""

from __future__ import annotations

import os
import stat

from sampan.errors import SampanError
from sampan.layers import whiteouts
from sampan.linux import beneath, fuse
from sampan.snapshots.lookup import Tree
from sampan.snapshots.overlay import Rootfs
from sampan.store.trees import remove_tree

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OWN = "user.fuseoverlayfs."
_OPAQUE = (whiteouts.OPAQUE, b".wh..opq")


def works(directory: str) -> bool:
    """Whether file systems on that of ``directory`` can be mounted so; tried, and undone."""
    if not fuse.find():
        return False
    trial = f"{directory}/trial-{os.getpid()}-{os.urandom(4).hex()}"
    for name in ("lower/old", "upper", "work"):
        os.makedirs(f"{trial}/{name}", 0o700)
    try:
        rootfs = Rootfs((f"{trial}/lower",), f"{trial}/upper", f"{trial}/work", userxattr=True)
        mounted = fuse.mount(*rootfs[:3])
        try:
            os.setxattr(mounted.path, "user.sampan.trial", b"y")
            os.rmdir(f"{mounted.path}/old")
        finally:
            mounted.close()
        settle(rootfs)
        return whiteouts.is_whiteout(os.lstat(f"{trial}/upper/old"))
    except (OSError, SampanError):
        return False
    finally:
        remove_tree(trial)


def settle(rootfs: Rootfs) -> None:
    """Says in overlayfs' words what the program left in the upper directory. May be called again. Raises OSError."""
    root = beneath.open_root(rootfs.upper)
    try:
        with Tree(rootfs.lower, userxattr=True) as below:
            pending = [b""]
            while pending:
                path = pending.pop()
                fd = beneath.open_in(root, path, _DIRECTORY, links=False)
                try:
                    pending += [path + b"/" + name if path else name for name in _settle_directory(fd, path, below)]
                finally:
                    os.close(fd)
    finally:
        os.close(root)


def _settle_directory(fd: int, path: bytes, below: Tree) -> list[bytes]:
    """Settles what lies directly in a directory, and gives the directories among it."""
    found = []
    is_marked = _forget_marks(fd)
    with os.scandir(fd) as entries:
        names = [(os.fsencode(entry.name), entry.stat(follow_symlinks=False).st_mode) for entry in entries]
    for name, mode in names:
        if name in _OPAQUE:
            os.unlink(name, dir_fd=fd)
            is_marked = True
        elif name.startswith(whiteouts.PREFIX):
            os.unlink(name, dir_fd=fd)
            whiteouts.delete(whiteouts.target(name), fd)
        elif stat.S_ISDIR(mode):
            found.append(name)
        elif stat.S_ISREG(mode):
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
            _forget_marks(file)
            os.close(file)
    # It marks every directory that it makes; overlayfs marks those that hide something.
    if is_marked and path and below.stat(path) is not None:
        whiteouts.make_opaque(fd, userxattr=True)
    return found


def _forget_marks(fd: int) -> bool:
    """Removes the program's attributes, and says whether one was there for a directory that hides what is below."""
    own = [name for name in os.listxattr(fd) if name.startswith((_OWN, "user.overlay."))]
    for name in own:
        os.removexattr(fd, name)
    return any(name.endswith(".opaque") for name in own)
