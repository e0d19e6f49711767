"""``sampan create``: make a container that does not run yet."""

from sampan.cli import creation
from sampan.cli.context import Context
from sampan.cli.flags import Command, Parsed

COMMAND = Command(
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    creation.FLAGS,
    least=1,
    most=None,
    interspersed=False,
    needs_userns=True,
    refused=creation.REFUSED,
    joins=creation.owner,
    examples=(("sampan create --name web -p 8000:8000 hello", "What sampan start web then starts"),),
)


def main(arguments: Parsed, context: Context) -> int:
    _, container = creation.create(arguments, context)
    context.print(container.id)
    return 0
