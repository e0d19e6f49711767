"""Questions and answers of the Domain Name System as bytes (RFC 1035, section 4): as far as a resolver needs them that
knows addresses of its own and passes on all else."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

A, PTR, AAAA, ANY = 1, 12, 28, 255
IN = 1
NO_ERROR, SERVER_FAILURE, NO_SUCH_NAME = 0, 2, 3
_HEADER = 12
_RESPONSE, _RECURSION, _OPCODE = 0x8000, 0x0180, 0x7800
_SECONDS = 5
_LABEL, _NAME = 63, 255
_QUESTION = b"\xc0\x0c"  # where the name of the question stands


class Question(NamedTuple):
    """What is asked. ``name`` is in small letters and without a dot at the end, ``end`` where its bytes end."""

    name: str
    kind: int
    category: int
    end: int


def question(message: bytes) -> Question | None:
    """The question of a query; None for what is none, or asks for several things."""
    if len(message) < _HEADER or _word(message, 2) & (_RESPONSE | _OPCODE) or _word(message, 4) != 1:
        return None
    labels, place = [], _HEADER
    while place < len(message) and message[place]:
        length = message[place]
        if length > _LABEL or place - _HEADER > _NAME:
            return None
        labels.append(message[place + 1 : place + 1 + length])
        place += 1 + length
    end = place + 5
    if end > len(message):
        return None
    name = b".".join(labels).decode("ascii", "replace").lower()
    return Question(name, _word(message, place + 1), _word(message, place + 3), end)


def answer(query: bytes, asked: Question, records: Sequence[tuple[int, bytes]] = (), code: int = NO_ERROR) -> bytes:
    """A reply with ``records``: kind and data of each."""
    flags = _RESPONSE | _RECURSION | _word(query, 2) & 0x0100 | code
    head = query[:2] + b"".join(number.to_bytes(2, "big") for number in (flags, 1, len(records), 0, 0))
    return head + query[_HEADER : asked.end] + b"".join(_record(kind, data) for kind, data in records)


def _record(kind: int, data: bytes) -> bytes:
    words = kind.to_bytes(2, "big") + IN.to_bytes(2, "big") + _SECONDS.to_bytes(4, "big")
    return _QUESTION + words + len(data).to_bytes(2, "big") + data


def domain(name: str) -> bytes:
    """A name as a record holds it."""
    return b"".join(bytes((len(label),)) + label.encode() for label in name.split(".")) + b"\0"


def reversed_address(name: str) -> str:
    """The IPv4 address that 4.3.2.1.in-addr.arpa asks about; empty for another name."""
    head = name.removesuffix(".in-addr.arpa")
    parts = head.split(".")
    return ".".join(reversed(parts)) if head != name and len(parts) == 4 else ""


def _word(message: bytes, place: int) -> int:
    return int.from_bytes(message[place : place + 2], "big")
