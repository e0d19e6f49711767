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
        Flag("-d, --detach", "Detached mode: run command in the background"),
        Flag("-e, --env list", "Set environment variables"),
        Flag("--env-file list", "Read in a file of environment variables"),
        Flag("-i, --interactive", "Keep STDIN open even if not attached"),
        Flag("--privileged", "Give extended privileges to the command"),
        Flag("-t, --tty", "Allocate a pseudo-TTY"),
        Flag("-u, --user string", "Username or UID (format: <name|uid>[:<group|gid>])"),
        Flag("-w, --workdir string", "Working directory inside the container"),
    ),
    least=2,
    most=None,
    interspersed=False,
    later="--detach-keys",
    examples=(("sampan exec -it web sh", "A shell beside a running server"),),
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.containers.exec import Entering

    detach = arguments.on("detach")
    interactive, tty = arguments.on("interactive") and not detach, arguments.on("tty")
    if tty and interactive and not os.isatty(0):
        raise Invalid("the input device is not a TTY", hint="leave out -t when input comes from a pipe or a file")
    # First of all, so that its start goes on beside everything below.
    entering = Entering(interactive=interactive, terminal=tty, detach=detach)
    try:
        return _execute(entering, arguments, context)
    finally:
        entering.close()


def _execute(entering: "Entering", arguments: Parsed, context: Context) -> int:
    from sampan.cli.creation import environment
    from sampan.containers.exec import Request

    name, *command = arguments.positionals
    container = context.engine.containers.containers.find(name)
    user, workdir = arguments.text("user") or "", arguments.text("workdir") or ""
    terminal, privileged = arguments.on("tty"), arguments.on("privileged")
    request = Request(tuple(command), tuple(environment(arguments)), user, workdir, terminal, privileged)
    return entering.execute(container, request)
