"""A stack of snapshot directories read as the one tree that overlayfs would show, without a mount.

Rules of the kernel's Documentation/filesystems/overlayfs.rst: the topmost entry of a name counts; a character device
0:0 is a whiteout and hides what lies below it; directories of the same name are merged until one is marked opaque or
something else than a directory comes. Foreign names never leave the tree: symbolic links are resolved here, component
by component, and the kernel is only ever asked for paths in which it must not follow any (RESOLVE_NO_SYMLINKS).
"""

from __future__ import annotations

import errno
import os
import stat

from sampan.errors import Invalid
from sampan.layers import whiteouts
from sampan.linux import beneath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import NamedTuple, Protocol
else:
    from sampan.values import NamedTuple

    Protocol = object

MAX_LINKS = 40
"""As many symbolic links as the kernel follows in one path (path_resolution(7))."""


class Found(NamedTuple):
    """Where a path leads: ``path`` is relative to the root and free of links, ``.`` and ``..`` (``b""`` is the root);
    ``status`` is its lstat(2), None if nothing is there."""

    path: bytes
    status: os.stat_result | None

    @property
    def is_directory(self) -> bool:
        return self.status is not None and stat.S_ISDIR(self.status.st_mode)


class View(Protocol):
    """Files below some root. Every path is relative to it and free of links, as ``resolve`` and ``children`` do it."""

    def stat(self, path: bytes) -> os.stat_result | None:
        """lstat(2); None if nothing is there."""

    def children(self, path: bytes) -> Mapping[bytes, os.stat_result]:
        """The names in a directory, sorted, each with its lstat(2); nothing for what is no directory."""

    def open(self, path: bytes, flags: int = os.O_RDONLY) -> int:
        """A descriptor of what is there. Raises FileNotFoundError, and ELOOP for a link unless ``flags`` have O_PATH
        and O_NOFOLLOW. Give O_NONBLOCK where it may be a FIFO."""

    def readlink(self, path: bytes) -> bytes:
        """The target of a symbolic link."""


def resolve(view: View, path: bytes, *, follow: bool = True) -> Found:
    """Where ``path`` leads when links are followed below the root (the last component's only with ``follow``).

    A path whose end is not there resolves to where it would be made. Raises NotADirectoryError when a component on
    the way is a file, and OSError with ELOOP.
    """
    waiting = _parts(path)[::-1]
    walked: list[bytes] = []
    links = 0
    status = view.stat(b"")
    while waiting:
        part = waiting.pop()
        if part == b"..":
            del walked[-1:]
            status = view.stat(b"/".join(walked))
            continue
        if status is not None and not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", _shown(walked))
        walked.append(part)
        if status is not None:
            status = view.stat(b"/".join(walked))
        if status is not None and stat.S_ISLNK(status.st_mode) and (waiting or follow):
            links += 1
            if links > MAX_LINKS:
                raise OSError(errno.ELOOP, "Too many levels of symbolic links", os.fsdecode(path))
            target = view.readlink(b"/".join(walked))
            walked = [] if target.startswith(b"/") else walked[:-1]
            status = view.stat(b"/".join(walked))
            waiting.extend(_parts(target)[::-1])
    return Found(b"/".join(walked), status)


class Tree:
    """The merged View of ``stack`` (absolute directories, topmost first); a context manager, read only.

    What a directory consists of is remembered: whoever changes a directory of the stack meanwhile calls ``forget``.
    Used by one thread at a time.
    """

    __slots__ = ("_merged", "_opaque", "_roots")

    def __init__(self, stack: Sequence[str], userxattr: bool) -> None:
        self._opaque = "user.overlay.opaque" if userxattr else "trusted.overlay.opaque"
        self._roots: list[int] = []
        self._merged: dict[bytes, tuple[int, ...]] = {}
        try:
            for directory in stack:
                self._roots.append(beneath.open_root(directory))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Tree:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        while self._roots:
            os.close(self._roots.pop())
        self._merged.clear()

    def resolve(self, path: bytes, *, follow: bool = True) -> Found:
        """See the function ``resolve``."""
        return resolve(self, path, follow=follow)

    def stat(self, path: bytes) -> os.stat_result | None:
        return self._lookup(path)[1]

    def children(self, path: bytes) -> dict[bytes, os.stat_result]:
        found: dict[bytes, os.stat_result | None] = {}
        for layer in self._layers(path):
            directory = beneath.open_in(self._roots[layer], path, os.O_RDONLY | os.O_DIRECTORY, links=False)
            try:
                with os.scandir(directory) as entries:
                    for entry in entries:
                        name = os.fsencode(entry.name)
                        if name not in found:
                            status = entry.stat(follow_symlinks=False)
                            found[name] = None if whiteouts.is_whiteout(status) else status
            finally:
                os.close(directory)
        return {name: status for name, status in sorted(found.items()) if status is not None}

    def open(self, path: bytes, flags: int = os.O_RDONLY) -> int:
        layer, status = self._lookup(path)
        if status is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", _shown([path]))
        return beneath.open_in(self._roots[layer], path, flags, links=False)

    def readlink(self, path: bytes) -> bytes:
        return self._readlink(self._lookup(path)[0], path)

    def read_file(self, path: bytes, limit: int) -> bytes | None:
        """The content of the regular file that ``path`` leads to; None if there is none.

        Never blocks on a FIFO or a device. Raises Invalid if it is no regular file, or larger than ``limit`` bytes.
        """
        try:
            found = self.resolve(path)
        except OSError as error:
            raise Invalid(f"{os.fsdecode(path)} in the image cannot be read: {error.strerror}") from None
        if found.status is None:
            return None
        if not stat.S_ISREG(found.status.st_mode):
            raise Invalid(f"{os.fsdecode(path)} in the image is not a regular file")
        if found.status.st_size > limit:
            raise Invalid(f"{os.fsdecode(path)} in the image is larger than {limit} bytes")
        with open(self.open(found.path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as file:
            return file.read(limit)

    def layers(self, path: bytes) -> tuple[int, ...]:
        """Which directories of the stack the directory ``path`` is merged from, topmost first."""
        return self._layers(path)

    def forget(self, path: bytes | None = None) -> None:
        """Looks at directory ``path`` anew next time; without a path at all of them."""
        if path is None:
            self._merged.clear()
        else:
            self._merged.pop(path, None)

    def _lookup(self, path: bytes) -> tuple[int, os.stat_result | None]:
        if not path:
            return (0, os.fstat(self._roots[0])) if self._roots else (-1, None)
        parent = path.rpartition(b"/")[0]
        for layer in self._layers(parent):
            status = self._lstat(layer, path)
            if status is not None:
                return (-1, None) if whiteouts.is_whiteout(status) else (layer, status)
        return -1, None

    def _layers(self, path: bytes) -> tuple[int, ...]:
        """The directories of the stack that directory ``path`` is merged from; none if it is not a directory."""
        # Without recursion: an image decides how deep its directories are.
        missing = []
        while path not in self._merged:
            missing.append(path)
            if not path:
                break
            path = path.rpartition(b"/")[0]
        for each in reversed(missing):
            candidates = self._merged[each.rpartition(b"/")[0]] if each else range(len(self._roots))
            self._merged[each] = tuple(self._merge(each, candidates))
        return self._merged[missing[0] if missing else path]

    def _merge(self, path: bytes, candidates: Iterable[int]) -> Iterable[int]:
        for layer in candidates:
            try:
                fd = beneath.open_in(self._roots[layer], path, os.O_PATH | os.O_NOFOLLOW, links=False)
            except FileNotFoundError:
                continue
            try:
                if not stat.S_ISDIR(os.fstat(fd).st_mode):
                    return
                yield layer
                if self._is_opaque(fd):
                    return
            finally:
                os.close(fd)

    def _is_opaque(self, fd: int) -> bool:
        try:
            return os.getxattr(f"/proc/self/fd/{fd}", self._opaque) == b"y"
        except OSError:
            return False

    def _lstat(self, layer: int, path: bytes) -> os.stat_result | None:
        try:
            fd = beneath.open_in(self._roots[layer], path, os.O_PATH | os.O_NOFOLLOW, links=False)
        except FileNotFoundError:
            return None
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def _readlink(self, layer: int, path: bytes) -> bytes:
        fd = beneath.open_in(self._roots[layer], path, os.O_PATH | os.O_NOFOLLOW, links=False)
        try:
            # An empty path reads the link that the descriptor itself is (readlinkat(2)).
            return os.readlink(b"", dir_fd=fd)
        finally:
            os.close(fd)


def _parts(path: bytes) -> list[bytes]:
    return [part for part in path.split(b"/") if part not in (b"", b".")]


def _shown(parts: Sequence[bytes]) -> str:
    return "/" + os.fsdecode(b"/".join(parts))
