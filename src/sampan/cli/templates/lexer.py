"""Go's templates (pkg.go.dev/text/template) in words: the text between actions, and the words of each action."""

from __future__ import annotations

import re

from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

_WORD = re.compile(
    r"""(?P<string>"(?:\\.|[^"\\\n])*"|`[^`]*`)
      | (?P<char>'(?:\\.|[^'\\\n])+')
      | (?P<number>[+-]?(?:0[xX][\da-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))
      | (?P<field>\.[^\W\d]\w*)
      | (?P<variable>\$\w*)
      | (?P<name>[^\W\d]\w*)
      | (?P<sign>:=|[=|(),.])""",
    re.VERBOSE | re.ASCII,
)
_SPACE = " \t\r\n"


class Word(NamedTuple):
    """One word of an action. ``spaced`` is whether a space comes before it: ``.A.B`` is one operand, ``.A .B`` two."""

    kind: str
    text: str
    spaced: bool


Part = str | tuple[Word, ...]
"""Text, or the words of an action."""


def split(source: str, *, escapes: bool = False) -> list[Part]:
    """The parts of a template in their order; comments are gone, and so is the space that ``{{-`` and ``-}}`` trim.

    With ``escapes`` a backslash and a "t" or "n" in the text are a tab and a newline, as Docker's listings have it.
    Raises Invalid for what is no word, and for an action without an end.
    """
    parts: list[Part] = []
    position, trim = 0, False
    while True:
        start = source.find("{{", position)
        text = source[position:] if start < 0 else source[position:start]
        if escapes:
            text = text.replace("\\t", "\t").replace("\\n", "\n")
        if trim:
            text = text.lstrip(_SPACE)
        if start < 0:
            return [*parts, text] if text else parts
        inside = start + 2
        if source[inside : inside + 1] == "-" and source[inside + 1 : inside + 2] in (*_SPACE,):
            text, inside = text.rstrip(_SPACE), inside + 2
        if text:
            parts.append(text)
        words, position, trim = _comment(source, inside) or _action(source, inside)
        if words:
            parts.append(words)


def _comment(source: str, position: int) -> tuple[tuple[Word, ...], int, bool] | None:
    if not source.startswith("/*", position):
        return None
    end = source.find("*/", position + 2)
    if end >= 0:
        if source.startswith("}}", end + 2):
            return (), end + 4, False
        if source[end + 2 : end + 3] in (*_SPACE,) and source.startswith("-}}", end + 3):
            return (), end + 6, True
    raise Invalid("invalid template: a comment has no end", hint="{{/* a comment */}} is the whole of its action")


def _action(source: str, position: int) -> tuple[tuple[Word, ...], int, bool]:
    words: list[Word] = []
    while position < len(source):
        spaced = source[position] in _SPACE
        while position < len(source) and source[position] in _SPACE:
            position += 1
        trim = spaced and source.startswith("-}}", position)
        if trim or source.startswith("}}", position):
            if not words:
                raise Invalid("invalid template: an action is empty: {{}}")
            return tuple(words), position + (3 if trim else 2), trim
        found = _WORD.match(source, position)
        if not found:
            if position < len(source):
                raise Invalid(f"invalid template: unexpected {source[position]!r} in {_shown(source, position)}")
            break
        words.append(Word(str(found.lastgroup), found[0], spaced))
        position = found.end()
    raise Invalid("invalid template: an action has no end", hint="each {{ needs its }}")


def _shown(source: str, position: int) -> str:
    """The action around ``position``, or its beginning."""
    start = source.rfind("{{", 0, position)
    end = source.find("}}", position)
    return source[start : end + 2 if 0 <= end < start + 60 else start + 60]
