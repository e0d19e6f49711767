"""Logs in Docker's json-file form: one JSON object a line, with the text, the stream and the time.

A line longer than 16 KiB is written in parts, of which only the last ends in a newline, as Docker does it.
"""

from __future__ import annotations

import os
import time

from sampan import plainjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

PART = 16 << 10
_BLOCK = 64 << 10
STREAMS = {1: "stdout", 2: "stderr"}


class Line(NamedTuple):
    """A line, or a part of one, that a container wrote. ``time`` is RFC 3339 in UTC with nanoseconds."""

    stream: int
    time: str
    text: str


class Writer:
    """Turns bytes of two streams into lines of a log."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._pending = {1: b"", 2: b""}

    def write(self, stream: int, data: bytes) -> None:
        """Takes what a stream said; whole lines are in the file on return."""
        data = self._pending[stream] + data
        lines = data.split(b"\n")
        rest = lines.pop()
        entries = [part for line in lines for part in _parts(line + b"\n")]
        if len(rest) >= PART:
            *full, rest = _parts(rest)
            entries += full
        self._pending[stream] = rest
        if entries:
            self._append(stream, entries)

    def close(self) -> None:
        """Writes what was left without a newline."""
        for stream, rest in self._pending.items():
            if rest:
                self._append(stream, [rest])
        os.close(self._fd)

    def _append(self, stream: int, entries: list[bytes]) -> None:
        now = timestamp()
        name = STREAMS[stream]
        texts = [
            plainjson.dumps({"log": entry.decode("utf-8", "replace"), "stream": name, "time": now}) for entry in entries
        ]
        data = ("\n".join(texts) + "\n").encode("utf-8", "replace")
        try:
            os.write(self._fd, data)
        except OSError:
            return  # a full disk must not end the container; what it says still reaches who listens


def timestamp(nanoseconds: int | None = None) -> str:
    """A moment (now by default) in RFC 3339, UTC, with nanoseconds."""
    seconds, fraction = divmod(time.time_ns() if nanoseconds is None else nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{fraction:09d}Z"


class Reader:
    """Reads a log while it grows; a context manager."""

    def __init__(self, path: str) -> None:
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # the container was made and never started
            self._fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._pending = b""

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *rest: object) -> None:
        os.close(self._fd)

    def seek_last(self, count: int) -> None:
        """Goes on with the last ``count`` lines that are there now, found from the end backwards."""
        end = position = os.lseek(self._fd, 0, os.SEEK_END)
        # The newline that ends the last line is none before it.
        left, start = count + 1, end
        while position and left:
            size = min(position, _BLOCK)
            position -= size
            block = os.pread(self._fd, size, position)
            at = len(block)
            while left and (at := block.rfind(b"\n", 0, at)) >= 0:
                left, start = left - 1, position + at + 1
        os.lseek(self._fd, 0 if left else start, os.SEEK_SET)

    def lines(self) -> Iterator[Line]:
        """The lines that have come since the last call."""
        while data := os.read(self._fd, 1 << 18):
            *lines, self._pending = (self._pending + data).split(b"\n")
            for line in lines:
                entry = _entry(line)
                if entry:
                    yield entry


def _entry(line: bytes) -> Line | None:
    """A line of the file; None for one that a crash or a full disk cut off."""
    try:
        value = plainjson.loads(line)
        return Line(2 if value["stream"] == "stderr" else 1, value["time"], value["log"])
    except (ValueError, KeyError, TypeError):
        return None


def _parts(line: bytes) -> list[bytes]:
    return [line[start : start + PART] for start in range(0, len(line), PART)] or [b""]
