"""An archive as a stream of bytes, and where in it a reader is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, Protocol
else:
    Protocol = object

BLOCK = 512
CHUNK = 1 << 18


class Source(Protocol):
    """Bytes to be read; at the end, and only there, the answer is empty."""

    def read(self, size: int, /) -> bytes: ...


Data = bytes | memoryview
Sink = Callable[[Data], object]
"""Takes a stream, in pieces that are its own to keep."""


class Window:
    """An archive as a stream: the part read last, and what is left of the current entry's data."""

    __slots__ = ("_budget", "_bytes", "_left", "_padding", "_read", "_start")

    def __init__(self, source: Source, budget: int) -> None:
        self._read = source.read
        self._bytes = b""
        self._start = 0
        self._left = 0
        self._padding = 0
        self._budget = budget

    def _more(self) -> bytes:
        data = self._read(CHUNK)
        self._budget -= len(data)
        if self._budget < 0:
            raise Invalid("the layer is larger than its limit allows")
        return data

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes; fewer only at the end of the stream."""
        start, end = self._start, self._start + count
        if end > len(self._bytes):
            parts = [self._bytes[start:]]
            missing = count - len(parts[0])
            while missing > 0 and (data := self._more()):
                parts.append(data)
                missing -= len(data)
            self._bytes = b"".join(parts)
            start, end = 0, count
        self._start = end
        return self._bytes[start:end]

    def exactly(self, count: int) -> bytes:
        data = self.take(count)
        if len(data) < count:
            truncated()
        return data

    def padded(self, count: int) -> bytes:
        """``count`` bytes, the padding after them left out."""
        return self.exactly(count + -count % BLOCK)[:count]

    def begin(self, stored: int) -> None:
        """What follows is ``stored`` bytes of an entry's data."""
        self._left = stored
        self._padding = -stored % BLOCK

    def data(self) -> Iterator[memoryview]:
        while self._left:
            if self._start >= len(self._bytes):
                self._bytes, self._start = self._more() or truncated(), 0
            chunk = memoryview(self._bytes)[self._start : self._start + self._left]
            self._start += len(chunk)
            self._left -= len(chunk)
            yield chunk

    def end(self) -> None:
        """Passes over what nobody read of the entry's data, and the padding.

        The last entry's may be missing, as Go's archive/tar, hence Docker, lets it: umoci writes such layers.
        """
        padding, self._padding = self._padding, 0
        self._start += self._left + padding
        self._left = 0
        while (beyond := self._start - len(self._bytes)) > 0:
            data = self._more()
            if not data and beyond > padding:
                truncated()
            self._bytes, self._start = data, beyond if data else 0
            if not data:
                return

    def drain(self) -> None:
        while self._more():
            pass


def truncated() -> NoReturn:
    raise Invalid("the layer is truncated: the archive ends in the middle of an entry")
