"""``sampan wait``: wait until containers have ended, and print their exit codes."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Parsed

COMMAND = Command("CONTAINER [CONTAINER...]", least=1, most=None)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.containers import ending

    containers = context.engine.records

    def wait(name: str) -> None:
        context.print(str(ending.wait(containers.find(name)).exit_code))
        context.flush()

    return context.each(arguments.positionals, wait)
