"""The solver: what a graph's target needs is taken from the cache or performed, each distinct step once.

It knows no Dockerfile and no disk: how a step is looked up and performed is told by a ``Work``. First everything is
walked in order as far as the cache goes, in this thread alone; what remains is performed as soon as its inputs are
there, side by side in threads (commands and I/O release the interpreter's lock).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType

from sampan.build import graph
from sampan.build.graph import STEPS, Place, Run, Source, Step
from sampan.errors import SampanError
from sampan.events import Report, StepCached, StepFinished, StepOutput, StepStarted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue import SimpleQueue
    from typing import Any, Protocol, TypeVar

    Result = TypeVar("Result")

    class Lookup(Protocol[Result]):
        """How steps are looked up. ``inputs`` are the results of ``step.inputs``, in that order."""

        def recall(self, step: Step, inputs: Sequence[Result]) -> Result | None:
            """The result that the cache has; None if it has none."""

    class Work(Lookup[Result], Protocol[Result]):
        """How they are performed as well."""

        def perform(self, step: Step, inputs: Sequence[Result], output: Output) -> Result:
            """Does it, and lets the cache know. Called from several threads."""

        def cancel(self) -> None:
            """Makes every ``perform`` that is under way, or begins later, end soon, by an exception."""


Output = Callable[[int, bytes], None]
"""Takes what a step's command wrote: 1 or 2 for the stream, and the bytes."""


def solve(
    target: Step,
    work: Work[Result],
    report: Report,
    *,
    jobs: int = 4,
    places: Mapping[int, Place] = MappingProxyType({}),
) -> Result:
    """The result of ``target``. At most ``jobs`` steps are performed at once; each reports from its own thread.

    When a step fails the others are cancelled, and what it raised is raised here, with its place. An interrupt
    (KeyboardInterrupt) cancels too; nothing runs any more when this function is left.
    """
    return solve_all([target], work, report, jobs=jobs, places=places)[0]


def solve_all(
    targets: Sequence[Step],
    work: Work[Result],
    report: Report,
    *,
    jobs: int = 4,
    places: Mapping[int, Place] = MappingProxyType({}),
) -> list[Result]:
    """The same for several targets, whose steps are performed side by side, and once where they are the same."""
    solving = _Solving(targets, work, report, places)
    solving.recall()
    if solving.missing:
        solving.perform(jobs)
    return [solving.results[position] for position in solving.targets]


def look(target: Step, work: Lookup[Result]) -> list[tuple[Step, Result | None, list[Result | None]]]:
    """What the cache has of a build, which is not performed: each step with its result and those of its inputs."""
    solving = _Solving([target], work, lambda event: None, {})
    solving.recall()
    results = [solving.results.get(position) for position in range(len(solving.steps))]
    return [
        (step, results[position], [results[needed] for needed in solving.inputs[position]])
        for position, step in enumerate(solving.steps)
    ]


def distinct(*targets: Step) -> list[Step]:
    """The steps that ``targets`` need, those that say the same only once, inputs first."""
    return _distinct(targets)[0]


def _distinct(targets: Sequence[Step]) -> tuple[list[Step], list[list[int]], list[int]]:
    """The same with each one's inputs, and with the targets, as positions in that list."""
    steps: list[Step] = []
    inputs: list[list[int]] = []
    positions: dict[int, int] = {}
    known: dict[tuple[object, ...], int] = {}
    for step in graph.ordered(*targets):
        definition = _definition(step, positions)
        position = known.setdefault(definition, len(steps))
        if position == len(steps):
            steps.append(step)
            inputs.append([positions[id(needed)] for needed in step.inputs])
        positions[id(step)] = position
    return steps, inputs, [positions[id(target)] for target in targets]


def _definition(step: Step, positions: dict[int, int]) -> tuple[object, ...]:
    """What makes two steps the same: all but where they stand. Other steps are told by their positions."""
    if isinstance(step, Source):
        return ("Source", step.image.id)
    parts: list[object] = [type(step).__name__]
    for name, value in zip(step._fields, step, strict=True):
        if isinstance(value, STEPS):
            parts.append(("step", positions[id(value)]))
        elif name == "origin":
            parts.append(("context", id(value)))
        elif isinstance(step, Run) and name == "mounts":
            parts += [(mount._replace(origin=None), _origin(mount.origin, positions)) for mount in step.mounts]
        elif name not in ("stage", "text", "line"):
            parts.append(value)
    return tuple(parts)


def _origin(origin: object, positions: dict[int, int]) -> tuple[str, int]:
    return ("step", positions[id(origin)]) if isinstance(origin, STEPS) else ("context", id(origin))


class _Solving:
    """A graph being solved: what is done, and what is missing."""

    def __init__(self, targets: Sequence[Step], work: Any, report: Report, places: Mapping[int, Place]) -> None:
        self.steps, self.inputs, self.targets = _distinct(targets)
        self.results: dict[int, Any] = {}
        self._work = work
        self._report = report
        self._places = places

    @property
    def missing(self) -> list[int]:
        return [position for position in range(len(self.steps)) if position not in self.results]

    def recall(self) -> None:
        """Takes from the cache all whose inputs are known."""
        for position, step in enumerate(self.steps):
            if self._ready(position):
                with _Showing(step, self._places):
                    result = self._work.recall(step, self._known(position))
                if result is not None:
                    self._started(position)
                    self._report(StepCached(position + 1))
                    self.results[position] = result

    def perform(self, jobs: int) -> None:
        """Performs what is missing."""
        import threading
        from _queue import SimpleQueue  # queue itself loads heapq, and locks for what is not used

        ended: SimpleQueue[tuple[int, Any | BaseException]] = SimpleQueue()
        tried = {position for position in self.missing if self._ready(position)}
        threads: dict[int, threading.Thread] = {}
        try:
            while missing := self.missing:
                for position in missing:
                    if len(threads) < jobs and position not in threads and self._ready(position):
                        arguments = (position, position in tried, ended)
                        threads[position] = threading.Thread(target=self._run, args=arguments, daemon=True)
                        threads[position].start()
                position, result = _next(ended)
                threads.pop(position).join()
                if isinstance(result, BaseException):
                    raise result
                self.results[position] = result
        except BaseException:
            self._work.cancel()
            for thread in threads.values():
                if thread.ident:
                    thread.join()
            raise

    def _run(self, position: int, tried: bool, ended: SimpleQueue[tuple[int, Any | BaseException]]) -> None:
        try:
            with _Showing(self.steps[position], self._places):
                ended.put((position, self._perform(position, tried)))
        except BaseException as error:
            ended.put((position, error))

    def _perform(self, position: int, tried: bool) -> Any:
        step, inputs, number = self.steps[position], self._known(position), position + 1
        self._started(position)
        cached = None if tried else self._work.recall(step, inputs)
        if cached is not None:
            self._report(StepCached(number))
            return cached
        began = time.monotonic()
        result = self._work.perform(step, inputs, lambda stream, data: self._report(StepOutput(number, stream, data)))
        self._report(StepFinished(number, time.monotonic() - began))
        return result

    def _ready(self, position: int) -> bool:
        return all(needed in self.results for needed in self.inputs[position])

    def _known(self, position: int) -> list[Any]:
        return [self.results[needed] for needed in self.inputs[position]]

    def _started(self, position: int) -> None:
        step = self.steps[position]
        self._report(StepStarted(position + 1, len(self.steps), step.stage, step.text))


def _next(ended: SimpleQueue[tuple[int, Any | BaseException]]) -> tuple[int, Any | BaseException]:
    from _queue import Empty

    while True:
        # A signal that comes just before the system call that waits does not end it.
        with suppress(Empty):
            return ended.get(timeout=1)


class _Showing:
    """Adds the place of a step to an error that leaves the block."""

    def __init__(self, step: Step, places: Mapping[int, Place]) -> None:
        self._step = step
        self._place = places.get(step.line)

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: object) -> None:
        if isinstance(error, SampanError) and self._place:
            at = _blamed(self._step.text, error.message)
            raise self._place.fault(error.message, at, hint=error.hint, kind=type(error)) from error


def _blamed(text: str, message: str) -> str:
    """The argument of an instruction that ``message`` is about, if it names a single one."""
    words = {word.strip("/") for word in re.split(r"[\s=,:\"\[\]]+", text)[1:] if not word.startswith("-")}
    named = [
        word for word in words if len(word) > 1 and re.search(rf"(?<![\w./-]){re.escape(word)}(?![\w/-])", message)
    ]
    return named[0] if len(named) == 1 else ""
