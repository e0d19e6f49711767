"""``sampan pause`` and ``sampan unpause``: hold containers still, and let them go on."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Parsed

COMMAND = Command("CONTAINER [CONTAINER...]", least=1, most=None)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.containers import resources

    containers = context.engine.records
    change = resources.pause if context.verb == "pause" else resources.unpause

    def perform(name: str) -> None:
        change(containers.find(name))
        context.print(name)

    return context.each(arguments.positionals, perform)
