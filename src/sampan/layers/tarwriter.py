"""A writer of tar archives: ustar, with a pax header in front of an entry only where ustar cannot say it.

Equal entries give equal bytes. Formats: POSIX.1-2017 pax ("ustar Interchange Format", "pax Extended Header").
"""

from __future__ import annotations

import os
from zlib import adler32

from sampan.errors import Conflict, Invalid
from sampan.layers import pax, pieces
from sampan.layers.pieces import Cutter
from sampan.layers.tarball import DIRECTORY, FILE, HEADER, Entry
from sampan.layers.window import BLOCK, Sink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

_ZEROS = bytes(BLOCK)
_SECOND = 1_000_000_000
_OCTAL_7 = 0o7777777
_OCTAL_11 = 0o77777777777


class Member(NamedTuple):
    """A regular file as ``archive`` has it: its header, its content of ``size`` bytes, and padding."""

    archive: bytes
    begin: int
    end: int
    size: int


Content = int | bytes | Member | None
"""Of a regular file: a descriptor, the content itself, or all that an archive has of the file."""


class Writer:
    """Writes an archive through ``write``, which gets it in pieces that are its own to keep (``pieces.Cutter``).

    Times are written in whole seconds, as Docker does: a pax header for every file's nanoseconds would add a kilobyte
    to each, and would make layers differ that are equal to everyone else.
    """

    def __init__(self, write: Sink) -> None:
        self._cutter = Cutter(write)
        self._put = self._cutter.write

    @property
    def offset(self) -> int:
        """How many bytes the archive has so far."""
        return self._cutter.offset

    def add(self, entry: Entry, source: Content = None) -> None:
        """Adds ``entry``; a regular file's ``entry.size`` bytes come from ``source``.

        Raises Conflict when the source has fewer bytes than that, Invalid when the format cannot hold the entry.
        """
        self._cutter.may_cut(entry.name)
        if isinstance(source, Member):
            self._cutter.copy(source.archive, source.begin, source.end)
            return
        self._put(encode(entry))
        if entry.kind != FILE or not entry.size:
            return
        left = entry.size
        while left:
            data = os.read(source, min(left, pieces.SIZE)) if isinstance(source, int) else source
            if not data or len(data) > left:
                raise Conflict(f"{os.fsdecode(entry.name)} became shorter while it was read")
            self._put(data)
            left -= len(data)
        if padding := -entry.size % BLOCK:
            self._put(_ZEROS[:padding])

    def finish(self) -> None:
        """Ends the archive and hands over what is left."""
        self._put(_ZEROS * 2)
        self._cutter.cut()


def encode(entry: Entry) -> bytes:
    """The header of ``entry``, after a pax header where ustar is too narrow for it. Raises Invalid."""
    name, link, size, prefix = entry.name, entry.link, entry.size if entry.kind == FILE else 0, b""
    uid, gid, seconds = entry.uid, entry.gid, entry.mtime // _SECOND
    records = {pax.XATTR + key.replace(b"%", b"%25").replace(b"=", b"%3D"): entry.xattrs[key] for key in entry.xattrs}
    if 0 in name or 0 in link or entry.major > _OCTAL_7 or entry.minor > _OCTAL_7:
        raise Invalid(f"{name!r} cannot be stored in a layer")
    if entry.kind == DIRECTORY:
        name += b"/"
    if len(name) > 100:
        cut = name.find(b"/", len(name) - 101, len(name) - 1)
        if 0 < cut <= 155:
            name, prefix = name[cut + 1 :], name[:cut]
        else:
            records[b"path"] = name
            name = name[:100]
    if len(link) > 100:
        records[b"linkpath"] = link
    if size > _OCTAL_11:
        records[b"size"], size = b"%d" % size, 0
    if uid > _OCTAL_7:
        records[b"uid"], uid = b"%d" % uid, 0
    if gid > _OCTAL_7:
        records[b"gid"], gid = b"%d" % gid, 0
    if not 0 <= seconds <= _OCTAL_11:
        records[b"mtime"], seconds = b"%d" % seconds, 0
    header = _header(name, entry.kind, entry.mode, uid, gid, size, seconds, link, entry.major, entry.minor, prefix)
    if not records:
        return header
    body = pax.compose(records)
    above = b"PaxHeaders.0/" + name.rstrip(b"/").rpartition(b"/")[2][:80]
    extended = _header(above, b"x", 0o644, 0, 0, len(body), 0, b"", 0, 0, b"")
    return b"".join((extended, body, bytes(-len(body) % BLOCK), header))


def _header(
    name: bytes, kind: bytes, mode: int, uid: int, gid: int, size: int, seconds: int,
    link: bytes, major: int, minor: int, prefix: bytes,
) -> bytes:  # fmt: skip
    header = HEADER.pack(
        name, b"%07o" % mode, b"%07o" % uid, b"%07o" % gid, b"%011o" % size, b"%011o" % seconds, b" " * 8,
        kind, link, b"ustar\x0000", b"%07o" % major, b"%07o" % minor, prefix, b"",
    )  # fmt: skip
    # Adler-32's low half is the sum plus one unless that reaches 65521, which half a block of zeros rules out.
    total = (adler32(header) & 0xFFFF) - 1 if header.count(0) >= BLOCK // 2 else sum(header)
    return b"%b%06o\0 %b" % (header[:148], total, header[156:])
