"""A Dockerfile into a build graph: stages onto their bases, ARGs into their scopes, ONBUILD triggers into their place.

Only the stages that the target needs are translated, each once and in the order of the file; what their instructions do
is in ``apply``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping

from sampan.build.context import open_context
from sampan.build.dockerfile import apply, arguments, lines, parsers, stages, words
from sampan.build.dockerfile.apply import Origin
from sampan.build.dockerfile.instructions import From, Instruction, Maintainer, OnBuild, Run, Transfer
from sampan.build.dockerfile.lines import Line
from sampan.build.dockerfile.mounts import RunMount
from sampan.build.dockerfile.stages import Stage
from sampan.build.dockerfile.state import Scope, StageState
from sampan.build.dockerfile.statement import did_you_mean
from sampan.build.dockerfile.words import Rules
from sampan.build.graph import Context, Copy, Graph, Scratch, Source, Step
from sampan.errors import Invalid, NotFound, Unavailable
from sampan.events import Report, Warned
from sampan.oci import platform as platforms
from sampan.oci import reference as references
from sampan.oci.config import ContainerConfig, ImageConfig
from sampan.oci.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.store.images import Image

Resolve = Callable[[str, Platform], "tuple[Image, ImageConfig]"]
"""Gives the image of that name for that platform, which is then in the store, and its config. Raises SampanError."""

_IMAGE = "docker-image://"
_IMAGES = (_IMAGE, "oci-layout://")
_TARGET = "target:"
_NO_HISTORY = {"comment": "the history of this layer is not known"}


def translate(
    text: bytes,
    *,
    filename: str,
    context: Context,
    resolve: Resolve,
    platform: Platform,
    build_args: Mapping[str, str],
    target: str | None,
    contexts: Mapping[str, str],
    report: Report,
    allowed: Collection[str] = (),
    open_named: Callable[[str], Context] = open_context,
    is_explicit: bool = False,
) -> Graph:
    """The graph that builds stage ``target`` (a name or number; the last stage if None) of a Dockerfile.

    ``context`` is what COPY copies from. ``contexts`` have a name and stand in for images and stages of that name: each
    is ``docker-image://NAME`` or ``oci-layout://…`` (which ``resolve`` is asked for), ``target:STAGE``, or what
    ``open_named`` understands: the path of a directory, an address. ``allowed`` are the entitlements that were granted.
    The image is for ``platform`` whatever its base is for if that ``is_explicit``, else for what its base is for.
    Raises Invalid, NotFound, Denied or Unsupported, showing the line, and what ``resolve`` and ``open_named`` raise.
    """
    dockerfile = stages.parse(text, filename)
    wanted = stages.target(dockerfile.stages, target)
    predefined = arguments.platform_args(platform, wanted.base.name, build_args)
    global_args = arguments.global_args(dockerfile.preamble, predefined, build_args, dockerfile.escape)
    scope = Scope(build_args, global_args, arguments.proxies(build_args), dockerfile.escape, report, allowed)
    build = _Build(dockerfile.stages, scope, context, resolve, platform, contexts, open_named)
    state = build.state(wanted)
    used = arguments.declared(dockerfile.preamble) | build.declared | predefined.keys() | arguments.PROXY_ARGS
    for name in sorted(build_args.keys() - used - arguments.ANSWERED_ARGS):
        report(Warned(f"the build argument {name} is not used: no ARG declares it"))
    built_for = _claimed(state.platform, platform) if is_explicit or _is_from_scratch(state.step) else state.platform
    config = ImageConfig(built_for.normal(), state.final_config(), history=tuple(state.history), author=state.author)
    lines = (each.line for stage in dockerfile.stages for each in (stage.base, *stage.body))
    return Graph(state.step, config, {line.number: line for line in lines})


class _Build:
    """One translation: the stages and images that it has met."""

    __slots__ = (
        "_context", "_contexts", "_directories", "_images", "_numbers", "_open_named", "_platform", "_resolve",
        "_scope", "_stages", "_states", "declared",
    )  # fmt: skip

    def __init__(
        self,
        all_stages: tuple[Stage, ...],
        scope: Scope,
        context: Context,
        resolve: Resolve,
        platform: Platform,
        contexts: Mapping[str, str],
        open_named: Callable[[str], Context],
    ) -> None:
        self._stages = all_stages
        self._scope = scope
        self._context = context
        self._resolve = resolve
        self._platform = platform
        self._open_named = open_named
        self._contexts = {context_name(name): value for name, value in contexts.items()}
        self._states: dict[int, StageState] = {}
        self._directories: dict[str, Context] = {}
        self._images: dict[tuple[str, Platform], tuple[Image, ImageConfig, Step]] = {}
        self._numbers: dict[str, list[int]] = {}
        self.declared: set[str] = set()
        """Names of the ARGs of all stages, needed or not."""
        for stage in all_stages:
            self._numbers.setdefault(stage.base.name, []).append(stage.number)
            self.declared |= arguments.declared(stage.body)

    def state(self, stage: Stage) -> StageState:
        """What ``stage`` comes to. The stages that it needs are translated before it."""
        for needed in stages.needed(stage, self._dependencies):
            if needed.number not in self._states:
                self._states[needed.number] = self._translated(needed)
        return self._states[stage.number]

    def _dependencies(self, stage: Stage) -> Iterator[Stage]:
        if stage.number in self._states:
            return
        if self._replacement(stage) is not None:
            if target := self._earlier(stage, stage.base.name):
                yield target
            return
        body = stage.body
        base = self._earlier(stage, self._base_name(stage))
        if base:
            yield base
            triggers = [found.trigger for found in base.body if isinstance(found, OnBuild)]
            body = (*_triggers(stage, triggers, base.label), *body)
        for found in body:
            for name, at in _named_origins(found):
                if name and (earlier := self._copied_stage(stage, found.line, name, at)):
                    yield earlier

    def _translated(self, stage: Stage) -> StageState:
        label = stage.label if len(self._stages) > 1 else ""
        replacement = self._replacement(stage)
        if replacement is not None:
            return self._from_context(stage, label, stage.base.name, replacement)
        base = self._base_name(stage)
        state = self._begun(stage, label, base)
        state.prefix = "ONBUILD "
        for trigger in _triggers(stage, state.triggers, base):
            self.declared |= arguments.declared([trigger])
            apply.apply(state, trigger, self._origins(stage, trigger))
        state.prefix = ""
        for instruction in stage.body:
            apply.apply(state, instruction, self._origins(stage, instruction))
        return state

    def _begun(self, stage: Stage, label: str, base: str) -> StageState:
        """``stage`` before its first instruction."""
        earlier = self._earlier(stage, base)
        if earlier:
            parent = self._states[earlier.number]
            if stage.base.platform and self._stage_platform(stage) != parent.platform:
                self._scope.warn(stage.base.line, f"--platform has no effect: stage {base} is for {parent.platform}")
            return parent.child(label)
        if base == "scratch":
            step = Scratch(label, line=stage.base.line.number)
            return StageState(self._scope, label, step, ContainerConfig(working_dir="/"), self._stage_platform(stage))
        return self._from_context(stage, label, base, self._contexts.get(context_name(base), _IMAGE + base))

    def _from_context(self, stage: Stage, label: str, name: str, value: str) -> StageState:
        line = stage.base.line
        if value.startswith(_TARGET):
            return self._states[self._target(stage, line, name, value).number].child(label)
        if not value.startswith(_IMAGES):
            return self._from_files(stage, label, name, value)
        image = value.removeprefix(_IMAGE)
        _, config, step = self._image(stage, line, image, self._stage_platform(stage), label)
        state = StageState(self._scope, label, step, config.config, config.platform)
        if config.config.working_dir:
            state.enter(config.config.working_dir)
        state.history = _history(config)
        state.author = config.author
        return state

    def _from_files(self, stage: Stage, label: str, name: str, value: str) -> StageState:
        """A stage that begins with the files of a build context."""
        line, text = stage.base.line, f"FROM {name}"
        files = self._directory(line, value, stage.base.image)
        step = Copy(Scratch(label, line=line.number), (".",), files, "/", stage=label, text=text, line=line.number)
        state = StageState(self._scope, label, step, ContainerConfig(working_dir="/"), self._stage_platform(stage))
        state.did(text, layer=True)
        return state

    def _directory(self, line: Line, value: str, at: str) -> Context:
        if value not in self._directories:
            with line.showing(at):
                self._directories[value] = self._open_named(value)
        return self._directories[value]

    def _target(self, stage: Stage, line: Line, name: str, value: str) -> Stage:
        """The stage that a build context stands for (``target:STAGE``)."""
        found = self._earlier(stage, name)
        if not found:
            wanted = value.removeprefix(_TARGET)
            raise line.fault(f"the build context {name} is stage {wanted}, and none before this line is called so")
        return found

    def _origins(self, stage: Stage, instruction: Instruction) -> list[Origin]:
        """Where files come from: for a COPY or ADD, or for each mount of a RUN, which may need none."""
        if isinstance(instruction, Transfer):
            return [self._origin(stage, instruction.line, *each) for each in _named_origins(instruction)]
        found = zip(_named_origins(instruction), _mounts(instruction), strict=True)
        return [self._origin(stage, instruction.line, *at) if mount.needs_origin else None for at, mount in found]

    def _origin(self, stage: Stage, line: Line, name: str, at: str) -> Context | Step:
        """The context, or what ``name`` means after ``--from``: an earlier stage, a named context, an image."""
        if not name:
            return self._context
        earlier = self._copied_stage(stage, line, name, at)
        if earlier:
            return self.state(earlier).step
        if name == "scratch":
            return Scratch()
        value = self._contexts.get(context_name(name), _IMAGE + name)
        if value.startswith(_TARGET):
            self._target(stage, line, name, value)
        if value.startswith(_IMAGES):
            label = stage.label if len(self._stages) > 1 else ""
            return self._image(stage, line, value.removeprefix(_IMAGE), self._platform, label)[2]
        return self._directory(line, value, at)

    def _image(
        self, stage: Stage, line: Line, name: str, platform: Platform, label: str
    ) -> tuple[Image, ImageConfig, Step]:
        found = self._images.get((name, platform))
        if not found:
            with line.showing(name):
                try:
                    image, config = self._resolve(name, platform)
                except (NotFound, Unavailable) as error:
                    close = did_you_mean(name.lower(), self._names_before(stage), "the stage {}")
                    error.hint = close or _not_a_stage(stage, line, name, error.hint)
                    raise
            step = Source(image, label, f"FROM {name}", line.number) if image.chain else Scratch(label, f"FROM {name}")
            found = self._images[name, platform] = (image, config, step)
        return found

    def _replacement(self, stage: Stage) -> str | None:
        """The named context that stands in for the whole stage."""
        return self._contexts.get(context_name(stage.base.name)) if stage.base.name else None

    def _earlier(self, stage: Stage, name: str) -> Stage | None:
        """The last stage of that name before ``stage``: only what stands above can shadow an image. A named context may
        stand for another one."""
        value = self._contexts.get(context_name(name), "") if name else ""
        name = value.removeprefix(_TARGET) if value.startswith(_TARGET) else name
        numbers = self._numbers.get(name.lower(), []) if name else []
        index = bisect_left(numbers, stage.number)
        return self._stages[numbers[index - 1]] if index else None

    def _copied_stage(self, stage: Stage, line: Line, name: str, at: str) -> Stage | None:
        """The stage that ``from`` names, if it does. Raises Invalid if that is not above."""
        if "$" in name:
            hint = "add a stage, FROM $NAME AS x with an ARG before the first FROM, and copy from that"
            raise line.fault("variables are not expanded in --from", name, hint=hint)
        if name.isdecimal():
            if len(name) < 9 and int(name) < stage.number:
                return self._stages[int(name)]
            raise line.fault(f"there is no stage {name} before this one", at, hint="stages count from 0")
        earlier = self._earlier(stage, name)
        if not earlier and name.lower() in self._numbers:
            where = "itself" if name.lower() == stage.base.name else "a stage that comes later"
            raise line.fault(f"cannot copy from {name}: that is {where}", at)
        return earlier

    def _names_before(self, stage: Stage) -> list[str]:
        return [name for name, numbers in self._numbers.items() if name and numbers[0] < stage.number]

    def _base_name(self, stage: Stage) -> str:
        base = _expanded(stage.base, stage.base.image, self._scope)
        if not base:
            hint = "give the ARG before the first FROM a default, or pass --build-arg"
            raise stage.base.line.fault(f"the base image {stage.base.image} is empty", stage.base.image, hint=hint)
        return base

    def _stage_platform(self, stage: Stage) -> Platform:
        written = stage.base.platform
        if not written:
            return self._platform
        expanded = _expanded(stage.base, written, self._scope)
        if not expanded:
            raise stage.base.line.fault(f"the platform {written} is empty", written)
        with stage.base.line.showing(written):
            return platforms.parse(expanded)


def _is_from_scratch(step: Step) -> bool:
    """Whether no base says what an image is for: BuildKit takes what is asked for then, whatever FROM says."""
    while not isinstance(step, Source | Scratch):
        step = step.parent
    return isinstance(step, Scratch)


def _claimed(base: Platform, asked: Platform) -> Platform:
    """What an image says that it is for. Where that is what its base is for, the base may know the variant."""
    is_same = (base.os, base.architecture) == (asked.os, asked.architecture)
    return base if is_same and not asked.variant else asked


def _not_a_stage(stage: Stage, line: Line, name: str, hint: str | None) -> str | None:
    """``hint``, and what else may be wrong with a name that was taken for an image's."""
    if line is stage.base.line or "/" in name or ":" in name:
        return hint
    return "; ".join(filter(None, (f"no stage above is called {name}, so it is an image", hint)))


def _expanded(base: From, text: str, scope: Scope) -> str:
    with base.line.showing(text):
        return words.expand(text, scope.globals, Rules(scope.escape))


def _triggers(stage: Stage, texts: tuple[str, ...] | list[str], base: str) -> list[Instruction]:
    """ONBUILD triggers as instructions. Raises Invalid for what cannot be one."""
    found: list[Instruction] = []
    for text in texts:
        document = lines.parse(text.encode(errors="surrogatepass"), f"ONBUILD of {base}")
        if len(document.lines) != 1:
            raise stage.base.line.fault(f"an ONBUILD trigger of {base} is not one instruction", stage.base.image)
        # Steps and warnings name the FROM, for the trigger has no line in this Dockerfile.
        line = document.lines[0]._replace(number=stage.base.line.number)
        trigger = parsers.parse(line)
        if isinstance(trigger, From | OnBuild | Maintainer):
            raise line.fault("this instruction cannot be an ONBUILD trigger")
        found.append(trigger)
    return found


def _mounts(instruction: Instruction) -> tuple[RunMount, ...]:
    return instruction.mounts if isinstance(instruction, Run) else ()


def _named_origins(instruction: Instruction) -> list[tuple[str, str]]:
    """For a COPY or ADD, or each mount of a RUN: what ``from`` names (empty for nothing), and how the line shows it."""
    if isinstance(instruction, Transfer):
        return [(instruction.from_, f"--from={instruction.from_}")]
    return [(mount.from_, f"from={mount.from_}") for mount in _mounts(instruction)]


def context_name(name: str) -> str:
    """Names of contexts compare as image names do: ``python:latest`` is ``docker.io/library/python``."""
    try:
        return references.parse(name.lower()).tagged().canonical()
    except Invalid:
        return name.lower()


def _history(config: ImageConfig) -> list[dict[str, Any]]:
    """The history of a base image; made up if it does not tell of each layer."""
    history = [dict(entry) for entry in config.history]
    if sum(not entry.get("empty_layer") for entry in history) == len(config.diff_ids):
        return history
    return [dict(_NO_HISTORY) for _ in config.diff_ids]
