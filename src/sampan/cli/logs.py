"""``sampan logs``: what a container wrote."""

import sys

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.containers.logs import Line
    from sampan.containers.record import Container

COMMAND = Command(
    "[OPTIONS] CONTAINER",
    (
        Flag("-f, --follow", "Follow log output"),
        Flag("-n, --tail string", "Number of lines to show from the end of the logs", "all"),
        Flag("-t, --timestamps", "Show timestamps"),
    ),
    least=1,
    most=1,
    later="--details --since --until",
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.containers import logs

    container = context.engine.containers.containers.find(arguments.positionals[0])
    timestamps = arguments.on("timestamps")
    tail = _tail(arguments.text("tail") or "all")
    if arguments.on("follow"):
        _follow(container, tail, timestamps=timestamps)
        return 0
    for line in logs.read(container.log, tail=tail):
        _print(line, timestamps=timestamps)
    return 0


def _tail(text: str) -> int | None:
    if text == "all":
        return None
    if not text.lstrip("-").isdigit():
        raise Invalid(f"invalid --tail {text!r}", hint="a number of lines, or all")
    return None if int(text) < 0 else int(text)


def _follow(container: "Container", tail: int | None, *, timestamps: bool) -> None:
    """Prints the log as it grows, until the container has ended.

    The file is looked at when the monitor's socket says that the container ended, and else a few times a second.
    """
    import time
    from collections import deque

    from sampan.containers import logs

    with logs.Reader(container.log) as reader:
        for line in reader.lines() if tail is None else deque(reader.lines(), maxlen=tail):
            _print(line, timestamps=timestamps)
        while True:
            running = container.state().status == "running"
            for line in reader.lines():
                _print(line, timestamps=timestamps)
            sys.stdout.flush()
            if not running:
                return
            time.sleep(0.1)


def _print(line: "Line", *, timestamps: bool) -> None:
    file = sys.stdout if line.stream == 1 else sys.stderr
    if line.stream == 2:
        sys.stdout.flush()  # both may be one terminal or file: keep the order
    file.write(f"{line.time} {line.text}" if timestamps else line.text)
    if line.stream == 2:
        file.flush()
