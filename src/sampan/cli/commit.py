"""``sampan commit``: an image of a container as it is now."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from sampan.containers.record import Container
    from sampan.engine import Engine
    from sampan.layers.write import Layer
    from sampan.oci.config import ImageConfig
    from sampan.oci.descriptor import Descriptor
    from sampan.oci.manifest import Manifest
    from sampan.oci.reference import Reference
    from sampan.store.images import Image

COMMAND = Command(
    "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    (
        Flag("-a, --author string", 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")'),
        Flag("-c, --change list", "Apply Dockerfile instruction to the created image"),
        Flag("-m, --message string", "Commit message"),
        Flag("-p, --pause", "Pause container during commit", default=True),
    ),
    least=1,
    most=2,
    needs_userns=True,
    runs_nothing=True,
    examples=(("sampan commit -c 'CMD [\"serve\"]' web web:patched", "With another command than the image's"),),
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.archives import derive, stored
    from sampan.build.dockerfile.changes import changed
    from sampan.build.state import timestamp
    from sampan.containers import commit

    name, *rest = arguments.positionals
    reference = stored.parse_tagged(rest[0]) if rest else None
    engine = context.engine
    container = engine.records.find(name)
    config, manifest = _base(container, engine)
    own = changed(commit.config_of(container.options, config.config), arguments.texts("change"))
    entry = {
        "created": timestamp(None),
        "created_by": " ".join(container.options.args),
        "author": arguments.text("author") or "",
        "comment": arguments.text("message") or "",
    }
    history = (*config.history, {key: value for key, value in entry.items() if value})
    config = config._replace(config=own, history=history, created=entry["created"], author=entry["author"])
    with engine.storing():
        with _paused(container, wanted=arguments.on("pause")):
            layer: Layer = commit.pack(container, engine.snapshots, engine.blobs)
        target = derive.put(config, manifest, layer, engine.blobs)
        image = store(target, reference, engine)
    context.print(image.id)
    return 0


def store(target: "Descriptor", reference: "Reference | None", engine: "Engine") -> "Image":
    """Unpacks an image and puts it into the tables, under ``reference`` if there is one."""
    from sampan.events import quiet
    from sampan.snapshots.admit import admit

    image = admit(target, engine.blobs, engine.snapshots, quiet)
    engine.images.put(image, (reference,) if reference else ())
    return image


def _base(container: "Container", engine: "Engine") -> "tuple[ImageConfig, Manifest]":
    from sampan.oci import config as configs
    from sampan.oci import manifest as manifests
    from sampan.oci.digest import Digest

    image = engine.images.get(Digest(container.image_id))
    manifest = manifests.parse(engine.blobs.read(image.manifest.digest), image.manifest.media_type)
    assert isinstance(manifest, manifests.Manifest)
    return configs.parse(engine.blobs.read(image.id)), manifest


def _paused(container: "Container", *, wanted: bool) -> "AbstractContextManager[None]":
    """Holds a running container still for the length of a ``with`` block, if that is wanted and can be done."""
    from contextlib import contextmanager

    from sampan.containers import resources
    from sampan.errors import Unavailable

    @contextmanager
    def paused() -> "Iterator[None]":
        state = container.state()
        held = wanted and state.status == "running" and not state.paused
        if held:
            try:
                resources.pause(container)
            except Unavailable:
                held = False  # without a freezer, as for an ordinary user: then it is committed as it runs
        try:
            yield
        finally:
            if held:
                resources.unpause(container)

    return paused()
