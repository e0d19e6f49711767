"""The table of attacks in docs/security.md: every known attack on a runtime has a row, with tests."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs/security.md"
SHORT = {"E": "runtime/test_everywhere.py", "B": "runtime/test_bundle_traps.py"}
ATTACKS = """
    CVE-2016-9962 CVE-2019-5736 CVE-2019-16884 CVE-2023-28642 CVE-2019-19921 CVE-2023-27561 CVE-2021-30465
    CVE-2021-43784 CVE-2022-29162 CVE-2022-24769 CVE-2022-27649 CVE-2022-27651 CVE-2022-27650
    CVE-2022-0492 CVE-2022-0811 CVE-2023-25809 CVE-2024-21626 CVE-2024-45310 CVE-2025-31133 CVE-2025-52565
    CVE-2025-52881
    CVE-2026-41579 CVE-2026-47766 CVE-2026-30892 CVE-2019-18837 CVE-2020-15257 CVE-2026-31431 GHSA-jq35-85cj-fj4p
"""


def rows() -> dict[str, str]:
    lines = PAGE.read_text().partition("## Attacks and tests")[2].splitlines()
    cells = [line.strip("|").split("|") for line in lines if line.startswith("|")][2:]
    return {attack.strip(): tests for attack, _, tests in cells}


@pytest.mark.parametrize("attack", ATTACKS.split())
def test_an_attack_has_a_row(attack: str) -> None:
    assert [row for row in rows() if attack in row]


@pytest.mark.parametrize("row", rows())
def test_the_tests_of_a_row_exist(row: str) -> None:
    named = re.findall(r"`([^`]+)::(\w+)`", rows()[row])
    assert named
    for file, name in named:
        tree = ast.parse((TESTS / SHORT.get(file, file)).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file}::{name}"
