"""Templates carried out on values (pkg.go.dev/text/template)."""

from __future__ import annotations

from sampan.cli.templates import functions, printing
from sampan.cli.templates.parser import (
    Action,
    Branch,
    Chain,
    Constant,
    Dot,
    Function,
    Jump,
    Pipe,
    Text,
    Variable,
    parse,
)
from sampan.cli.templates.values import NO_VALUE, OPTIONAL, Absent, Record, Row
from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from sampan.cli.templates.parser import Node, Operand

_MOST = 100_000
"""As often as {{range}} goes round at most, for numbers that somebody wrote into a template."""


class Template:
    """A template, understood (``escapes``: see ``lexer.split``). Raises Invalid and Unsupported if it is none, also for
    functions that do not exist."""

    __slots__ = ("_nodes",)

    def __init__(self, source: str, *, escapes: bool = False) -> None:
        self._nodes = parse(source, escapes=escapes)
        _check(self._nodes)

    def render(self, value: Any, *, header: bool = False) -> str:
        """The text for ``value``: what ``values`` describes. ``header`` makes the titles of a table of it.

        Raises Invalid for fields that do not exist and for values that a function cannot take.
        """
        run = _Run(value, header=header)
        run.walk(self._nodes, value)
        return "".join(run.output)


class _Run:
    def __init__(self, value: Any, *, header: bool) -> None:
        self.output: list[str] = []
        self._header = header
        self._variables: list[tuple[str, Any]] = [("$", value)]

    def walk(self, nodes: tuple[Node, ...], dot: Any) -> str:
        """Carries out ``nodes``; "break" or "continue" if one of them says so."""
        for node in nodes:
            if isinstance(node, Text):
                self.output.append(node.text)
            elif isinstance(node, Action):
                value = self._pipe(node.pipe, dot)
                if not node.pipe.variables:
                    if callable(value):
                        raise Invalid("invalid template: a method lacks its argument")
                    self.output.append("<no value>" if value is None else printing.show(value))
            elif isinstance(node, Jump):
                return node.keyword
            elif jump := self._branch(node, dot):
                return jump
        return ""

    def _branch(self, node: Branch, dot: Any) -> str:
        known = len(self._variables)
        value = self._pipe(node.pipe, dot)
        if node.keyword == "range":
            jump = self._range(node, value, dot)
        elif functions.truth(value):
            jump = self.walk(node.body, value if node.keyword == "with" else dot)
        else:
            jump = self.walk(node.otherwise, dot)
        del self._variables[known:]
        return jump

    def _range(self, node: Branch, value: Any, dot: Any) -> str:
        known, count, names = len(self._variables), 0, node.pipe.variables
        for count, (key, item) in enumerate(_items(value), 1):  # noqa: B007  (count is used below)
            if names:
                values = (key, item) if len(names) == 2 else (item,)
                self._set(tuple(zip(names, values, strict=True)), declares=node.pipe.declares)
            jump = self.walk(node.body, item)
            if node.pipe.declares:
                del self._variables[known:]
            if jump == "break":
                break
        return "" if count else self.walk(node.otherwise, dot)

    def _pipe(self, pipe: Pipe, dot: Any) -> Any:
        value: Any = None
        for number, command in enumerate(pipe.commands):
            value = self._command(command, dot, [value] if number else [])
        if len(pipe.variables) == 1:
            self._set(((pipe.variables[0], value),), declares=pipe.declares)
        return value

    def _set(self, pairs: tuple[tuple[str, Any], ...], *, declares: bool) -> None:
        for name, value in pairs:
            if declares:
                self._variables.append((name, value))
                continue
            self._variables[self._place(name)] = (name, value)

    def _place(self, name: str) -> int:
        """Where the innermost variable of that name is; one of a block that was not gone through is not there."""
        for place in range(len(self._variables) - 1, -1, -1):
            if self._variables[place][0] == name:
                return place
        raise Invalid(f"invalid template: undefined variable {name}")

    def _command(self, command: tuple[Operand, ...], dot: Any, last: list[Any]) -> Any:
        first, *rest = command
        if isinstance(first, Function):
            if first.name in ("and", "or") and rest:
                return self._shortcut(first.name, rest, dot, last)
            arguments = [self._operand(operand, dot) for operand in rest] + last
            return functions.call(first.name, arguments, header=self._header)
        value = self._operand(first, dot)
        if not rest and not last:
            return value
        if not callable(value):
            shown = f".{first.fields[-1]}" if isinstance(first, Chain) else "a value"
            raise Invalid(f"invalid template: {shown} has arguments and is no method or function")
        arguments = [self._operand(operand, dot) for operand in rest] + last
        if len(arguments) != 1 or not isinstance(arguments[0], str):
            raise Invalid("invalid template: a method takes one argument, a text")
        return value(*arguments)

    def _shortcut(self, name: str, operands: list[Operand], dot: Any, last: list[Any]) -> Any:
        """``and`` and ``or`` do not look at what comes after the operand that decides."""
        for operand in operands:
            value = self._operand(operand, dot)
            if functions.truth(value) == (name == "or"):
                return value
        return last[0] if last else value

    def _operand(self, operand: Operand, dot: Any) -> Any:
        if isinstance(operand, Constant):
            return operand.value
        if isinstance(operand, Dot):
            return dot
        if isinstance(operand, Variable):
            return self._variables[self._place(operand.name)][1]
        if isinstance(operand, Pipe):
            return self._pipe(operand, dot)
        if isinstance(operand, Function):
            return functions.call(operand.name, [], header=self._header)
        value = self._operand(operand.operand, dot)
        for name in operand.fields:
            value = _field(value, name)
        return value


def _field(value: Any, name: str) -> Any:
    if isinstance(value, Row | Record):
        if name in value:
            return value[name]
        if name in OPTIONAL:
            return OPTIONAL[name]
        raise _unknown(name, value)
    if isinstance(value, dict):
        return value.get(name, NO_VALUE)
    if isinstance(value, Absent):
        if value.shown == "map[]":
            return NO_VALUE
        raise Invalid(
            f"invalid template: there is no .{name} of what is not there", hint="{{with}} and {{if}} ask first"
        )
    raise Invalid(f"invalid template: there is no .{name} of {printing.show(value)!r}")


def _unknown(name: str, value: Row | Record) -> Invalid:
    from sampan.cli.flags import nearest

    names = list(value.names() if isinstance(value, Row) else value)
    near = nearest(name, names)
    hint = f"did you mean .{near}?" if near else f"the fields are {', '.join(sorted(names))}"
    return Invalid(f"invalid template: there is no field .{name}", hint=hint)


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, list):
        return enumerate(value)
    if isinstance(value, dict) and not isinstance(value, Record):
        return sorted(value.items())
    if value is None or isinstance(value, Absent):
        return ()
    if isinstance(value, int) and not isinstance(value, bool) and value <= _MOST:
        return ((number, number) for number in range(value))
    raise Invalid(f"invalid template: range cannot go through {printing.show(value)[:60]!r}")


def _check(nodes: tuple[Node, ...]) -> None:
    """Raises Invalid for functions that do not exist, also where they would not be reached."""
    for node in nodes:
        if isinstance(node, Action | Branch):
            _check_operand(node.pipe)
        if isinstance(node, Branch):
            _check(node.body)
            _check(node.otherwise)


def _check_operand(operand: Operand) -> None:
    if isinstance(operand, Function) and operand.name not in functions.NAMES:
        functions.call(operand.name, [])
    if isinstance(operand, Chain):
        _check_operand(operand.operand)
    if isinstance(operand, Pipe):
        for command in operand.commands:
            for each in command:
                _check_operand(each)
