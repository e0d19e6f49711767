"""``sampan kill``: send containers a signal."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed

COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    (Flag("-s, --signal string", "Signal to send to the container", "KILL"),),
    least=1,
    most=None,
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.containers import ending

    number = ending.parse_signal(arguments.text("signal") or "KILL")
    return context.together(
        arguments.positionals, context.engine.records.find, lambda found: ending.signal_all(found, number)
    )
