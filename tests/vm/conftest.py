"""Tests of this directory run in a virtual machine (see ``virtual``); outside, each only tells how it ended there."""

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

import residents
import virtual
from residents import root, template

__all__ = ["root", "template"]

_PORT = os.environ.get("SAMPAN_GUEST", "")
"""In the machine: where reports go."""
_HERE = Path(__file__).parent
_run = pytest.StashKey[tuple[dict[str, virtual.Outcome], str]]()

residents.PATIENCE = 120  # everything is emulated


class Told(pytest.Item):
    """A test that runs in the machine, as it stands for itself outside; ``known_as`` is its name there."""

    known_as = ""

    def runtest(self) -> None:
        outcomes, console = _outcomes(self.session)
        if self.known_as not in outcomes:
            pytest.fail(f"the machine did not report this test. Its console:\n{console[-6000:]}", pytrace=False)
        outcome, text = outcomes[self.known_as]
        if outcome == "skipped":
            pytest.skip(text)
        if outcome == "failed":
            pytest.fail(text, pytrace=False)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, self.name


def _outcomes(session: pytest.Session) -> tuple[dict[str, virtual.Outcome], str]:
    """What the machine says of all tests that were selected; it is booted once."""
    if _run not in session.stash:
        tests = [item.known_as for item in session.items if isinstance(item, Told)]
        session.stash[_run] = virtual.run(virtual.image(_cache(session.config)), tests)
    return session.stash[_run]


def _cache(config: pytest.Config) -> Path:
    cache = config.cache
    return cache.mkdir("vm") if cache else Path("/var/tmp")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    for number, item in enumerate(items):
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.vm)
            if not _PORT:
                items[number] = _told(item)


def _told(item: pytest.Item) -> Told:
    assert item.parent
    told: Told = Told.from_parent(item.parent, name=item.name)
    told.known_as = item.nodeid
    told.add_marker(pytest.mark.vm)
    told.add_marker(pytest.mark.root)
    told.add_marker(pytest.mark.needs(*virtual.PROGRAMS))
    told.add_marker(pytest.mark.xdist_group("vm"))
    return told


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    if _PORT and (report.when == "call" or not report.passed):
        text = report.longrepr[2].removeprefix("Skipped: ") if report.skipped else report.longreprtext
        with open(_PORT, "a") as port:
            port.write(json.dumps({"test": item.nodeid, "outcome": report.outcome, "text": text}) + "\n")
    return report
