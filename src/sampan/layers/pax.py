"""Records of pax extended headers: ``LENGTH KEY=VALUE\\n``, repeated (POSIX.1-2017, "pax Extended Header")."""

from collections.abc import Mapping

from sampan.errors import Invalid

XATTR = b"SCHILY.xattr."
SPARSE_MAP = b"GNU.sparse.map"
_SPARSE_PIECES = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
_NO_NUL = (b"path", b"linkpath", b"GNU.sparse.name")


def parse(data: bytes) -> dict[bytes, bytes]:
    """The records in ``data``; a later one wins. Raises Invalid.

    The repeated offset and numbytes records of GNU's sparse format 0.0 become the one map record of format 0.1.
    """
    records: dict[bytes, bytes] = {}
    pieces: list[bytes] = []
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 20)
        digits = data[position:space] if space > position else b""
        end = position + int(digits) if digits.isdigit() else 0
        if not position < space < end <= len(data) or data[end - 1] != 0x0A:
            raise Invalid("the layer has a pax header with a record of the wrong length")
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not key or not equals or 0 in key or (0 in value and key in _NO_NUL):
            raise Invalid("the layer has a pax header with a malformed record")
        if key in _SPARSE_PIECES:
            if key != _SPARSE_PIECES[len(pieces) % 2]:
                raise Invalid("the layer has a sparse file whose map is out of order")
            pieces.append(value)
        else:
            records[key] = value
        position = end
    if pieces:
        records[SPARSE_MAP] = b",".join(pieces)
    return records


def compose(records: Mapping[bytes, bytes]) -> bytes:
    """The inverse of ``parse``; records are sorted by key, so that equal records give equal bytes."""
    return b"".join(_record(key, records[key]) for key in sorted(records))


def _record(key: bytes, value: bytes) -> bytes:
    body = b" %b=%b\n" % (key, value)
    length = len(body) + len(str(len(body)))
    if len(str(length)) > len(str(len(body))):  # the length counts its own digits
        length += 1
    return str(length).encode() + body


def number(value: bytes, what: str) -> int:
    """A decimal number that is not negative. Raises Invalid, naming ``what``."""
    if not value.isdigit() or len(value) > 64:
        raise Invalid(f"the layer has a pax header with an impossible {what}: {value[:40]!r}")
    return int(value)


def nanoseconds(value: bytes) -> int:
    """A time ("1700000000.25", also negative) in nanoseconds. Raises Invalid."""
    sign, text = (-1, value[1:]) if value.startswith(b"-") else (1, value)
    whole, _, fraction = text.partition(b".")
    if fraction and not fraction.isdigit():
        raise Invalid(f"the layer has a pax header with an impossible time: {value[:40]!r}")
    return sign * (number(whole, "time") * 1_000_000_000 + int(fraction[:9].ljust(9, b"0")))
