"""Listings: lines of things with named columns, as a table, as IDs, or by a template (docker/cli formatter)."""

from sampan.cli import output
from sampan.errors import SampanError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from sampan.cli.context import Context
    from sampan.cli.flags import Parsed

    Columns = Mapping[str, tuple[str, Callable[[Any], Any]]]
    """By the name that templates have for a column: its title in a table, and its value for a thing."""

FORMAT = "Format output using a Go template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE'"

TEMPLATE = "Format output using a Go template: 'json' or 'TEMPLATE'"


def show(
    context: "Context", things: "Sequence[Any]", columns: "Columns", shown: "Sequence[str]", template: str | None
) -> None:
    """Prints ``things``: a table of the columns ``shown``, unless a ``template`` asks for something else.

    Raises Invalid for a template that makes no sense, before anything is printed.
    """
    if template is None or template.strip() == "table":
        titles = [columns[name][0] for name in shown]
        context.print(output.table(titles, [[columns[name][1](thing) for name in shown] for thing in things]))
        return
    for line in lines(things, columns, template):
        context.print(line)


def lines(things: "Sequence[Any]", columns: "Columns", template: str) -> list[str]:
    """What ``template`` makes of each thing; a table of it, with titles, where it begins with ``table``."""
    from sampan.cli.templates.evaluate import Template
    from sampan.cli.templates.values import Row

    if template == "raw":
        raise Unsupported("--format raw is not built yet", hint="table, json or a template")
    is_table = template.startswith("table")
    source = "{{json .}}" if template == "json" else template.removeprefix("table") if is_table else template
    made = Template(source.strip(" "), escapes=True)
    found = [made.render(Row(columns, thing)) for thing in things]
    if not is_table:
        return found
    titles = {name: ("", _always(title or _label_title)) for name, (title, _) in columns.items()}
    head = made.render(Row(titles, None), header=True)
    return output.align("\n".join([head, *map(_printable, found)])).split("\n")


def _always(value: "Any") -> "Callable[[object], Any]":
    return lambda thing: value


def _label_title(label: str) -> str:
    """The title of ``{{.Label "org.example.some-name"}}``."""
    return label.rpartition(".")[2].replace("-", " ").replace("_", " ")


def _printable(text: str) -> str:
    """Lines and columns stay what they are; nothing else steers the terminal."""
    return "\n".join("\t".join(map(output.printable, line.split("\t"))) for line in text.split("\n"))


def described(arguments: "Parsed", context: "Context", find: "Callable[[str], Any]") -> int:
    """Prints what ``find`` says of each thing that was named, as JSON or by ``--format``; gives the exit code."""
    found, failures, template = [], [], arguments.text("format")
    for name in arguments.positionals:
        try:
            found.append(find(name))
        except SampanError as error:
            failures.append(error)
    if template in (None, "", "json"):
        context.print(output.json(found, indent=None if template else 4))
    else:
        for value in found:
            context.print(one(value, template or ""))
    return max((context.tell(error) for error in failures), default=0)


def one(value: object, template: str) -> str:
    """What ``template`` makes of one thing, a JSON value that has Docker's names."""
    from sampan.cli.templates.evaluate import Template
    from sampan.cli.templates.values import typed

    return Template("{{json .}}" if template == "json" else template).render(typed(value))


def identifiers(arguments: "Parsed", context: "Context", names: "Sequence[str]") -> bool:
    """Prints ``names``, a line each, if ``--quiet`` asks for that alone."""
    if not arguments.on("quiet") or arguments.text("format") is not None:
        return False
    for name in names:
        context.print(name)
    return True
