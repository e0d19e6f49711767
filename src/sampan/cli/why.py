"""``sampan build --why STEP``: what has to be performed, and which input changed since the last build."""

import time

from sampan.build.graph import STEPS, Copy, Run, Scratch, Source
from sampan.build.reasons import FILE, NO_SUCH_STEP, PARENT, differences
from sampan.build.solve import look
from sampan.cli import output
from sampan.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sampan.build.graph import Graph, Step
    from sampan.build.perform import Build
    from sampan.build.reasons import Reasons
    from sampan.build.state import State
    from sampan.cli.context import Context

_ALL = "all"


def tell(
    wanted: str, graph: "Graph", called: "Sequence[str]", work: "Build", reasons: "Reasons", context: "Context"
) -> None:
    """Says of each step that ``wanted`` means (a number, some of its words, or "all") how it stands with the cache."""
    numbers, missing = _numbers(wanted, called), 0
    for number, (step, result, inputs) in enumerate(look(graph.target, work), 1):
        missing += result is None
        if number not in numbers or isinstance(step, Scratch | Source):
            continue
        context.print(output.printable(f"#{number} {called[number - 1]}"))
        if result is not None:
            context.print(f"   cached{_past(reasons, step)}")
        else:
            context.print(output.printable(f"   to be performed: {_why(step, inputs, work, reasons)}"))
    context.print(f"{missing} of {len(called)} steps are to be performed" if missing else "all steps are cached")


def _why(step: "Step", inputs: "Sequence[State | None]", work: "Build", reasons: "Reasons") -> str:
    if all(inputs):
        return reasons.explain(step, work.keys.describe(step, inputs[0].chain if inputs[0] else None))
    last = reasons.last(step)
    if last is None:
        return NO_SUCH_STEP
    work.keys.survey(step, inputs)
    now, unknown = work.keys.describe(step, inputs[0].chain if inputs[0] else None), _unknown(step, inputs)
    changed = differences(
        {name: value for name, value in last.inputs.items() if not name.startswith(unknown)},
        {name: value for name, value in now.items() if not name.startswith(unknown)},
    )
    return "; ".join(("a step that it needs is to be performed", *([changed] if changed else [])))


def _unknown(step: "Step", inputs: "Sequence[State | None]") -> tuple[str, ...]:
    """How inputs are called that other steps have yet to make."""
    found = [] if inputs[0] else [PARENT]
    if isinstance(step, Copy) and isinstance(step.origin, STEPS):
        found.append(FILE)
    elif isinstance(step, Run):
        found += [f"the mount at {mount.target}" for mount in step.mounts if isinstance(mount.origin, STEPS)]
    return tuple(found)


def _past(reasons: "Reasons", step: "Step") -> str:
    """When the step was performed the last time, and why."""
    last = reasons.last(step)
    if last is None or not last.made or last.step != step.text:
        return ""
    ago = output.duration(max(0.0, time.time() - last.made))
    return f"; performed {ago[:1].lower()}{ago[1:]} ago: {last.reason}"


def _numbers(wanted: str, called: "Sequence[str]") -> set[int]:
    """The steps that are meant. Raises NotFound."""
    if wanted == _ALL:
        return set(range(1, len(called) + 1))
    if wanted.removeprefix("#").isdecimal():
        found = {int(wanted.removeprefix("#"))} & set(range(1, len(called) + 1))
    else:
        found = {number for number, label in enumerate(called, 1) if wanted.lower() in label.lower()}
    if not found:
        raise NotFound(f"there is no step {wanted}", hint=f"a number up to {len(called)}, some of its words, or {_ALL}")
    return found
