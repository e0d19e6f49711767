"""Which shared libraries a program needs, found as the loader would find them (ld.so(8)), without running anything."""

import os
import stat
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from sampan.bases import elf
from sampan.bases.elf import Elf
from sampan.errors import Invalid

DEFAULT_DIRECTORIES = ("/lib", "/usr/lib", "/lib64", "/usr/lib64")
MUSL_DIRECTORIES = ("/lib", "/usr/local/lib", "/usr/lib")


class By(Enum):
    """What led the loader to a library, and so what has to stay as it is for it to be found again."""

    ORIGIN = "a path relative to the object that needs it"
    ABSOLUTE = "a path in the object that needs it"
    SEARCH = "the loader's own directories"


Place = tuple[str, By]


class Library(NamedTuple):
    """``path`` is where the library ``name`` lies."""

    name: str
    path: str
    by: By


class Closure(NamedTuple):
    """All that one object needs, itself left out, and the names that are nowhere to be found."""

    libraries: tuple[Library, ...]
    missing: tuple[str, ...]


class Search:
    """The loader's search on this machine. Keeps what it has read, as libraries are needed many times over."""

    __slots__ = ("_directories", "_known", "_library_path")

    def __init__(self, directories: Iterable[str], library_path: Iterable[str] = ()) -> None:
        self._directories = tuple(directories)
        self._library_path = tuple(library_path)
        self._known: dict[str, Elf | None] = {}

    def read(self, path: str) -> Elf | None:
        """The file's ELF header; None when it is something else, or damaged, or cannot be opened."""
        if path not in self._known:
            try:
                self._known[path] = _read(path)
            except (OSError, Invalid):
                self._known[path] = None
        return self._known[path]

    def rpath(self, path: str) -> tuple[Place, ...]:
        """The object's own RPATH, which what it loads inherits."""
        header = self.read(path)
        return _expand(header.rpath, path) if header and not header.runpath else ()

    def closure(self, path: str, inherited: tuple[Place, ...] = ()) -> Closure:
        """What the object at ``path`` needs, directly or not.

        ``inherited`` is the RPATH of those that load it: a plug-in is looked up with its program's.
        """
        found: dict[str, Library] = {}
        missing: dict[str, None] = {}
        queue = [(path, inherited)]
        for current, above in queue:
            header = self.read(current)
            if not header:
                continue
            # RUNPATH switches every RPATH off, those of the loading objects too.
            rpath = () if header.runpath else (*self.rpath(current), *above)
            places = (
                *rpath,
                *((place, By.SEARCH) for place in self._library_path),
                *_expand(header.runpath, current),
                *((place, By.SEARCH) for place in self._directories),
            )
            for name in header.needed:
                if name in found or name in missing:
                    continue
                library = self._find(name, header, places)
                if library:
                    found[name] = library
                    queue.append((library.path, rpath))
                else:
                    missing[name] = None
        return Closure(tuple(found.values()), tuple(missing))

    def find(self, name: str, like: Elf) -> Library | None:
        """The library that a dlopen of ``name`` would give an object of the same kind as ``like``."""
        return self._find(name, like, [(place, By.SEARCH) for place in (*self._library_path, *self._directories)])

    def _find(self, name: str, like: Elf, places: Iterable[Place]) -> Library | None:
        if "/" in name:
            places = (("", By.ABSOLUTE),)
        for place, by in places:
            candidate = os.path.normpath(os.path.join(place, name))
            header = self.read(candidate)
            # Libraries for other machines are passed over, as the loader does.
            if header and header.abi == like.abi:
                return Library(name, candidate, by)
        return None


def search(loader: str) -> Search:
    """The search of the program loader at path ``loader`` (PT_INTERP), with this process' LD_LIBRARY_PATH."""
    library_path = [path for path in os.environ.get("LD_LIBRARY_PATH", "").split(":") if path.startswith("/")]
    name = os.path.basename(loader)
    if name.startswith("ld-musl-"):
        architecture = name.removeprefix("ld-musl-").removesuffix(".so.1")
        return Search(_lines(f"/etc/ld-musl-{architecture}.path", ":\n") or MUSL_DIRECTORIES, library_path)
    own = os.path.dirname(os.path.realpath(loader))
    return Search(dict.fromkeys((*configured("/etc/ld.so.conf"), own, *DEFAULT_DIRECTORIES)), library_path)


def configured(path: str) -> list[str]:
    """The directories of an ld.so.conf and of the files that it includes, in their order (ldconfig(8))."""
    return [place for place in _configured(path, set()) if place.startswith("/")]


def _configured(path: str, seen: set[str]) -> list[str]:
    from glob import glob

    if path in seen:
        return []
    seen.add(path)
    found: list[str] = []
    for line in _lines(path, "\n"):
        words = line.partition("#")[0].replace(":", " ").replace(",", " ").split()
        if words[:1] == ["include"]:
            for pattern in words[1:]:
                for included in sorted(glob(os.path.join(os.path.dirname(path), pattern))):
                    found += _configured(included, seen)
        elif words[:1] != ["hwcap"]:
            found += words
    return found


def _read(path: str) -> Elf | None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return elf.read(fd) if stat.S_ISREG(os.fstat(fd).st_mode) else None
    finally:
        os.close(fd)


def _lines(path: str, separators: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except OSError:
        return []
    for separator in separators[1:]:
        text = text.replace(separator, separators[0])
    return [line.strip() for line in text.split(separators[0]) if line.strip()]


def _expand(places: Iterable[str], path: str) -> tuple[Place, ...]:
    origin = os.path.dirname(os.path.realpath(path))
    found = []
    for place in places:
        expanded = place.replace("${ORIGIN}", origin).replace("$ORIGIN", origin)
        # $LIB and $PLATFORM differ from loader to loader and hardly occur; a relative place would depend on the caller.
        if expanded.startswith("/") and "$" not in expanded:
            found.append((expanded, By.ABSOLUTE if expanded == place else By.ORIGIN))
    return tuple(found)
