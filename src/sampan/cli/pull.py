"""``sampan pull``: an image from a registry, ready to run."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.oci import reference as references

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.engine import Engine
    from sampan.events import Report
    from sampan.oci.platform import Platform
    from sampan.oci.reference import Reference
    from sampan.store.images import Image

COMMAND = Command(
    "[OPTIONS] NAME[:TAG|@DIGEST]",
    (
        Flag("--platform string", "Pull the image for this platform (default: this machine's)"),
        Flag("-q, --quiet", "Suppress verbose output"),
    ),
    least=1,
    most=1,
    needs_userns=True,
    later="-a --all-tags --disable-content-trust",
    examples=(("sampan pull python:3.12", "From Docker Hub"),),
)


def main(arguments: Parsed, context: Context) -> int:
    import sys

    from sampan.cli.progress import Transfers
    from sampan.oci import platform as platforms

    (text,) = arguments.positionals
    given = references.parse(text)
    reference = given.tagged()
    wanted = arguments.text("platform")
    platform = platforms.parse(wanted) if wanted else platforms.host()
    before = context.engine.images.lookup(reference)
    if reference != given:
        context.say(f"Using default tag: {reference.tag}")
    context.say(f"{reference.selector}: Pulling from {reference.repository}")
    with Transfers(sys.stdout, quiet=context.quiet) as transfers:
        fetch(reference, context.engine, platform, transfers)
    after = context.engine.images.lookup(reference)
    context.say(f"Digest: {after.target.digest if after else ''}")
    status = "Image is up to date" if before == after else "Downloaded newer image"
    context.say(f"Status: {status} for {reference.familiar()}")
    context.print(reference.canonical())
    return 0


def fetch(reference: "Reference", engine: "Engine", platform: "Platform", report: "Report") -> "Image":
    """Pulls into the stores of ``engine``, with the user's credentials. Raises what ``registry.pull`` raises."""
    from sampan.registry import credentials
    from sampan.registry.client import connect
    from sampan.registry.pull import pull
    from sampan.snapshots import unpack

    with engine.storing(), connect(reference.registry, lambda: credentials.lookup(reference.registry)) as client:
        return pull(
            reference,
            client=client,
            blobs=engine.blobs,
            images=engine.images,
            unpack=lambda manifest, config: unpack.begin(manifest, config, engine.blobs, engine.snapshots, report),
            measure=engine.snapshots.size,
            platform=platform,
            report=report,
        )
