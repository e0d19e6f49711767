"""A stream cut into pieces, each of which is compressed by itself: equal pieces come to equal bytes, wherever they are.

So what was compressed once need not be again, and a layer's bytes do not depend on how its archive was put together.
"""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

SIZE = 1 << 20
"""Bytes that no piece is longer than."""
_LEAST = 1 << 15
_ONE_IN = 32


class Cutter:
    """Passes what is written on to ``write``, in pieces that are its own to keep: of ``SIZE`` bytes each, but for where
    it was cut, and the last."""

    __slots__ = ("_parts", "_size", "_write", "_written")

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._parts: list[bytes | memoryview] = []
        self._size = 0
        self._written = 0

    @property
    def offset(self) -> int:
        """How many bytes were written so far."""
        return self._written + self._size

    def write(self, data: bytes | memoryview) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size >= SIZE:
            self._pass_on()

    def may_cut(self, name: bytes) -> None:
        """Ends a piece in front of what is called ``name``, if that is a name to do so at: then the same names that
        come after a change are cut at the same places."""
        if self._size >= _LEAST and not crc32(name) % _ONE_IN:
            self.cut()

    def cut(self) -> None:
        """Ends a piece, if one has begun."""
        if self._size:
            self._write(b"".join(self._parts))
            self._written += self._size
            self._parts, self._size = [], 0

    def _pass_on(self) -> None:
        joined = b"".join(self._parts)
        end = len(joined) - len(joined) % SIZE
        for begin in range(0, end, SIZE):
            self._write(joined[begin : begin + SIZE])
        self._written += end
        self._parts, self._size = [joined[end:]], len(joined) - end
