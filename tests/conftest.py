"""Which tests run, what may be skipped, and the fixtures that rooms share.

pytest                  unit tests
pytest --system         system tests too: real namespaces, mounts, networks and containers
pytest --vm             also tests/vm, in a virtual machine that is made and booted for them
pytest --no-skips       a skipped test is a failure, unless the kernel or the machine itself lacks what it needs

A test that needs something says so: ``@pytest.mark.root``, ``@pytest.mark.needs("skopeo", "umoci")``. The reason of any
other skip tells what is missing; one that begins with "the kernel" or "the machine" names what cannot be installed.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import commands

if TYPE_CHECKING:
    from sampan.engine import Engine

_PROGRAM_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
_BEYOND_INSTALLING = ("the kernel", "the machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--system", action="store_true", help="run system tests too")
    parser.addoption("--vm", action="store_true", help="run the tests of tests/vm too, in a virtual machine")
    parser.addoption("--no-skips", action="store_true", help="fail if a test is skipped that could have run")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*programs): skipped, with the reason, where a program is not installed")
    if config.getoption("--no-skips") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_NoSkips())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for option in ("system", "vm"):
        if not config.getoption(f"--{option}"):
            config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker(option)])
            items[:] = [item for item in items if not item.get_closest_marker(option)]
    for item in items:
        # With --dist loadgroup they take turns: they share the machine's interfaces, ports and cgroups.
        if item.get_closest_marker("system") and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group("system"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root")
    missing = [
        program
        for marker in item.iter_markers("needs")
        for program in marker.args
        if not shutil.which(program, path=_PROGRAM_PATH)
    ]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


class _NoSkips:
    """Counts skipped tests, and fails the run at its end if there were any."""

    def __init__(self) -> None:
        self._skipped: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not hasattr(report, "wasxfail"):  # an expected failure is reported as skipped, too
            self._note(report)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            reason = reason.removeprefix("Skipped: ")
            if not reason.startswith(_BEYOND_INSTALLING):
                self._skipped.append(f"{report.nodeid}: {reason}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._skipped and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._skipped:
            terminalreporter.section("skipped, which --no-skips does not allow", red=True)
            for line in self._skipped:
                terminalreporter.line(line)


@pytest.fixture
def store_root() -> Iterator[Path]:
    """A new directory for a store, in memory where possible. Afterwards it is gone; nothing may be mounted in it."""
    root = commands.new_store()
    yield root
    commands.remove_store(root)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator["Engine"]:
    """The stores of a new root, opened in this process."""
    from sampan.engine import open_engine

    with open_engine(str(tmp_path / "root")) as engine:
        yield engine


@pytest.fixture
def sampan(store_root: Path) -> Iterator[commands.Sampan]:
    """Runs the command line in a process of its own, with a store of its own; containers are gone afterwards."""
    runner = commands.Sampan(store_root)
    yield runner
    runner.remove_containers()


@pytest.fixture
def ordinary_user() -> Iterator[commands.Account]:
    """Someone without privileges, without a name and without subordinate ids; this very user if he is not root."""
    home = Path(tempfile.mkdtemp(prefix="sampan-test-home-"))
    try:
        yield commands.account(home)
    finally:
        commands.remove_store(home)


@pytest.fixture
def rootless_store_root(ordinary_user: commands.Account) -> Iterator[Path]:
    """A directory for a store of ``ordinary_user``."""
    root = commands.new_store()
    os.chown(root, ordinary_user.uid, ordinary_user.gid)
    yield root
    commands.remove_store(root)


@pytest.fixture
def rootless_sampan(rootless_store_root: Path, ordinary_user: commands.Account) -> Iterator[commands.Sampan]:
    """The command line as ``ordinary_user`` runs it."""
    runner = commands.Sampan(rootless_store_root, ordinary_user)
    yield runner
    runner.remove_containers()


@pytest.fixture
def ranged_sampan() -> Iterator[commands.Sampan]:
    """The command line as a user with subordinate ids runs it, with a store of its own. Needs root."""
    home = Path(tempfile.mkdtemp(prefix="sampan-test-home-"))
    try:
        with commands.account_with_ranges(home) as account:
            root = commands.new_store()
            os.chown(root, account.uid, account.gid)
            runner = commands.Sampan(root, account)
            try:
                yield runner
            finally:
                runner.remove_containers()
                commands.remove_store(root)
    finally:
        commands.remove_store(home)
