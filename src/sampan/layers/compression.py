"""Layers packed and unpacked: gzip through isal, zstd, digests taken on the way.

A source is anything with ``read(n)`` that gives at most ``n`` bytes, and none only at the end. What inflates here comes
out in pieces of at most ``n`` bytes, however small the input was.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from isal import ISAL_VERSION, isal_zlib

from sampan.errors import Corrupt, Invalid
from sampan.layers.pieces import Cutter
from sampan.layers.window import Data, Sink, Source
from sampan.oci import digest as digests
from sampan.oci.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CHUNK = 1 << 18
GZIP_HEADER = b"\x1f\x8b\x08" + bytes(6) + b"\xff"  # no name, no time, no operating system
_GZIP_END = b"\x03\0"  # a last block without anything in it
GZIP_TRAILER = len(_GZIP_END) + 8
MAX_SIZE = 1 << 40
"""Bytes that a layer may inflate to."""

MAX_RATIO = 500
"""How often its stored size a layer may inflate to, once it is past ``FREE_SIZE``: zeros shrink a thousandfold in
honest layers too, but not gigabytes of them."""

FREE_SIZE = 4 << 30

COMPRESSOR = "vnd.sampan.layer.compressor"
"""The annotation of a layer that says what compressed it (``Deflate.implementation``)."""
_isal: Any = isal_zlib  # whose stubs take a class for an instance
_IsalError: type[Exception] = _isal.IsalError
_GZIP_LEVEL = 2  # of 0…3: as fast as 1 here (450 MB/s) and smaller
_ISAL_LEVELS = 3
_ZSTD_LEVEL = 3
_LEVELS = {"none": range(0), "gzip": range(10), "zstd": range(1, 23)}
_ZSTD_WINDOW = 1 << 27  # what zstd's own command line takes without being asked
_MAGIC = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))


Known = Callable[[Data, str], "bytes | None"]
"""Gives what an implementation (of ``Deflate``) made of a piece, or None."""


class Prefixed:
    """A source with some bytes put back in front."""

    __slots__ = ("_prefix", "_source")

    def __init__(self, prefix: bytes, source: Source) -> None:
        self._prefix = prefix
        self._source = source

    def read(self, size: int, /) -> bytes:
        if self._prefix:
            data, self._prefix = self._prefix[:size], self._prefix[size:]
            return data
        return self._source.read(size)


def sniff(source: Source) -> tuple[str, Source]:
    """How ``source`` is compressed by its first bytes, and a source that still has them."""
    head = b""
    while len(head) < 4 and (data := source.read(4 - len(head))):
        head += data
    how = next((how for magic, how in _MAGIC if head.startswith(magic)), "none")
    return how, Prefixed(head, source)


def inflate(
    source: Source, how: str = "auto", *, size: int = MAX_SIZE, ratio: int = MAX_RATIO, free: int = FREE_SIZE
) -> Source:
    """A source of what ``source`` inflates to; ``how`` is "none", "gzip", "zstd" or "auto" (by its first bytes).

    Reading raises Corrupt when the compressed data is damaged or cut short, Invalid when it inflates to more than
    ``size`` bytes, or, past ``free`` bytes, to more than ``ratio`` times what was read.
    """
    if how == "auto":
        how, source = sniff(source)
    if how == "none":
        return _Bounded(source, None, size, ratio, free)
    counted = _Counted(source)
    if how == "gzip":
        return _Bounded(_Gunzip(counted), counted, size, ratio, free)
    if how == "zstd":
        return _Bounded(_Unzstd(counted), counted, size, ratio, free)
    raise _unknown(how)


def inflate_whole(data: bytes, size: int) -> bytes:
    """What a gzip member inflates to, in one step: other threads run meanwhile. Raises Corrupt when it is damaged, cut
    short, or of more than ``size`` bytes."""
    member: Any = isal_zlib.decompressobj(wbits=31)
    try:
        inflated: bytes = member.decompress(data, size)
    except _IsalError as error:
        raise Corrupt(f"a gzip layer is damaged: {error}") from error
    if not member.eof:
        raise Corrupt("a gzip layer is cut short, or larger than it should be")
    return inflated


def _unknown(how: str) -> Invalid:
    return Invalid(f"layers cannot be compressed with {how!r}", hint='known are "none", "gzip" and "zstd"')


class _Counted:
    """A source that counts what is read from it."""

    __slots__ = ("_source", "count")

    def __init__(self, source: Source) -> None:
        self._source = source
        self.count = 0

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        self.count += len(data)
        return data


class _Bounded:
    """A source that must not give more than it may."""

    __slots__ = ("_count", "_free", "_packed", "_ratio", "_size", "_source")

    def __init__(self, source: Source, packed: _Counted | None, size: int, ratio: int, free: int) -> None:
        self._source = source
        self._packed = packed
        self._size = size
        self._ratio = ratio
        self._free = free
        self._count = 0

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        self._count += len(data)
        if self._count > self._size:
            raise Invalid(f"the layer inflates to more than {self._size} bytes")
        if self._packed and self._count > max(self._free, self._packed.count * self._ratio):
            raise Invalid(f"the layer inflates to more than {self._ratio} times its size")
        return data


class _Gunzip:
    """Inflates gzip members, one after the other (RFC 1952); zeros between and after them are padding."""

    __slots__ = ("_input", "_member", "_source")

    def __init__(self, source: Source) -> None:
        self._source = source
        self._input = b""
        self._member: Any = None

    def read(self, size: int, /) -> bytes:
        while True:
            if not self._input:
                self._input = self._source.read(CHUNK)
            if not self._input:
                if self._member:
                    raise Corrupt("a gzip layer is cut short")
                return b""
            if not self._member:
                self._input = self._input.lstrip(b"\0")
                if not self._input:
                    continue
                self._member = isal_zlib.decompressobj(wbits=31)
            try:
                data: bytes = self._member.decompress(self._input, size)
            except _IsalError as error:
                raise Corrupt(f"a gzip layer is damaged: {error}") from error
            self._input = self._member.unconsumed_tail
            if self._member.eof:
                self._input = self._member.unused_data
                self._member = None
            if data:
                return data


class _Unzstd:
    """Inflates zstd frames, one after the other (RFC 8878).

    The library cannot tell a frame that is cut short from one that ends: that shows in the digest, and in the archive.
    """

    __slots__ = ("_reader",)

    def __init__(self, source: Source) -> None:
        import zstandard

        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        readable: Any = source
        self._reader = decompressor.stream_reader(readable, read_across_frames=True)

    def read(self, size: int, /) -> bytes:
        import zstandard

        try:
            return self._reader.read(size)
        except zstandard.ZstdError as error:
            raise Corrupt(f"a zstd layer is damaged: {error}") from error


class Deflate:
    """Compresses what is written to it and passes it on to ``write``; equal input gives equal output.

    ``how`` is "none", "gzip" or "zstd", ``level`` 0 to 9 or 1 to 22, or None for what is fast and small enough. What
    was written is complete only after ``finish()``. Raises Invalid for another method or level.

    ``implementation`` says which library compresses, in which version, at which level: another may make other bytes of
    the same input. It is empty for "none". ``known`` is asked for what it made of a piece before. ``pieces`` are the
    sizes of each, before and after; ``size`` is what was passed on so far.
    """

    def __init__(
        self,
        write: Sink,
        how: str,
        level: int | None = None,
        known: Known | None = None,
    ) -> None:
        if how not in _LEVELS:
            raise _unknown(how)
        if level is not None and level not in _LEVELS[how]:
            raise Invalid(f"{how} has no level {level}", hint="gzip has 0 to 9, zstd 1 to 22")
        self._sink = write
        self._cutter = Cutter(self.add)
        self._compressor: Any = None
        self.size = 0
        self.implementation = ""
        self.pieces: list[tuple[int, int]] = []
        if how == "gzip":
            self._compressor = _Gzip(_GZIP_LEVEL if level is None else level, known)
            self.implementation = self._compressor.implementation
            self._put(GZIP_HEADER)
        elif how == "zstd":
            import zstandard

            level = _ZSTD_LEVEL if level is None else level
            self._compressor = zstandard.ZstdCompressor(level=level, write_checksum=True, threads=2).compressobj()
            self.implementation = f"zstd {'.'.join(map(str, zstandard.ZSTD_VERSION))} level {level}"

    def write(self, data: Data) -> None:
        """Takes data that comes in any amounts."""
        self._cutter.write(data)

    def add(self, piece: Data) -> None:
        """Takes a piece that stands for itself (``pieces.Cutter``)."""
        packed = self._compressor.compress(piece) if self._compressor else piece
        self.pieces.append((len(piece), len(packed)))
        self._put(packed)

    def finish(self) -> None:
        self._cutter.cut()
        if self._compressor:
            self._put(self._compressor.flush())

    def _put(self, data: Data) -> None:
        if data:
            self._sink(data)
            self.size += len(data)


class _Gzip:
    """The pieces of one gzip member (RFC 1952), each compressed by itself and padded to whole bytes with an empty block
    (RFC 1951 section 3.2.4). isal has the lowest levels only."""

    __slots__ = ("_crc", "_known", "_make", "_size", "implementation")

    def __init__(self, level: int, known: Known | None) -> None:
        self._known = known
        self._crc = self._size = 0
        library: Any = isal_zlib
        made_by = f"isa-l {ISAL_VERSION}"
        if level > _ISAL_LEVELS:
            import zlib

            library, made_by = zlib, f"zlib {zlib.ZLIB_RUNTIME_VERSION}"
        self._make: Callable[[], Any] = lambda: library.compressobj(level, wbits=-15)
        self.implementation = f"{made_by} gzip level {level} in pieces"

    def compress(self, piece: Data) -> bytes:
        self._crc = isal_zlib.crc32(piece, self._crc)
        self._size += len(piece)
        packed: bytes | None = self._known(piece, self.implementation) if self._known else None
        if packed is None:
            compressor = self._make()
            packed = compressor.compress(piece) + compressor.flush(isal_zlib.Z_SYNC_FLUSH)
        return packed

    def flush(self) -> bytes:
        return _GZIP_END + struct.pack("<II", self._crc, self._size & 0xFFFF_FFFF)


class Hashing:
    """Takes the sha256 and the size of what passes through it, whether read from ``source`` or given to ``update``."""

    __slots__ = ("_hash", "_source", "size")

    def __init__(self, source: Source | None = None) -> None:
        self._source = source
        self._hash = digests.hasher()
        self.size = 0

    def read(self, size: int, /) -> bytes:
        assert self._source is not None
        data = self._source.read(size)
        self.update(data)
        return data

    def update(self, data: Data) -> None:
        self._hash.update(data)
        self.size += len(data)

    def digest(self) -> Digest:
        """The digest of what has passed so far."""
        return Digest("sha256:" + self._hash.hexdigest())
