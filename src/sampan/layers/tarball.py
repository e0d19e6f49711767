"""A reader of tar archives, made for layers: names are bytes, and an entry costs microseconds (``tarwriter`` writes).

Read are v7, ustar, pax, GNU and star headers, GNU's four sparse formats included; what is given out is checked as far
as an archive alone can be checked.

Formats: POSIX.1-2017 pax ("ustar Interchange Format", "pax Extended Header"); GNU tar manual, "Tar Internals".
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from zlib import adler32

from sampan.errors import Invalid
from sampan.layers import pax, sparse
from sampan.layers.window import Source, Window, truncated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

FILE, HARD_LINK, SYMLINK, CHAR, BLOCK, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"

_BLOCK = 512
_ZEROS = bytes(_BLOCK)
_SECOND = 1_000_000_000
_ID_MAX = 0xFFFF_FFFE  # 0xFFFFFFFF means "leave as it is" to chown(2)
_DEVICE_MAX = (1 << 20) - 1  # what Linux has for a minor number
_TIME_MAX = 1 << 92  # nanoseconds: what time_t holds

# name mode uid gid size mtime checksum kind link magic+version (uname gname) major minor prefix trailer
HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s64x8s8s155s12s")
_USTAR = b"ustar\x00"
_GNU = b"ustar "
_KINDS = {
    b"0": FILE, b"\0": FILE, b"7": FILE, b"S": FILE, b"1": HARD_LINK, b"2": SYMLINK, b"3": CHAR, b"4": BLOCK,
    b"5": DIRECTORY, b"D": DIRECTORY, b"6": FIFO,
}  # fmt: skip
_SPECIAL = frozenset((b"x", b"X", b"g", b"L", b"K", b"V"))
_LONG = {b"L": b"\0name", b"K": b"\0link"}  # beside pax records, whose keys have no NUL


class Limits(NamedTuple):
    """What an archive may ask for before it is refused as Invalid."""

    entries: int = 4_000_000
    header: int = 1 << 20
    """Bytes of one extended header or sparse map."""
    path: int = 4095
    """Bytes of a name or a link's target: PATH_MAX without its final NUL."""
    size: int = 1 << 40
    """Bytes of the whole archive, and of any one file when its holes are counted."""


LIMITS = Limits()


class Entry:
    """One member of an archive.

    ``kind`` is one of the constants above; ``mtime`` is in nanoseconds; ``size`` is that of the file, holes included.
    ``sparse`` lists the ranges that are stored, or is None when all is.
    """

    __slots__ = (
        "_source", "gid", "kind", "link", "major", "minor", "mode", "mtime", "name", "size", "sparse", "uid", "xattrs",
    )  # fmt: skip

    def __init__(
        self,
        name: bytes,
        kind: bytes = FILE,
        mode: int = 0o644,
        uid: int = 0,
        gid: int = 0,
        size: int = 0,
        mtime: int = 0,
        link: bytes = b"",
        major: int = 0,
        minor: int = 0,
        xattrs: dict[bytes, bytes] | None = None,
        sparse: sparse.Map | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.size = size
        self.mtime = mtime
        self.link = link
        self.major = major
        self.minor = minor
        self.xattrs = {} if xattrs is None else xattrs
        self.sparse = sparse
        self._source: Window | None = None

    def __repr__(self) -> str:
        return f"Entry({self.name!r}, {self.kind!r}, mode={self.mode:o}, size={self.size})"

    def chunks(self) -> Iterator[memoryview]:
        """The stored bytes, in order, once, and only until the next entry is asked for. Raises Invalid (truncated)."""
        return self._source.data() if self._source else iter(())

    def copy_to(self, fd: int) -> None:
        """Writes the content to the empty regular file ``fd``, holes as holes. Raises Invalid, OSError."""
        if self.sparse is None:
            for chunk in self.chunks():
                _write(fd, chunk)
            return
        os.ftruncate(fd, self.size)
        chunks, chunk = self.chunks(), memoryview(b"")
        for offset, length in self.sparse:
            os.lseek(fd, offset, os.SEEK_SET)
            while length:
                chunk = chunk or next(chunks)
                _write(fd, chunk[:length])
                length, chunk = length - len(chunk[:length]), chunk[length:]


def _write(fd: int, data: memoryview) -> None:
    while (written := os.write(fd, data)) < len(data):
        data = data[written:]


class _Extended:
    """What extended headers have said about the next entry.

    Global headers are passed over, as Go's archive/tar and with it Docker does: a layer must mean the same to all.
    """

    __slots__ = ("_longs", "_records")

    def __init__(self) -> None:
        self._records: dict[bytes, bytes] = {}
        self._longs: dict[bytes, bytes] = {}

    def add(self, kind: bytes, data: bytes) -> None:
        if kind in b"xX":
            self._records = pax.parse(data)
        elif kind in _LONG:
            self._longs[_LONG[kind]] = data.partition(b"\0")[0]

    def take(self) -> dict[bytes, bytes]:
        if not (self._records or self._longs):
            return self._records
        records = {**self._records, **self._longs}
        self._records, self._longs = {}, {}
        return records


def read(stream: Source, limits: Limits = LIMITS) -> Iterator[Entry]:
    """The entries of an uncompressed archive, in order; data that is not read is passed over.

    Reads the stream to its very end, also what lies after the archive, so that a digest taken on the way is that of
    all of it. Only regular files carry data. Raises Invalid for whatever is malformed or beyond ``limits``.
    """
    window = Window(stream, limits.size)
    extended = _Extended()
    count = 0
    while header := window.take(_BLOCK):
        if header == _ZEROS:
            if window.take(_BLOCK).strip(b"\0"):
                raise Invalid("the layer is not a tar archive: an empty block stands where a header should")
            break
        count += 1
        if count > limits.entries:
            raise Invalid(f"the layer has more than {limits.entries} entries")
        fields = _fields(header)
        kind, size = fields[7], _number(fields[4])
        if kind in _SPECIAL:
            if not 0 <= size <= limits.header:
                raise Invalid(f"the layer has an extended header of {size} bytes")
            extended.add(kind, window.padded(size))
            continue
        entry = _entry(fields, size)
        records = extended.take()
        stored = _extend(entry, records, size) if records else size
        if kind == b"S" or (records and entry.kind == FILE and _is_sparse(records)):
            stored = _sparse(entry, header, records, stored, window, limits)
        if kind == b"\0" and entry.name.endswith(b"/"):
            entry.kind = DIRECTORY
        _check(entry, stored, limits)
        if entry.kind == FILE:
            entry._source = window
        else:
            entry.size = 0
        window.begin(stored if entry.kind == FILE or kind == b"D" else 0)  # as Go's archive/tar, hence Docker, reads it
        yield entry
        window.end()
    if extended.take():
        truncated()
    window.drain()


def _fields(header: bytes) -> tuple[bytes, ...]:
    if len(header) < _BLOCK:
        truncated()
    fields = HEADER.unpack(header)
    # The low half of Adler-32 is 1 + the sum of the bytes, modulo 65521: the header's checksum at a tenth of the price
    # of sum(). The checksum's own bytes count as eight spaces.
    expected = _number(fields[6]) + sum(fields[6]) - 8 * 0x20
    if (expected + 1) % 65521 != adler32(header) & 0xFFFF and expected != _signed_sum(header):
        raise Invalid("the layer is not a tar archive, or a damaged one: a header's checksum is wrong")
    return fields


def _signed_sum(header: bytes) -> int:
    """The checksum as some early programs took it, over signed bytes."""
    return sum(header) - 256 * sum(byte > 127 for byte in header)


def _number(field: bytes) -> int:
    """A number of a header: octal digits, or two's complement in base 256 when the first bit is set (GNU)."""
    digits = field.strip(b"\0 ")
    if not digits:
        return 0
    if not digits.isdigit():
        if field[0] & 0x80:
            half = 1 << 8 * len(field) - 1
            value = int.from_bytes(field, "big") - half
            return value - half if field[0] & 0x40 else value
        digits = digits.partition(b"\0")[0].rstrip(b" ")
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise Invalid(f"the layer has a header with an impossible number: {field!r}")
    return int(digits, 8)


def _entry(fields: tuple[bytes, ...], size: int) -> Entry:
    name, mode, uid, gid, _, mtime, _, kind, link, magic, major, minor, prefix, trailer = fields
    if kind not in _KINDS:
        raise Invalid(f"the layer has an entry of unknown type {kind!r}")
    name = name.partition(b"\0")[0]
    if trailer.endswith(b"tar\0"):  # star keeps two times behind a shorter prefix
        prefix = prefix[:131]
    if prefix[0] and (magic.startswith(_USTAR) or (magic.startswith(_GNU) and _is_prefix(prefix))):
        name = prefix.partition(b"\0")[0] + b"/" + name
    entry = Entry(
        name, _KINDS[kind], _number(mode) & 0o7777, _number(uid), _number(gid), size, _number(mtime) * _SECOND
    )
    if link[0]:
        entry.link = link.partition(b"\0")[0]
    if kind in b"34" and magic.startswith((_USTAR, _GNU)):
        entry.major, entry.minor = _number(major), _number(minor)
    return entry


def _is_prefix(field: bytes) -> bool:
    """Whether what should be a GNU header's times is a prefix: Go before 1.8, so Docker of those days, wrote such."""
    return field[0] < 0x80 and not field[:12].strip(b"\0 ").isdigit()


def _extend(entry: Entry, records: Mapping[bytes, bytes], stored: int) -> int:
    """Lets pax records and GNU's long names replace what the header says; returns the bytes that are stored.

    An empty value says nothing, so that the header counts.
    """
    get = records.get
    entry.name = get(_LONG[b"L"]) or get(b"GNU.sparse.name") or get(b"path") or entry.name
    entry.link = get(_LONG[b"K"]) or get(b"linkpath") or entry.link
    if value := get(b"uid"):
        entry.uid = pax.number(value, "uid")
    if value := get(b"gid"):
        entry.gid = pax.number(value, "gid")
    if value := get(b"mtime"):
        entry.mtime = pax.nanoseconds(value)
    if value := get(b"size"):
        entry.size = stored = pax.number(value, "size")
    for key, value in records.items():
        if key.startswith(pax.XATTR):
            entry.xattrs[key[len(pax.XATTR) :].replace(b"%3D", b"=").replace(b"%25", b"%")] = value
    return stored


def _is_sparse(records: Mapping[bytes, bytes]) -> bool:
    return bool(records.get(pax.SPARSE_MAP)) or records.get(b"GNU.sparse.major") == b"1"


def _sparse(
    entry: Entry,
    header: bytes,
    records: Mapping[bytes, bytes],
    stored: int,
    window: Window,
    limits: Limits,
) -> int:
    """Sets size and map of a sparse entry; returns how many bytes of data follow."""
    if header[156:157] == b"S":
        entry.size = _number(header[sparse.OLD_SIZE])
        numbers = sparse.old_map(header, window.exactly, _number, limits.header)
    else:
        size = records.get(b"GNU.sparse.size") or records.get(b"GNU.sparse.realsize") or b""
        entry.size = pax.number(size, "size")
        if records.get(b"GNU.sparse.major") == b"1":
            numbers, used = sparse.leading_map(window.exactly, stored, limits.header)
            stored -= used
        else:
            numbers = sparse.record_map(records[pax.SPARSE_MAP])
    entry.sparse = sparse.checked(numbers, entry.size, stored)
    return stored


def _check(entry: Entry, stored: int, limits: Limits) -> None:
    if not entry.name:
        raise Invalid("the layer has an entry without a name")
    if len(entry.name) > limits.path or len(entry.link) > limits.path:
        raise Invalid(f"the layer has a name or link of more than {limits.path} bytes: {entry.name[:80]!r}…")
    if not (0 <= entry.size <= limits.size and 0 <= stored <= limits.size):
        raise Invalid(f"{entry.name!r} in the layer has an impossible size: {entry.size}")
    if not (0 <= entry.uid <= _ID_MAX and 0 <= entry.gid <= _ID_MAX):
        raise Invalid(f"{entry.name!r} in the layer has an impossible owner: {entry.uid}:{entry.gid}")
    if not (0 <= entry.major <= _DEVICE_MAX and 0 <= entry.minor <= _DEVICE_MAX):
        raise Invalid(f"{entry.name!r} in the layer has an impossible device number")
    if not -_TIME_MAX < entry.mtime < _TIME_MAX:
        raise Invalid(f"{entry.name!r} in the layer has an impossible time")
