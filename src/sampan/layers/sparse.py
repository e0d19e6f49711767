"""Maps of sparse files in tar archives: which ranges of a file are stored; the rest is holes.

Four formats are in use (GNU tar manual, "Storing Sparse Files"): the old one in headers of type S, and the pax formats
0.0, 0.1 (in records) and 1.0 (in front of the data).
"""

from collections.abc import Callable, Sequence

from sampan.errors import Invalid

Map = tuple[tuple[int, int], ...]
"""Offset and length of each stored range, in bytes, ascending."""

Take = Callable[[int], bytes]
"""Gives exactly that many of the archive's next bytes."""

_BLOCK = 512
_OLD_MAP = slice(386, 482)
_OLD_EXTENDED = 482
OLD_SIZE = slice(483, 495)
_EXTENSION_FLAG = 504


def checked(numbers: Sequence[int], size: int, stored: int) -> Map:
    """Pairs up ``numbers``; raises Invalid unless the ranges ascend, fit in ``size`` and add up to ``stored`` bytes."""
    ranges = tuple(zip(numbers[::2], numbers[1::2], strict=False))
    end = 0
    for offset, length in ranges:
        if offset < end or length < 0:
            raise Invalid("the layer has a sparse file whose ranges overlap")
        end = offset + length
    if len(numbers) % 2 or end > size or sum(length for _, length in ranges) != stored:
        raise Invalid("the layer has a sparse file whose map does not fit its size")
    return ranges


def old_map(header: bytes, take: Take, number: Callable[[bytes], int], limit: int) -> list[int]:
    """The numbers of an old GNU map: four ranges in the header, 21 in each extension block that follows it.

    Raises Invalid when the extensions take more than ``limit`` bytes.
    """
    numbers = _old_pairs(header[_OLD_MAP], number)
    more = header[_OLD_EXTENDED]
    while more:
        limit -= _BLOCK
        if limit < 0:
            raise Invalid("the layer has a sparse file with too large a map")
        block = take(_BLOCK)
        numbers += _old_pairs(block[:_EXTENSION_FLAG], number)
        more = block[_EXTENSION_FLAG]
    return numbers


def _old_pairs(table: bytes, number: Callable[[bytes], int]) -> list[int]:
    numbers = []
    for start in range(0, len(table), 24):
        if not table[start]:  # an unused pair ends the table
            break
        numbers += [number(table[start : start + 12]), number(table[start + 12 : start + 24])]
    return numbers


def record_map(value: bytes) -> list[int]:
    """The numbers of a map of format 0.1: "offset,length,offset,length"."""
    return [_decimal(text) for text in value.split(b",")] if value else []


def leading_map(take: Take, stored: int, limit: int) -> tuple[list[int], int]:
    """The numbers of a map of format 1.0, and how many bytes it takes up in front of the data.

    Raises Invalid when that is more than ``limit`` or than the ``stored`` bytes of the entry.
    """
    lines: list[bytes] = []
    tail, used, wanted = b"", 0, 1
    while len(lines) < wanted:
        used += _BLOCK
        if used > min(limit, stored) or len(tail) > 20:
            raise Invalid("the layer has a sparse file with too large a map")
        *whole, tail = (tail + take(_BLOCK)).split(b"\n")
        lines += whole
        if wanted == 1 and lines:
            wanted += 2 * _decimal(lines[0])
    return [_decimal(line) for line in lines[1:wanted]], used


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise Invalid("the layer has a sparse file whose map is not made of numbers")
    return int(text)
