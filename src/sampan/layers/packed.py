"""Archives of people, inflated: besides what layers are compressed with, bzip2 and xz (by the first bytes)."""

from __future__ import annotations

from sampan.errors import Corrupt
from sampan.layers import compression
from sampan.layers.window import Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CHUNK = 1 << 18
_LZMA_MEMORY = 256 << 20


def inflated(file: Source) -> Source:
    """A source of what ``file`` inflates to, or of itself. Reading raises what ``compression.inflate`` says."""
    head = file.read(6)
    source = compression.Prefixed(head, file)
    if head.startswith(b"BZh"):
        return compression.inflate(_Inflated(source, _bunzip2), "none")
    if head == b"\xfd7zXZ\0":
        return compression.inflate(_Inflated(source, _unxz), "none")
    return compression.inflate(source)


def _bunzip2() -> Any:
    from bz2 import BZ2Decompressor

    return BZ2Decompressor()


def _unxz() -> Any:
    from lzma import FORMAT_XZ, LZMADecompressor

    return LZMADecompressor(FORMAT_XZ, memlimit=_LZMA_MEMORY)


class _Inflated:
    """A source of what the streams in ``source``, one after the other, inflate to."""

    __slots__ = ("_make", "_source", "_stream")

    def __init__(self, source: Source, make: Any) -> None:
        self._source = source
        self._make = make
        self._stream = make()

    def read(self, size: int, /) -> bytes:
        from lzma import LZMAError

        while True:
            data = b""
            if self._stream.eof:
                data = self._stream.unused_data.lstrip(b"\0") or self._source.read(_CHUNK).lstrip(b"\0")
                if not data:
                    return b""
                self._stream = self._make()
            elif self._stream.needs_input and not (data := self._source.read(_CHUNK)):
                raise Corrupt("the archive is cut short")
            try:
                inflated: bytes = self._stream.decompress(data, size)
            except (OSError, ValueError, LZMAError) as error:
                raise Corrupt(f"the archive is damaged: {error}") from None
            if inflated:
                return inflated
