"""``sampan images``: what the store holds, a line for each name."""

from sampan.cli import listing, output
from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed, UsageError
from sampan.store import selection
from sampan.store.images import Image, Name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.cli.listing import Columns

    Shown = tuple[Image, Name | None]

COMMAND = Command(
    "[OPTIONS] [REPOSITORY[:TAG]]",
    (
        Flag("-a, --all", "Show all images, also what failed builds left"),
        Flag("--digests", "Show digests"),
        Flag(
            "-f, --filter filter",
            "Filter output: dangling=true|false, reference=PATTERN, label=, before=IMAGE, since=IMAGE, until=TIME",
            repeat=True,
        ),
        Flag("--format string", listing.FORMAT),
        Flag("--no-trunc", "Don't truncate output"),
        Flag("-q, --quiet", "Only show image IDs"),
        Flag("--tree", "List images as a tree, with their names and what they take on disk"),
    ),
    most=1,
    examples=(
        ("sampan images", "All images, the newest first"),
        ("sampan images python", "Those of one repository"),
        ("sampan images -q --filter dangling=true", "The IDs of those without a name"),
        ("sampan images --format '{{.Repository}}:{{.Tag}} {{.Size}}'", "Names and sizes alone"),
    ),
)
_NONE = "<none>"
_SHOWN = ("Repository", "Tag", "ID", "CreatedSince", "Size")
_WITH_DIGESTS = ("Repository", "Tag", "Digest", "ID", "CreatedSince", "Size")


def main(arguments: Parsed, context: Context) -> int:
    engine = context.engine
    chosen = selection.parse(arguments.texts("filter"), arguments.positionals)
    found = selection.select(engine.images, engine.blobs, chosen)
    if not arguments.on("all") and "dangling" not in chosen:
        aside = engine.images.aside()
        found = [(image, names) for image, names in found if names or image.id not in aside]
    if arguments.on("tree"):
        return _tree(found, arguments, context)
    rows: list[Shown] = [(image, name) for image, names in found for name in (*names, *([] if names else [None]))]
    whole = arguments.on("no-trunc")
    if not listing.identifiers(arguments, context, [_id(image, whole=whole) for image, _ in rows]):
        shown = _WITH_DIGESTS if arguments.on("digests") else _SHOWN
        listing.show(context, rows, _columns(whole=whole), shown, arguments.text("format"))
    return 0


def _columns(*, whole: bool) -> "Columns":
    return {
        "Repository": ("REPOSITORY", lambda shown: shown[1].reference.familiar_name if shown[1] else _NONE),
        "Tag": ("TAG", lambda shown: (shown[1].reference.tag if shown[1] else None) or _NONE),
        "Digest": ("DIGEST", lambda shown: shown[1].target.digest if shown[1] else _NONE),
        "ID": ("IMAGE ID", lambda shown: _id(shown[0], whole=whole)),
        "CreatedAt": ("CREATED AT", lambda shown: output.moment(shown[0].created)),
        "CreatedSince": ("CREATED", lambda shown: output.ago(shown[0].created)),
        "Size": ("SIZE", lambda shown: output.size(shown[0].size)),
        # As with Docker, unless it has counted: see ``system df -v``.
        "Containers": ("CONTAINERS", lambda shown: "N/A"),
        "SharedSize": ("SHARED SIZE", lambda shown: "N/A"),
        "UniqueSize": ("UNIQUE SIZE", lambda shown: "N/A"),
        "VirtualSize": ("SIZE", lambda shown: output.size(shown[0].size)),
    }


def _id(image: Image, *, whole: bool) -> str:
    return image.id if whole else image.id.short


def _tree(found: list[tuple[Image, list[Name]]], arguments: Parsed, context: Context) -> int:
    """Every image once, under its names: what it takes unpacked, and what its compressed layers take."""
    from sampan.oci import manifest

    if arguments.on("quiet") or arguments.text("format") is not None or arguments.on("digests"):
        raise UsageError("--tree goes with none of --quiet, --format and --digests", exit_code=1)
    whole, blobs, lines = arguments.on("no-trunc"), context.engine.blobs, []
    for image, names in found:
        content = manifest.parse(blobs.read(image.manifest.digest))
        layers = content.layers if isinstance(content, manifest.Manifest) else ()
        packed = sum(layer.size for layer in layers)
        cells = [_id(image, whole=whole), output.size(image.size + packed), output.size(packed)]
        titles = [name.reference.familiar() for name in names] or [_NONE]
        lines += [[title, *(cells if number == 0 else ("", "", ""))] for number, title in enumerate(titles)]
        lines.append([f"└─ {image.platform}", *cells])
    context.print(output.table(("IMAGE", "ID", "DISK USAGE", "CONTENT SIZE"), lines))
    return 0
