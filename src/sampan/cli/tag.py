"""``sampan tag``: one more name for an image."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Parsed
from sampan.errors import Invalid
from sampan.oci import reference as references

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.oci.descriptor import Descriptor
    from sampan.store.images import Image, Images

COMMAND = Command(
    "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    least=2,
    most=2,
    examples=(("sampan tag hello localhost:5000/hello:1.0", "The name under which push finds the registry"),),
)


def main(arguments: Parsed, context: Context) -> int:
    source, target = arguments.positionals
    reference = references.parse(target)
    if reference.digest:
        raise Invalid(f"{target} has a digest, and an image cannot be given one", hint="leave out @ and what follows")
    images = context.engine.images
    image = images.find(source)
    images.name(reference.tagged(), image, _target(source, image, images))
    return 0


def _target(source: str, image: "Image", images: "Images") -> "Descriptor | None":
    """What the name ``source`` points at, which may be an index; None for an id."""
    try:
        name = images.lookup(references.parse(source).tagged())
    except Invalid:
        return None
    return name.target if name and name.image_id == image.id else None
