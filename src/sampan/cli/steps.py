"""A build as it goes: numbered lines in BuildKit's plain style, or on a terminal the steps under way in place."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from threading import Event, Lock, Thread

from sampan import events
from sampan.cli import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

_KEPT = 20
"""So many last lines of a step's output are shown again where the log of a failed build was not."""
_SHOWN = 6
"""So many are shown below a step that is under way."""
_INTERVAL = 0.1
_WIDEST = 10_000


class _Step:
    """One step under way, or done."""

    def __init__(self, number: int, label: str) -> None:
        self.number = number
        self.label = label
        self.began = time.monotonic()
        self.tail: deque[str] = deque(maxlen=_KEPT)
        self._rest = {1: b"", 2: b""}

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def take(self, stream: int, data: bytes) -> list[str]:
        """The lines that are whole now; of a line that was written over, the last version."""
        *whole, self._rest[stream] = (self._rest[stream] + data).split(b"\n")
        if len(self._rest[stream]) > _WIDEST:
            whole.append(self._rest[stream])
            self._rest[stream] = b""
        return self._keep(whole)

    def end(self) -> list[str]:
        """What was left without a newline."""
        rest = [data for data in self._rest.values() if data]
        self._rest = {1: b"", 2: b""}
        return self._keep(rest)

    def _keep(self, lines: list[bytes]) -> list[str]:
        shown = [output.printable(line.rstrip(b"\r").rpartition(b"\r")[2].decode(errors="replace")) for line in lines]
        self.tail.extend(shown)
        return shown


class Plain:
    """Listens to a build and writes a line for everything; to be used in a ``with`` block."""

    def __init__(self, stream: TextIO, labels: Sequence[str]) -> None:
        """``labels`` are what the steps are called, in the order of their numbers."""
        self._stream = stream
        self._labels = labels
        self._steps: dict[int, _Step] = {}
        self._current = 0
        self._lock = Lock()

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *rest: object) -> None:
        with self._lock:
            for step in self._steps.values():
                self._lines(step, step.end())
            self._stream.flush()

    def __call__(self, event: events.Event) -> None:
        """Takes an event, from any thread."""
        with self._lock:
            self._take(event)
            self._stream.flush()

    def failed(self) -> None:
        """Tells that the build failed. The log of what did has been written."""

    def note(self, text: str) -> None:
        """A line about the build as a whole."""
        self._write(f"#{len(self._labels) + 1} {text}")

    def _take(self, event: events.Event) -> None:
        if isinstance(event, events.StepStarted):
            step = self._steps[event.number] = _Step(event.number, self._labels[event.number - 1])
            self._switch(step)
        elif isinstance(event, events.StepCached):
            self._end(event.number, "CACHED")
        elif isinstance(event, events.StepOutput):
            step = self._steps[event.number]
            self._lines(step, step.take(event.stream, event.data))
        elif isinstance(event, events.StepFinished):
            self._end(event.number, f"DONE {event.seconds:.1f}s")
        elif isinstance(event, events.Warned):
            self._write(f"WARNING: {output.printable(event.message)}")

    def _end(self, number: int, how: str) -> None:
        step = self._steps.pop(number)
        self._lines(step, step.end())
        self._switch(step)
        self._write(f"#{number} {how}\n")
        self._current = 0

    def _lines(self, step: _Step, lines: list[str]) -> None:
        if lines:
            self._switch(step)
        for line in lines:
            self._write(f"#{step.number} {step.seconds:.3f} {line}")

    def _switch(self, step: _Step) -> None:
        if self._current != step.number:
            self._write(f"{chr(10) if self._current else ''}#{step.number} {step.label}")
            self._current = step.number

    def _write(self, text: str) -> None:
        self._stream.write(f"{text}\n")


class Live:
    """The same on a terminal: finished steps scroll by, below them stand those under way with their last lines.

    Without ``columns`` (which gives the terminal's width) it is quiet: nothing is shown but warnings and failures.
    """

    def __init__(self, stream: TextIO, labels: Sequence[str], columns: Callable[[], int] | None = None) -> None:
        self._stream = stream
        self._labels = labels
        self._columns = columns
        self._steps: dict[int, _Step] = {}
        self._drawn = 0
        self._lock = Lock()
        self._ended = Event()
        self._clock = Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Live:
        if self._columns:
            self._clock.start()
        return self

    def __exit__(self, *rest: object) -> None:
        self._ended.set()
        if self._clock.ident:
            self._clock.join()
        with self._lock:
            self._erase()
            self._stream.flush()

    def __call__(self, event: events.Event) -> None:
        """Takes an event, from any thread."""
        with self._lock:
            if isinstance(event, events.StepStarted):
                self._steps[event.number] = _Step(event.number, self._labels[event.number - 1])
            elif isinstance(event, events.StepOutput):
                self._steps[event.number].take(event.stream, event.data)
            elif isinstance(event, events.StepCached):
                self._scroll(f" => CACHED {self._steps.pop(event.number).label}")
            elif isinstance(event, events.StepFinished):
                self._scroll(self._timed(self._steps.pop(event.number).label, event.seconds))
            elif isinstance(event, events.Warned):
                self._above(f"WARNING: {event.message}")

    def failed(self) -> None:
        """Shows the last lines of what was under way when the build failed."""
        with self._lock:
            steps, self._steps = self._steps, {}
            for step in steps.values():
                step.end()
                if step.tail:
                    self._above("------", f" > {step.label}:", *step.tail, "------")

    def note(self, text: str) -> None:
        """A line about the build as a whole."""
        with self._lock:
            self._scroll(f" => {text}")

    def _timed(self, label: str, seconds: float) -> str:
        width = self._width() - 12
        return f" => {output.shorten(label, width):{width}} {seconds:5.1f}s"

    def _width(self) -> int:
        return max(40, self._columns()) if self._columns else 80

    def _scroll(self, line: str) -> None:
        if self._columns:
            self._above(output.shorten(line, self._width() - 1))

    def _above(self, *lines: str) -> None:
        self._erase()
        for line in lines:
            self._stream.write(output.printable(line) + "\n")
        self._draw()

    def _tick(self) -> None:
        while not self._ended.wait(_INTERVAL):
            with self._lock:
                self._erase()
                self._draw()

    def _draw(self) -> None:
        lines = []
        for step in self._steps.values() if self._columns else ():
            lines.append(self._timed(step.label, step.seconds))
            lines += [f" => => {line}" for line in list(step.tail)[-_SHOWN:]]
        for line in lines:
            self._stream.write(output.printable(output.shorten(line, self._width() - 1)) + "\n")
        self._drawn = len(lines)
        self._stream.flush()

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}A\x1b[J")  # ECMA-48: cursor up, erase to the end of the screen
            self._drawn = 0
