"""``sampan restart``: stop containers and start them again."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.cli.start import owner

COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    (
        Flag("-s, --signal string", "Signal to send to the container"),
        Flag("-t, --timeout int", "Seconds to wait before killing the container"),
    ),
    least=1,
    most=None,
    needs_userns=True,
    joins=owner,
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.containers import again, ending

    stores = context.engine.containers
    signal = arguments.text("signal")
    number = ending.parse_signal(signal) if signal else None

    def restart(name: str) -> None:
        container = stores.containers.find(name)
        ending.stop(container, arguments.number("timeout"), number)
        monitor = again.start(container, stores)
        monitor.close()
        if monitor.warning:
            context.warn(monitor.warning)
        context.print(name)

    return context.each(arguments.positionals, restart)
