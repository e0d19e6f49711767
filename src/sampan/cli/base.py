"""``sampan base``: base images where no registry answers."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sampan.bases.layer import Built
    from sampan.oci.reference import Reference

_QUIET = Flag("-q, --quiet", "Only print the image ID")

HOST = Command(
    "[OPTIONS]",
    (
        Flag("-t, --tag list", 'Name and optionally a tag in the "name:tag" format (default "localhost/python:host")'),
        _QUIET,
    ),
    needs_userns=True,
    runs_nothing=True,
    details="The image holds the Python that runs sampan with its standard library and pip, a shell, core tools, and "
    "the shared libraries that these need. It needs no network and takes seconds. Nothing private of this machine is "
    "copied: no accounts, no settings, no CA certificates of its own.",
    examples=(
        ("sampan base host", "Make localhost/python:host"),
        ("sampan base host -t python:latest", 'Make the image that "FROM python" finds'),
    ),
)
DEBIAN = Command(
    "[OPTIONS]",
    (
        Flag("--suite string", "Release to take, for example bookworm (default: that of this machine)"),
        Flag("--include list", "Packages to install besides, separated by commas"),
        Flag("--variant string", "Set of packages to begin with", "minbase"),
        Flag("-t, --tag list", 'Name and optionally a tag in the "name:tag" format (default "localhost/debian:SUITE")'),
        _QUIET,
    ),
    details="The packages come from the mirror that apt is configured for. mmdebstrap has to be installed, or "
    "debootstrap (root only, no updates).",
    examples=(
        ("sampan base debian --suite bookworm --include python3,ca-certificates", "Make localhost/debian:bookworm"),
    ),
)


def main_host(arguments: Parsed, context: Context) -> int:
    from sampan.bases import host, layer

    references = _references(arguments, host.DEFAULT_NAME)
    plan = host.plan()
    for reason in dict.fromkeys(reason for _, reason in plan.left_out):
        context.say(f"left out ({reason}): {', '.join(name for name, why in plan.left_out if why == reason)}")
    engine = context.engine
    with engine.storing():
        stored = layer.write(plan.contents, engine.blobs)
        built = layer.image(stored, plan.config, layer.stamp(plan.contents), "sampan base host", engine.blobs)
        _publish(built, references, context)
    return 0


def main_debian(arguments: Parsed, context: Context) -> int:
    import time

    from sampan.bases import debian, layer
    from sampan.linux.namespaces import enter_user_namespace

    suite = arguments.text("suite") or debian.own_suite()
    references = _references(arguments, f"localhost/debian:{suite}")
    engine = context.engine
    with engine.storing():
        stored = debian.build(
            suite, arguments.texts("include"), arguments.text("variant") or "", engine.blobs, context.say
        )
        # Only now: mmdebstrap makes the namespaces that it needs itself, out of the user's own.
        enter_user_namespace()
        created = layer.source_date() or int(time.time())
        built = layer.image(stored, debian.CONFIG, created, f"sampan base debian --suite {suite}", engine.blobs)
        _publish(built, references, context)
    return 0


COMMANDS = {"host": (HOST, main_host), "debian": (DEBIAN, main_debian)}


def _references(arguments: Parsed, default: str) -> "list[Reference]":
    from sampan.errors import Invalid
    from sampan.oci import reference

    found = [reference.parse(name) for name in arguments.texts("tag") or [default]]
    for name in found:
        if name.digest:
            raise Invalid(f"{name} has a digest, and an image cannot be given one", hint="leave out @ and what follows")
    return [name.tagged() for name in found]


def _publish(built: "Built", references: "Sequence[Reference]", context: Context) -> None:
    """Unpacks the image and gives it its names: from here on it is like one that was pulled."""
    from sampan.events import quiet
    from sampan.snapshots import unpack
    from sampan.store.images import Image

    engine = context.engine
    with unpack.begin(built.manifest, built.config, engine.blobs, engine.snapshots, quiet) as unpacking:
        for index in range(len(built.manifest.layers)):
            unpacking.arrived(index)
        chain = unpacking.finish()
    config, size = built.config, engine.snapshots.size(chain)
    image = Image(built.manifest.config.digest, built.target, chain, config.platform, config.created, size)
    engine.images.put(image, references)
    if context.quiet:
        context.print(image.id)
    else:
        for reference in references:
            context.print(f"{reference}  {image.id}")
