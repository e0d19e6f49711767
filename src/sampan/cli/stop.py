"""``sampan stop``: ask containers to end, and kill those that do not."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed

COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    (
        Flag("-s, --signal string", "Signal to send to the container"),
        Flag("-t, --timeout int", "Seconds to wait before killing the container"),
    ),
    least=1,
    most=None,
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.containers import lifecycle

    containers = context.engine.records
    signal = arguments.text("signal")
    number = lifecycle.parse_signal(signal) if signal else None

    def stop(name: str) -> None:
        lifecycle.stop(containers.find(name), arguments.number("timeout"), number)
        context.print(name)

    return context.each(arguments.positionals, stop)
