"""What lint found, for people, for programs that read Docker's JSON, and for those that read SARIF."""

from __future__ import annotations

from sampan.build.dockerfile import rules
from sampan.build.dockerfile.findings import Finding
from sampan.build.dockerfile.lint import Report
from sampan.cli import output
from sampan.cli.source import Source
from sampan.errors import SampanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


class Checked(NamedTuple):
    """A Dockerfile and what was found in it."""

    source: Source
    report: Report


def text(checked: list[Checked]) -> str:
    """A paragraph for each finding, and a line that counts them."""
    reports = [each.report for each in checked]
    return "\n\n".join([*(told for report in reports for told in paragraphs(report)), _total(reports)])


def paragraphs(report: Report) -> list[str]:
    """What is told of each finding."""
    return [_paragraph(finding) for finding in report.findings]


def short(findings: tuple[Finding, ...]) -> str:
    """A line for each, as they are told after a build; an empty text for none."""
    if not findings:
        return ""
    told = (f"{each.rule.name}: {each.message} (line {each.line.spot(each.at).number})" for each in findings)
    lines = [f" - {output.printable(line)}" for line in told]
    count = f"{len(lines)} {'warning' if len(lines) == 1 else 'warnings'} found"
    return "\n".join([f"{count} (sampan build --check says more):", *lines])


def docker_json(checked: list[Checked]) -> str:
    """The format of ``docker build --call=check,format=json`` (BuildKit, subrequests/lint), and level and fix."""
    import base64
    import json

    value: dict[str, Any] = {
        "warnings": [
            _warning(finding, index) for index, each in enumerate(checked) for finding in each.report.findings
        ],
        "sources": [
            {
                "filename": each.source.filename,
                "language": "Dockerfile",
                "data": base64.b64encode(each.source.data).decode(),
            }
            for each in checked
        ],
    }
    errors = (_build_error(each.report, index) for index, each in enumerate(checked))
    if first := next(filter(None, errors), None):
        value["buildError"] = first
    return json.dumps(value, indent=2, ensure_ascii=False)


def sarif(checked: list[Checked], version: str) -> str:
    """SARIF 2.1.0 (OASIS) with what GitHub's code scanning asks for; paths are relative to where lint was called."""
    import json

    errors = [each.report.error for each in checked if each.report.error]
    invocation: dict[str, Any] = {"executionSuccessful": not errors}
    if errors:
        invocation["toolExecutionNotifications"] = [_notification(error) for error in errors]
    run: dict[str, Any] = {
        "tool": {
            "driver": {"name": "sampan lint", "version": version, "rules": [_sarif_rule(rule) for rule in rules.ALL]}
        },
        "columnKind": "unicodeCodePoints",
        "results": [_sarif_result(finding) for each in checked for finding in each.report.findings],
        "invocations": [invocation],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False)


def _paragraph(finding: Finding) -> str:
    rule, spot = finding.rule, finding.line.spot(finding.at)
    head = f"{finding.line.filename}:{spot.number}: {rule.level}: {finding.message} [{rule.name}]"
    return "\n".join(filter(None, (head, spot.excerpt(), f"fix: {rule.fix}", rule.url)))


def _total(reports: list[Report]) -> str:
    if any(report.error for report in reports):
        return "Check incomplete: the build would fail."
    counts = []
    for level in (rules.ERROR, rules.WARNING, rules.NOTE):
        count = sum(finding.rule.level == level for report in reports for finding in report.findings)
        if count:
            counts.append(f"{count} {level}{'' if count == 1 else 's'}")
    fails = ": check=error=true makes the build fail" if any(report.violation for report in reports) else ""
    return f"Check complete, {', '.join(counts) or 'no warnings'} found{fails}."


def _warning(finding: Finding, index: int) -> dict[str, Any]:
    rule = finding.rule
    value = {"ruleName": rule.name, "description": rule.sentence, "url": rule.url, "detail": finding.message}
    known = {key: item for key, item in value.items() if item}
    place = _location(finding.line.spot(finding.at).number, index)
    return {**known, "level": rule.level, "fix": rule.fix, "location": place}


def _build_error(report: Report, index: int) -> dict[str, Any] | None:
    if report.error:
        return {"message": _first_line(report.error), "location": _location(_line_of(report.error), index)}
    return {"message": report.violation, "location": {}} if report.violation else None


def _location(number: int, index: int) -> dict[str, Any]:
    """``index`` is that of the source; Docker leaves out the first one's."""
    ranges = {"ranges": [{"start": {"line": number}, "end": {"line": number}}]}
    return {"sourceIndex": index, **ranges} if index else ranges


def _sarif_rule(rule: rules.Rule) -> dict[str, Any]:
    value: dict[str, Any] = {
        "id": rule.name,
        "shortDescription": {"text": rule.sentence},
        "fullDescription": {"text": f"{rule.sentence}. Fix: {rule.fix}"},
        "help": {"text": rule.fix},
        "defaultConfiguration": {"level": rule.level, "enabled": not rule.experimental},
    }
    return {**value, "helpUri": rule.url} if rule.url else value


def _sarif_result(finding: Finding) -> dict[str, Any]:
    spot = finding.line.spot(finding.at)
    region = {
        "startLine": spot.number,
        "startColumn": spot.begin + 1,
        "endLine": spot.number,
        "endColumn": max(spot.begin, spot.end) + 1,
        "snippet": {"text": spot.source},
    }
    return {
        "ruleId": finding.rule.name,
        "ruleIndex": rules.ALL.index(finding.rule),
        "level": finding.rule.level,
        "message": {"text": f"{finding.message} (fix: {finding.rule.fix})"},
        "locations": [_sarif_location(finding.line.filename, region)],
    }


def _notification(error: SampanError) -> dict[str, Any]:
    """What keeps a file from being built; it is where its message says."""
    first = _first_line(error)
    filename, _, rest = first.partition(":")
    value: dict[str, Any] = {"level": "error", "message": {"text": f"{first} ({error.hint})" if error.hint else first}}
    if rest.partition(":")[0].isdecimal():
        value["locations"] = [_sarif_location(filename, {"startLine": _line_of(error)})]
    return value


def _sarif_location(filename: str, region: dict[str, Any]) -> dict[str, Any]:
    from urllib.parse import quote

    uri = f"file://{quote(filename)}" if filename.startswith("/") else quote(filename)
    return {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}


def _first_line(error: SampanError) -> str:
    return error.message.partition("\n")[0]


def _line_of(error: SampanError) -> int:
    """The line that an error names; 1 if it is about the whole file."""
    number = _first_line(error).split(":")[1:2]
    return int(number[0]) if number and number[0].isdecimal() else 1
