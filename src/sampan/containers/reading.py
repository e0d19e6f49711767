"""Reading a container's log (``logs``), also while it grows and its files take turns."""

from __future__ import annotations

import os

from sampan import plainjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

_BLOCK = 64 << 10


class Line(NamedTuple):
    """A line, or a part of one, that a container wrote. ``time`` is RFC 3339 in UTC with nanoseconds."""

    stream: int
    time: str
    text: str
    attributes: tuple[tuple[str, str], ...] = ()


class Reader:
    """Reads a log, from its oldest file on, while it grows; a context manager."""

    def __init__(self, path: str) -> None:
        self._directory, self._name = os.path.split(path)
        self._fd = self._open(self._numbers()[-1:])
        self._pending = b""

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *rest: object) -> None:
        os.close(self._fd)

    def seek_last(self, count: int) -> None:
        """Goes on with the last ``count`` lines that are there now, found from the end backwards."""
        left = count + 1  # the newline that ends the last line is none before it
        for number in self._numbers():
            os.close(self._fd)
            self._fd = self._open([number])
            left = _seek_back(self._fd, left)
            if not left:
                return

    def lines(self) -> Iterator[Line]:
        """The lines that have come since the last call."""
        yield from self._rest()
        while (newer := self._newer()) >= 0:
            yield from self._rest()  # what came before its file was full, and after it was looked at
            os.close(self._fd)
            self._fd, self._pending = newer, b""
            yield from self._rest()

    def _rest(self) -> Iterator[Line]:
        while data := os.read(self._fd, 1 << 18):
            *lines, self._pending = (self._pending + data).split(b"\n")
            for line in lines:
                entry = _entry(line)
                if entry:
                    yield entry

    def _newer(self) -> int:
        """A descriptor of the file that follows the one which is read; -1 if that is the newest.

        The files may change their names at any moment: what was opened counts only if the other still has its own.
        """
        while True:
            numbers, own = self._numbers(), self._own_number()
            if own == 0 or not numbers:
                return -1
            following = [number for number in numbers if own < 0 or number < own][-1:]
            if not following:
                return -1  # the monitor is just about to make it
            fd = self._open(following)
            if self._own_number() == own:
                return fd
            os.close(fd)

    def _own_number(self) -> int:
        """The number of the file which is read; -1 if it is gone."""
        own = os.fstat(self._fd)
        for number in self._numbers():
            try:
                if os.path.samestat(os.stat(self._path(number)), own):
                    return number
            except FileNotFoundError:
                continue
        return -1

    def _numbers(self) -> list[int]:
        """Of the files that there are, the newest first; that is 0."""
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:  # the container is being removed
            return []
        ends = [name.removeprefix(self._name) for name in names if name.startswith(self._name)]
        return sorted(int(end[1:] or 0) for end in ends if not end or end[1:].isdigit())

    def _path(self, number: int) -> str:
        return f"{self._directory}/{self._name}.{number}" if number else f"{self._directory}/{self._name}"

    def _open(self, numbers: list[int]) -> int:
        """The file of the one number; nothing is in it if it is not there: the container was made and never started."""
        path = self._path(numbers[0]) if numbers else os.devnull
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def _seek_back(fd: int, left: int) -> int:
    """Goes to where the last ``left`` - 1 lines of a file begin; 0, or how many are still wanted of older files."""
    start = position = os.lseek(fd, 0, os.SEEK_END)
    while position and left:
        size = min(position, _BLOCK)
        position -= size
        block = os.pread(fd, size, position)
        at = len(block)
        while left and (at := block.rfind(b"\n", 0, at)) >= 0:
            left, start = left - 1, position + at + 1
    os.lseek(fd, 0 if left else start, os.SEEK_SET)
    return left


def _entry(line: bytes) -> Line | None:
    """A line of the file; None for one that a crash cut off."""
    try:
        value = plainjson.loads(line)
        attributes = tuple(sorted((value.get("attrs") or {}).items()))
        return Line(2 if value["stream"] == "stderr" else 1, value["time"], value["log"], attributes)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
