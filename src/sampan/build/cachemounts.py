"""The directories that ``RUN --mount=type=cache`` keeps, apart from any build: listed, packed, put back, removed.

``CACHES/NAME/it`` is what a step sees, ``CACHES/NAME/about`` the cache's id, and ``CACHES/NAME.lock`` is held by
whoever uses it (``mounts``); its time is that of the last use. A lock file is never removed: another step may wait for
it.
"""

import os
import re
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from sampan.build.portable import NAME, Kept
from sampan.layers import apply, owners
from sampan.layers.write import pack
from sampan.linux import locks
from sampan.oci import media
from sampan.store.trees import remove_tree

if TYPE_CHECKING:
    from sampan.store.blobs import Blobs

_ASIDE = re.compile(r"[0-9a-f]{16}")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Found(NamedTuple):
    """A cache mount. ``used`` is the time of its last use (seconds since 1970), ``size`` bytes on disk."""

    name: str
    about: str
    used: float
    size: int


def found(caches: str) -> list[Found]:
    """All that there are, the one used last first."""
    listed = [
        Found(name, _about(caches, name), _used(caches, name), _measured(f"{caches}/{name}")) for name in _names(caches)
    ]
    return sorted(listed, key=lambda each: -each.used)


def keep(caches: str, blobs: "Blobs", *, userxattr: bool) -> list[Kept]:
    """Packs every one of them into a blob. Waits for steps that use them."""
    return [_packed(caches, name, blobs, userxattr) for name in sorted(_names(caches))]


def put_back(kept: Kept, caches: str, blobs: "Blobs", *, rootless: bool) -> bool:
    """Makes the directory of a cache mount that was packed, verified; False if there is one of that name already.

    Raises Corrupt and Invalid for a layer that is not what it should be.
    """
    os.makedirs(caches, mode=0o700, exist_ok=True)
    with locks.held(f"{caches}/{kept.name}.lock"):
        if os.path.isdir(f"{caches}/{kept.name}"):
            return False
        made = f"{caches}/{kept.name}.{os.urandom(8).hex()}"
        try:
            _unpack(kept, made, blobs, rootless)
            os.rename(made, f"{caches}/{kept.name}")
        except BaseException:
            remove_tree(made)
            raise
    return True


def remove(caches: str, name: str) -> bool:
    """Removes a cache mount; False if a step uses it."""
    with locks.held(f"{caches}/{name}.lock", wait=False) as alone:
        if alone:
            remove_tree(f"{caches}/{name}")
        return alone


def sweep(caches: str) -> None:
    """Removes what a killed process left half made."""
    for name in os.listdir(caches) if os.path.isdir(caches) else ():
        of, _, rest = name.rpartition(".")
        if NAME.fullmatch(of) and _ASIDE.fullmatch(rest):
            with locks.held(f"{caches}/{of}.lock", wait=False) as alone:
                if alone:
                    remove_tree(f"{caches}/{name}")


def _names(caches: str) -> list[str]:
    try:
        with os.scandir(caches) as entries:
            return [entry.name for entry in entries if NAME.fullmatch(entry.name)]
    except FileNotFoundError:
        return []


def _packed(caches: str, name: str, blobs: "Blobs", userxattr: bool) -> Kept:
    with locks.held(f"{caches}/{name}.lock"):
        fd = os.open(f"{caches}/{name}/it", _DIRECTORY)
        try:
            status = os.fstat(fd)
            layer = pack(fd, blobs, userxattr=userxattr)
        finally:
            os.close(fd)
    mode = stat.S_IMODE(status.st_mode)
    return Kept(name, _about(caches, name), mode, status.st_uid, status.st_gid, layer)


def _unpack(kept: Kept, directory: str, blobs: "Blobs", rootless: bool) -> None:
    os.mkdir(directory, 0o700)
    os.mkdir(f"{directory}/it", 0o700)
    fd = os.open(f"{directory}/it", _DIRECTORY)
    try:
        with blobs.open(kept.layer.descriptor.digest) as blob:
            how = media.compression(kept.layer.descriptor.media_type) or "none"
            apply.unpack(blob, fd, kept.layer.diff_id, how=how, userxattr=rootless, rootless=rootless)
        owners.choose(rootless)(fd, kept.uid, kept.gid, None)
        os.fchmod(fd, kept.mode)
    finally:
        os.close(fd)
    with open(f"{directory}/about", "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(kept.about)


def _about(caches: str, name: str) -> str:
    try:
        with open(f"{caches}/{name}/about", encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""  # it is older than that file


def _used(caches: str, name: str) -> float:
    with suppress(FileNotFoundError):
        return os.stat(f"{caches}/{name}.lock").st_mtime
    return 0.0


def _measured(directory: str) -> int:
    """Bytes on disk of all files below, each once however many names it has. What vanishes meanwhile does not count."""
    sizes: dict[tuple[int, int], int] = {}
    for where, _, names, fd in os.fwalk(directory, follow_symlinks=False):
        del where
        for name in (*names, "."):
            with suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                sizes[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(sizes.values())
