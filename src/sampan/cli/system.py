"""``sampan system``: what takes the disk, and removing all that nobody uses."""

from sampan.cli import listing, output
from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sampan.build.prune import Remembered
    from sampan.cli.listing import Columns
    from sampan.containers.usage import Total, Usage

_DIGITS = 4  # of sizes in the summary, as with Docker


def df(arguments: Parsed, context: Context) -> int:
    from sampan.build import prune as prune_cache
    from sampan.containers import usage
    from sampan.containers.record import Containers

    engine = context.engine
    containers = Containers(engine.database, engine.paths.containers)
    found = usage.measure(engine.images, engine.blobs, engine.snapshots, containers, engine.volumes)
    cache = prune_cache.remembered(engine.database, engine.paths.caches)
    own = sum(each.size for each in cache if not each.shared)
    totals = (*found.totals, usage.Total("Build Cache", len(cache), 0, own, own))
    template = arguments.text("format")
    if not arguments.on("verbose"):
        shown = ("Type", "TotalCount", "Active", "Size", "Reclaimable")
        listing.show(context, totals, _SUMMARY, shown, template)
    elif template is not None:
        raise Invalid("--verbose has no --format yet", hint="--format works without it")
    else:
        _details(found, cache, context)
    return 0


def prune(arguments: Parsed, context: Context) -> int:
    import time

    from sampan.build import prune as prune_cache
    from sampan.cli import question
    from sampan.containers import pruning
    from sampan.store import filters

    chosen = filters.parse(arguments.texts("filter"), pruning.FILTERS)
    everything, volumes = arguments.on("all"), arguments.on("volumes")
    if volumes and "until" in chosen:
        raise Invalid("the filter until is not for volumes", hint="leave out --volumes")
    if not question.agreed(_warning(arguments), force=arguments.on("force")):
        return 0
    engine, stores = context.engine, context.engine.containers
    containers = pruning.containers(stores, chosen, time.time())
    removed, freed = {"Deleted Containers:": containers.removed}, containers.freed
    removed["Deleted Networks:"] = pruning.networks(stores, chosen, time.time())
    if volumes:
        of_nobody = pruning.volumes(engine.volumes, stores.containers, chosen, everything=False)
        removed["Deleted Volumes:"] = of_nobody.removed
        freed += of_nobody.freed
    images = pruning.images(engine.images, engine.blobs, stores.containers, chosen, everything=everything)
    removed["Deleted Images:"] = images.removed
    if not chosen:
        known = prune_cache.remembered(engine.database, engine.paths.caches)
        gone = prune_cache.forget(prune_cache.chosen(known, shared=everything), engine.database, engine.paths.caches)
        removed["Deleted build cache objects:"] = tuple(each.identifier for each in gone)
        freed += sum(each.size for each in gone if each.kind == prune_cache.MOUNT)
    question.report(context, removed, freed + question.free(context))
    return 0


def _warning(arguments: Parsed) -> str:
    everything, chosen = arguments.on("all"), arguments.texts("filter")
    kinds = ["all stopped containers", "all networks not used by at least one container"]
    if arguments.on("volumes"):
        kinds.append("all anonymous volumes not used by at least one container")
    kinds.append(
        "all images without at least one container associated to them" if everything else "all dangling images"
    )
    if not chosen:
        kinds.append("all build cache" if everything else "unused build cache")
    lines = ["This will remove:", *(f"  - {kind}" for kind in kinds), ""]
    if chosen:
        lines += ["  Items to be pruned will be filtered with:", *(f"  - {text}" for text in chosen), ""]
    return "\n".join(lines)


def _reclaimable(total: "Total") -> str:
    share = f" ({total.reclaimable * 100 // total.size}%)" if total.size and total.kind != "Build Cache" else ""
    return output.size(total.reclaimable, _DIGITS) + share


_SUMMARY: "Columns" = {
    "Type": ("TYPE", lambda total: total.kind),
    "TotalCount": ("TOTAL", lambda total: str(total.number)),
    "Active": ("ACTIVE", lambda total: str(total.active)),
    "Size": ("SIZE", lambda total: output.size(total.size, _DIGITS)),
    "Reclaimable": ("RECLAIMABLE", _reclaimable),
}


def _details(found: "Usage", cache: "Sequence[Remembered]", context: Context) -> None:
    import time

    now = time.time()
    _part(
        context,
        "Images space usage:",
        "REPOSITORY|TAG|IMAGE ID|CREATED|SIZE|SHARED SIZE|UNIQUE SIZE|CONTAINERS",
        [
            [
                name.reference.familiar_name if name else "<none>",
                (name.reference.tag if name else None) or "<none>",
                use.image.id.short,
                output.ago(use.image.created),
                output.size(use.shared + use.unique),
                output.size(use.shared),
                output.size(use.unique),
                str(use.containers),
            ]
            for use in found.images
            for name in use.names or (None,)
        ],
    )
    _part(
        context,
        "Containers space usage:",
        "CONTAINER ID|IMAGE|COMMAND|LOCAL VOLUMES|SIZE|CREATED|STATUS|NAMES",
        [
            [
                use.container.id[:12],
                use.container.image_name,
                f'"{output.shorten(" ".join(use.container.options.args), 20)}"',
                str(sum(not mount.source.startswith("/") for mount in use.container.options.mounts)),
                output.size(use.size),
                output.ago(use.container.created),
                use.state.status,
                use.container.name,
            ]
            for use in found.containers
        ],
    )
    volumes = [[use.name, str(use.links), output.size(use.size)] for use in found.volumes]
    _part(context, "Local Volumes space usage:", "VOLUME NAME|LINKS|SIZE", volumes)
    size = output.size(sum(each.size for each in cache if not each.shared), _DIGITS)
    steps = [
        [
            each.identifier[:12],
            each.kind,
            output.size(each.size),
            output.duration(now - each.used),
            str(each.shared).lower(),
        ]
        for each in cache
    ]
    _part(context, f"Build cache usage: {size}", "CACHE ID|CACHE TYPE|SIZE|UNUSED FOR|SHARED", steps)


def _part(context: Context, title: str, headers: str, rows: "Sequence[Sequence[str]]") -> None:
    context.print(f"{title}\n\n{output.table(headers.split('|'), rows)}\n")


COMMANDS = {
    "df": (
        Command(
            "[OPTIONS]",
            (
                Flag("--format string", listing.FORMAT),
                Flag("-v, --verbose", "Show every image, container, volume and result of a build step"),
            ),
            needs_userns=True,
            runs_nothing=True,
        ),
        df,
    ),
    "prune": (
        Command(
            "[OPTIONS]",
            (
                Flag("-a, --all", "Remove all unused images not just dangling ones"),
                Flag("--filter filter", "Only what was made before a moment (until=24h) or has a label", repeat=True),
                Flag("-f, --force", "Do not prompt for confirmation"),
                Flag("--volumes", "Prune anonymous volumes"),
            ),
            needs_userns=True,
            runs_nothing=True,
        ),
        prune,
    ),
}
