"""docs/reference.md, made from the same tables as help: ``python -m sampan.cli.reference > docs/reference.md``."""

from sampan.cli import commands, help
from sampan.cli.flags import Command, Flag
from sampan.cli.main import GLOBAL, load

_HEAD = """\
# Command line reference

Made from the program's own tables by `python -m sampan.cli.reference > docs/reference.md`; do not edit it.

    sampan [OPTIONS] COMMAND

{flags}

`--root` and `--debug` are also understood after the command.

Exit codes: 0 when all went well; 1 when something failed, or the number of arguments is wrong; 125 for flags that make
no sense, and for what keeps `run` from running a container; 126 and 127 when the container's command cannot be executed
or does not exist; 128 + n when signal n ended it; 130 after Ctrl-C. Otherwise `run` and `exec` exit as their command
does.
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD.format(flags=_flags(GLOBAL.flags))]
    parts += [_verb(name, summary, load(name)[0]) for name, (_, summary) in sorted(commands.COMMANDS.items())]
    return "\n".join(parts)


def _verb(name: str, summary: str, command: Command) -> str:
    paragraphs = [f"## {name}", f"{summary}.", f"    sampan {name} {command.usage}".rstrip()]
    others = ", ".join(f"`sampan {alias}`" for alias in help.aliases(name))
    paragraphs += [text for text in (command.details, others and f"The same as {others}.") if text]
    if command.flags:
        paragraphs.append(_flags(command.flags))
    paragraphs += [f"{meaning}:\n\n    {line}" for line, meaning in command.examples]
    if command.later:
        paragraphs.append(f"Docker's flags that are not built yet: `{command.later}`")
    if command.refused:
        reasons = "\n".join(f"- `{flag}`: {reason}" for flag, reason in command.refused.items())
        paragraphs.append(f"Docker's flags that there is no use for here:\n\n{reasons}")
    return "\n\n".join(paragraphs) + "\n"


def _flags(flags: tuple[Flag, ...]) -> str:
    lines = ["| option | meaning |", "|---|---|"]
    for flag in sorted(flags, key=lambda flag: flag.long):
        cells = (f"`{help.left(flag).strip()}`", help.right(flag).replace("<", "&lt;"))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(page(), end="")
