"""``sampan logs``: what a container wrote."""

import sys

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Invalid, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NamedTuple

    from sampan.containers.reading import Line, Reader
    from sampan.containers.record import Container
else:
    from sampan.values import NamedTuple

COMMAND = Command(
    "[OPTIONS] CONTAINER",
    (
        Flag("--details", "Show extra details provided to logs"),
        Flag("-f, --follow", "Follow log output"),
        Flag(
            "--since string",
            "Show logs since timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes)",
        ),
        Flag("-n, --tail string", "Number of lines to show from the end of the logs", "all"),
        Flag("-t, --timestamps", "Show timestamps"),
        Flag(
            "--until string",
            "Show logs before a timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes)",
        ),
    ),
    least=1,
    most=1,
    examples=(
        ("sampan logs -f -n 20 --since 10m web", "The last 20 lines, if no older than 10 minutes, and all to come"),
    ),
)


class _Shown(NamedTuple):
    """Which lines are shown, and how. Times are as a log has them, so that they compare as texts; "" is no limit."""

    since: str
    until: str
    timestamps: bool
    details: bool


def main(arguments: Parsed, context: Context) -> int:
    from sampan.containers import reading

    container = context.engine.records.find(arguments.positionals[0])
    if container.options.logging.driver == "none":
        raise Unsupported(f"container {container.name} keeps no log: it was made with --log-driver none")
    shown = _Shown(
        _moment(arguments.text("since")),
        _moment(arguments.text("until")),
        arguments.on("timestamps"),
        arguments.on("details"),
    )
    tail = _tail(arguments.text("tail") or "all")
    with reading.Reader(container.log) as reader:
        if tail is not None:
            reader.seek_last(tail)
        if arguments.on("follow"):
            _follow(container, reader, shown)
        else:
            _print(reader.lines(), shown)
    return 0


def _tail(text: str) -> int | None:
    if text == "all":
        return None
    if not text.removeprefix("-").isdecimal():
        raise Invalid(f"invalid --tail {text!r}", hint="a number of lines, or all")
    return None if text.startswith("-") else int(text)


def _moment(text: str | None) -> str:
    """A moment as the lines of a log have it. Raises Invalid."""
    if not text:
        return ""
    from sampan.containers import logs
    from sampan.store import moments

    seconds = moments.parse(text)
    if len(text) == len("2024-01-02T15:04:05.123456789Z") and text[10] == "T" and text[-1] == "Z":
        return text  # as -t shows them, to the nanosecond
    return logs.timestamp(round(seconds * 1_000_000) * 1000)


def _follow(container: "Container", reader: "Reader", shown: _Shown) -> None:
    """Prints the log as it grows, a few times a second, until the container has ended or ``until`` is past."""
    import time

    from sampan.containers import logs

    while True:
        last = not container.state().alive or ("" < shown.until < logs.timestamp())
        _print(reader.lines(), shown)
        sys.stdout.flush()
        if last:
            return
        time.sleep(0.1)


def _print(lines: "Iterable[Line]", shown: _Shown) -> None:
    for line in lines:
        if line.time < shown.since or "" < shown.until < line.time:
            continue
        text = f"{_details(line)} {line.text}" if shown.details else line.text
        file = sys.stdout if line.stream == 1 else sys.stderr
        if line.stream == 2:
            sys.stdout.flush()  # both may be one terminal or file: keep the order
        file.write(f"{line.time} {text}" if shown.timestamps else text)
        if line.stream == 2:
            file.flush()


def _details(line: "Line") -> str:
    """What goes with a line (``--log-opt labels=…``), as Docker's ``--details`` has it: empty when nothing does."""
    if not line.attributes:
        return ""
    from urllib.parse import quote_plus

    return ",".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in line.attributes)
