"""Build stages: a Dockerfile's instructions by their FROMs, and which stages a target needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from sampan.build.dockerfile import lines, parsers
from sampan.build.dockerfile.instructions import Arg, From, Instruction
from sampan.build.dockerfile.lines import Line
from sampan.build.dockerfile.statement import did_you_mean
from sampan.errors import Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple


class Stage(NamedTuple):
    """One FROM and what follows it. ``number`` counts from 0."""

    number: int
    base: From
    body: tuple[Instruction, ...]

    @property
    def label(self) -> str:
        """What the stage is called in progress and messages."""
        return self.base.name or f"stage-{self.number}"


class Dockerfile(NamedTuple):
    """``preamble`` are the ARGs before the first FROM; there is at least one stage."""

    preamble: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    escape: str
    directives: Mapping[str, Line]


def parse(data: bytes, filename: str = "Dockerfile") -> Dockerfile:
    """The stages in the text of a Dockerfile. Raises Invalid, showing the line."""
    document = lines.parse(data, filename)
    if not document.lines:
        raise Invalid(f"{filename}: the Dockerfile is empty", hint="it begins with FROM and the image to build on")
    preamble: list[Arg] = []
    bases: list[From] = []
    bodies: list[list[Instruction]] = []
    for line in document.lines:
        found = parsers.parse(line, document.escape)
        if isinstance(found, From):
            bases.append(found)
            bodies.append([])
        elif bodies:
            bodies[-1].append(found)
        elif isinstance(found, Arg):
            preamble.append(found)
        else:
            hint = "begin with FROM IMAGE, or FROM scratch for an empty file system"
            raise line.fault("no build stage yet: only ARG may stand before the first FROM", hint=hint)
    if not bases:
        raise Invalid(f"{filename}: the Dockerfile has no build stage", hint="add FROM and the image to build on")
    stages = (Stage(number, base, tuple(body)) for number, (base, body) in enumerate(zip(bases, bodies, strict=True)))
    return Dockerfile(tuple(preamble), tuple(stages), document.escape, document.directives)


def find(stages: Sequence[Stage], name: str) -> Stage | None:
    """The last of ``stages`` with that name; upper and lower case are the same."""
    wanted = name.lower()
    return next((stage for stage in reversed(stages) if wanted and stage.base.name == wanted), None)


def target(stages: Sequence[Stage], wanted: str | None) -> Stage:
    """The stage to build: by name or number, else the last. Raises NotFound."""
    if not wanted:
        return stages[-1]
    found = find(stages, wanted)
    if not found and wanted.isdecimal() and len(wanted) < 9 and int(wanted) < len(stages):
        found = stages[int(wanted)]
    if not found:
        names = [stage.base.name for stage in stages if stage.base.name]
        hint = did_you_mean(wanted.lower(), names) or f"the stages are: {', '.join(names) or 'all without a name'}"
        raise NotFound(f"there is no build stage {wanted!r}", hint=hint)
    return found


def needed(last: Stage, depends_on: Callable[[Stage], Iterable[Stage]]) -> list[Stage]:
    """``last`` and all that it needs, in the order of the file."""
    found = {last.number: last}
    waiting = [last]
    while waiting:
        for stage in depends_on(waiting.pop()):
            if stage.number not in found:
                found[stage.number] = stage
                waiting.append(stage)
    return [found[number] for number in sorted(found)]
