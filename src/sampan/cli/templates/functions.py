"""The functions of templates: Go's own (text/template) and those that Docker adds (docker/cli templates)."""

from __future__ import annotations

from sampan.cli.templates import printing
from sampan.cli.templates.values import NO_VALUE, Absent, Map, Record, plain
from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def call(name: str, arguments: list[Any], *, header: bool = False) -> Any:
    """What function ``name`` comes to; with ``header`` for a table's titles, which stay whole.

    Raises Invalid for an unknown function, and for arguments that do not fit, by the function's name.
    """
    if name not in _FUNCTIONS:
        raise Invalid(f"invalid template: function {name!r} is not defined", hint=f"known: {' '.join(NAMES)}")
    function, least, most = _FUNCTIONS[name]
    if not least <= len(arguments) <= most:
        raise Invalid(f"invalid template: {name} takes {_amount(least, most)}, not {len(arguments)}")
    if header and name in _PLAIN_IN_HEADERS:
        return arguments[0]
    return function(*arguments)


def truth(value: Any) -> bool:
    """Whether ``if`` takes it for true: all but false, 0, what is empty and what is not there."""
    return not isinstance(value, Absent) and (bool(value) or isinstance(value, Record))


def _amount(least: int, most: int) -> str:
    if most >= _MANY:
        return f"at least {least} argument{'s' if least != 1 else ''}"
    return f"{least} argument{'s' if least != 1 else ''}" if least == most else f"{least} to {most} arguments"


def _json(value: Any) -> str:
    from json import dumps

    return dumps(plain(value), separators=(",", ":"), ensure_ascii=False)


def _index(value: Any, *indices: Any) -> Any:
    for index in indices:
        value = _item(value, index)
    return value


def _item(value: Any, index: Any) -> Any:
    if isinstance(value, dict):
        if not isinstance(index, str):
            raise Invalid(f"invalid template: index {printing.show(index)} of a map is no text")
        return value.get(index, value.zero if isinstance(value, Map) else NO_VALUE)
    if isinstance(value, Absent) and value.shown == "map[]":
        return ""
    if isinstance(value, str | list) or (isinstance(value, Absent) and value.shown == "[]"):
        sequence: Any = value.encode() if isinstance(value, str) else [] if isinstance(value, Absent) else value
        if isinstance(index, bool) or not isinstance(index, int):
            raise Invalid(f"invalid template: index {printing.show(index)!r} of a list is no whole number")
        if not 0 <= index < len(sequence):
            raise Invalid(f"invalid template: index {index} is out of range: there are {len(sequence)}")
        return sequence[index]
    raise Invalid(f"invalid template: index needs a list or a map, not {_kind(value)}")


def _slice(value: Any, *bounds: Any) -> Any:
    if not isinstance(value, str | list):
        raise Invalid(f"invalid template: slice needs a text or a list, not {_kind(value)}")
    start, end = (*bounds, 0, len(value))[:2] if len(bounds) != 1 else (bounds[0], len(value))
    if not all(isinstance(bound, int) for bound in (start, end)) or not 0 <= start <= end <= len(value):
        raise Invalid(f"invalid template: slice is out of range: there are {len(value)}")
    return value[start:end]


def _length(value: Any) -> int:
    if isinstance(value, Absent) and value.shown in ("[]", "map[]"):
        return 0
    if not isinstance(value, str | list | dict):
        raise Invalid(f"invalid template: len of {_kind(value)}")
    return len(value.encode() if isinstance(value, str) else value)


def _join(values: Any, separator: Any) -> str:
    if isinstance(values, Absent) and values.shown == "[]":
        return ""
    if not isinstance(values, list) or not isinstance(separator, str):
        raise Invalid(f"invalid template: join needs a list and a text, not {_kind(values)} and {_kind(separator)}")
    return separator.join(map(printing.show, values))


def _split(text: Any, separator: Any) -> list[str]:
    whole, by = _string(text, "split"), _string(separator, "split")
    return whole.split(by) if by else list(whole)


def _title(text: Any) -> str:
    words = _string(text, "title")
    return "".join(
        letter.title() if not words[place - 1 : place].isalnum() and words[place - 1 : place] != "_" else letter
        for place, letter in enumerate(words)
    )


def _pad(text: Any, before: Any, after: Any) -> str:
    value = _string(text, "pad")
    left, right = _number(before, "pad"), _number(after, "pad")
    return f"{' ' * min(left, _MANY)}{value}{' ' * min(right, _MANY)}" if value else ""


def _truncate(text: Any, length: Any) -> str:
    value = _string(text, "truncate")
    return value[: _number(length, "truncate")]


def _equal(first: Any, *others: Any) -> bool:
    return any(_comparable(first, other, "eq") and first == other for other in others)


def _comparable(first: Any, second: Any, name: str) -> bool:
    """Whether both may be the same. Raises Invalid for kinds that Go does not compare."""
    if isinstance(first, Absent) or isinstance(second, Absent) or first is None or second is None:
        return False
    if _basic(first) != _basic(second) or _basic(first) == "":
        raise Invalid(f"invalid template: {name} cannot compare {_kind(first)} with {_kind(second)}")
    return True


def _less(first: Any, second: Any, name: str = "lt") -> bool:
    if not _comparable(first, second, name) or isinstance(first, bool):
        raise Invalid(f"invalid template: {name} cannot compare {_kind(first)} with {_kind(second)}")
    return bool(first < second)


def _basic(value: Any) -> str:
    for kind, name in ((bool, "bool"), (int, "int"), (float, "float"), (str, "string")):
        if isinstance(value, kind):
            return name
    return ""


def _kind(value: Any) -> str:
    if isinstance(value, Absent) or value is None:
        return "nothing"
    return _basic(value) or (
        "a list" if isinstance(value, list) else "a map" if isinstance(value, Map) else "an object"
    )


def _string(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise Invalid(f"invalid template: {name} needs a text, not {_kind(value)}")
    return value


def _number(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Invalid(f"invalid template: {name} needs a number that is not negative, not {printing.show(value)!r}")
    return value


_MANY = 1000
_FUNCTIONS: dict[str, tuple[Callable[..., Any], int, int]] = {
    "and": (lambda *values: next((value for value in values if not truth(value)), values[-1]), 1, _MANY),
    "or": (lambda *values: next((value for value in values if truth(value)), values[-1]), 1, _MANY),
    "not": (lambda value: not truth(value), 1, 1),
    "eq": (_equal, 2, _MANY),
    "ne": (lambda first, second: not _equal(first, second), 2, 2),
    "lt": (_less, 2, 2),
    "le": (lambda first, second: not _less(second, first, "le"), 2, 2),
    "gt": (lambda first, second: _less(second, first, "gt"), 2, 2),
    "ge": (lambda first, second: not _less(first, second, "ge"), 2, 2),
    "len": (_length, 1, 1),
    "index": (_index, 1, _MANY),
    "slice": (_slice, 1, 3),
    "print": (lambda *values: printing.printed(values), 0, _MANY),
    "printf": (lambda text, *values: printing.formatted(_string(text, "printf"), values), 1, _MANY),
    "println": (lambda *values: " ".join(map(printing.show, values)) + "\n", 0, _MANY),
    "json": (_json, 1, 1),
    "join": (_join, 2, 2),
    "split": (_split, 2, 2),
    "lower": (lambda text: _string(text, "lower").lower(), 1, 1),
    "upper": (lambda text: _string(text, "upper").upper(), 1, 1),
    "title": (_title, 1, 1),
    "pad": (_pad, 3, 3),
    "truncate": (_truncate, 2, 2),
}
NAMES = tuple(_FUNCTIONS)
_PLAIN_IN_HEADERS = ("json", "title", "lower", "upper", "truncate")
