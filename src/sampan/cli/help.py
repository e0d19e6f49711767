"""Help texts, made from the table of commands and the tables of the verbs."""

import sys

from sampan.cli import commands
from sampan.cli.flags import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sampan.cli.flags import Command

WIDTH = 80


def terminal_width() -> int:
    """Columns of the terminal that standard output is, or 80."""
    import os

    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or WIDTH
    except (OSError, ValueError, AttributeError):
        return WIDTH


def top(flags: "Sequence[Flag]", width: int = WIDTH) -> str:
    """The help of ``sampan`` itself."""
    common = {verb: commands.COMMANDS[verb][1] for verb in commands.COMMON}
    others = {verb: summary for verb, (_, summary) in commands.COMMANDS.items() if verb not in common}
    single = {verb: summary for verb, summary in others.items() if " " not in verb}
    blocks = [
        "Usage:  sampan [OPTIONS] COMMAND",
        "Builds, ships and runs containers, without a daemon and without root",
        _table("Common Commands:", common, width),
        _table("Management Commands:", commands.GROUPS, width),
        _table("Commands:", dict(sorted(single.items())), width),
        _flags("Global Options:", flags, width),
        "Run 'sampan COMMAND --help' for more information on a command.",
    ]
    return "\n\n".join(blocks) + "\n"


def group(word: str, width: int = WIDTH) -> str:
    """The help of a first word (``sampan image``)."""
    entries = {
        name.removeprefix(f"{word} "): _summary(target[0])
        for name, target in {**{verb: (verb,) for verb in commands.COMMANDS}, **commands.ALIASES}.items()
        if name.startswith(f"{word} ")
    }
    blocks = [
        f"Usage:  sampan {word} COMMAND",
        commands.GROUPS[word],
        _table("Commands:", entries, width),
        f"Run 'sampan {word} COMMAND --help' for more information on a command.",
    ]
    return "\n\n".join(blocks) + "\n"


def _summary(verb: str) -> str:
    return commands.COMMANDS[verb][1] if verb in commands.COMMANDS else commands.GROUPS[verb]


def verb(name: str, command: "Command", width: int = WIDTH, summary: str = "") -> str:
    """The help of one verb; one that is not of the command line's own brings its ``summary``."""
    blocks = [usage(name, command), summary or commands.COMMANDS[name][1]]
    if command.details:
        blocks.append("\n".join(_wrap(command.details, width)))
    others = aliases(name)
    if others:
        blocks.append("Aliases:\n  " + ", ".join(f"sampan {alias}" for alias in (*others, name)))
    if command.flags:
        blocks.append(_flags("Options:", command.flags, width))
    if command.examples:
        lines = [f"  {line}\n      {meaning}" for line, meaning in command.examples]
        blocks.append("\n".join(["Examples:", *lines]))
    return "\n\n".join(blocks) + "\n"


def aliases(name: str) -> list[str]:
    """The verbs of two words that mean this one."""
    return [alias for alias, target in commands.ALIASES.items() if target[0] == name]


def usage(name: str, command: "Command") -> str:
    return f"Usage:  sampan {name} {command.usage}".rstrip()


def _flags(title: str, flags: "Iterable[Flag]", width: int) -> str:
    return _table(title, {left(flag): right(flag) for flag in sorted(flags, key=lambda flag: flag.long)}, width)


def left(flag: Flag) -> str:
    """How the flag is written: ``-e, --env list``; the long names of all flags are in one column."""
    short = f"-{flag.short}, " if flag.short else "    "
    return f"{short}--{flag.long} {flag.metavar}".rstrip()


def right(flag: Flag) -> str:
    """What the flag means, with its default."""
    if flag.default in (None, False):
        return flag.help
    shown = f'"{flag.default}"' if isinstance(flag.default, str) else str(flag.default).lower()
    return f"{flag.help} (default {shown})"


def _table(title: str, entries: dict[str, str], width: int) -> str:
    column = max(map(len, entries)) + 3
    lines = [title]
    for name, meaning in entries.items():
        first, *rest = _wrap(meaning, max(width - column - 2, 30))
        lines.append(f"  {name:{column}}{first}".rstrip())
        lines += [" " * (column + 2) + line for line in rest]
    return "\n".join(lines)


def _wrap(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines
