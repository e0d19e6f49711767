"""``sampan volume``: directories that outlive containers."""

from sampan.cli import listing
from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import NotFound, Unsupported
from sampan.store import filters
from sampan.volumes import Volumes, anonymous_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.cli.listing import Columns
    from sampan.containers.record import Containers
    from sampan.store.filters import Filters

_FORCE = Flag("-f, --force", "Do not prompt for confirmation")
_KNOWN = ("dangling", "driver", "label", "name")


def create(arguments: Parsed, context: Context) -> int:
    from sampan.containers.options import check_volume_name

    if arguments.text("driver") != "local":
        raise Unsupported(f"the volume driver {arguments.text('driver')!r} is not built yet", hint="local is")
    name = (arguments.positionals or [anonymous_name()])[0]
    labels = dict(text.partition("=")[::2] for text in arguments.texts("label"))
    context.engine.volumes.create(check_volume_name(name), labels)
    context.print(name)
    return 0


def ls(arguments: Parsed, context: Context) -> int:
    from sampan.containers import pruning

    engine = context.engine
    chosen = filters.parse(arguments.texts("filter"), _KNOWN)
    names = _select(engine.volumes, chosen, lambda: pruning.volumes_in_use(_containers(context)))
    if not listing.identifiers(arguments, context, names):
        listing.show(context, names, _columns(engine.volumes), ("Driver", "Name"), arguments.text("format"))
    return 0


def inspect(arguments: Parsed, context: Context) -> int:
    return listing.described(arguments, context, context.engine.volumes.inspect)


def rm(arguments: Parsed, context: Context) -> int:
    from sampan.containers import pruning

    volumes, in_use = context.engine.volumes, pruning.volumes_in_use(_containers(context))

    def remove(name: str) -> None:
        try:
            volumes.remove(name, in_use)
        except NotFound:
            if not arguments.on("force"):
                raise
        context.print(name)

    return context.each(arguments.positionals, remove)


def prune(arguments: Parsed, context: Context) -> int:
    from sampan.cli import question
    from sampan.containers import pruning

    kind = "all" if arguments.on("all") else "anonymous"
    warning = f"This will remove {kind} local volumes not used by at least one container."
    chosen = filters.parse(arguments.texts("filter"), ("all", "label"))
    everything = arguments.on("all") or bool(filters.boolean(chosen, "all"))
    if question.agreed(warning, force=arguments.on("force")):
        pruned = pruning.volumes(context.engine.volumes, _containers(context), chosen, everything=everything)
        question.report(context, {"Deleted Volumes:": pruned.removed}, pruned.freed)
    return 0


def _containers(context: Context) -> "Containers":
    from sampan.containers.record import Containers

    return Containers(context.engine.database, context.engine.paths.containers)


def _select(volumes: Volumes, chosen: "Filters", used: "Callable[[], set[str]]") -> list[str]:
    names, dangling = volumes.all(), filters.boolean(chosen, "dangling")
    for driver in chosen.get("driver", ())[:1]:
        names = names if driver == "local" else []
    if "name" in chosen:
        names = [name for name in names if any(part in name for part in chosen["name"])]
    if dangling is not None:
        in_use = used()
        names = [name for name in names if dangling != (name in in_use)]
    return [name for name in names if filters.labels_match(chosen, volumes.labels(name))]


def _columns(volumes: Volumes) -> "Columns":
    return {
        "Driver": ("DRIVER", lambda name: "local"),
        "Name": ("VOLUME NAME", lambda name: name),
        "Scope": ("SCOPE", lambda name: "local"),
        "Mountpoint": ("MOUNTPOINT", volumes.path),
        "Labels": ("LABELS", lambda name: ",".join(f"{key}={value}" for key, value in volumes.labels(name).items())),
        "Label": ("", lambda name: lambda label: volumes.labels(name).get(label, "")),
        "Links": ("LINKS", lambda name: "N/A"),  # as Docker, unless it has counted: see ``system df -v``
        "Size": ("SIZE", lambda name: "N/A"),
    }


COMMANDS = {
    "create": (
        Command(
            "[OPTIONS] [VOLUME]",
            (
                Flag("-d, --driver string", "Specify volume driver name", "local"),
                Flag("--label list", "Set metadata for a volume"),
            ),
            most=1,
            later="-o --opt --availability --group --limit-bytes --required-bytes --scope --secret --sharing --type",
        ),
        create,
    ),
    "ls": (
        Command(
            "[OPTIONS]",
            (
                Flag(
                    "-f, --filter filter",
                    "Filter output: dangling=true|false, name=, label=, driver=",
                    repeat=True,
                ),
                Flag("--format string", listing.FORMAT),
                Flag("-q, --quiet", "Only display volume names"),
            ),
            later="--cluster",
        ),
        ls,
    ),
    "inspect": (
        Command("[OPTIONS] VOLUME [VOLUME...]", (Flag("-f, --format string", listing.TEMPLATE),), least=1, most=None),
        inspect,
    ),
    "rm": (
        Command(
            "[OPTIONS] VOLUME [VOLUME...]",
            (Flag("-f, --force", "No error for volumes that are not there"),),
            least=1,
            most=None,
            needs_userns=True,
            runs_nothing=True,
        ),
        rm,
    ),
    "prune": (
        Command(
            "[OPTIONS]",
            (
                Flag("-a, --all", "Remove all unused volumes, not just anonymous ones"),
                Flag("--filter filter", "Only those with a label: label=KEY, label=KEY=VALUE, label!=…", repeat=True),
                _FORCE,
            ),
            needs_userns=True,
            runs_nothing=True,
        ),
        prune,
    ),
}
