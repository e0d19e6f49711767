"""A stage in the making: what the instructions before have made of it, and what the next one finds."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sampan.build import remote
from sampan.build.dockerfile import values, words
from sampan.build.dockerfile.instructions import Command
from sampan.build.dockerfile.lines import Line
from sampan.build.dockerfile.words import Rules
from sampan.build.graph import Step
from sampan.events import Report, Warned
from sampan.oci.config import ContainerConfig
from sampan.oci.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DEFAULT_SHELL = ("/bin/sh", "-c")
_COMMENT = "buildkit.dockerfile.v0"


class Scope(NamedTuple):
    """What is the same for all stages of a build."""

    build_args: Mapping[str, str]
    globals: Mapping[str, str]
    """The platform ARGs and those before the first FROM, with their values."""
    proxies: Mapping[str, str]
    """Predefined proxy ARGs that were given: every RUN sees them."""
    escape: str
    report: Report
    allowed: Collection[str] = ()
    """What the one who builds has agreed to (--allow)."""

    def warn(self, line: Line, message: str) -> None:
        self.report(Warned(f"{line.filename}:{line.number}: {message}"))


class StageState:
    """A stage in the making: its last step, and the image's config so far."""

    __slots__ = ("args", "author", "cmd_is_own", "config", "env", "history", "label", "platform", "prefix", "scope",
                 "step", "triggers")  # fmt: skip

    def __init__(self, scope: Scope, label: str, step: Step, config: ContainerConfig, platform: Platform) -> None:
        self.scope = scope
        self.label = label
        self.step = step
        self.config = config._replace(on_build=())
        self.triggers = config.on_build
        """ONBUILD instructions of the base, to be performed first."""
        self.platform = platform
        self.history: list[dict[str, Any]] = []
        self.author = ""
        # An entry without "=" (malformed; it would name a variable of the host's) is left out.
        self.env = dict(entry.split("=", 1) for entry in config.env if entry.find("=") > 0)
        self.env.setdefault("PATH", DEFAULT_PATH)
        self.args: dict[str, str | None] = {}
        self.cmd_is_own = False
        """CMD was set in this stage, not inherited."""
        self.prefix = ""

    @property
    def directory(self) -> str:
        return self.config.working_dir or "/"

    @property
    def variables(self) -> dict[str, str]:
        """What ``$name`` stands for: of an ENV and an ARG of the same name, the later one counts (as in BuildKit)."""
        return {**self.env, **{name: value for name, value in self.args.items() if value is not None}}

    def child(self, label: str) -> StageState:
        """The beginning of a stage that is FROM this one."""
        state = StageState(self.scope, label, self.step, self.config, self.platform)
        state.env = dict(self.env)
        state.args = dict(self.args)
        state.history = list(self.history)
        state.author = self.author
        return state

    def enter(self, path: str) -> None:
        """Changes the working directory, from the present one if ``path`` is relative."""
        self.config = self.config._replace(working_dir=values.joined(self.directory, path))

    def final_config(self) -> ContainerConfig:
        return self.config._replace(env=self.environment())

    def environment(self) -> tuple[str, ...]:
        return tuple(f"{name}={value}" for name, value in self.env.items())

    def expand(self, line: Line, text: str, variables: Mapping[str, str] | None = None) -> str:
        """Raises Invalid, showing ``line``."""
        with line.showing(text):
            return words.expand(text, self.variables if variables is None else variables, Rules(self.scope.escape))

    def argv(self, command: Command) -> tuple[str, ...]:
        if not command.shell:
            return command.words
        return (*(self.config.shell or _DEFAULT_SHELL), "".join(command.words))

    def did(self, what: str, *, layer: bool = False) -> None:
        """Adds a history entry."""
        entry: dict[str, Any] = {"created_by": what, "comment": _COMMENT}
        self.history.append(entry if layer else {**entry, "empty_layer": True})

    def shown(self, line: Line) -> str:
        """What progress shows for ``line``: as written, no variable expanded."""
        text = " ".join(line.text.split())
        if line.heredocs:
            first, *more = line.heredocs[0].content.strip().split("\n")
            text += f" ({first}{'…' if more else ''})"
        return self.prefix + remote.redacted(text)
