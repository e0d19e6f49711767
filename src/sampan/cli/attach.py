"""``sampan attach``: connect this terminal with a running container."""

from sampan.cli.context import Context
from sampan.cli.exec import DETACH_KEYS
from sampan.cli.flags import Command, Flag, Parsed
from sampan.cli.run import SIG_PROXY
from sampan.errors import Conflict

COMMAND = Command(
    "[OPTIONS] CONTAINER",
    (DETACH_KEYS, Flag("--no-stdin", "Do not attach STDIN"), SIG_PROXY),
    least=1,
    most=1,
    needs_userns=True,
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.cli.start import attend

    stores = context.engine.containers
    container = stores.containers.find(arguments.positionals[0])
    state = container.state()
    if state.status != "running":
        raise Conflict("you cannot attach to a stopped container, start it first", hint="sampan start -a starts it")
    if state.paused:
        raise Conflict("you cannot attach to a paused container, unpause it first")
    interactive, proxy = not arguments.on("no-stdin"), arguments.on("sig-proxy")
    return attend(container, stores, arguments, interactive=interactive, running=True, proxy_signals=proxy)
