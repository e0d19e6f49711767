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
    from sampan.containers import lifecycle

    number = lifecycle.parse_signal(arguments.text("signal") or "KILL")
    containers = context.engine.records

    def kill(name: str) -> None:
        lifecycle.send_signal(containers.find(name), number)
        context.print(name)

    return context.each(arguments.positionals, kill)
