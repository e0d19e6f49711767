"""Challenges: what a server that answers 401 wants to see (RFC 9110, section 11.6.1)."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from sampan.errors import Invalid

MAX_CHARACTERS = 16 << 10

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SEPARATOR = re.compile(r"[ \t,]+")
# A bare value may hold characters that RFC 9110 wants quoted (realm=https://…): several registries send such.
_PARAMETER = re.compile(rf'(?P<name>{_TOKEN})[ \t]*=[ \t]*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s",]+))')
_SCHEME = re.compile(rf"(?P<scheme>{_TOKEN})(?:[ \t]+[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$)))?(?=[ \t,]|$)")


class Challenge(NamedTuple):
    """One way to authenticate; scheme and names of parameters in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse(header: str) -> tuple[Challenge, ...]:
    """The challenges of a WWW-Authenticate header, in its order. Raises Invalid.

    Several header lines may be joined by commas first. A parameter that comes twice keeps its first value.
    """
    if len(header) > MAX_CHARACTERS:
        raise Invalid(f"the server's challenge is longer than {MAX_CHARACTERS >> 10} KiB")
    found: list[tuple[str, dict[str, str]]] = []
    position = 0
    while position < len(header):
        if match := _SEPARATOR.match(header, position):
            pass
        elif found and (match := _PARAMETER.match(header, position)):
            found[-1][1].setdefault(match["name"].lower(), _value(match))
        elif match := _SCHEME.match(header, position):
            found.append((match["scheme"].lower(), {}))
        else:
            raise Invalid(f"the server's challenge cannot be understood at {header[position : position + 40]!r}")
        position = match.end()
    return tuple(Challenge(*each) for each in found)


def _value(match: re.Match[str]) -> str:
    if match["quoted"] is None:
        return match["bare"]
    return re.sub(r"\\(.)", r"\1", match["quoted"])
