"""``sampan rename``: give a container another name."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Parsed

COMMAND = Command("CONTAINER NEW_NAME", least=2, most=2)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.containers import names

    old, new = arguments.positionals
    containers = context.engine.records
    containers.rename(containers.find(old), names.check(new))
    return 0
