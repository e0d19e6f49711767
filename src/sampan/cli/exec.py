"""``sampan exec``: a further program in a running container."""

import os

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Invalid

DETACH_KEYS = Flag("--detach-keys string", "Override the key sequence for detaching a container", "ctrl-p,ctrl-q")
COMMAND = Command(
    "[OPTIONS] CONTAINER COMMAND [ARG...]",
    (
        Flag("-d, --detach", "Detached mode: run command in the background"),
        DETACH_KEYS,
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
    examples=(("sampan exec -it web sh", "A shell beside a running server"),),
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.containers import keys
    from sampan.containers.exec import Request, execute

    name, *command = arguments.positionals
    interactive, tty, detached = arguments.on("interactive"), arguments.on("tty"), arguments.on("detach")
    if tty and interactive and not detached and not os.isatty(0):
        raise Invalid("the input device is not a TTY", hint="leave out -t when input comes from a pipe or a file")
    container = context.engine.records.find(name)
    request = Request(
        tuple(command),
        _environment(arguments),
        arguments.text("user") or "",
        arguments.text("workdir") or "",
        tty,
        arguments.on("privileged"),
        keys.parse(arguments.text("detach-keys") or "") if tty else b"",
    )
    return execute(container, request, interactive=interactive, detached=detached, warn=context.warn)


def _environment(arguments: Parsed) -> tuple[str, ...]:
    if not (arguments.texts("env") or arguments.texts("env-file")):
        return ()
    from sampan.cli.creation import environment

    return tuple(environment(arguments))
