"""Sizes and resource limits as Docker's flags write them."""

import re

from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.build.host import Limit

_UNITS = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}
_LIMITS = frozenset(
    "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split()
)


def size(text: str, flag: str) -> int:
    """Bytes: ``64m``, ``1.5GiB`` (powers of 1024: ``RAMInBytes`` of docker/go-units). Raises Invalid."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d+)?) ?([bkmgtp]?)(?:i?b)?", text.lower(), re.ASCII)
    if not match:
        raise Invalid(f"invalid {flag} {text!r}: it is not a number of bytes", hint="for example 64m or 1g")
    return int(float(match[1]) * (1 << _UNITS[match[2]]))


def limit(text: str) -> "Limit":
    """``nofile=1024:2048`` or ``nofile=1024``; -1 stands for no limit (go-units, ParseUlimit). Raises Invalid."""
    from sampan.build.host import Limit

    match = re.fullmatch(r"([a-z]+)=(-1|\d{1,18})(?::(-1|\d{1,18}))?", text, re.ASCII)
    if not match:
        raise Invalid(f"invalid --ulimit {text!r}", hint="write it as NAME=SOFT[:HARD], for example nofile=1024:2048")
    name, soft = match[1], int(match[2])
    hard = soft if match[3] is None else int(match[3])
    if name not in _LIMITS:
        raise Invalid(
            f"invalid --ulimit {text!r}: there is no limit {name!r}", hint=f"one of {' '.join(sorted(_LIMITS))}"
        )
    if hard != -1 and (soft == -1 or soft > hard):
        raise Invalid(f"invalid --ulimit {text!r}: the soft limit is above the hard one")
    return Limit(f"RLIMIT_{name.upper()}", soft, hard)
