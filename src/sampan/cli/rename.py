"""``sampan rename``: give a container another name."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Parsed
from sampan.errors import Invalid

COMMAND = Command("CONTAINER NEW_NAME", least=2, most=2)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.containers import names

    old, new = arguments.positionals
    containers = context.engine.records
    container = containers.find(old)
    if names.check(new) == container.name:
        raise Invalid(f"container {container.name} has this name already")
    containers.rename(container, new)
    if container.options.networks:
        from sampan.networks import endpoints

        endpoints.rename(context.engine.paths.networks, container.id, container.name, new)
    return 0
