"""``sampan stop``: ask containers to end, and kill those that do not."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed

COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    (Flag("-t, --timeout int", "Seconds to wait before killing the container"),),
    least=1,
    most=None,
    later="-s --signal",
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.containers import lifecycle

    containers = context.engine.containers.containers

    def stop(name: str) -> None:
        lifecycle.stop(containers.find(name), arguments.number("timeout"))
        context.print(name)

    return context.each(arguments.positionals, stop)
