"""How Go prints values (pkg.go.dev/fmt): ``%v`` and the verbs of ``printf``."""

from __future__ import annotations

import re

from sampan.cli.templates.values import Absent, Record, Row
from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_VERB = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>\d*)(?:\.(?P<precision>\d*))?(?P<verb>.)?", re.DOTALL)
_WIDEST = 10_000
_QUOTED = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def show(value: Any) -> str:
    """``value`` as ``%v``: ``[a b]``, ``map[k:v]``, ``{v w}``."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    if value is None:
        return "<nil>"
    if isinstance(value, Absent):
        return value.shown
    if isinstance(value, Record):
        return f"{{{' '.join(show(item) for item in value.values())}}}"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{show(item)}' for key, item in sorted(value.items()))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(show, value))}]"
    if isinstance(value, Row):
        return f"{{{' '.join(show(value[name]) for name in value.names() if not callable(value[name]))}}}"
    return str(value)


def printed(values: Sequence[Any]) -> str:
    """As ``print``: a space between two values of which neither is a text."""
    text = ""
    for number, value in enumerate(values):
        if number and not isinstance(value, str) and not isinstance(values[number - 1], str):
            text += " "
        text += show(value)
    return text


def formatted(template: str, values: Sequence[Any]) -> str:
    """As ``printf``. Raises Invalid for an unknown verb, and for values that are too many, too few or do not fit."""
    waiting = list(values)

    def replace(match: re.Match[str]) -> str:
        if match["verb"] == "%":
            return "%"
        if not waiting:
            raise Invalid(f"invalid template: printf has no value for {match[0]!r}")
        return _one(match, waiting.pop(0))

    text = _VERB.sub(replace, template)
    if waiting:
        raise Invalid(f"invalid template: printf {template!r} has too many values")
    return text


def _one(match: re.Match[str], value: Any) -> str:
    flags, width, verb = match["flags"], int(match["width"] or 0), match["verb"] or ""
    precision = None if match["precision"] is None else int(match["precision"] or 0)
    if max(width, precision or 0) > _WIDEST:
        raise Invalid(f"invalid template: {match[0]!r} is wider than {_WIDEST} characters")
    text = _text(verb, value, precision, match[0], flags)
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and verb in "dxXobfeEgG":
        sign, digits = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
        return sign + digits.rjust(width - len(sign), "0")
    return text.rjust(width)


def _text(verb: str, value: Any, precision: int | None, shown: str, flags: str) -> str:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    sign = "+" if "+" in flags and number is not None and number >= 0 else ""
    if verb == "v" or (verb == "t" and isinstance(value, bool)):
        return (sign if verb == "v" else "") + show(value)
    if verb == "s" and number is None and not isinstance(value, bool):
        text = show(value)
        return text if precision is None else text[:precision]
    if verb == "q" and isinstance(value, str):
        return quoted(value)
    if verb in ("d", "x", "X", "o", "b", "c") and isinstance(number, int):
        return sign + (chr(number) if verb == "c" and 0 <= number <= 0x10FFFF else format(number, verb))
    if verb in ("x", "X") and isinstance(value, str):
        return format(value.encode().hex(), "s").upper() if verb == "X" else value.encode().hex()
    if verb in ("f", "e", "E", "g", "G") and isinstance(number, float):
        return sign + (_float(number) if verb == "g" and precision is None else f"{number:.{precision or 6}{verb}}")
    raise Invalid(f"invalid template: printf cannot show {show(value)!r} as {shown!r}")


def quoted(text: str) -> str:
    """``text`` as a Go string in quotes."""
    return '"' + "".join(_QUOTED.get(letter, letter) for letter in text) + '"'


def _float(value: float) -> str:
    """The shortest text that gives the same number back; with an exponent below 1e-4 and from 1e6 on."""
    if value != value or value in (float("inf"), float("-inf")):
        return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"
    places = next(places for places in range(17) if float(f"{value:.{places}e}") == value)
    if value and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{places}e}"
    return repr(value).removesuffix(".0")
