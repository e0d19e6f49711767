"""``sampan exec``: a further program in a running container."""

import os

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.containers.exec import Entering

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
    from sampan.containers.exec import Entering

    interactive, tty = arguments.on("interactive"), arguments.on("tty")
    if tty and interactive and not os.isatty(0):
        raise Invalid("the input device is not a TTY", hint="leave out -t when input comes from a pipe or a file")
    # First of all, so that its start goes on beside everything below.
    entering = Entering(interactive=interactive, terminal=tty)
    try:
        return _execute(entering, arguments, context)
    finally:
        entering.close()


def _execute(entering: "Entering", arguments: Parsed, context: Context) -> int:
    from sampan.cli.creation import resolve_environment
    from sampan.containers.exec import Request

    name, *command = arguments.positionals
    container = context.engine.containers.containers.find(name)
    environment = tuple(resolve_environment(arguments.texts("env")))
    user, workdir = arguments.text("user") or "", arguments.text("workdir") or ""
    return entering.execute(container, Request(tuple(command), environment, user, workdir, arguments.on("tty")))
