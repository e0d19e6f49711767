"""What goes into a base image's layer, as values: planned in any order, written sorted."""

import os
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple

from sampan.errors import Denied, Invalid, NotFound

_MAX_LINKS = 40


class Entry(NamedTuple):
    """One thing in the image; ``name`` is its path without the leading slash.

    Exactly one of ``target`` (a symbolic link), ``source`` (a file of this machine) and ``data`` (a file's bytes) is
    set; a directory has none. ``mtime`` is in seconds, None where this machine's says nothing.
    """

    name: str
    mode: int
    mtime: int | None = None
    target: str | None = None
    source: str | None = None
    data: bytes | None = None


class Contents:
    """The entries planned so far, one for each name: what was put first stays."""

    __slots__ = ("_entries", "_place")

    def __init__(self, place: Callable[[str], str] = str) -> None:
        """``place`` says where in the image a path of this machine goes."""
        self._entries: dict[str, Entry] = {}
        self._place = place

    def __iter__(self) -> Iterator[Entry]:
        """Sorted, so that every directory comes before what is in it."""
        return iter(sorted(self._entries.values(), key=lambda entry: entry.name.split("/")))

    def directory(self, path: str, mode: int = 0o755) -> None:
        self._put(Entry(path.strip("/"), mode))

    def link(self, path: str, target: str) -> None:
        self._put(Entry(path.strip("/"), 0o777, target=target))

    def write(self, path: str, data: str | bytes, mode: int = 0o644, mtime: int | None = None) -> None:
        """A file with these bytes."""
        self._put(Entry(path.strip("/"), mode, mtime, data=data.encode() if isinstance(data, str) else data))

    def copy(self, source: str, path: str | None = None) -> None:
        """The regular file ``source``, links followed, at ``path`` (default: where ``place`` puts it).

        Its mode becomes 0755 or 0644: no set-user-ID bit, no private mode reaches the image. Raises NotFound, Denied
        and Invalid.
        """
        info = _readable(source)
        mode = 0o755 if info.st_mode & 0o111 else 0o644
        self._put(Entry((path or self._place(source)).strip("/"), mode, int(info.st_mtime), source=source))

    def follow(self, path: str) -> None:
        """The file that ``path`` names, with every link on the way to it, each at its own place.

        So /bin → usr/bin and awk → /etc/alternatives/awk → mawk are in the image what they are here. Raises as copy
        does, and then plans nothing.
        """
        links: list[tuple[str, str]] = []
        current, ahead = "", _parts(path)
        while ahead:
            part = ahead.pop(0)
            if part == "..":
                current = os.path.dirname(current)
                continue
            following = f"{current}/{part}"
            try:
                target = os.readlink(following)
            except OSError:  # not a link; if it is not there at all, copy says so
                current = following
                continue
            if len(links) == _MAX_LINKS:
                raise Invalid(f"{path} leads through more than {_MAX_LINKS} links")
            links.append((following, target))
            ahead = _parts(target) + ahead
            if target.startswith("/"):
                current = ""
        self.copy(current)
        for name, target in links:
            self.link(self._place(name), self._place(target) if target.startswith("/") else target)

    def _put(self, entry: Entry) -> None:
        if entry.name in self._entries:
            return
        self._entries[entry.name] = entry
        parent = os.path.dirname(entry.name)
        if parent and parent not in self._entries:
            self.directory(parent)


def files(directory: str, wanted: Callable[[str], bool] = bool) -> Iterator[str]:
    """The regular files below ``directory`` whose names and directories are wanted; links only to files beside them."""
    with os.scandir(directory) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    for entry in entries:
        if not wanted(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from files(entry.path, wanted)
        elif entry.is_file(follow_symlinks=False) or _stays(entry.path, directory):
            yield entry.path


def _stays(link: str, directory: str) -> bool:
    target = os.path.realpath(link)
    return os.path.dirname(target) == os.path.realpath(directory) and os.path.isfile(target)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _readable(path: str) -> os.stat_result:
    try:
        info = os.stat(path)
    except PermissionError:
        raise Denied(f"{path} cannot be reached by this user") from None
    except OSError:
        raise NotFound(f"there is no file {path}") from None
    if not stat.S_ISREG(info.st_mode):
        raise Invalid(f"{path} is not a regular file")
    if not os.access(path, os.R_OK):
        raise Denied(f"{path} cannot be read by this user")
    return info
