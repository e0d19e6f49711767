"""What a container changed in its file system: added (A), changed (C) and deleted (D) paths, as Docker tells them."""

from __future__ import annotations

import os
import stat

from sampan.layers import whiteouts
from sampan.linux import beneath
from sampan.runtime import defaults
from sampan.snapshots.lookup import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sampan.containers.record import Container
    from sampan.snapshots.overlay import Overlay

_MOUNT_POINTS = frozenset(
    (
        b"/dev", b"/etc/hostname", b"/etc/hosts", b"/etc/resolv.conf", b"/proc", b"/sys", b"/dev/console",
        defaults.APT_SETTING[0].encode(),
    )
)  # fmt: skip
"""What the runtime makes where it mounts something: no change of the container's own while it is empty."""


def of_container(container: Container, snapshots: Overlay) -> list[tuple[str, bytes]]:
    """The changes in the order of their paths."""
    rootfs = snapshots.rootfs(container.snapshot)
    fd = beneath.open_root(rootfs.upper)
    try:
        with Tree(rootfs.lower, snapshots.userxattr) as below:
            found = dict(_changes(fd, below, whiteouts.opaque_xattr(snapshots.userxattr)))
            for path in (b"/etc", b"/dev"):
                if path in found and _is_touched_for_mounts(path, found, fd, below):
                    del found[path]
    finally:
        os.close(fd)
    return [(found[path], path) for path in sorted(found, key=lambda path: path.split(b"/"))]


def _changes(root: int, below: Tree, opaque: bytes) -> Iterator[tuple[bytes, str]]:
    pending = [b""]
    while pending:
        path = pending.pop()
        fd = beneath.open_in(root, path, os.O_RDONLY | os.O_DIRECTORY, links=False)
        try:
            if _is_opaque(fd, opaque):
                here = set(map(os.fsencode, os.listdir(fd)))
                yield from ((b"/" + _join(path, name), "D") for name in below.children(path) if name not in here)
            with os.scandir(fd) as entries:
                found = [(os.fsencode(entry.name), entry.stat(follow_symlinks=False)) for entry in entries]
        finally:
            os.close(fd)
        for name, status in found:
            child = _join(path, name)
            before = below.stat(child)
            if whiteouts.is_whiteout(status):
                if before is not None:
                    yield b"/" + child, "D"
                continue
            if _is_made_for_a_mount(b"/" + child, status, before):
                continue
            if stat.S_ISDIR(status.st_mode):
                pending.append(child)
            yield b"/" + child, "A" if before is None else "C"


def _is_touched_for_mounts(path: bytes, found: dict[bytes, str], root: int, below: Tree) -> bool:
    """Whether a directory was made, or is another one than below, only for what is mounted in it."""
    if any(each.startswith(path + b"/") for each in found):
        return False
    before = below.stat(path[1:])
    now = os.stat(path[1:], dir_fd=root, follow_symlinks=False)
    return before is None or all(
        getattr(now, name) == getattr(before, name) for name in ("st_mode", "st_uid", "st_gid")
    )


def _is_made_for_a_mount(path: bytes, status: os.stat_result, before: os.stat_result | None) -> bool:
    if path not in _MOUNT_POINTS or before is not None:
        return False
    return stat.S_ISDIR(status.st_mode) or status.st_size == 0


def _is_opaque(fd: int, name: bytes) -> bool:
    try:
        return os.getxattr(fd, name) == b"y"
    except OSError:
        return False


def _join(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path else name
