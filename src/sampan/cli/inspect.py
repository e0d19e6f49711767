"""``sampan inspect``: all that is known of containers, images and volumes, as JSON."""

from typing import TYPE_CHECKING, Any

from sampan.cli import listing, output
from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Invalid, NotFound, SampanError

if TYPE_CHECKING:
    from sampan.cli.templates.evaluate import Template

COMMAND = Command(
    "[OPTIONS] NAME|ID [NAME|ID...]",
    (
        Flag("-f, --format string", listing.TEMPLATE),
        Flag("-s, --size", "Display total file sizes if the type is container"),
        Flag("--type string", "Only look for this type: container, image or volume"),
    ),
    least=1,
    most=None,
    examples=(
        ("sampan inspect -f '{{.State.Status}}' web", "One field"),
        ("sampan inspect -f '{{range .Mounts}}{{.Source}} {{end}}' web", "Where its mounts come from"),
    ),
)
_TYPES = ("container", "image", "volume")
_BAD_TEMPLATE = 64  # Docker's exit code for a template that is none


def main(arguments: Parsed, context: Context) -> int:
    kind, template = arguments.text("type"), arguments.text("format")
    if kind is not None and kind not in _TYPES:
        raise Invalid(f"{kind!r} is not a valid value for --type", hint=f"it is {', '.join(_TYPES)}")
    made = _template(template) if template not in (None, "", "json") else None
    found: list[dict[str, Any]] = []
    failures: list[SampanError] = []
    for name in arguments.positionals:
        try:
            found.append(_inspect(name, kind, context, sized=arguments.on("size")))
        except SampanError as error:
            failures.append(error)
    if made:
        from sampan.cli.templates.values import typed

        for value in found:
            context.print(made.render(typed(value)))
    else:
        context.print(output.json(found, indent=None if template == "json" else 4))
    return max((context.tell(error) for error in failures), default=0)


def _template(text: str | None) -> "Template":
    from sampan.cli.templates.evaluate import Template

    try:
        return Template(text or "")
    except SampanError as error:
        error.exit_code = _BAD_TEMPLATE
        raise


def _inspect(name: str, kind: str | None, context: Context, *, sized: bool) -> dict[str, Any]:
    """Containers come first where several things have the name, then images, as with Docker."""
    if kind in (None, "container"):
        try:
            return _container(name, context, sized=sized)
        except NotFound:
            if kind:
                raise
    if kind in (None, "image"):
        try:
            return _image(name, context)
        except (NotFound, Invalid):
            if kind:
                raise
    try:
        return _volume(name, context)
    except NotFound:
        if kind:
            raise
    raise NotFound(f"no such object: {name}", hint="sampan ps -a and sampan images list what there is")


def _container(name: str, context: Context, *, sized: bool) -> dict[str, Any]:
    from sampan.containers import describe
    from sampan.containers.record import Containers
    from sampan.networks import endpoints
    from sampan.oci import config as configs
    from sampan.oci.config import ContainerConfig
    from sampan.oci.digest import Digest

    engine = context.engine
    container = Containers(engine.database, engine.paths.containers).find(name)
    try:
        image = configs.parse(engine.blobs.read(Digest(container.image_id))).config
    except NotFound:  # removed by force; what the container itself was asked for is still known
        image = ContainerConfig()
    state = container.state()
    running = state.status == "running" and not engine.rootless
    places = endpoints.of_container(engine.paths.networks, container.id) if running else {}
    value = describe.inspect(container, state, image, places)
    if sized:
        value["SizeRw"], value["SizeRootFs"] = describe.sizes(container, engine.snapshots)
    return value


def _image(name: str, context: Context) -> dict[str, Any]:
    from sampan.store import describe

    engine = context.engine
    return describe.inspect(engine.images.find(name), engine.images, engine.blobs)


def _volume(name: str, context: Context) -> dict[str, Any]:
    return context.engine.volumes.inspect(name)
