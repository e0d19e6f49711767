"""Shell words as Dockerfiles have them: splitting, quotes, escapes and variables.

The rules are BuildKit's (frontend/dockerfile/shell): a part of POSIX sh (XCU 2.2 and 2.6.2) with bash's ``${v/p/r}``.
Errors are Invalid without a place; who knows the line adds it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from sampan.build.dockerfile import patterns
from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

_MAX_GROWTH = 1 << 20
"""Characters by which variables may lengthen a text. ``ENV a=$a$a`` doubles with each line, and execve(2) takes no
single value above 128 KiB anyway."""
_MAX_DEPTH = 50
_UNCLOSED = "close it, or write \\ before one that is meant as a character"

_LESS_THAN = re.compile(r"<[\t\r ]*")
_WHITE = re.compile(r"[\t\v\f\r ]+")
_SPACE = re.compile(r"\s+")
_NAME = re.compile(r"\d+|[@*#?\-$!]|\w+")


class Rules(NamedTuple):
    """How a text is read. The ``keep`` rules are for texts that are only looked at and will be read again."""

    escape: str = "\\"
    quotes: bool = True
    """Whether ``'`` and ``"`` quote, or stand for themselves as in a here-document."""
    keep_quotes: bool = False
    keep_escapes: bool = False
    keep_unset: bool = False


USUAL = Rules()


def expand(text: str, variables: Mapping[str, str], rules: Rules = USUAL) -> str:
    """``text`` as one word: variables replaced, quotes and escapes removed, white space kept. Raises Invalid."""
    return "".join(part for part, _ in _Lexer(text, variables, rules).parts())


def names(text: str, variables: Mapping[str, str], rules: Rules = USUAL) -> dict[str, None]:
    """The variables that ``text`` refers to, in order, those in words that are not taken included. Raises Invalid."""
    lexer = _Lexer(text, variables, rules)
    lexer.parts()
    return lexer.names


def expand_words(text: str, variables: Mapping[str, str], rules: Rules = USUAL) -> list[str]:
    """The same, split at white space that is neither quoted nor escaped, also where a variable's value has some."""
    words, word = [], ""
    for part, splits in _Lexer(text, variables, rules).parts():
        if not splits:
            word += part
            continue
        first, *others = re.split(r"\s+", part)
        word += first
        for other in others:
            words.append(word)
            word = other
    return [word for word in (*words, word) if word]


def fields(text: str, most: int = 0) -> list[str]:
    """``text`` split at plain white space, into at most ``most`` parts if that is not 0; quotes do not matter."""
    return _WHITE.split(text, max(0, most - 1)) if text else []


def split(text: str, escape: str) -> list[str]:
    """The words of ``text`` as written, quotes and escapes included; white space within quotes does not split."""
    # An escape that ends the line escapes nothing.
    if (len(text) - len(text.rstrip(escape))) % 2:
        text = text[:-1]
    return [match[0] for match in _word(escape).finditer(text)]


def split_statement(text: str, escape: str) -> tuple[str, tuple[str, ...], str]:
    """A line's instruction word, its ``--flags`` (quotes and escapes removed) and the rest, stripped."""
    keyword, *rest = fields(text.strip(), 2) or [""]
    remaining, at, flags = rest[0] if rest else "", 0, []
    while remaining.startswith("--", at):
        match = _word(escape).match(remaining, at)
        word = match[0] if match else ""
        at = _skip_white(remaining, at + len(word))
        if word == "--":
            break
        flags.append(_unquote(word, escape))
    return keyword, tuple(flags), remaining[at:].strip()


def _skip_white(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


@lru_cache
def _word(escape: str) -> re.Pattern[str]:
    e = re.escape(escape)
    return re.compile(rf"""(?:{e}.|'[^']*(?:'|\Z)|"(?:{e}.|[^"{e}])*(?:"|{e}?\Z)|[^\s'"{e}]|{e}\Z)+""", re.DOTALL)


def _unquote(word: str, escape: str) -> str:
    e = re.escape(escape)
    return re.sub(rf"{e}(.)|{e}\Z|['\"]", lambda match: match[1] or "", word, flags=re.DOTALL)


@lru_cache
def _ordinary(special: str) -> re.Pattern[str]:
    return re.compile(f"[^{re.escape(special)}]+")


class _Lexer:
    """Reads a text once, from left to right."""

    __slots__ = ("_at", "_depth", "_room", "_rules", "_text", "_variables", "names")

    def __init__(self, text: str, variables: Mapping[str, str], rules: Rules) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._room = len(text) + _MAX_GROWTH
        self._variables = variables
        self._rules = rules
        self.names: dict[str, None] = {}

    def parts(self, stop: str = "", keep_escapes: bool | None = None) -> list[tuple[str, bool]]:
        """Reads up to ``stop`` or the end: the parts, each with whether white space in it separates words."""
        keep = self._rules.keep_escapes if keep_escapes is None else keep_escapes
        ordinary = _ordinary("$<" + ("'\"" if self._rules.quotes else "") + self._rules.escape + stop)
        found: list[tuple[str, bool]] = []
        while self._at < len(self._text):
            if run := ordinary.match(self._text, self._at):
                self._at = run.end()
                found.append((run[0], True))
                continue
            character = self._next()
            if character == stop:
                return found
            if character == "$":
                found.append((self._dollar(), True))
            elif character == "<":
                found.append((self._less_than(), False))
            elif character == self._rules.escape:
                found.append(((character if keep else "") + self._next(), False))
            else:
                quoted = self._single() if character == "'" else self._double(keep)
                found.append((f"{character}{quoted}{character}" if self._rules.keep_quotes else quoted, False))
        if stop:
            raise Invalid("syntax error: missing '}'" if stop == "}" else "syntax error: missing '/' in ${}")
        return found

    def _next(self) -> str:
        character = self._text[self._at : self._at + 1]
        self._at += len(character)
        return character

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _single(self) -> str:
        end = self._text.find("'", self._at)
        if end < 0:
            raise Invalid("unexpected end of statement while looking for matching single-quote", hint=_UNCLOSED)
        start, self._at = self._at, end + 1
        return self._text[start:end]

    def _double(self, keep: bool) -> str:
        ordinary = _ordinary('"$' + self._rules.escape)
        found = ""
        while self._at < len(self._text):
            if run := ordinary.match(self._text, self._at):
                self._at = run.end()
                found += run[0]
                continue
            character = self._next()
            if character == '"':
                return found
            if character == "$":
                found += self._dollar()
            elif self._peek() and self._peek() in ('"', "$", self._rules.escape):
                found += (character if keep else "") + self._next()
            else:
                found += character
        raise Invalid("unexpected end of statement while looking for matching double-quote", hint=_UNCLOSED)

    def _less_than(self) -> str:
        # White space between << and the word after it belongs to the here-document's word.
        match = _LESS_THAN.match(self._text, self._at)
        if not match:
            return "<"
        self._at = match.end()
        return "<" + match[0]

    def _dollar(self) -> str:
        start = self._at - 1
        if self._peek() != "{":
            name = self._name()
            if not name:
                return "$"
            unset = name not in self._variables
            value = self._variables.get(name, "")
        else:
            self._next()
            self._depth += 1
            if self._depth > _MAX_DEPTH:
                raise Invalid(f"substitutions are nested more than {_MAX_DEPTH} deep")
            name, value = self._braces()
            unset = name not in self._variables
            self._depth -= 1
        self.names[name] = None
        if unset and self._rules.keep_unset:
            return self._text[start : self._at]
        self._room -= len(value)
        if self._room < 0:
            raise Invalid("the value of a variable grows beyond all bounds")
        return value

    def _name(self) -> str:
        match = _NAME.match(self._text, self._at)
        if not match:
            return ""
        self._at = match.end()
        return match[0]

    def _braces(self) -> tuple[str, str]:
        """What follows ``${``: the variable's name and what the whole stands for."""
        if not self._peek():
            raise Invalid("syntax error: missing '}'")
        if self._peek() in "{}:":
            raise Invalid("syntax error: bad substitution")
        name = self._name()
        operator = self._next()
        if operator == "}":
            return name, self._variables.get(name, "")
        if operator == ":":
            operator += self._next()
        if operator in ("", ":"):
            raise Invalid("syntax error: missing '}'")
        if operator == "/":
            return name, self._replaced(name)
        if operator not in ("-", "+", "?", ":-", ":+", ":?", "#", "%"):
            raise Invalid(f"unsupported modifier ({operator}) in substitution")
        word = self._until("}", keep_escapes=operator in "#%")
        if self._rules.keep_unset and name not in self._variables:
            return name, ""
        return name, _modified(name, self._variables.get(name), operator, word)

    def _until(self, stop: str, keep_escapes: bool) -> str:
        return "".join(part for part, _ in self.parts(stop, keep_escapes))

    def _replaced(self, name: str) -> str:
        everywhere = self._peek() == "/"
        if everywhere:
            self._next()
        pattern = self._until("/", keep_escapes=True)
        replacement = self._until("}", keep_escapes=True)
        return patterns.replace(pattern, replacement, self._variables.get(name, ""), everywhere)


def _modified(name: str, value: str | None, operator: str, word: str) -> str:
    """``${name<operator>word}`` (XCU 2.6.2)."""
    missing = value is None or (operator[0] == ":" and not value)
    match operator[-1]:
        case "-":
            return word if missing else value or ""
        case "+":
            return "" if missing else word
        case "?":
            if missing:
                state = "unset" if value is None else "empty"
                raise Invalid(f"{name}: {word or f'is not allowed to be {state}'}")
            return value or ""
        case kind:
            longest = word.startswith(kind)
            trim = patterns.trim_prefix if kind == "#" else patterns.trim_suffix
            return trim(word[longest:], value or "", longest)
