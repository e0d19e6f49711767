"""``.dockerignore``: which files of a build context are not seen.

Docker's rules (moby/patternmatcher): each line is a pattern of Go's path/filepath.Match, relative to the context's
root, where ``**`` also goes across slashes; what matches a directory matches all below it; a line that begins with
``!`` lets through again; the last match wins.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator

from sampan.build.wildcards import BRACKET, character_class, held
from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple


class Pattern(NamedTuple):
    """One line. ``expression`` matches whole paths.

    ``lead`` match the first directories on the way to anything that it can match; unless ``open``, nothing is deeper.
    """

    negated: bool
    expression: re.Pattern[str]
    lead: tuple[re.Pattern[str], ...]
    open: bool

    def reaches(self, depth: int) -> bool:
        """Whether it may match an entry of a directory ``depth`` below the root."""
        return depth >= len(self.lead) if self.open else depth + 1 == len(self.lead)

    def goes_below(self, depth: int, name: str) -> bool:
        """Whether it may match something below the entry ``name`` of such a directory, as far as that name tells."""
        if depth >= len(self.lead):
            return self.open
        return (self.open or depth + 1 < len(self.lead)) and bool(self.lead[depth].fullmatch(name))


class Ignore(NamedTuple):
    """All patterns as they stand in one directory, so that what is below need not be matched from the root on.

    ``excluded`` is how it stands for an entry that no further pattern matches. ``patterns`` are those that may yet
    match something: none is before the last that matched the directory or one above, for that overrides them.
    """

    patterns: tuple[Pattern, ...] = ()
    depth: int = 0
    excluded: bool = False
    here: tuple[Pattern, ...] = ()
    """Those of ``patterns`` that may match an entry of this very directory."""

    def excludes(self, path: str) -> bool:
        """Whether the entry of this directory whose path from the root is ``path`` is excluded."""
        excluded = self.excluded
        for pattern in self.here:
            if pattern.negated == excluded and pattern.expression.fullmatch(path):
                excluded = not pattern.negated
        return excluded

    def enter(self, path: str) -> Ignore:
        """How the patterns stand in the entry ``path``, a directory."""
        excluded, start = self.excluded, 0
        for index, pattern in enumerate(self.patterns):
            if pattern.negated == excluded and pattern.reaches(self.depth) and pattern.expression.fullmatch(path):
                excluded, start = not pattern.negated, index + 1
        name = path.rpartition("/")[2]
        return _at(
            tuple(pattern for pattern in self.patterns[start:] if pattern.goes_below(self.depth, name)),
            self.depth + 1,
            excluded,
        )

    @property
    def hides_all(self) -> bool:
        """Whether nothing in this directory, however deep, can be let through."""
        return self.excluded and not any(pattern.negated for pattern in self.patterns)


def parse(data: bytes, filename: str = ".dockerignore") -> Ignore:
    """The patterns in the text of such a file, at the root of the context. Raises Invalid, naming the line."""
    patterns = []
    text = data.removeprefix(b"\xef\xbb\xbf").decode(errors="surrogateescape")
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("#") or not line.strip():
            continue
        try:
            patterns.append(_pattern(line.strip()))
        except Invalid as error:
            raise Invalid(f"{filename}:{number}: {error.message}", hint=error.hint) from None
    return _at(tuple(patterns), 0, False)


def compiled(texts: Iterable[str]) -> Ignore:
    """The same from patterns alone. Raises Invalid."""
    return _at(tuple(_pattern(text) for text in texts), 0, False)


def _at(patterns: tuple[Pattern, ...], depth: int, excluded: bool) -> Ignore:
    return Ignore(patterns, depth, excluded, tuple(pattern for pattern in patterns if pattern.reaches(depth)))


def _pattern(line: str) -> Pattern:
    negated = line.startswith("!")
    text = line[negated:].strip()
    if not text:
        raise Invalid("nothing after the exclamation mark", hint="a name that begins with one is written \\!name")
    # Cleaned as Go's filepath.Clean does it, which unlike normpath() knows no double slash at the beginning.
    text = posixpath.normpath(re.sub("^/+", "/", text))
    text = text[1:] if len(text) > 1 and text.startswith("/") else text
    return _compile(text, negated)


_TOKEN = rf"(?s)(?P<any>\*\*/?)|(?P<star>\*)|(?P<one>\?)|{BRACKET}|\\(?P<escaped>.)|(?P<plain>[^\\\[])"


_STAR, _ANY, _ANY_DIRECTORIES = "[^/]*", ".*", "(?:.*/)?"
_LAZY = {_ANY: ".*?", _ANY_DIRECTORIES: "(?:.*?/)??"}
_MOST_STARS = 4
"""In a pattern with a bracket that also matches a slash, or with ``**`` in the middle of a name: there every star has
to be tried with every other."""


def _compile(text: str, negated: bool) -> Pattern:
    if re.fullmatch(r"\*\*[^/*?\[\\]+", text):
        # Two stars and a plain name are taken for an ending of the whole path.
        return Pattern(negated, re.compile(".*" + re.escape(text[2:]), re.DOTALL), (), True)
    parts, component, lead, is_open, is_odd = list[str](), list[str](), list[str](), False, False
    for token in _tokens(text):
        part = _translated(token, token.end() == len(text))
        is_odd = is_odd or (part == _ANY_DIRECTORIES and parts[-1:] not in ([], ["/"], [part]))
        parts.append(part)
        if token["plain"] == "/":
            if not is_open:
                lead.append(held(component, _STAR, ends=True))
            component = []
        else:
            # From a component on that may stand for several, names on the way no longer tell anything.
            crosses = bool(token["set"]) and bool(re.fullmatch(part, "/"))
            is_open, is_odd = is_open or bool(token["any"]) or crosses, is_odd or crosses
            component.append(part)
    if not is_open:
        lead.append(held(component, _STAR, ends=True))
    if is_odd and sum(part in (_STAR, *_LAZY) for part in parts) > _MOST_STARS:
        raise Invalid(f"{text} has too many stars", hint="write it as several patterns")
    expression = "".join(parts) if is_odd else _expression(parts)
    compiled = tuple(re.compile(part, re.DOTALL) for part in lead)
    return Pattern(negated, re.compile(expression, re.DOTALL), compiled, is_open)


def _tokens(text: str) -> Iterator[re.Match[str]]:
    position = 0
    while position < len(text):
        token = re.compile(_TOKEN).match(text, position)
        if not token:
            raise Invalid(f"{text} is not a valid pattern", hint="a bracket itself is written \\[")
        position = token.end()
        yield token


def _expression(parts: list[str]) -> str:
    """The parts in a row. What stands between two of ``**`` is held where it first matches."""
    openers, segments = [""], [list[str]()]
    for part in parts:
        if part in _LAZY:
            openers.append(part)
            segments.append([])
        else:
            segments[-1].append(part)
    last = len(segments) - 1
    found = ""
    for number, (opener, segment) in enumerate(zip(openers, segments, strict=True)):
        inner = held(segment, _STAR, ends=number == last)
        found += f"(?>{_LAZY[opener]}{inner})" if opener and number < last else opener + inner
    return found


def _translated(token: re.Match[str], last: bool) -> str:
    """A token as a regular expression."""
    if token["any"]:
        return _ANY if last else _ANY_DIRECTORIES
    if token["star"]:
        return _STAR
    if token["one"]:
        return "[^/]"
    if token["set"]:
        return character_class(token["set"], bool(token["negated"]))
    return re.escape(token["escaped"] or token["plain"])
