"""``sampan diff``: what a container changed in its file system."""

import os

from sampan.cli import output
from sampan.cli.context import Context
from sampan.cli.flags import Command, Parsed

COMMAND = Command("CONTAINER", least=1, most=1, needs_userns=True, runs_nothing=True)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.containers import differences

    stores = context.engine.containers
    container = stores.containers.find(arguments.positionals[0])
    for kind, path in differences.of_container(container, stores.snapshots):
        context.print(f"{kind} {output.printable(os.fsdecode(path))}")
    return 0
