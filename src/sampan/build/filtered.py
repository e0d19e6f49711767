"""Parts of a View: what ``--exclude`` leaves of a directory, and what ``--parents`` takes out of it.

Both are views themselves, so that what is copied, and what a key is made of, is read by the same code.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping

from sampan.build.ignore import Ignore
from sampan.build.source import component, join
from sampan.errors import Invalid
from sampan.snapshots.lookup import View


class Excluding:
    """``view`` without what ``patterns`` match below the directory ``base``, relative to it."""

    __slots__ = ("_base", "_patterns", "_view")

    def __init__(self, view: View, base: bytes, patterns: Ignore) -> None:
        self._view = view
        self._base = base
        self._patterns = {b"": patterns}

    def stat(self, path: bytes) -> os.stat_result | None:
        return self._view.stat(path)

    def children(self, path: bytes) -> Mapping[bytes, os.stat_result]:
        inner = path[len(self._base) :].lstrip(b"/")
        found = self._view.children(path).items()
        return {name: status for name, status in found if self._shows(join(inner, name), join(path, name), status)}

    def open(self, path: bytes, flags: int = os.O_RDONLY) -> int:
        return self._view.open(path, flags)

    def readlink(self, path: bytes) -> bytes:
        return self._view.readlink(path)

    def _shows(self, inner: bytes, path: bytes, status: os.stat_result) -> bool:
        """As for .dockerignore: an excluded directory is there if something in it is let through again."""
        if not self._entered(inner.rpartition(b"/")[0]).excludes(os.fsdecode(inner)):
            return True
        return stat.S_ISDIR(status.st_mode) and not self._entered(inner).hides_all and bool(self.children(path))

    def _entered(self, inner: bytes) -> Ignore:
        patterns = self._patterns.get(inner)
        if patterns is None:
            patterns = self._entered(inner.rpartition(b"/")[0]).enter(os.fsdecode(inner))
            self._patterns[inner] = patterns
        return patterns


class Only:
    """``view`` with nothing but ``paths``, what lies below them, and the directories on the way to them."""

    __slots__ = ("_on_the_way", "_paths", "_view")

    def __init__(self, view: View, paths: Iterable[bytes]) -> None:
        self._view = view
        self._paths = set(paths)
        self._on_the_way = {parent for path in self._paths for parent in _parents(path)}

    def stat(self, path: bytes) -> os.stat_result | None:
        return self._view.stat(path)

    def children(self, path: bytes) -> Mapping[bytes, os.stat_result]:
        found = self._view.children(path)
        if not self._paths.isdisjoint((path, *_parents(path))):
            return found
        wanted = self._paths | self._on_the_way
        return {name: status for name, status in found.items() if join(path, name) in wanted}

    def open(self, path: bytes, flags: int = os.O_RDONLY) -> int:
        return self._view.open(path, flags)

    def readlink(self, path: bytes) -> bytes:
        return self._view.readlink(path)


def deep_matches(view: View, directory: bytes, pattern: str) -> Iterator[bytes]:
    """Paths below ``directory`` that match ``pattern``, whose ``**`` stands for any number of directories.

    Links are not followed. Raises Invalid for a malformed pattern.
    """
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Invalid(f"{pattern}: .. cannot stand after the pivot")
    compiled = [None if part == "**" else component(part, pattern) for part in parts]
    pending = [(directory, 0)]
    seen = set(pending)
    while pending:
        above, depth = pending.pop()
        for name, status in view.children(above).items():
            path, is_directory = join(above, name), stat.S_ISDIR(status.st_mode)
            for reached in _reached(os.fsdecode(name), depth, compiled):
                if reached == len(compiled):
                    yield path
                elif is_directory and (path, reached) not in seen:
                    seen.add((path, reached))
                    pending.append((path, reached))


def _reached(name: str, depth: int, compiled: list[re.Pattern[str] | None]) -> Iterator[int]:
    """How many parts of a pattern, of which ``depth`` are matched already, may be matched with ``name``."""
    while depth < len(compiled):
        part = compiled[depth]
        if part is not None:
            if part.fullmatch(name):
                yield depth + 1
            return
        yield len(compiled) if depth + 1 == len(compiled) else depth
        depth += 1


def _parents(path: bytes) -> Iterator[bytes]:
    while path:
        path = path.rpartition(b"/")[0]
        yield path
