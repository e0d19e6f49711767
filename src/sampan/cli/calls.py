"""``build --call`` and ``build --check``, and lint in a build: what is answered without building anything."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from sampan.build.dockerfile import outline, rules, stages
from sampan.build.dockerfile.findings import Surroundings
from sampan.build.dockerfile.lint import lint
from sampan.cli import findings as formats
from sampan.cli import output
from sampan.cli.context import Context
from sampan.cli.findings import Checked
from sampan.cli.source import Source
from sampan.errors import Invalid, NotFound, Unsupported
from sampan.oci import platform as platforms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.oci.config import ImageConfig
    from sampan.oci.platform import Platform

FORMATS = ("text", "json", "sarif")
_METHODS = ("build", "check", "lint", "outline", "targets")
_IMAGE = "docker-image://"


def method(text: str) -> tuple[str, str]:
    """``METHOD[,format=FORMAT]`` as the method and the format. Raises Invalid and Unsupported."""
    name, *options = text.split(",")
    if name not in _METHODS:
        kind = Unsupported if name.startswith("subrequests.") else Invalid
        raise kind(f"unknown --call {name}", hint=f"one of {', '.join(_METHODS)}")
    form = "text"
    for option in options:
        key, _, value = option.partition("=")
        if key != "format" or value not in (FORMATS if name in ("check", "lint") else FORMATS[:2]):
            raise Invalid(f"invalid option {option} of --call {name}", hint="format=text or format=json")
        form = value
    return "check" if name == "lint" else name, form


def answer(name: str, form: str, source: Source, around: Surroundings, context: Context) -> int:
    """Prints what was asked for, and gives the exit code."""
    if name == "check":
        return check(form, source, around, context)
    dockerfile = stages.parse(source.data, source.filename)
    value = _targets(dockerfile) if name == "targets" else _outline(dockerfile, around)
    if form == "json":
        import base64
        import json

        value["sources"] = [base64.b64encode(source.data).decode()]
        context.print(json.dumps(value, indent=2, ensure_ascii=False))
    else:
        context.print(_targets_text(value) if name == "targets" else _outline_text(value))
    return 0


def check(form: str, source: Source, around: Surroundings, context: Context) -> int:
    """Prints what lint finds; the exit code is 1 if there is more than notes."""
    return told(form, [Checked(source, lint(source.data, source.filename, around))], context)


def told(form: str, checked: list[Checked], context: Context) -> int:
    """Prints what lint found in some files; the exit code is 1 if there is more than notes."""
    from sampan import __version__

    if form == "json":
        context.print(formats.docker_json(checked))
    elif form == "sarif":
        context.print(formats.sarif(checked, __version__))
    else:
        context.print(formats.text(checked))
    sys.stdout.flush()
    codes = [context.tell(each.report.error) for each in checked if each.report.error]
    found = (finding for each in checked for finding in each.report.findings)
    return max((*codes, int(any(finding.rule.level != rules.NOTE for finding in found))))


def findings_of_a_build(source: Source, around: Surroundings) -> str:
    """What is told after a build, in lines. Raises Invalid if the file wants findings to be errors."""
    report = lint(source.data, source.filename, around, thorough=False)
    if report.violation:
        paragraphs = formats.paragraphs(report)
        hint = "check=error=true, in the file or as a build argument, asks for that"
        raise Invalid("\n".join((report.violation, *paragraphs)), hint=hint)
    return formats.short(report.findings)


def surroundings(
    source: Source, build_args: Mapping[str, str], contexts: Mapping[str, str], target: str | None, context: Context
) -> Surroundings:
    """What a Dockerfile is judged with here. Base images count as far as the store holds them: none is pulled."""

    known: dict[str, ImageConfig | None] = {}

    def config(name: str, platform: Platform) -> ImageConfig | None:
        if name not in known:
            known[name] = _config(name, contexts, context)
        return known[name]

    from sampan.build.dockerfile.translate import context_name
    from sampan.build.dockerfile.values import inside

    names = {context_name(name) for name in contexts}
    hides = source.files.surely_excludes if source.files else lambda path: False
    return Surroundings(
        platforms.host(),
        build_args,
        config,
        lambda path: hides(inside(path)),
        target,
        lambda name: context_name(name) in names,
    )


def _config(name: str, contexts: Mapping[str, str], context: Context) -> ImageConfig | None:
    from sampan.build.dockerfile.translate import context_name
    from sampan.oci import config as configs

    replaced = {context_name(key): value for key, value in contexts.items()}.get(context_name(name), _IMAGE + name)
    if not replaced.startswith(_IMAGE):
        return None
    engine = context.engine
    try:
        return configs.parse(engine.blobs.read(engine.images.find(replaced.removeprefix(_IMAGE)).id))
    except (NotFound, Invalid):
        return None


def _targets(dockerfile: stages.Dockerfile) -> dict[str, Any]:
    return {
        "targets": [
            _known(
                name=target.name,
                default=target.is_default,
                description=target.description,
                base=target.base,
                platform=target.platform,
                location=_location(target.line),
            )
            for target in outline.targets(dockerfile)
        ]
    }


def _targets_text(value: dict[str, Any]) -> str:
    rows = []
    for target in value["targets"]:
        mark = "(default)" if target.get("default") else ""
        rows.append([f"{target.get('name', '')} {mark}".strip(), target.get("description", "")])
    return output.table(("TARGET", "DESCRIPTION"), rows)


def _outline(dockerfile: stages.Dockerfile, around: Surroundings) -> dict[str, Any]:
    found = outline.outline(dockerfile, around)
    args = [
        {"name": each.name, **_known(description=each.description, value=each.value, location=_location(each.line))}
        for each in found.arguments
    ]
    secrets, ssh = (
        [{"name": each.name, **_known(required=each.required, location=_location(each.line))} for each in credentials]
        for credentials in (found.secrets, found.agents)
    )
    return _known(name=found.name, description=found.description, args=args, secrets=secrets, ssh=ssh)


def _outline_text(value: dict[str, Any]) -> str:
    parts = []
    if value.get("name") or value.get("description"):
        parts.append(f"TARGET:      {value.get('name') or '(default)'}")
        if value.get("description"):
            parts[-1] += f"\nDESCRIPTION: {value['description']}"
    if value.get("args"):
        rows = [[each["name"], each.get("value", ""), each.get("description", "")] for each in value["args"]]
        parts.append(output.table(("BUILD ARG", "VALUE", "DESCRIPTION"), rows))
    for key in ("secrets", "ssh"):
        if value.get(key):
            rows = [[each["name"], "true" if each.get("required") else ""] for each in value[key]]
            parts.append(output.table(("SECRET" if key == "secrets" else "SSH", "REQUIRED"), rows))
    return "\n\n".join(parts)


def _known(**values: Any) -> dict[str, Any]:
    """Those that say something, as Docker's JSON leaves out the rest."""
    return {name: value for name, value in values.items() if value}


def _location(number: int) -> dict[str, Any]:
    return {"ranges": [{"start": {"line": number}, "end": {"line": number}}]}
