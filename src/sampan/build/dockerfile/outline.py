"""What a Dockerfile offers to the one who builds: its targets, and the arguments and secrets that a target takes.

The words are those of BuildKit's subrequests (frontend/subrequests/{outline,targets}).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sampan.build.dockerfile import arguments, stages, words
from sampan.build.dockerfile.findings import Surroundings
from sampan.build.dockerfile.instructions import Run
from sampan.build.dockerfile.lines import Line
from sampan.build.dockerfile.stages import Dockerfile, Stage
from sampan.build.dockerfile.view import View, begun, needed
from sampan.build.dockerfile.words import Rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple


class Target(NamedTuple):
    """A stage that can be built; ``base`` and ``platform`` as written."""

    name: str
    description: str
    is_default: bool
    base: str
    platform: str
    line: int


class Argument(NamedTuple):
    """A build argument with the value that it has as things are."""

    name: str
    value: str
    description: str
    line: int


class Credential(NamedTuple):
    """A secret or an ssh agent that a step asks for."""

    name: str
    required: bool
    line: int


class Outline(NamedTuple):
    """What a target takes; ``name`` is empty for a stage without one."""

    name: str
    description: str
    arguments: tuple[Argument, ...]
    secrets: tuple[Credential, ...]
    agents: tuple[Credential, ...]


def targets(dockerfile: Dockerfile) -> list[Target]:
    """All stages, in the order of the file."""
    last = dockerfile.stages[-1]
    return [
        Target(
            base.name, _description(base.line, base.name), stage is last, base.image, base.platform, base.line.number
        )
        for stage in dockerfile.stages
        for base in (stage.base,)
    ]


def outline(dockerfile: Dockerfile, around: Surroundings) -> Outline:
    """What the target, with the stages that it needs, takes. Raises Invalid, showing the line, and NotFound."""
    target = stages.target(dockerfile.stages, around.target)
    predefined = arguments.platform_args(around.platform, target.base.name, around.build_args)
    values = arguments.global_args(dockerfile.preamble, predefined, around.build_args, dockerfile.escape)
    wanted = needed(dockerfile, target, values)
    found: dict[str, Argument] = {}
    views: dict[int, View] = {}
    for stage in wanted:
        view = views[stage.number] = begun(dockerfile, stage, values, views, around)
        for instruction in stage.body:
            view.take(instruction)
            for name in arguments.declared([instruction]):
                line, value = instruction.line, view.args[name] or ""
                found.setdefault(name, Argument(name, value, _description(line, name), line.number))
    found |= _globals(dockerfile, wanted, values, found)
    base = target.base
    return Outline(
        base.name,
        _description(base.line, base.name),
        tuple(sorted(found.values(), key=lambda argument: argument.line)),
        tuple(_credentials(wanted, "secret").values()),
        tuple(_credentials(wanted, "ssh").values()),
    )


def _globals(
    dockerfile: Dockerfile, wanted: list[Stage], values: Mapping[str, str], inherited: Mapping[str, Argument]
) -> dict[str, Argument]:
    """The arguments before the first FROM that matter: those of its bases, those that stages take over, and what these
    are made from."""
    rules = Rules(dockerfile.escape)
    used = set(inherited)
    for stage in wanted:
        for text in (stage.base.image, stage.base.platform):
            used |= words.names(text, values, rules).keys()
    found = {}
    for arg in reversed(dockerfile.preamble):
        for name, default in reversed(arg.definitions):
            if name in used:
                used |= words.names(default or "", values, rules).keys()
                found[name] = Argument(name, values.get(name, ""), _description(arg.line, name), arg.line.number)
    return found


def _credentials(wanted: list[Stage], kind: str) -> dict[str, Credential]:
    found: dict[str, Credential] = {}
    for line, mount in _mounts(wanted):
        if mount.get("type") == kind:
            path = mount.get("source") or mount.get("target", "").rpartition("/")[2]
            name = mount.get("id") or (path if kind == "secret" else "default")
            required = mount.get("required") == "true" or (name in found and found[name].required)
            found[name] = Credential(name, required, found[name].line if name in found else line.number)
    return found


def _mounts(wanted: list[Stage]) -> Iterator[tuple[Line, dict[str, str]]]:
    for stage in wanted:
        for found in stage.body:
            for mount in found.mounts if isinstance(found, Run) else ():
                yield found.line, dict(mount.words)


def _description(line: Line, name: str) -> str:
    """What a comment above says of ``name``: ``# name what it is for``."""
    said = (comment.removeprefix(f"{name} ") for comment in line.comments if name and comment.startswith(f"{name} "))
    return next(said, "")
