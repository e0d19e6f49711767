"""``sampan ps``: containers, a line each."""

from sampan.cli import output
from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.containers.record import Container
    from sampan.containers.state import State

COMMAND = Command(
    "[OPTIONS]",
    (
        Flag("-a, --all", "Show all containers (default shows just running)"),
        Flag("-f, --filter filter", "Filter output: name=, id=, status=, ancestor=, label=", repeat=True),
        Flag("--format string", "Format the output: json"),
        Flag("-n, --last int", "Show n last created containers (includes all states)", -1),
        Flag("-l, --latest", "Show the latest created container (includes all states)"),
        Flag("--no-trunc", "Don't truncate output"),
        Flag("-q, --quiet", "Only display container IDs"),
    ),
    later="-s --size",
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.containers.record import Containers  # the rest of what starts containers is not needed here

    engine = context.engine
    containers = Containers(engine.database, engine.paths.containers)
    last = 1 if arguments.on("latest") else arguments.number("last") or -1
    filters = [text.partition("=")[::2] for text in arguments.texts("filter")]
    everything = arguments.on("all") or last > 0 or any(key == "status" for key, _ in filters)
    rows = []
    for container in containers.all():
        state = container.state()
        if (everything or state.status == "running") and all(_matches(container, state, *each) for each in filters):
            rows.append((container, state))
    _show(rows[:last] if last > 0 else rows, arguments, context)
    return 0


def _matches(container: "Container", state: "State", key: str, value: str) -> bool:
    if key == "name":
        return value in container.name
    if key == "id":
        return container.id.startswith(value)
    if key == "status":
        return state.status == value
    if key == "ancestor":
        return value in (container.image_name, container.image_id) or container.image_id.startswith(f"sha256:{value}")
    if key == "label":
        name, equals, text = value.partition("=")
        return any(name == own and (not equals or text == given) for own, given in container.options.labels)
    raise Unsupported(f"the filter {key!r} is not built yet", hint="name, id, status, ancestor and label are")


def _show(rows: "list[tuple[Container, State]]", arguments: Parsed, context: Context) -> None:
    whole = arguments.on("no-trunc")
    template = arguments.text("format")
    if template is not None:
        for container, state in rows:
            context.print(output.formatted(_fields(container, state, whole=whole), template))
    elif arguments.on("quiet"):
        for container, _ in rows:
            context.print(container.id if whole else container.id[:12])
    else:
        titles = {"ID": "CONTAINER ID", "RunningFor": "CREATED"}
        columns = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")
        lines = [[_fields(*row, whole=whole)[column] for column in columns] for row in rows]
        context.print(output.table([titles.get(column, column.upper()) for column in columns], lines))


def _fields(container: "Container", state: "State", *, whole: bool) -> dict[str, str]:
    """One line, with the names that Docker's templates have for its parts."""
    command = " ".join(container.options.args)
    status = output.state(state.status, started=state.started, finished=state.finished, exit_code=state.exit_code)
    return {
        "ID": container.id if whole else container.id[:12],
        "Image": container.image_name,
        "Command": f'"{command if whole else output.shorten(command, 20)}"',
        "CreatedAt": container.created,
        "RunningFor": output.ago(container.created),
        "State": state.status,
        "Status": status,
        "Ports": _ports(state),
        "Names": container.name,
        "Labels": ",".join(f"{key}={value}" for key, value in container.options.labels),
    }


def _ports(state: "State") -> str:
    if state.status != "running" or not state.ports:
        return ""
    from sampan.networks import ports

    return ports.display(ports.Port(*port) for port in state.ports)
