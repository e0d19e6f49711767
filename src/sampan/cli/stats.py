"""``sampan stats``: what running containers use."""

import sys
import time

from sampan.cli import listing, output
from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.cli.listing import Columns
    from sampan.containers.record import Container
    from sampan.containers.resources import Sample

    Shown = tuple[Container, Sample | None, Sample | None]

COMMAND = Command(
    "[OPTIONS] [CONTAINER...]",
    (
        Flag("-a, --all", "Show all containers (default shows just running)"),
        Flag("--format string", listing.FORMAT),
        Flag("--no-stream", "Disable streaming stats and only pull the first result"),
        Flag("--no-trunc", "Do not truncate output"),
    ),
    most=None,
)
_SHOWN = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
_INTERVAL = 1.0
_CLEAR = "\x1b[2J\x1b[H"


def main(arguments: Parsed, context: Context) -> int:
    from sampan.containers import resources
    from sampan.containers.record import Containers

    table = Containers(context.engine.database, context.engine.paths.containers)
    named = [table.find(name) for name in arguments.positionals]
    before: dict[str, Sample | None] = {}
    columns, template = _columns(whole=arguments.on("no-trunc")), arguments.text("format")
    while True:
        chosen = named or [each for each in table.all() if arguments.on("all") or each.state().status == "running"]
        for container in chosen:
            before.setdefault(container.id, resources.sample(container))
        time.sleep(_INTERVAL)
        shown: list[Shown] = [(each, before.get(each.id), resources.sample(each)) for each in chosen]
        if not arguments.on("no-stream") and template is None and sys.stdout.isatty():
            context.print(_CLEAR)
        listing.show(context, shown, columns, _SHOWN, template)
        if arguments.on("no-stream"):
            return 0
        context.flush()
        before = {container.id: now for container, _, now in shown}


def _columns(*, whole: bool) -> "Columns":
    return {
        "Container": ("CONTAINER", lambda shown: shown[0].id if whole else shown[0].id[:12]),
        "ID": ("CONTAINER ID", lambda shown: shown[0].id if whole else shown[0].id[:12]),
        "Name": ("NAME", lambda shown: shown[0].name),
        "CPUPerc": ("CPU %", _processor),
        "MemUsage": ("MEM USAGE / LIMIT", lambda shown: _of(shown, "memory", "limit", binary=True)),
        "MemPerc": ("MEM %", lambda shown: _percent(shown[2].memory, shown[2].limit) if shown[2] else "--"),
        "NetIO": ("NET I/O", lambda shown: _of(shown, "received", "sent")),
        "BlockIO": ("BLOCK I/O", lambda shown: _of(shown, "read", "written")),
        "PIDs": ("PIDS", lambda shown: str(shown[2].processes) if shown[2] else "--"),
    }


def _processor(shown: "Shown") -> str:
    """The share of one processor's time; two busy ones are 200 %."""
    _, before, now = shown
    if now is None:
        return "--"
    return _percent(now.processor - before.processor, now.at - before.at) if before else "0.00%"


def _percent(part: float, whole: float) -> str:
    return f"{max(part, 0) / whole * 100 if whole > 0 else 0:.2f}%"


def _of(shown: "Shown", first: str, second: str, *, binary: bool = False) -> str:
    write = output.binary_size if binary else output.size
    return f"{write(getattr(shown[2], first))} / {write(getattr(shown[2], second))}" if shown[2] else "-- / --"
