"""What lint found, for people, for programs that read Docker's JSON, and for those that read SARIF."""

from __future__ import annotations

from sampan.build.dockerfile import rules
from sampan.build.dockerfile.findings import Finding
from sampan.build.dockerfile.lint import Report
from sampan.cli import output
from sampan.errors import SampanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def text(report: Report) -> str:
    """A paragraph for each finding, and a line that counts them."""
    return "\n\n".join([*(_paragraph(finding) for finding in report.findings), _total(report)])


def short(findings: tuple[Finding, ...]) -> str:
    """A line for each, as they are told after a build; an empty text for none."""
    if not findings:
        return ""
    told = (f"{each.rule.name}: {each.message} (line {each.line.spot(each.at).number})" for each in findings)
    lines = [f" - {output.printable(line)}" for line in told]
    count = f"{len(lines)} {'warning' if len(lines) == 1 else 'warnings'} found"
    return "\n".join([f"{count} (sampan build --check says more):", *lines])


def docker_json(report: Report, data: bytes, filename: str) -> str:
    """The format of ``docker build --call=check,format=json`` (BuildKit, subrequests/lint), and level and fix."""
    import base64
    import json

    value: dict[str, Any] = {
        "warnings": [_warning(finding) for finding in report.findings],
        "sources": [{"filename": filename, "language": "Dockerfile", "data": base64.b64encode(data).decode()}],
    }
    if report.error:
        value["buildError"] = {"message": _first_line(report.error), "location": _location(_line_of(report.error))}
    return json.dumps(value, indent=2, ensure_ascii=False)


def sarif(report: Report, version: str) -> str:
    """SARIF 2.1.0 (OASIS); paths are relative to where lint was called."""
    import json

    run: dict[str, Any] = {
        "tool": {
            "driver": {"name": "sampan lint", "version": version, "rules": [_sarif_rule(rule) for rule in rules.ALL]}
        },
        "columnKind": "unicodeCodePoints",
        "results": [_sarif_result(finding) for finding in report.findings],
        "invocations": [{"executionSuccessful": report.error is None}],
    }
    if report.error:
        notification = {"level": "error", "message": {"text": report.error.message}}
        run["invocations"][0]["toolExecutionNotifications"] = [notification]
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False)


def _paragraph(finding: Finding) -> str:
    rule, spot = finding.rule, finding.line.spot(finding.at)
    head = f"{finding.line.filename}:{spot.number}: {rule.level}: {finding.message} [{rule.name}]"
    return "\n".join(filter(None, (head, spot.excerpt(), f"fix: {rule.fix}", rule.url)))


def _total(report: Report) -> str:
    if report.error:
        return "Check incomplete: the build would fail."
    counts = []
    for level in (rules.ERROR, rules.WARNING, rules.NOTE):
        count = sum(finding.rule.level == level for finding in report.findings)
        if count:
            counts.append(f"{count} {level}{'' if count == 1 else 's'}")
    return f"Check complete, {', '.join(counts) or 'no warnings'} found."


def _warning(finding: Finding) -> dict[str, Any]:
    rule = finding.rule
    value = {"ruleName": rule.name, "description": rule.sentence, "url": rule.url, "detail": finding.message}
    known = {key: item for key, item in value.items() if item}
    return {
        **known, "level": rule.level, "fix": rule.fix, "location": _location(finding.line.spot(finding.at).number)
    }  # fmt: skip


def _location(number: int) -> dict[str, Any]:
    return {"ranges": [{"start": {"line": number}, "end": {"line": number}}]}


def _sarif_rule(rule: rules.Rule) -> dict[str, Any]:
    value: dict[str, Any] = {
        "id": rule.name,
        "shortDescription": {"text": rule.sentence},
        "help": {"text": rule.fix},
        "defaultConfiguration": {"level": rule.level, "enabled": not rule.experimental},
    }
    return {**value, "helpUri": rule.url} if rule.url else value


def _sarif_result(finding: Finding) -> dict[str, Any]:
    from urllib.parse import quote

    spot = finding.line.spot(finding.at)
    region = {"startLine": spot.number, "startColumn": spot.begin + 1, "endColumn": max(spot.begin, spot.end) + 1}
    place = {
        "artifactLocation": {"uri": quote(finding.line.filename)},
        "region": {**region, "snippet": {"text": spot.source}},
    }
    return {
        "ruleId": finding.rule.name,
        "ruleIndex": rules.ALL.index(finding.rule),
        "level": finding.rule.level,
        "message": {"text": f"{finding.message} (fix: {finding.rule.fix})"},
        "locations": [{"physicalLocation": place}],
    }


def _first_line(error: SampanError) -> str:
    return error.message.partition("\n")[0]


def _line_of(error: SampanError) -> int:
    """The line that an error names; 1 if it is about the whole file."""
    number = _first_line(error).split(":")[1:2]
    return int(number[0]) if number and number[0].isdecimal() else 1
