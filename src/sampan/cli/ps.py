"""``sampan ps``: containers, a line each."""

from sampan.cli import listing, output
from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sampan.cli.listing import Columns
    from sampan.containers.options import Options
    from sampan.containers.record import Container
    from sampan.containers.state import State

    Shown = tuple[Container, State]

COMMAND = Command(
    "[OPTIONS]",
    (
        Flag("-a, --all", "Show all containers (default shows just running)"),
        Flag(
            "-f, --filter filter",
            "Filter output: name=, id=, status=, ancestor=, label=, exited=, before=, since=, network=, volume=, "
            "publish=, expose=, health=",
            repeat=True,
        ),
        Flag("--format string", listing.FORMAT),
        Flag("-n, --last int", "Show n last created containers (includes all states)", -1),
        Flag("-l, --latest", "Show the latest created container (includes all states)"),
        Flag("--no-trunc", "Don't truncate output"),
        Flag("-q, --quiet", "Only display container IDs"),
        Flag("-s, --size", "Display total file sizes"),
    ),
    examples=(
        ("sampan ps -a --filter status=exited", "Those that have ended"),
        ("sampan ps --format 'table {{.Names}}\\t{{.Status}}'", "Two columns"),
    ),
)
_SHOWN = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")
_WIDEST = 15  # of a mount's name


def main(arguments: Parsed, context: Context) -> int:
    from sampan.containers.record import Containers  # the rest of what starts containers is not needed here

    engine = context.engine
    containers = Containers(engine.database, engine.paths.containers)
    last = 1 if arguments.on("latest") else arguments.number("last") or -1
    template = arguments.text("format")
    found = [(container, container.state()) for container in containers.all()]
    if texts := arguments.texts("filter"):
        from sampan.containers import selection

        chosen = selection.parse(texts)
        everything = "status" in chosen
        found = selection.select(found, chosen, lambda container: _labels(container, context))
    else:
        everything = False
    if not (everything or arguments.on("all") or last > 0):
        found = [shown for shown in found if shown[1].status in ("running", "restarting")]
    found = found[:last] if last > 0 else found
    whole = arguments.on("no-trunc")
    if not listing.identifiers(arguments, context, [_id(container, whole=whole) for container, _ in found]):
        sized = arguments.on("size") or ".Size" in (template or "")
        shown = (*_SHOWN, "Size") if arguments.on("size") else _SHOWN
        listing.show(context, found, _columns(context, whole=whole, sized=sized), shown, template)
    return 0


def _columns(context: Context, *, whole: bool, sized: bool) -> "Columns":
    def labels(shown: "Shown") -> dict[str, str]:
        return _labels(shown[0], context)

    return {
        "ID": ("CONTAINER ID", lambda shown: _id(shown[0], whole=whole)),
        "Image": ("IMAGE", lambda shown: shown[0].image_name),
        "Command": ("COMMAND", lambda shown: _command(shown[0], whole=whole)),
        "CreatedAt": ("CREATED AT", lambda shown: output.moment(shown[0].created)),
        "RunningFor": ("CREATED", lambda shown: output.ago(shown[0].created)),
        "State": ("STATE", lambda shown: shown[1].word),
        "Status": ("STATUS", lambda shown: _status(shown[1])),
        "Ports": ("PORTS", lambda shown: _ports(shown[1])),
        "Names": ("NAMES", lambda shown: shown[0].name),
        "Labels": ("LABELS", lambda shown: ",".join(f"{key}={value}" for key, value in sorted(labels(shown).items()))),
        "Label": ("", lambda shown: lambda name: labels(shown).get(name, "")),
        "Mounts": ("MOUNTS", lambda shown: _mounts(shown[0], whole=whole)),
        "LocalVolumes": ("LOCAL VOLUMES", lambda shown: str(len(_volumes(shown[0])))),
        "Networks": ("NETWORKS", lambda shown: ",".join(_networks(shown[0].options))),
        "Size": ("SIZE", _sizes(context) if sized else lambda shown: "0B"),
    }


def _id(container: "Container", *, whole: bool) -> str:
    return container.id if whole else container.id[:12]


def _command(container: "Container", *, whole: bool) -> str:
    command = " ".join(container.options.args)
    return f'"{command if whole else output.shorten(command, 20)}"'


def _status(state: "State") -> str:
    shown = output.state(state.word, started=state.started, finished=state.finished, exit_code=state.exit_code)
    if state.word != "running" or not state.health:
        return shown
    return f"{shown} (health: starting)" if state.health == "starting" else f"{shown} ({state.health})"


def _ports(state: "State") -> str:
    if state.status != "running" or not state.ports:
        return ""
    from sampan.networks import ports

    return ports.display(ports.Port(*port) for port in state.ports)


def _volumes(container: "Container") -> list[str]:
    return [mount.source for mount in container.options.mounts if not mount.source.startswith("/")]


def _mounts(container: "Container", *, whole: bool) -> str:
    sources = [mount.source for mount in container.options.mounts]
    return ",".join(source if whole else output.shorten(source, _WIDEST) for source in sources)


def _labels(container: "Container", context: Context) -> dict[str, str]:
    """Its own labels over those of its image, which may have been removed by force."""
    from sampan.errors import NotFound
    from sampan.oci import config
    from sampan.oci.digest import Digest

    try:
        inherited = config.parse(context.engine.blobs.read(Digest(container.image_id))).config.labels
    except NotFound:
        inherited = {}
    return {**inherited, **dict(container.options.labels)}


def _sizes(context: Context) -> "Callable[[Any], str]":
    """What a container wrote, and how large it is with its image."""
    from sampan.containers import describe

    snapshots = context.engine.snapshots

    def size(shown: "Shown") -> str:
        written, total = describe.sizes(shown[0], snapshots)
        return f"{output.size(written)} (virtual {output.size(total)})"

    return size


def _networks(options: "Options") -> list[str]:
    return [joining.network for joining in options.networks] or [options.network]
