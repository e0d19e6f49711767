"""How results look: tables, sizes and times as Docker writes them (docker/cli formatter, docker/go-units)."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_GAP = 3
_LEAST = 10  # Docker's tables are aligned by tabwriter with a minimal cell of ten
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def table(headers: "Sequence[str]", rows: "Sequence[Sequence[str]]") -> str:
    """Lines of columns, without a newline at the end."""
    lines = [[printable(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(_LEAST, _GAP + max(map(len, column))) for column in zip(*lines, strict=True)]
    widths[-1] = 0
    return "\n".join(
        "".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def align(text: str) -> str:
    """Lines whose cells end in tabs, set in columns as Go's text/tabwriter does with Docker's measures.

    A column is as wide as the widest of its cells in lines that follow each other.
    """
    lines = [line.split("\t") for line in text.split("\n")]
    done = [""] * len(lines)
    _align(lines, done, 0, range(len(lines)))
    return "\n".join(line.rstrip() for line in done)


def _align(lines: list[list[str]], done: list[str], column: int, block: "Sequence[int]") -> None:
    """Sets cell ``column`` and those after it in ``block``, lines that follow each other."""
    run: list[int] = []
    for number in (*block, -1):
        if number >= 0 and len(lines[number]) > column + 1:
            run.append(number)
            continue
        if run:
            width = max(_LEAST, _GAP + max(len(lines[each][column]) for each in run))
            for each in run:
                done[each] += lines[each][column].ljust(width)
            _align(lines, done, column + 1, run)
            run = []
        if number >= 0 and len(lines[number]) == column + 1:
            done[number] += lines[number][column]


def printable(text: str) -> str:
    """``text`` on one line and without what would steer a terminal: cells show what images and servers say."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else " " if letter.isspace() else "\ufffd" for letter in text)


def shorten(text: str, width: int) -> str:
    """``text``, or its beginning and an ellipsis, at most ``width`` characters."""
    return text if len(text) <= width else text[: width - 1] + "…"


def size(count: int, digits: int = 3) -> str:
    """Bytes with three (or so many) significant digits, in powers of 1000: ``12.3MB``."""
    value, unit = float(count), 0
    while float(f"{value:.{digits}g}") >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{float(f'{value:.{digits}g}'):g}{_UNITS[unit]}"


def binary_size(count: int) -> str:
    """Bytes with four significant digits, in powers of 1024: ``3.822GiB``."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.4g}{('B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB')[unit]}"


def duration(seconds: float) -> str:
    """A span of time, roughly: ``5 seconds``, ``About a minute``, ``3 days``."""
    whole, hours = int(seconds), int(seconds / _HOUR + 0.5)
    if whole < 1:
        return "Less than a second"
    if whole < _MINUTE:
        return "1 second" if whole == 1 else f"{whole} seconds"
    if whole < _HOUR:
        return "About a minute" if whole < 2 * _MINUTE else f"{whole // _MINUTE} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    days = hours // 24
    for limit, length, name in ((14, 1, "days"), (60, 7, "weeks"), (730, 30, "months")):
        if days < limit:
            return f"{days // length} {name}"
    return f"{whole // _DAY // 365} years"


def seconds_since(moment: str, now: float | None = None) -> float | None:
    """Seconds from ``moment`` (RFC 3339) to ``now`` (default: this moment); None when it is no time or "never"."""
    import time
    from datetime import UTC, datetime

    try:
        then = datetime.fromisoformat(moment)
    except ValueError:
        return None
    if then.year <= 1:  # Go's zero time
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return (time.time() if now is None else now) - then.timestamp()


def ago(moment: str, now: float | None = None) -> str:
    """``3 days ago``; ``N/A`` when ``moment`` (RFC 3339) is no time."""
    seconds = seconds_since(moment, now)
    return "N/A" if seconds is None else f"{duration(seconds)} ago"


def state(status: str, *, started: str = "", finished: str = "", exit_code: int = 0, now: float | None = None) -> str:
    """How a container fares, as ``ps`` has it: ``Up 5 seconds``, ``Exited (0) 3 seconds ago``, ``Created``.

    ``status`` is Docker's word ("created", "running", "paused", "exited", …), the times are RFC 3339.
    """
    if status in ("running", "paused"):
        up = f"Up {duration(seconds_since(started, now) or 0)}"
        return f"{up} (Paused)" if status == "paused" else up
    if status == "exited":
        return f"Exited ({exit_code}) {ago(finished, now)}"
    if status == "restarting":
        return f"Restarting ({exit_code}) {ago(finished, now)}"
    return status.capitalize()


def json(value: object, indent: int | None = 4) -> str:
    """JSON as ``docker inspect`` prints it: indented by four, or (None) on one line."""
    from json import dumps

    separators = (",", ":") if indent is None else (",", ": ")
    return dumps(value, indent=indent, separators=separators, ensure_ascii=False)


def moment(text: str) -> str:
    """A moment (RFC 3339) in this machine's zone, as Go's time.Time prints it: ``2024-01-02 03:04:05 +0000 UTC``."""
    from datetime import UTC, datetime

    try:
        then = datetime.fromisoformat(text)
    except ValueError:
        return ""
    return (then if then.tzinfo else then.replace(tzinfo=UTC)).astimezone().strftime("%Y-%m-%d %H:%M:%S %z %Z")
