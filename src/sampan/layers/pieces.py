"""A stream cut into pieces, each of which is compressed by itself: equal pieces come to equal bytes, wherever they are.

So what was compressed once need not be again, and a layer's bytes do not depend on how its archive was put together.
"""

from __future__ import annotations

from zlib import crc32

from sampan.layers.window import Data, Sink

SIZE = 1 << 20
"""Bytes that no piece is longer than."""
_LEAST = 1 << 15
_ONE_IN = 32


class Cutter:
    """Passes what is written on to ``write``, in pieces that are its own to keep: of ``SIZE`` bytes each, but for where
    it was cut, and the last. What is one run of bytes somewhere already comes from there and is not copied."""

    __slots__ = ("_begin", "_end", "_parts", "_size", "_source", "_write", "_written")

    def __init__(self, write: Sink) -> None:
        self._write = write
        self._parts: list[Data] = []
        self._source, self._begin, self._end = b"", 0, 0  # a run, behind all parts
        self._size = 0
        self._written = 0

    @property
    def offset(self) -> int:
        """How many bytes were written so far."""
        return self._written + self._size

    def write(self, data: Data) -> None:
        if self._source.startswith(data, self._end):
            self._end += len(data)
        else:
            self._end_run()
            self._parts.append(data)
        self._grow(len(data))

    def copy(self, source: bytes, begin: int, end: int) -> None:
        """Writes a part of ``source``."""
        if source is not self._source or begin != self._end:
            self._end_run()
            self._source, self._begin = source, begin
        self._end = end
        self._grow(end - begin)

    def may_cut(self, name: bytes) -> None:
        """Ends a piece in front of what is called ``name``, if that is a name to do so at: then the same names that
        come after a change are cut at the same places."""
        if self._size >= _LEAST and not crc32(name) % _ONE_IN:
            self.cut()

    def cut(self) -> None:
        """Ends a piece, if one has begun."""
        if self._size:
            self._write(self._joined())
            self._written += self._size
            self._size = 0

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size >= SIZE:
            joined = self._joined()
            end = self._size - self._size % SIZE
            for begin in range(0, end, SIZE):
                self._write(joined[begin : begin + SIZE])
            self._written += end
            self._parts, self._size = [joined[end:]], self._size - end

    def _joined(self) -> Data:
        self._end_run()
        parts, self._parts = self._parts, []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _end_run(self) -> None:
        if self._begin < self._end:
            self._parts.append(memoryview(self._source)[self._begin : self._end])
        self._source, self._begin, self._end = b"", 0, 0
