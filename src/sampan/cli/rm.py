"""``sampan rm``: remove containers."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import NotFound, SampanError

_LINKS = "containers have no links here"
COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    (
        Flag("-f, --force", "Force the removal of a running container (uses SIGKILL)"),
        Flag("-v, --volumes", "Remove anonymous volumes associated with the container"),
    ),
    least=1,
    most=None,
    needs_userns=True,
    runs_nothing=True,
    refused={"-l": _LINKS, "--link": _LINKS},
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.containers import lifecycle

    force, stores = arguments.on("force"), context.engine.containers
    if force and len(arguments.positionals) > 1:
        _kill(arguments.positionals, context)

    def remove(name: str) -> None:
        try:
            container = stores.containers.find(name)
        except NotFound:
            if force:  # as Docker: what is not there needs no removal
                return
            raise
        lifecycle.remove(container, stores, force=force, volumes=arguments.on("volumes"))
        context.print(name)

    return context.each(arguments.positionals, remove)


def _kill(names: list[str], context: Context) -> None:
    """Ends all of them together, so that none waits for another; what is wrong with one is told when its turn comes."""
    from sampan.containers import ending

    found = []
    for name in names:
        try:
            found.append(context.engine.records.find(name))
        except SampanError:
            continue
    for _ in ending.signal_all(found, ending.KILL):
        continue
