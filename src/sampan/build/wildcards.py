"""Wildcards of Go's path/filepath.Match as regular expressions whose time does not grow with their number.

``.*a.*b.*c`` takes the text's length to the power of its stars, for where a later part fails every earlier one is tried
at every other place. That is for nothing: a star reaches from the first place where the part behind it matches to all
the later ones, so an atomic group can hold on to the first.
"""

import re
from collections.abc import Sequence

_CHARACTER = r"(?:\\.|[^\\\]-])"
BRACKET = rf"\[(?P<negated>\^?+)(?P<set>(?:{_CHARACTER}(?:-{_CHARACTER})?)+)\]"
"""A bracket expression; ``character_class`` takes its two groups."""
_RANGE = rf"(?s)({_CHARACTER})(?:-({_CHARACTER}))?"


def held(parts: Sequence[str], star: str, *, ends: bool) -> str:
    """Regular expressions in a row; ``star`` is the one that stands for any number of characters.

    ``ends`` is whether the last of them has to reach the end of the text. No other part may match a character that
    ``star`` does not.
    """
    first, *chunks = _split(parts, star)
    last = len(chunks) - 1
    return first + "".join(
        f"{star}{chunk}" if ends and number == last else f"(?>{star}?{chunk})" for number, chunk in enumerate(chunks)
    )


def _split(parts: Sequence[str], star: str) -> list[str]:
    found = [""]
    for part in parts:
        if part == star:
            found.append("")
        else:
            found[-1] += part
    return found


def character_class(text: str, negated: bool) -> str:
    """The inside of a bracket expression as a regular expression."""
    ranges = ((low[-1], (high or low)[-1]) for low, high in re.findall(_RANGE, text))
    inner = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in ranges if low <= high)
    if not inner:  # only ranges that end before they begin: no character is among them
        return "." if negated else "(?!)"
    return f"[{'^' if negated else ''}{inner}]"
