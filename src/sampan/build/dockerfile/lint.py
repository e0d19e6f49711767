"""Lint: what a Dockerfile says that is allowed, and that somebody will regret.

A stage is read as the build would read it, but without any image or file: a ``View`` is what is known of it by then.
Docker's checks are in ``checks``, those for people who put Python into images in ``pythonic``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

from sampan.build.dockerfile import arguments, checks, findings, lines, parsers, pythonic, stages
from sampan.build.dockerfile.credentials import credentials
from sampan.build.dockerfile.findings import Finding, Surroundings
from sampan.build.dockerfile.stages import Dockerfile
from sampan.build.dockerfile.view import View, begun, needed
from sampan.errors import SampanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple


class Report(NamedTuple):
    """``error`` is what would make the build fail, for then the findings may not be all."""

    findings: tuple[Finding, ...]
    error: SampanError | None = None
    fails: bool = False
    """The file wants findings to be errors (``check=error=true``)."""

    @property
    def violation(self) -> str:
        """What a build is refused with for the sake of its findings, if the file wants that; else empty."""
        names = sorted({finding.rule.name for finding in self.findings if not finding.rule.quiet})
        return f"lint violation found for rules: {', '.join(names)}" if self.fails and names else ""


def lint(text: bytes, filename: str, around: Surroundings, *, thorough: bool = True) -> Report:
    """What is to be said of a Dockerfile, in the order of its lines.

    ``thorough`` looks at all stages if no target is named, and by the rules that are quiet in a build; else at the
    stages that the target needs, as a build does. Raises nothing that is about the file: that is in the report.
    """
    try:
        dockerfile = stages.parse(text, filename)
        options = findings.options_of(dockerfile.directives, around.build_args)
    except SampanError as error:
        before = _before_the_fault(text, filename)
        return Report(lint(before, filename, around, thorough=False).findings if before else (), error)
    found: list[Finding] = []
    failure = None
    try:
        for finding in _findings(dockerfile, around, thorough=thorough):
            if options.merged(findings.options_above(finding.line)).wants(finding.rule):
                found.append(finding)
    except SampanError as error:
        failure = error
    found.sort(key=lambda finding: finding.line.spot(finding.at).number)
    secrets = _secrets(dockerfile, {finding.line.number for finding in found})
    shown = (findings.hiding(finding, secrets.get(finding.line.number, [])) for finding in dict.fromkeys(found))
    return Report(tuple(shown), failure, options.error)


def _before_the_fault(text: bytes, filename: str) -> bytes:
    """The beginning of a Dockerfile up to the first line that is no instruction; nothing where none can be told."""
    with suppress(SampanError):
        document = lines.parse(text, filename)
        for line in document.lines:
            try:
                parsers.parse(line, document.escape)
            except SampanError:
                return b"".join(re.findall(rb"[^\n]*\n|[^\n]+\Z", text)[: line.number - 1])
    return b""


def _findings(dockerfile: Dockerfile, around: Surroundings, *, thorough: bool) -> Iterator[Finding]:
    yield from checks.of_file(dockerfile)
    yield from pythonic.of_file(dockerfile)
    yield from _of_stages(dockerfile, around, thorough=thorough)


def _secrets(dockerfile: Dockerfile, numbers: set[int]) -> dict[int, list[str]]:
    """By line, of those that are shown: what must not be."""
    found = (*dockerfile.preamble, *(instruction for stage in dockerfile.stages for instruction in stage.body))
    return {each.line.number: credentials(each) for each in found if each.line.number in numbers}


def _of_stages(dockerfile: Dockerfile, around: Surroundings, *, thorough: bool) -> Iterator[Finding]:
    target = stages.target(dockerfile.stages, around.target)
    predefined = arguments.platform_args(around.platform, target.base.name, around.build_args)
    values = arguments.global_args(dockerfile.preamble, predefined, around.build_args, dockerfile.escape)
    yield from checks.of_defaults(dockerfile, predefined)
    declared = values.keys() | arguments.declared(dockerfile.preamble)
    wanted = dockerfile.stages if thorough and not around.target else needed(dockerfile, target, values)
    views: dict[int, View] = {}
    for stage in wanted:
        yield from checks.of_base(stage, values, declared, around, dockerfile.escape)
        view = views[stage.number] = begun(dockerfile, stage, values, views, around)
        if thorough:
            yield from pythonic.of_base(view)
        for instruction in stage.body:
            yield from checks.of_instruction(view, instruction)
            if thorough:
                yield from pythonic.of_instruction(view, instruction, dockerfile)
            view.take(instruction)
        if thorough:
            yield from pythonic.of_stage(view)
        if thorough and stage is target:
            yield from pythonic.of_image(view)
