"""``sampan push``: an image to the registry that its name says."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed, UsageError
from sampan.errors import Invalid, NotFound
from sampan.oci import reference as references

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.engine import Engine
    from sampan.oci.descriptor import Descriptor
    from sampan.oci.platform import Platform
    from sampan.oci.reference import Reference
    from sampan.registry.push import Convert
    from sampan.store.images import Name

COMMAND = Command(
    "[OPTIONS] NAME[:TAG]",
    (
        Flag("-a, --all-tags", "Push all tags of an image to the repository"),
        Flag("--all-platforms", "Push the images for all platforms; fail if one is not here"),
        Flag("--compression string", "Send layers as gzip, zstd or none, at a level: zstd:9 (default: as they are)"),
        Flag("--jobs int", "Layers that are moved at the same time (default 4, or as the settings say)"),
        Flag("--platform string", "Push only the image for this platform"),
        Flag("--progress string", "How progress is told: auto, plain or json", default="auto"),
        Flag("-q, --quiet", "Suppress verbose output"),
    ),
    least=1,
    most=1,
    later="--disable-content-trust",
    examples=(
        ("sampan push localhost:5000/hello:1.0", "To a registry on this machine"),
        ("sampan push --compression zstd:9 registry.example/app:1.0", "Smaller, for registries that are far away"),
    ),
)


def main(arguments: Parsed, context: Context) -> int:
    import sys

    from sampan import settings as settled
    from sampan.cli import progress, registries
    from sampan.registry.push import likely_sources, push
    from sampan.store.leases import lease

    (text,) = arguments.positionals
    given, engine = references.parse(text), context.engine
    names = _names(given, text, engine, all_tags=arguments.on("all-tags"))
    targets = [_target(name, arguments, engine) for name in names]
    settings = settled.read()
    settings = settings._replace(jobs=registries.jobs(arguments, settings))
    convert = _convert(arguments.text("compression") or settings.compression, engine)
    listener = progress.listener(sys.stdout, arguments.text("progress") or "", context)
    if not (given.tag or arguments.on("all-tags")):
        context.say(f"Using default tag: {names[0].reference.tag}")
    context.say(f"The push refers to repository [{given.name}]")
    with lease(engine.paths), registries.connect(given.registry, settings, push=True) as client, listener:
        for name, target in zip(names, targets, strict=True):
            pushed = push(
                target,
                name.reference,
                client=client,
                blobs=engine.blobs,
                report=listener,
                sources=likely_sources(engine.images, name.reference, engine.blobs),
                jobs=settings.jobs,
                convert=convert,
            )
            listener.flush()
            context.say(f"{name.reference.tag}: digest: {pushed.digest} size: {pushed.size}")
            if context.quiet:
                listener.result(name.reference.canonical(), pushed.digest)
    return 0


def _names(given: "Reference", text: str, engine: "Engine", *, all_tags: bool) -> "list[Name]":
    """What is to be pushed. Raises Invalid, NotFound."""
    if given.digest:
        raise Invalid(f"{text} has a digest, and a registry finds that out by itself", hint="leave out @ and the rest")
    if all_tags:
        if given.tag:
            raise Invalid("tag can't be used with --all-tags/-a")
        found = [name for name in engine.images.names() if name.reference.name == given.name and name.reference.tag]
        if not found:
            raise NotFound(f"no image here has a tag in {given}")
        return found
    name = engine.images.lookup(given.tagged())
    if name is None:
        hint = f"sampan tag IMAGE {given.tagged()} gives an image that name"
        raise NotFound(f"no image is named {given.tagged()}", hint=hint)
    return [name]


def _target(name: "Name", arguments: Parsed, engine: "Engine") -> "Descriptor":
    """The manifest or index to push: the index that the name means where all of it is here, else the image's manifest.

    Raises NotFound if something else was asked for and is not here.
    """
    from sampan.oci import platform as platforms
    from sampan.registry.push import missing

    wanted, every = arguments.text("platform"), arguments.on("all-platforms")
    if wanted and every:
        raise UsageError("--platform and --all-platforms are mutually exclusive", exit_code=1)
    if wanted:
        return _for_platform(name, platforms.parse(wanted), engine)
    if not engine.blobs.has(name.target.digest):
        return engine.images.get(name.image_id).manifest
    absent = missing(name.target, engine.blobs)
    if absent and every:
        listed = ", ".join(str(entry.platform or entry.digest) for entry in absent)
        raise NotFound(f"{name.reference} is not all here", hint=f"what is missing: {listed}")
    return engine.images.get(name.image_id).manifest if absent else name.target


def _for_platform(name: "Name", wanted: "Platform", engine: "Engine") -> "Descriptor":
    from sampan.oci import manifest as manifests
    from sampan.registry.push import missing

    image = engine.images.get(name.image_id)
    if image.platform.satisfies(wanted):
        return image.manifest
    document = manifests.parse(engine.blobs.read(name.target.digest), name.target.media_type)
    entries = document.manifests if isinstance(document, manifests.Index) else ()
    chosen = manifests.choose(entries, wanted)
    if missing(chosen, engine.blobs):
        raise NotFound(f"{name.reference} for {wanted} is not here", hint=f"sampan pull --platform {wanted} fetches it")
    return chosen._replace(platform=None)


def _convert(text: str, engine: "Engine") -> "Convert | None":
    """What makes layers as they are to be sent; None to send them as they are. Raises Invalid."""
    if not text:
        return None
    from sampan.registry import recompress
    from sampan.store.conversions import Conversions

    wanted, conversions = recompress.parse(text), Conversions(engine.database)
    return lambda layer: recompress.convert(layer, wanted, engine.blobs, conversions)
