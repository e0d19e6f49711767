"""Every folder of tests/lint: a Dockerfile, what it is given (given.json), and what lint finds (findings.txt).

To write these anew after a change that was meant, run this file with SAMPAN_GOLDEN=write and read the difference.
"""

import json
import os
from pathlib import Path

import pytest

from sampan.build.context import open_context
from sampan.build.dockerfile import rules, values
from sampan.build.dockerfile.findings import Surroundings
from sampan.build.dockerfile.lint import Report, lint
from sampan.oci import config as configs
from sampan.oci import platform as platforms
from sampan.oci.config import ImageConfig
from sampan.oci.platform import Platform

FOLDERS = Path(__file__).parents[2] / "lint"
CASES = sorted(path.parent.name for path in FOLDERS.glob("*/Dockerfile"))


def linted(folder: Path) -> Report:
    given = json.loads((folder / "given.json").read_text()) if (folder / "given.json").exists() else {}

    def config(name: str, platform: Platform) -> ImageConfig | None:
        known = given.get("images", {}).get(name)
        empty = {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": []}}
        return configs.parse(json.dumps({**empty, **known}).encode()) if known else None

    context = open_context(str(folder))
    around = Surroundings(
        platforms.parse("linux/amd64"),
        given.get("build_args", {}),
        config,
        lambda path: context.surely_excludes(values.inside(path)),
        given.get("target"),
        lambda name: name in given.get("contexts", ()),
    )
    data = (folder / "Dockerfile").read_bytes()
    return lint(data, "Dockerfile", around, thorough=given.get("thorough", True))


def shown(report: Report) -> str:
    lines = []
    for finding in report.findings:
        spot = finding.line.spot(finding.at)
        marked = spot.source[spot.begin : spot.end]
        lines.append(f"{spot.number}: {finding.rule.level} {finding.rule.name}: {finding.message} << {marked} >>")
    if report.error:
        lines.append(f"{type(report.error).__name__}: {report.error.message}\n{report.error.hint or ''}".strip())
    return "\n".join([*lines, *(["fails"] if report.fails else [])]) + "\n"


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    content = shown(linted(FOLDERS / case))
    expected = FOLDERS / case / "findings.txt"
    if os.environ.get("SAMPAN_GOLDEN") == "write":
        expected.write_text(content)
    assert content == expected.read_text()


def test_every_rule_is_found_in_a_case() -> None:
    found = {finding.rule.name for case in CASES for finding in linted(FOLDERS / case).findings}
    assert found == {rule.name for rule in rules.ALL}


def test_dockers_rules_are_all_there() -> None:
    assert len([rule for rule in rules.DOCKER if rule.url]) == 21
    assert len({rule.name for rule in rules.ALL}) == len(rules.ALL)


def test_no_credential_is_shown() -> None:
    told = shown(linted(FOLDERS / "credentials"))
    assert "SPLIT" in told
    for secret in ("hunter2", '"hun', "ghp_", "glpat"):
        assert secret not in told
