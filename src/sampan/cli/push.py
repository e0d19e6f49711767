"""``sampan push``: an image to the registry that its name says."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Invalid, NotFound
from sampan.oci import reference as references

COMMAND = Command(
    "[OPTIONS] NAME[:TAG]",
    (Flag("-q, --quiet", "Suppress verbose output"),),
    least=1,
    most=1,
    later="-a --all-tags --platform --disable-content-trust",
    examples=(("sampan push localhost:5000/hello:1.0", "To a registry on this machine"),),
)


def main(arguments: Parsed, context: Context) -> int:
    import sys

    from sampan.cli.progress import Transfers
    from sampan.registry import credentials
    from sampan.registry.client import connect
    from sampan.registry.push import likely_sources, push
    from sampan.store.leases import lease

    (text,) = arguments.positionals
    given = references.parse(text)
    reference, engine = given.tagged(), context.engine
    if reference.digest:
        raise Invalid(f"{text} has a digest, and a registry finds that out by itself", hint="leave out @ and the rest")
    name = engine.images.lookup(reference)
    if name is None:
        hint = f"sampan tag IMAGE {reference} gives an image that name"
        raise NotFound(f"no image is named {reference}", hint=hint)
    if reference != given:
        context.say(f"Using default tag: {reference.tag}")
    context.say(f"The push refers to repository [{reference.name}]")
    with (
        lease(engine.paths),
        connect(reference.registry, lambda: credentials.lookup(reference.registry), push=True) as client,
        Transfers(sys.stdout, quiet=context.quiet) as transfers,
    ):
        pushed = push(
            engine.images.get(name.image_id),
            reference,
            client=client,
            blobs=engine.blobs,
            report=transfers,
            sources=likely_sources(engine.images, reference, engine.blobs),
        )
    context.say(f"{reference.tag}: digest: {pushed.digest} size: {pushed.size}")
    if context.quiet:
        context.print(reference.canonical())
    return 0
