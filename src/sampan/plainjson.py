"""JSON by the C parts of the standard library alone: ``json`` itself loads ``re`` and takes 4 ms at every start.

What is written is what ``json.dumps(value, separators=(",", ":"), ensure_ascii=False)`` gives.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_CONSTANTS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_SPACE = " \t\n\r"


class _Context:
    """What the scanner asks of a ``json.JSONDecoder``."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = _CONSTANTS.__getitem__
    memo: dict[str, str] = {}  # noqa: RUF012  (the scanner's own, as in the standard library)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is Python's, not JSON's")


class _Strict(_Context):
    parse_constant = staticmethod(_no_constant)


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


try:
    from _json import encode_basestring, make_encoder, make_scanner

    _scan: Any = make_scanner(_Context())  # type: ignore[arg-type]
    _scan_strictly: Any = make_scanner(_Strict())  # type: ignore[arg-type]
    _encode: Any = make_encoder({}, _refuse, encode_basestring, None, ":", ",", False, False, True)
except (ImportError, TypeError):  # another interpreter, or another version's private parts
    _scan = _scan_strictly = _encode = None


def quote(text: str) -> str:
    """A text as JSON."""
    if _encode is None:
        import json

        return json.dumps(text, ensure_ascii=False)
    return encode_basestring(text)


def loads(data: str | bytes, *, constants: bool = True) -> Any:
    """The value in ``data``; NaN and infinities, which only Python has, with ``constants``. Raises ValueError."""
    text = data if isinstance(data, str) else data.decode()
    if _scan is None:
        import json

        return json.loads(text, parse_constant=None if constants else _no_constant)
    stripped = text.strip(_SPACE)
    try:
        value, end = (_scan if constants else _scan_strictly)(stripped, 0)
    except StopIteration:
        raise ValueError("not JSON") from None
    if end != len(stripped):
        raise ValueError("more than one value")
    return value


def dumps(value: object) -> str:
    """``value`` as JSON on one line, without spaces. Raises TypeError for what JSON does not know."""
    if _encode is None:
        import json

        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return "".join(_encode(value, 0))
