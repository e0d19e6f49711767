"""``sampan inspect``: all that is known of containers and images, as JSON."""

from typing import Any

from sampan.cli import output
from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Invalid, NotFound, SampanError

COMMAND = Command(
    "[OPTIONS] NAME|ID [NAME|ID...]",
    (
        Flag("-f, --format string", "Format the output: json"),
        Flag("--type string", "Only look for this type: container or image"),
    ),
    least=1,
    most=None,
    later="-s --size",
)


def main(arguments: Parsed, context: Context) -> int:
    kind, template = arguments.text("type"), arguments.text("format")
    if kind not in (None, "container", "image"):
        raise Invalid(f"{kind!r} is not a valid value for --type", hint="container and image are")
    found: list[dict[str, Any]] = []
    failures: list[SampanError] = []
    for name in arguments.positionals:
        try:
            found.append(_inspect(name, kind, context))
        except SampanError as error:
            failures.append(error)
    if template is None:
        context.print(output.json(found))
    else:
        for value in found:
            context.print(output.formatted(value, template))
    return max((context.tell(error) for error in failures), default=0)


def _inspect(name: str, kind: str | None, context: Context) -> dict[str, Any]:
    """Containers come first where both a container and an image have the name, as with Docker."""
    if kind != "image":
        try:
            return _container(name, context)
        except NotFound:
            if kind:
                raise
    try:
        return _image(name, context)
    except (NotFound, Invalid):
        if kind:
            raise
    raise NotFound(f"no such object: {name}", hint="sampan ps -a and sampan images list what there is")


def _container(name: str, context: Context) -> dict[str, Any]:
    from sampan.containers import describe
    from sampan.containers.record import Containers
    from sampan.oci import config as configs
    from sampan.oci.config import ContainerConfig
    from sampan.oci.digest import Digest

    engine = context.engine
    container = Containers(engine.database, engine.paths.containers).find(name)
    try:
        image = configs.parse(engine.blobs.read(Digest(container.image_id))).config
    except NotFound:  # removed by force; what the container itself was asked for is still known
        image = ContainerConfig()
    return describe.inspect(container, container.state(), image)


def _image(name: str, context: Context) -> dict[str, Any]:
    from sampan.store import describe

    engine = context.engine
    return describe.inspect(engine.images.find(name), engine.images, engine.blobs)
