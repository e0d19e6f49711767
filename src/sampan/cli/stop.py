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
    from sampan.containers import ending

    signal = arguments.text("signal")
    number = ending.parse_signal(signal) if signal else None
    seconds = arguments.number("timeout")
    return context.together(
        arguments.positionals, context.engine.records.find, lambda found: ending.stop_all(found, seconds, number)
    )
