"""File modes as chmod(1) takes them: octal, or symbolic (``u=rwX,go=rX``; POSIX chmod, EXTENDED DESCRIPTION).

Without a "who" all are meant; no umask takes part, for the image must not depend on whoever builds it.
"""

import re

from sampan.errors import Invalid

Mode = int | str
"""Permission bits, or a symbolic mode that ``check`` lets through."""

_CLAUSE = r"[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+"
_SYMBOLIC = rf"{_CLAUSE}(?:,{_CLAUSE})*"
_SHIFT = {"u": 6, "g": 3, "o": 0}
_SPECIAL = {"u": 0o4000, "g": 0o2000, "o": 0}
_STICKY = 0o1000


def parse(text: str) -> Mode:
    """Raises Invalid."""
    if re.fullmatch(r"0*[0-7]{1,4}", text):
        return int(text, 8)
    if re.fullmatch(_SYMBOLIC, text):
        return text
    raise Invalid(f"--chmod is not a mode: {text}", hint="octal, between 0 and 07777, or symbolic like u=rwX,go=rX")


def apply(mode: Mode, bits: int, is_directory: bool) -> int:
    """What ``mode`` makes of the permission bits ``bits``."""
    if isinstance(mode, int):
        return mode
    for clause in mode.split(","):
        who = clause[: len(clause) - len(clause.lstrip("ugoa"))]
        everyone = not who or "a" in who
        for operator, permissions in re.findall(r"([-+=])([ugo]|[rwxXst]*)", clause[len(who) :]):
            bits = _changed(bits, "ugo" if everyone else who, operator, permissions, is_directory, everyone)
    return bits


def _changed(bits: int, who: str, operator: str, permissions: str, is_directory: bool, everyone: bool) -> int:
    given = reach = 0
    for party in set(who):
        shift, special = _SHIFT[party], _SPECIAL[party]
        # As chmod(1), which leaves a directory's own set-id bits alone unless they are named.
        reach |= 0o7 << shift | (special if not is_directory or "s" in permissions else 0)
        if permissions in ("u", "g", "o") and permissions:
            given |= (bits >> _SHIFT[permissions] & 0o7) << shift
            continue
        given |= sum({"r": 4, "w": 2}.get(letter, 0) for letter in set(permissions)) << shift
        if "x" in permissions or ("X" in permissions and (is_directory or bits & 0o111)):
            given |= 1 << shift
        if "s" in permissions:
            given |= special
    if everyone or "o" in who:
        reach |= _STICKY
        given |= _STICKY if "t" in permissions else 0
    if operator == "+":
        return bits | given
    return bits & ~given if operator == "-" else bits & ~reach | given
