"""``sampan run``: make a container from an image and run a command in it."""

from sampan.cli import creation
from sampan.cli.context import Context
from sampan.cli.exec import DETACH_KEYS
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Conflict

SIG_PROXY = Flag("--sig-proxy", "Proxy received signals to the process", True)
_KILLED = 137
COMMAND = Command(
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    (
        Flag("-d, --detach", "Run container in background and print container ID"),
        DETACH_KEYS,
        SIG_PROXY,
        *creation.FLAGS,
    ),
    least=1,
    most=None,
    interspersed=False,
    needs_userns=True,
    error_exit=125,
    refused=creation.REFUSED,
    joins=creation.owner,
    examples=(
        ("sampan run --rm python python -c 'print(1)'", "One command, and nothing is left of the container"),
        ("sampan run -d -p 8000:8000 --name web hello", "A server in the background, reachable at port 8000"),
        ("sampan run -it --rm python sh", "A shell to look around with"),
    ),
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.containers.prelaunch import prelaunch

    # First of all, so that the monitor's start goes on beside everything below.
    monitor = prelaunch()
    from sampan.containers import lifecycle, session
    from sampan.containers.keys import parse

    detach = arguments.on("detach")
    try:
        if detach and arguments.texts("attach"):
            raise Conflict("--attach and --detach contradict each other")
        keys = parse(arguments.text("detach-keys") or "")
        stores, container = creation.create(arguments, context)
    except BaseException:
        monitor.close()
        raise
    options = container.options
    try:
        lifecycle.start(container, stores, monitor, attach=not detach)
    except BaseException:
        # It never ran: nobody would look for it.
        lifecycle.remove(container, stores, force=True, volumes=True)
        raise
    if monitor.warning:
        context.warn(monitor.warning)
    if detach:
        monitor.close()
        context.print(container.id)
        return 0
    with monitor.end:
        code = session.attach(
            monitor.end,
            interactive=options.interactive and (not options.attach or "stdin" in options.attach),
            tty=options.terminal,
            keys=keys,
            proxy_signals=arguments.on("sig-proxy"),
            outputs=_shown(options.attach),
        )
        if code is None:
            return 0  # from now on the monitor removes what is to be removed
        if options.auto_remove:
            lifecycle.take_over_removal(monitor)
    if code == _KILLED and container.state().oom_killed:
        context.warn(f"container {container.name} was killed: it used up its memory (--memory)")
    if options.auto_remove:
        lifecycle.remove(container, stores, volumes=True)
    return code


def _shown(attached: tuple[str, ...]) -> tuple[int, ...]:
    """The streams that ``--attach`` names, all output by default."""
    return tuple(number for number, name in ((1, "stdout"), (2, "stderr")) if not attached or name in attached)
