"""Logs in Docker's json-file form: one JSON object a line, with the text, the stream and the time.

A line longer than 16 KiB is written in parts, of which only the last ends in a newline, as Docker does it. A file that
has reached its size becomes ``PATH.1``, that one ``PATH.2`` and so on, and the oldest goes. ``reading`` reads them.
"""

from __future__ import annotations

import os
import time
from itertools import islice

from sampan import plainjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PART = 16 << 10
STREAMS = {1: "stdout", 2: "stderr"}
_BATCH = 128
"""Lines that are made at a time: a flood of short ones takes many times the memory of what was read."""


class Writer:
    """Turns bytes of two streams into lines of the log ``path``; "" keeps none.

    ``most`` are the bytes after which another file is begun (0: never), ``files`` how many there are at most, and
    ``attributes`` go with every line. A full disk is no reason for a container to end: ``lost`` counts the lines that
    found no room, and the log says so where they are missing, once there is room again.
    """

    def __init__(self, path: str, most: int = 0, files: int = 1, attributes: dict[str, str] | None = None) -> None:
        self._path = path
        self._most = most
        self._files = files
        self._attributes = f'"attrs":{plainjson.dumps(attributes)},' if attributes else ""
        self._pending = {1: b"", 2: b""}
        self._fd = self._open(path) if path else -1
        self._size = os.fstat(self._fd).st_size if path else 0
        self._reason = ""
        self.lost = 0

    def write(self, stream: int, data: bytes) -> None:
        """Takes what a stream said; whole lines are in the file on return."""
        if self._fd < 0:
            return
        data = self._pending[stream] + data
        whole = data.rfind(b"\n") + 1
        whole += (len(data) - whole) // PART * PART  # of a line that goes on, the parts that are full
        self._pending[stream] = data[whole:]
        entries = _entries(data, whole)
        while batch := list(islice(entries, _BATCH)):
            self._append(self._lines(stream, batch))

    def close(self) -> None:
        """Writes what was left without a newline."""
        if self._fd < 0:
            return
        for stream, rest in self._pending.items():
            if rest:
                self._append(self._lines(stream, [rest]))
        os.close(self._fd)

    def complaint(self) -> str:
        """What is to be said of the lines that were lost, if any."""
        return f"{self.lost} lines of its log were lost: {self._reason}" if self.lost else ""

    def _lines(self, stream: int, entries: list[bytes]) -> list[bytes]:
        end = f',"stream":"{STREAMS[stream]}",{self._attributes}"time":"{timestamp()}"}}\n'
        return [f'{{"log":{plainjson.quote(entry.decode("utf-8", "replace"))}{end}'.encode() for entry in entries]

    def _append(self, lines: list[bytes]) -> None:
        ready: list[bytes] = []
        size = self._size
        for line in lines:
            if self._most and size >= self._most:
                self._write(b"".join(ready))
                ready.clear()
                self._rotate()
                size = self._size
            ready.append(line)
            size += len(line)
        self._write(b"".join(ready))

    def _write(self, data: bytes) -> None:
        if self.lost:
            text = f"[sampan: {self.lost} lines are missing here: {self._reason}]\n"
            data = self._lines(2, [text.encode()])[0] + data
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            written, self._reason = 0, os.strerror(error.errno or 0)
        whole = written if written == len(data) else data.rfind(b"\n", 0, written) + 1
        self._size += whole
        if written == len(data):
            self.lost = 0
            return
        if written:
            os.ftruncate(self._fd, self._size)  # half a line would spoil the next one
            self._reason = "No space left on device"
        missing = data.count(b"\n", whole)
        self.lost = missing if whole else self.lost + missing - bool(self.lost)

    def _rotate(self) -> None:
        try:
            fd = self._open(f"{self._path}.new")
        except OSError:
            return  # there is room for the lines perhaps, and none for another file: this one goes on
        for number in range(self._files - 1, 0, -1):
            try:
                os.rename(f"{self._path}.{number - 1}" if number > 1 else self._path, f"{self._path}.{number}")
            except FileNotFoundError:
                continue
        os.rename(f"{self._path}.new", self._path)
        os.close(self._fd)
        self._fd, self._size = fd, 0

    def _open(self, path: str) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def timestamp(nanoseconds: int | None = None) -> str:
    """A moment (now by default) in RFC 3339, UTC, with nanoseconds."""
    seconds, fraction = divmod(time.time_ns() if nanoseconds is None else nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{fraction:09d}Z"


def _entries(data: bytes, end: int) -> Iterator[bytes]:
    """The lines of ``data`` up to ``end``, and the parts of long ones."""
    start = 0
    while start < end:
        newline = data.find(b"\n", start, min(start + PART, end))
        stop = newline + 1 if newline >= 0 else min(start + PART, end)
        yield data[start:stop]
        start = stop
