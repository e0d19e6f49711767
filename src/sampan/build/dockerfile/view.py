"""A stage as far as lint has read it: variables, user, shell, without the files of any image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from sampan.build.dockerfile import instructions, stages, words
from sampan.build.dockerfile.findings import Finding, Surroundings
from sampan.build.dockerfile.instructions import Instruction, Run, Transfer
from sampan.build.dockerfile.lines import Line
from sampan.build.dockerfile.stages import Dockerfile, Stage
from sampan.build.dockerfile.state import DEFAULT_PATH
from sampan.build.dockerfile.words import Rules
from sampan.errors import Invalid
from sampan.oci import platform as platforms
from sampan.oci import reference as references
from sampan.oci.config import ImageConfig
from sampan.oci.platform import Platform

_PLAIN = frozenset(
    f"docker.io/library/{name}"
    for name in ("almalinux", "alpine", "archlinux", "busybox", "debian", "rockylinux", "ubuntu")
)
"""What these bases define is known where they are not at hand, too: PATH, and no user."""


class View:
    """What is known of a stage. ``user`` is None where only the base image, which is not at hand, could tell."""

    __slots__ = ("args", "around", "base", "bases", "body", "entered", "env", "escape", "globals", "is_known",
                 "of_layers", "own", "shell", "stage", "user")  # fmt: skip

    def __init__(
        self,
        stage: Stage,
        base: str,
        values: Mapping[str, str],
        config: ImageConfig | None,
        around: Surroundings,
        escape: str,
    ) -> None:
        self.stage = stage
        self.base = base
        """The image that it all stands on."""
        self.bases: tuple[str, ...] = (base,)
        """The names of what it was made from, the nearest last."""
        self.globals = values
        self.around = around
        self.escape = escape
        self.is_known = config is not None or base == "scratch"
        self.env = {"PATH": DEFAULT_PATH}
        self.args: dict[str, str | None] = {}
        self.shell = bool(config and config.config.shell)
        self.user = config.config.user if config else "" if base == "scratch" else None
        self.entered = False
        """There was a WORKDIR."""
        self.body: list[Instruction] = []
        """What was read, that of the stages below included."""
        self.own: list[Instruction] = []
        """What was read of this very stage."""
        self.of_layers: list[Finding] = []
        """What is to be said of its layers if they are part of the image."""
        if config:
            self.env |= dict(entry.split("=", 1) for entry in config.config.env if entry.find("=") > 0)

    @property
    def variables(self) -> dict[str, str]:
        """What ``$name`` stands for: of an ENV and an ARG of the same name, the later one counts (as in BuildKit)."""
        return {**self.env, **{name: value for name, value in self.args.items() if value is not None}}

    def child(self, stage: Stage) -> View:
        """The beginning of a stage that is FROM this one."""
        view = View(stage, self.base, self.globals, None, self.around, self.escape)
        for name in ("is_known", "shell", "user", "entered"):
            setattr(view, name, getattr(self, name))
        view.bases = (*self.bases, stage.base.image)
        view.env, view.args, view.body = dict(self.env), dict(self.args), list(self.body)
        view.of_layers = list(self.of_layers)
        return view

    def expand(self, line: Line, text: str) -> str:
        """Raises Invalid, showing ``line``."""
        with line.showing(text):
            return words.expand(text, self.variables, Rules(self.escape))

    def unset(self, line: Line, text: str, *, quotes: bool = True) -> list[str]:
        """The variables in ``text`` that nobody has declared."""
        if "$" not in text:
            return []
        with line.showing(text):
            found = words.names(text, self.variables, Rules(self.escape if quotes else "\\", quotes=quotes))
        return [name for name in found if name not in self.variables and name not in self.args]

    def take(self, instruction: Instruction) -> None:
        """Reads one instruction. Raises Invalid, showing the line."""
        self.body.append(instruction)
        self.own.append(instruction)
        if isinstance(instruction, instructions.Arg):
            for written, default in instruction.definitions:
                argument = self.expand(instruction.line, written)
                self.args[argument] = self._argument(instruction.line, argument, default)
        elif isinstance(instruction, instructions.Env):
            line = instruction.line
            pairs = {self.expand(line, name): self.expand(line, value) for name, value in instruction.pairs}
            self.env |= pairs
            self.args |= {name: value for name, value in pairs.items() if name in self.args}
        elif isinstance(instruction, instructions.Shell):
            self.shell = True
        elif isinstance(instruction, instructions.User):
            self.user = self.expand(instruction.line, instruction.user)
        elif isinstance(instruction, instructions.Workdir):
            self.entered = True

    def _argument(self, line: Line, name: str, default: str | None) -> str | None:
        if name in self.around.build_args:
            return self.around.build_args[name]
        return self.globals.get(name) if default is None else self.expand(line, default)


def begun(
    dockerfile: Dockerfile, stage: Stage, values: Mapping[str, str], views: Mapping[int, View], around: Surroundings
) -> View:
    """A stage before its first instruction. ``views`` are those before it, as read; ``values`` the global arguments.

    Raises Invalid, showing the line.
    """
    with stage.base.line.showing(stage.base.image):
        base = words.expand(stage.base.image, values, Rules(dockerfile.escape))
    earlier = stages.find(dockerfile.stages[: stage.number], base)
    if earlier and earlier.number in views:
        return views[earlier.number].child(stage)
    wanted = platform(stage, values, around, dockerfile.escape)
    config = None if base in ("", "scratch") else around.config(base, wanted) or _plain(base, wanted)
    return View(stage, base, values, config, around, dockerfile.escape)


def _plain(base: str, wanted: Platform) -> ImageConfig | None:
    with suppress(Invalid):
        if references.parse(base).name in _PLAIN:
            return ImageConfig(wanted)
    return None


def platform(stage: Stage, values: Mapping[str, str], around: Surroundings, escape: str) -> Platform:
    """The platform that a stage's base is wanted for. Raises Invalid, showing the line."""
    if not stage.base.platform:
        return around.platform
    with stage.base.line.showing(stage.base.platform):
        return platforms.parse(words.expand(stage.base.platform, values, Rules(escape)))


def needed(dockerfile: Dockerfile, target: Stage, values: Mapping[str, str]) -> list[Stage]:
    """The stages that the target is made from. What ONBUILD triggers of an image name is not known here."""

    def names(stage: Stage) -> Iterator[str]:
        yield words.expand(stage.base.image, values, Rules(dockerfile.escape))
        for found in stage.body:
            if isinstance(found, Transfer):
                yield found.from_
            elif isinstance(found, Run):
                yield from (mount.from_ for mount in found.mounts)

    def depends_on(stage: Stage) -> Iterable[Stage]:
        before = dockerfile.stages[: stage.number]
        for name in names(stage):
            found = stages.find(before, name)
            if found:
                yield found
            elif name.isdecimal() and len(name) < 9 and int(name) < len(before):
                yield before[int(name)]

    return stages.needed(target, depends_on)
