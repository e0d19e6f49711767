"""``sampan tag``: one more name for an image."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Parsed
from sampan.errors import Invalid
from sampan.oci import reference as references

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
    images.name(reference.tagged(), images.find(source))
    return 0
