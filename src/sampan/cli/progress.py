"""Transfers as they go: lines in place on a terminal, elsewhere one line for each layer that is done."""

import time
from threading import Lock
from typing import TextIO

from sampan import events
from sampan.cli import output
from sampan.errors import Invalid
from sampan.events import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.cli.context import Context

_INTERVAL = 0.1
_BAR = 30


def listener(stream: TextIO, how: str, context: "Context") -> "Listener":
    """What tells of a transfer: "auto", "plain" (no lines in place) or "json". Raises Invalid.

    With "json" nothing else is on the stream, so the verb's own lines are left out (``context.quiet``).
    """
    if how == "json":
        context.quiet = True
        return JsonLines(stream)
    if how not in ("auto", "plain"):
        raise Invalid(f"there is no progress {how!r}", hint="write auto, plain or json")
    return Transfers(stream, quiet=context.quiet, columns=0 if how == "plain" else None)


class JsonLines:
    """Tells each event as a line of JSON: its name, and its fields. The last one is the result."""

    __slots__ = ("_lock", "_stream")

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = Lock()

    def __enter__(self) -> "JsonLines":
        return self

    def __exit__(self, *rest: object) -> None:
        self.flush()

    def __call__(self, event: Event) -> None:
        """Takes an event of the operation, from any of its threads."""
        self._tell(type(event).__name__.lower(), **event._asdict())

    def result(self, reference: str, digest: str = "") -> None:
        """What came of it."""
        self._tell("done", reference=reference, **({"digest": digest} if digest else {}))

    def flush(self) -> None:
        """Sends on what was told."""
        self._stream.flush()

    def _tell(self, name: str, **fields: object) -> None:
        import json

        with self._lock:
            self._stream.write(json.dumps({"event": name, **fields}) + "\n")


class Transfers:
    """Listens to a pull or a push and shows it on ``stream``; to be used in a ``with`` block.

    ``quiet`` shows nothing but warnings. On a terminal finished layers scroll by, and below them stands a line for each
    one that is under way.
    """

    __slots__ = ("_active", "_columns", "_done", "_drawn", "_live", "_lock", "_next", "_quiet", "_stream")

    def __init__(self, stream: TextIO, *, quiet: bool = False, columns: int | None = None) -> None:
        """``columns`` is the width of the terminal; None finds it out, 0 says that there is none."""
        self._stream = stream
        self._quiet = quiet
        self._columns = _columns(stream) if columns is None else columns
        self._live = not quiet and self._columns > 0
        self._active: dict[str, str] = {}
        self._done: set[str] = set()
        self._drawn = 0
        self._next = 0.0
        self._lock = Lock()

    def __enter__(self) -> "Transfers":
        return self

    def __exit__(self, *rest: object) -> None:
        """Takes away what is under way, and leaves the cursor below the last finished line."""
        self.flush()

    def __call__(self, event: Event) -> None:
        """Takes an event of the operation, from any of its threads."""
        with self._lock:
            self._take(event)

    def result(self, reference: str, digest: str = "") -> None:
        """What came of it, which is told also when all else is not."""
        self.flush()
        self._stream.write(f"{output.printable(reference)}\n")

    def flush(self) -> None:
        """Takes away the lines in place: other lines follow, and the layers of another image."""
        with self._lock:
            self._erase()
            self._active.clear()
            self._done.clear()
            self._stream.flush()

    def _take(self, event: Event) -> None:
        if isinstance(event, events.Warned):
            self._line(f"WARNING: {event.message}")
        elif self._quiet:
            return
        elif isinstance(event, events.Transferring):
            self._active[event.digest] = _moving(event)
            self._redraw()
        elif isinstance(event, events.Transferred) and event.how == "pulled":
            if event.digest in self._done:  # unpacked as it came, and told of by a faster thread
                return
            self._active[event.digest] = "Unpacking"
            self._redraw(at_once=True)
        elif isinstance(event, events.Transferred | events.Unpacked | events.LayerExists):
            self._finish(event.digest, self._outcome(event))

    def _outcome(self, event: Event) -> str:
        if isinstance(event, events.Transferred):
            return event.how.capitalize()
        # A layer that was fetched and turns out to be unpacked already is as pulled as any.
        exists = isinstance(event, events.LayerExists) and event.digest not in self._active
        return "Already exists" if exists else "Pull complete"

    def _finish(self, digest: str, outcome: str) -> None:
        self._active.pop(digest, None)
        if digest not in self._done:
            self._done.add(digest)
            self._line(f"{_short(digest)}: {outcome}")

    def _line(self, text: str) -> None:
        self._erase()
        self._stream.write(f"{output.printable(text)}\n")
        self._redraw(at_once=True)

    def _redraw(self, *, at_once: bool = False) -> None:
        if not self._live:
            return
        now = time.monotonic()
        if not at_once and now < self._next:
            return
        self._next = now + _INTERVAL
        self._erase()
        for digest, text in self._active.items():
            self._stream.write(f"{_short(digest)}: {text}"[: self._columns - 1] + "\n")
        self._drawn = len(self._active)
        self._stream.flush()

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}A\x1b[J")  # ECMA-48: cursor up, erase to the end of the screen
            self._drawn = 0


def _moving(event: events.Transferring) -> str:
    filled = _BAR * event.done // event.total if event.total else _BAR
    bar = "=" * max(filled - 1, 0) + (">" if filled else "")
    return f"[{bar:{_BAR}}] {output.size(event.done)}/{output.size(event.total)}"


def _short(digest: str) -> str:
    return digest.partition(":")[2][:12]


def _columns(stream: TextIO) -> int:
    import os

    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        return 0
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


Listener = Transfers | JsonLines
