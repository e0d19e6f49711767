"""The patterns of ``${v#p}``, ``${v%p}`` and ``${v/p/r}``: ``*``, ``?`` and ``\\`` before one of them (XCU 2.13).

Matched by stepping through all states of the pattern at once, one bit each, so that the time is bounded by the product
of both lengths: a regular expression with a few ``*`` takes the text's length to the power of their number.
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

# Tokens: a character that stands for itself is written "=c".
_ANY = "?"
_STAR = "*"
_ANYTHING = "**"  # unlike * it also goes across a line's end


class _Glob(NamedTuple):
    """A pattern's states as sets of bits: in state i, its first i tokens have matched."""

    literal: dict[str, int]
    """By character: the states that it leads out of."""
    any: int
    stars: int
    """The states that a character may stay in."""
    anything: int
    end: int


def trim_prefix(pattern: str, value: str, longest: bool) -> str:
    """``value`` without the shortest, or longest, beginning that matches. Raises Invalid."""
    ends = _ends(_compile(_tokens(pattern)), value)
    return value[max(ends, default=0) if longest else next(ends, 0) :]


def trim_suffix(pattern: str, value: str, longest: bool) -> str:
    """``value`` without the shortest, or longest, end that matches. Raises Invalid."""
    ends = _ends(_compile(_tokens(pattern)[::-1]), value[::-1])
    return value[: len(value) - (max(ends, default=0) if longest else next(ends, 0))]


def replace(pattern: str, replacement: str, value: str, everywhere: bool) -> str:
    """``value`` with the first match, or every match, replaced; each is as long as it can be. Raises Invalid."""
    tokens = _tokens(pattern)
    glob = _compile(tokens)
    # Where a match begins is found in one pass from the back; else a value without a match would be read again from
    # each position.
    starts = {len(value) - end for end in _ends(_compile([_ANYTHING, *tokens[::-1]]), value[::-1])}
    result, position, behind = [], 0, -1
    while position <= len(value):
        end = max(_ends(glob, value, position)) if position in starts else -1
        if end > position or (end == position != behind):
            result.append(replacement)
            if not everywhere:
                return "".join((*result, value[end:]))
            position = behind = end
            continue
        result.append(value[position : position + 1])
        position += 1
    return "".join(result)


def _tokens(pattern: str) -> list[str]:
    tokens: list[str] = []
    characters = iter(pattern)
    for character in characters:
        if character in (_ANY, _STAR):
            if tokens[-1:] != [_STAR] or character == _ANY:
                tokens.append(character)
            continue
        if character == "\\":
            character = next(characters, "")
            if character not in ("*", "?", "\\", "}", "/"):
                raise Invalid(f"invalid pattern {pattern!r} in substitution: nothing to escape in '\\{character}'")
        tokens.append("=" + character)
    return tokens


def _compile(tokens: list[str]) -> _Glob:
    literal: dict[str, int] = {}
    sets = {_ANY: 0, _STAR: 0, _ANYTHING: 0}
    for index, token in enumerate(tokens):
        if token in sets:
            sets[token] |= 1 << index
        else:
            literal[token[1:]] = literal.get(token[1:], 0) | 1 << index
    return _Glob(literal, sets[_ANY], sets[_STAR] | sets[_ANYTHING], sets[_ANYTHING], 1 << len(tokens))


def _ends(glob: _Glob, value: str, start: int = 0) -> Iterator[int]:
    """Where matches that begin at ``start`` end, ascending."""
    states = _skip_stars(glob, 1)
    for position in range(start, len(value) + 1):
        if states & glob.end:
            yield position
        if not states or position == len(value):
            return
        character = value[position]
        leave = glob.literal.get(character, 0)
        if character == "\n":
            states = _skip_stars(glob, (states & leave) << 1 | states & glob.anything)
        else:
            states = _skip_stars(glob, (states & (leave | glob.any)) << 1 | states & glob.stars)


def _skip_stars(glob: _Glob, states: int) -> int:
    """The states and those beyond a star, which may stand for nothing; two stars never follow each other."""
    return states | (states & glob.stars) << 1
