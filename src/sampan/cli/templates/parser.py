"""From the words of a template to its tree (the grammar of Go's text/template/parse), by recursive descent."""

from __future__ import annotations

from sampan.cli.templates.lexer import Part, Word, split
from sampan.errors import Invalid, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple

_DEEPEST = 50
_KEYWORDS = frozenset(("if", "else", "end", "range", "with", "break", "continue", "define", "template", "block"))
_CONSTANTS = {"true": True, "false": False, "nil": None}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


class Constant(NamedTuple):
    value: Any


class Function(NamedTuple):
    name: str


class Variable(NamedTuple):
    """``$name``; "$" alone is what the template was given."""

    name: str


class Dot(NamedTuple):
    """The cursor."""


class Chain(NamedTuple):
    """Fields of an operand: ``.A.B``, ``$x.A``, ``(index . 0).A``."""

    operand: Operand
    fields: tuple[str, ...]


class Pipe(NamedTuple):
    """Commands, each given what the one before it came to; ``variables`` get the last one's value."""

    commands: tuple[tuple[Operand, ...], ...]
    variables: tuple[str, ...] = ()
    declares: bool = False


Operand = Constant | Function | Variable | Dot | Chain | Pipe


class Text(NamedTuple):
    text: str


class Action(NamedTuple):
    pipe: Pipe


class Branch(NamedTuple):
    """``if``, ``with`` or ``range``."""

    keyword: str
    pipe: Pipe
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]


class Jump(NamedTuple):
    """``break`` or ``continue``."""

    keyword: str


Node = Text | Action | Branch | Jump


def parse(source: str, *, escapes: bool = False) -> tuple[Node, ...]:
    """The tree of a template (``escapes``: see ``lexer.split``). Raises Invalid, and Unsupported for ``define``."""
    return _Parser(split(source, escapes=escapes)).whole()


class _Parser:
    def __init__(self, parts: list[Part]) -> None:
        self._parts = parts[::-1]
        self._depth = 0
        self._loops = 0
        self._variables = ["$"]

    def whole(self) -> tuple[Node, ...]:
        nodes, ending = self._nodes()
        if ending:
            raise Invalid(f"invalid template: unexpected {{{{{ending[0].text}}}}}")
        return nodes

    def _nodes(self) -> tuple[tuple[Node, ...], tuple[Word, ...]]:
        """Nodes up to an ``else`` or ``end``, and the words of that; none at the end of the template."""
        nodes: list[Node] = []
        while self._parts:
            part = self._parts.pop()
            if isinstance(part, str):
                nodes.append(Text(part))
                continue
            first = part[0].text if part[0].kind == "name" else ""
            if first in ("else", "end"):
                return tuple(nodes), part
            nodes.append(self._node(first, part))
        return tuple(nodes), ()

    def _node(self, keyword: str, words: tuple[Word, ...]) -> Node:
        if keyword in ("if", "with", "range"):
            return self._branch(keyword, words[1:])
        if keyword in ("break", "continue"):
            _no_more(words[1:])
            if not self._loops:
                raise Invalid(f"invalid template: {{{{{keyword}}}}} outside of {{{{range}}}}")
            return Jump(keyword)
        if keyword in _KEYWORDS:
            raise Unsupported(f"{{{{{keyword}}}}} in a template is not built yet")
        return Action(self._pipeline(words, "an action"))

    def _branch(self, keyword: str, words: tuple[Word, ...]) -> Branch:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Invalid(f"invalid template: more than {_DEEPEST} blocks in each other")
        known = len(self._variables)
        pipe = self._pipeline(words, f"{{{{{keyword}}}}}", most=2 if keyword == "range" else 1)
        self._loops += keyword == "range"
        body, ending = self._nodes()
        self._loops -= keyword == "range"
        otherwise: tuple[Node, ...] = ()
        if ending and ending[0].text == "else":
            otherwise, ending = self._otherwise(keyword, ending[1:])
        if not ending:
            raise Invalid(f"invalid template: {{{{{keyword}}}}} has no {{{{end}}}}")
        if ending[0].text == "else":
            raise Invalid(f"invalid template: {{{{{keyword}}}}} has a second {{{{else}}}}")
        _no_more(ending[1:])
        del self._variables[known:]
        self._depth -= 1
        return Branch(keyword, pipe, body, otherwise)

    def _otherwise(self, keyword: str, words: tuple[Word, ...]) -> tuple[tuple[Node, ...], tuple[Word, ...]]:
        if not words:
            return self._nodes()
        if words[0].text != keyword or keyword == "range":
            raise Invalid(f"invalid template: unexpected {words[0].text!r} after {{{{else")
        # The chain's one {{end}} belongs to the last of it: give it back to those before.
        branch = self._branch(keyword, words[1:])
        return (branch,), (Word("name", "end", spaced=False),)

    def _pipeline(self, words: tuple[Word, ...], where: str, most: int = 1) -> Pipe:
        stream = _Words(words, self._variables)
        variables, declares = stream.variables(most)
        commands = stream.commands(where)
        if variables and declares:
            self._variables += variables
        elif variables and variables[0] not in self._variables:
            raise Invalid(f"invalid template: undefined variable {variables[0]}")
        return Pipe(commands, variables, declares)


class _Words:
    """The words of one action, read from the left."""

    def __init__(self, words: tuple[Word, ...], variables: list[str]) -> None:
        self._words = words
        self._known = variables
        self._next = 0
        self._depth = 0

    def variables(self, most: int) -> tuple[tuple[str, ...], bool]:
        """The variables that the action sets, and whether it declares them."""
        names: list[str] = []
        kinds = [word.kind for word in self._words[:4]]
        texts = [word.text for word in self._words[:4]]
        for count, place in ((1, 1), (2, 3)):
            wanted = ["variable", "sign"][: place + 1] if count == 1 else ["variable", "sign", "variable", "sign"]
            if kinds[: place + 1] == wanted and texts[place] in (":=", "=") and (count == 1 or texts[1] == ","):
                if count > most:
                    raise Invalid("invalid template: two variables are for {{range}} only")
                names = texts[: place + 1 : 2]
                self._next = place + 1
                return tuple(names), texts[place] == ":="
        return (), False

    def commands(self, where: str) -> tuple[tuple[Operand, ...], ...]:
        """Commands up to the end of the action, or to the parenthesis that closes them."""
        commands: list[tuple[Operand, ...]] = []
        while True:
            command = self._command()
            if not command:
                raise Invalid(f"invalid template: {where} lacks a value")
            if commands and isinstance(command[0], Constant | Dot | Variable | Pipe):
                raise Invalid("invalid template: what comes after | is to be a function")
            commands.append(command)
            word = self._peek()
            if word is None or word.text == ")":
                break
            self._next += 1  # the only sign that ends a command besides is "|"
        if self._depth == 0 and self._peek():
            raise Invalid("invalid template: unexpected ')'")
        return tuple(commands)

    def _command(self) -> tuple[Operand, ...]:
        operands: list[Operand] = []
        while True:
            word = self._peek()
            if word is None or (word.kind == "sign" and word.text in "|)"):
                return tuple(operands)
            if operands and not word.spaced and word.text != "(":
                raise Invalid(f"invalid template: unexpected {word.text!r} after an operand")
            self._next += 1
            operands.append(self._chained(self._operand(word)))

    def _operand(self, word: Word) -> Operand:
        kind, text = word.kind, word.text
        if kind == "field":
            return Chain(Dot(), (text[1:],))
        if kind == "variable":
            if text not in self._known:
                raise Invalid(f"invalid template: undefined variable {text}")
            return Variable(text)
        if kind == "name":
            return _named(text)
        if kind != "sign":
            return Constant(_number(text) if kind == "number" else _unquoted(text, kind))
        if text == "(":
            return self._parenthesis()
        if text == ".":
            return Dot()
        raise Invalid(f"invalid template: unexpected {text!r}")

    def _parenthesis(self) -> Pipe:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Invalid(f"invalid template: more than {_DEEPEST} parentheses in each other")
        commands = self.commands("a parenthesis")
        if self._peek() is None:
            raise Invalid("invalid template: a parenthesis is not closed")
        self._next += 1
        self._depth -= 1
        return Pipe(commands)

    def _chained(self, operand: Operand) -> Operand:
        fields: list[str] = []
        while (word := self._peek()) and word.kind == "field" and not word.spaced:
            fields.append(word.text[1:])
            self._next += 1
        if not fields:
            return operand
        if isinstance(operand, Constant | Function | Dot):
            raise Invalid(f"invalid template: unexpected .{fields[0]} after an operand")
        if isinstance(operand, Chain):
            return Chain(operand.operand, (*operand.fields, *fields))
        return Chain(operand, tuple(fields))

    def _peek(self) -> Word | None:
        return self._words[self._next] if self._next < len(self._words) else None


def _named(text: str) -> Operand:
    if text in _CONSTANTS:
        return Constant(_CONSTANTS[text])
    if text in _KEYWORDS:
        raise Invalid(f"invalid template: unexpected {text!r}")
    return Function(text)


def _no_more(words: tuple[Word, ...]) -> None:
    if words:
        raise Invalid(f"invalid template: unexpected {words[0].text!r}")


def _number(text: str) -> int | float:
    bare = text.lstrip("+-").lower()
    try:
        if bare.startswith("0x") or not ("." in bare or "e" in bare):
            old_octal = bare[:1] == "0" and bare.isdigit()
            return int(text, 8) if old_octal else int(text, 0)
        return float(text)
    except ValueError:
        raise Invalid(f"invalid template: {text!r} is not a number") from None


def _unquoted(text: str, kind: str) -> str | int:
    value = text[1:-1] if text[0] == "`" else _unescaped(text[1:-1])
    if kind == "string":
        return value
    if len(value) != 1:
        raise Invalid(f"invalid template: {text} is not one character")
    return ord(value)


def _unescaped(text: str) -> str:
    head, *rest = text.split("\\")
    parts = [head]
    while rest:
        escape = rest.pop(0)
        if not escape:  # two backslashes: the next piece follows as it is
            parts.append("\\" + (rest.pop(0) if rest else ""))
            continue
        letter, length = escape[0], {"x": 2, "u": 4, "U": 8}.get(escape[0], 0)
        try:
            if length:
                parts.append(chr(int(escape[1 : length + 1].ljust(length, "?"), 16)) + escape[length + 1 :])
            elif letter in "01234567":
                parts.append(chr(int(escape[:3].ljust(3, "?"), 8)) + escape[3:])
            elif letter in "\"'" or letter in _ESCAPES:
                parts.append(_ESCAPES.get(letter, letter) + escape[1:])
            else:
                raise ValueError
        except (ValueError, OverflowError):
            raise Invalid(f"invalid template: unknown escape \\{letter}") from None
    return "".join(parts)
