"""What is in an image: every path with its size and the layer that it comes from, and what lies below it unseen."""

import os
import stat
from typing import NamedTuple

from sampan.layers import whiteouts
from sampan.linux import beneath
from sampan.oci.digest import Digest
from sampan.snapshots.overlay import Overlay


class File(NamedTuple):
    """A regular file as one layer has it. ``layer`` counts from 0, the lowest."""

    path: bytes
    size: int
    mode: int
    mtime: int
    layer: int


class Contents(NamedTuple):
    """``visible`` is what a container sees, by path; ``hidden`` what layers above replaced or deleted: it takes room
    and is of no use. ``layers`` are the bytes of each layer's files."""

    visible: dict[bytes, File]
    hidden: tuple[File, ...]
    layers: tuple[int, ...]


def read(chain: Digest | None, snapshots: Overlay) -> Contents:
    """Walks the unpacked layers of an image, the lowest first. Raises NotFound."""
    visible: dict[bytes, File] = {}
    hidden: list[File] = []
    sizes: list[int] = []
    opaque = whiteouts.opaque_xattr(snapshots.userxattr)
    for number, directory in enumerate(reversed(snapshots.stack(chain))):
        layer = _Layer(directory, number, opaque)
        hidden += [visible.pop(path) for path in list(visible) if layer.hides(path)]
        visible |= layer.files
        sizes.append(sum(file.size for file in layer.files.values()))
    return Contents(visible, tuple(hidden), tuple(sizes))


class _Layer:
    """The files of one layer, and what it hides of those below."""

    def __init__(self, directory: str, number: int, opaque: bytes) -> None:
        self.files: dict[bytes, File] = {}
        self._replaced: set[bytes] = set()
        self._emptied: set[bytes] = set()
        self._inodes: set[tuple[int, int]] = set()
        root = beneath.open_root(directory)
        try:
            pending = [b""]
            while pending:
                pending += self._read(root, pending.pop(), number, opaque)
        finally:
            os.close(root)

    def hides(self, path: bytes) -> bool:
        """Whether a file of a layer below is not to be seen any more."""
        if path in self._replaced:
            return True
        while path:
            path = path.rpartition(b"/")[0]
            if path in self._replaced or path in self._emptied:
                return True
        return False

    def _read(self, root: int, path: bytes, number: int, opaque: bytes) -> list[bytes]:
        """Takes in one directory, and gives those in it."""
        fd = beneath.open_in(root, path, os.O_RDONLY | os.O_DIRECTORY, links=False)
        try:
            if path and _is_opaque(fd, opaque):
                self._emptied.add(path)
            with os.scandir(fd) as entries:
                found = [(os.fsencode(entry.name), entry.stat(follow_symlinks=False)) for entry in entries]
        finally:
            os.close(fd)
        directories = []
        for name, status in found:
            child = path + b"/" + name if path else name
            if stat.S_ISDIR(status.st_mode):
                directories.append(child)
                continue
            self._replaced.add(child)
            if stat.S_ISREG(status.st_mode):
                first = (status.st_dev, status.st_ino) not in self._inodes  # a hard link takes no room of its own
                self._inodes.add((status.st_dev, status.st_ino))
                size = status.st_size if first else 0
                self.files[child] = File(child, size, stat.S_IMODE(status.st_mode), status.st_mtime_ns, number)
        return directories


def _is_opaque(fd: int, name: bytes) -> bool:
    try:
        return os.getxattr(fd, name) == b"y"
    except OSError:
        return False
