"""``sampan pull``: an image from a registry, ready to run."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Corrupt, Denied, Invalid, NotFound, Unavailable
from sampan.oci import reference as references

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.cli.progress import Listener
    from sampan.engine import Engine
    from sampan.events import Report
    from sampan.oci.platform import Platform
    from sampan.oci.reference import Reference
    from sampan.settings import Settings
    from sampan.store.images import Image

COMMAND = Command(
    "[OPTIONS] NAME[:TAG|@DIGEST]",
    (
        Flag("-a, --all-tags", "Download all tagged images in the repository"),
        Flag("--jobs int", "Layers that are moved at the same time (default 4, or as the settings say)"),
        Flag("--platform string", "Pull the image for this platform (default: this machine's)"),
        Flag("--progress string", "How progress is told: auto, plain or json", default="auto"),
        Flag("-q, --quiet", "Suppress verbose output"),
    ),
    least=1,
    most=1,
    needs_userns=True,
    runs_nothing=True,
    later="--disable-content-trust",
    examples=(
        ("sampan pull python:3.12", "From Docker Hub"),
        ("sampan pull --progress json -q registry.example/app", "For a program to follow"),
    ),
)


def main(arguments: Parsed, context: Context) -> int:
    import sys

    from sampan import settings as settled
    from sampan.cli import progress, registries
    from sampan.oci import platform as platforms

    (text,) = arguments.positionals
    given = references.parse(text)
    settings = settled.read()
    settings = settings._replace(jobs=registries.jobs(arguments, settings))
    wanted = arguments.text("platform")
    platform = platforms.parse(wanted) if wanted else platforms.host()
    with progress.listener(sys.stdout, arguments.text("progress") or "", context) as listener:
        found = _all_tags(given, settings) if arguments.on("all-tags") else [given.tagged()]
        if not (given.tag or given.digest or arguments.on("all-tags")):
            context.say(f"Using default tag: {found[0].tag}")
        changed = [_pull(reference, context, platform, listener, settings) for reference in found]
        status = "Downloaded newer image" if any(changed) else "Image is up to date"
        told = given if arguments.on("all-tags") else found[0]
        context.say(f"Status: {status} for {told.familiar()}")
        listener.result(told.canonical())
    return 0


def _all_tags(given: "Reference", settings: "Settings") -> "list[Reference]":
    from sampan.cli import registries
    from sampan.oci.reference import Reference

    if given.tag or given.digest:
        raise Invalid("tag can't be used with --all-tags/-a")
    with registries.connect(given.registry, settings) as client:
        tags = client.tags(given.repository)
    if not tags:
        raise NotFound(f"there are no tags in {given.name}")
    return [Reference(given.registry, given.repository, tag) for tag in tags]


def _pull(
    reference: "Reference", context: Context, platform: "Platform", listener: "Listener", settings: "Settings"
) -> bool:
    """Pulls one image and tells of it; whether its name means something new now."""
    images = context.engine.images
    before = images.lookup(reference)
    context.say(f"{reference.selector}: Pulling from {reference.repository}")
    image = fetch(reference, context.engine, platform, listener, settings)
    if not image.platform.satisfies(platform):
        context.warn(f"the image {reference.familiar()} is for {image.platform}, and there is none for {platform}")
    after = images.lookup(reference)
    listener.flush()
    context.say(f"Digest: {after.target.digest if after else ''}")
    return before != after


def fetch(
    reference: "Reference",
    engine: "Engine",
    platform: "Platform",
    report: "Report",
    settings: "Settings | None" = None,
) -> "Image":
    """Pulls into the stores of ``engine``, with the user's credentials; from a mirror if one has the image.

    Raises what ``registry.pull`` raises.
    """
    from sampan import settings as settled
    from sampan.cli import registries
    from sampan.events import Warned
    from sampan.registry.pull import pull
    from sampan.snapshots import unpack

    settings = settings or settled.read()
    with engine.storing():
        for client in registries.sources(reference.registry, settings):
            try:
                with client:
                    return pull(
                        reference,
                        client=client,
                        blobs=engine.blobs,
                        images=engine.images,
                        unpack=lambda manifest, config: unpack.begin(
                            manifest, config, engine.blobs, engine.snapshots, report
                        ),
                        measure=engine.snapshots.size,
                        platform=platform,
                        report=report,
                        jobs=settings.jobs,
                    )
            except (NotFound, Denied, Unavailable, Corrupt) as error:
                if client.registry == reference.registry:
                    raise
                if not isinstance(error, NotFound):
                    report(Warned(f"the mirror {client.registry} is passed over: {error.message}"))
        raise AssertionError("a registry is the last of its own sources")
