"""``sampan start``: let containers run that were made or have ended."""

from sampan.cli.context import Context
from sampan.cli.exec import DETACH_KEYS
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.containers.lifecycle import Stores
    from sampan.containers.record import Container


def owner(arguments: Parsed, context: Context) -> int:
    """As ``creation.owner``, for containers that are there."""
    records = context.engine.records
    for name in arguments.positionals:
        try:
            shared = (each for each in records.find(name).options.namespaces if each.startswith("container:"))
            pid = next((records.find(each.removeprefix("container:")).state().pid for each in shared), 0)
        except NotFound:
            continue  # it is said where the container is to be started
        if pid:
            return pid
    return 0


COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    (
        Flag("-a, --attach", "Attach STDOUT/STDERR and forward signals"),
        DETACH_KEYS,
        Flag("-i, --interactive", "Attach container's STDIN"),
    ),
    least=1,
    most=None,
    needs_userns=True,
    joins=owner,
    later="--checkpoint --checkpoint-dir",
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.containers import again

    names, stores = arguments.positionals, context.engine.containers
    if arguments.on("attach") or arguments.on("interactive"):
        if len(names) > 1:
            raise Invalid("you cannot start and attach multiple containers at once")
        container = stores.containers.find(names[0])
        return attend(container, stores, arguments, interactive=arguments.on("interactive"), running=False)

    def start(name: str) -> None:
        container = stores.containers.find(name)
        if not container.state().alive:  # else it is as it is asked for
            monitor = again.start(container, stores)
            monitor.close()
            if monitor.warning:
                context.warn(monitor.warning)
        context.print(name)

    return context.each(names, start)


def attend(
    container: "Container",
    stores: "Stores",
    arguments: Parsed,
    *,
    interactive: bool,
    running: bool,
    proxy_signals: bool = True,
) -> int:
    """Serves a container, which is started unless it is ``running``, until it ends, and gives its exit code.

    The exit code is 0 if the user detaches.
    """
    from sampan.containers import again, ending, lifecycle, session
    from sampan.containers.keys import parse

    options = container.options
    keys = parse(arguments.text("detach-keys") or "")
    interactive = interactive and options.interactive
    if running or container.state().status == "running":
        with ending.connect(container, attach=True) as end:
            code = session.attach(
                end, interactive=interactive, tty=options.terminal, keys=keys, proxy_signals=proxy_signals
            )
            return code or 0
    monitor = again.start(container, stores, attach=True)
    with monitor.end:
        code = session.attach(monitor.end, interactive=interactive, tty=options.terminal, keys=keys)
        if code is None:
            return 0
        if options.auto_remove:
            lifecycle.take_over_removal(monitor)
    if options.auto_remove:
        lifecycle.remove(container, stores, volumes=True)
    return code
