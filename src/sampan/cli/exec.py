"""``sampan exec``: a further program in a running container."""

import os

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Invalid

COMMAND = Command(
    "[OPTIONS] CONTAINER COMMAND [ARG...]",
    (
        Flag("-e, --env list", "Set environment variables"),
        Flag("-i, --interactive", "Keep STDIN open even if not attached"),
        Flag("-t, --tty", "Allocate a pseudo-TTY"),
        Flag("-u, --user string", "Username or UID (format: <name|uid>[:<group|gid>])"),
        Flag("-w, --workdir string", "Working directory inside the container"),
    ),
    least=2,
    most=None,
    interspersed=False,
    later="-d --detach --detach-keys --env-file --privileged",
    examples=(("sampan exec -it web sh", "A shell beside a running server"),),
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.cli.creation import resolve_environment
    from sampan.containers.exec import Request, execute

    name, *command = arguments.positionals
    container = context.engine.containers.containers.find(name)
    if arguments.on("tty") and arguments.on("interactive") and not os.isatty(0):
        raise Invalid("the input device is not a TTY", hint="leave out -t when input comes from a pipe or a file")
    request = Request(
        tuple(command),
        tuple(resolve_environment(arguments.texts("env"))),
        arguments.text("user") or "",
        arguments.text("workdir") or "",
        arguments.on("interactive"),
        arguments.on("tty"),
    )
    return execute(container, request)
