"""The first command that a newcomer runs, on a copy of the checkout: everything that it does is real."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import commands
from commands import Account

pytestmark = pytest.mark.system

CHECKOUT = Path(__file__).parents[2]
PARTS = ("src", "examples", "scripts", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def checkout() -> Iterator[Path]:
    """As somebody has it who has just fetched it: readable by all."""
    directory = Path(tempfile.mkdtemp(prefix="sampan-test-checkout-"))
    directory.chmod(0o755)
    for part in PARTS:
        copy = shutil.copytree if (CHECKOUT / part).is_dir() else shutil.copy
        copy(CHECKOUT / part, directory / part)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Where quickstart has its images, instead of in /tmp."""
    directory = commands.new_store()
    directory.chmod(0o1777)
    yield directory
    commands.remove_store(directory)


def quickstart(checkout: Path, temporary: Path, account: Account | None = None, **environment: str) -> str:
    environment |= {"TMPDIR": str(temporary)}
    done = commands.run(
        [checkout / "scripts/quickstart"], check=True, account=account, environment=environment, timeout=300
    )
    assert "Hello from Python" in done.stdout
    assert re.search(r"ago +Up .*8000/tcp +hello$", done.stdout, re.MULTILINE)
    assert re.search(r"^ +\d+\.\d s$", done.stdout, re.MULTILINE)
    assert "Nothing is left running" in done.stdout
    check_clean(temporary)
    return done.stdout


def check_clean(temporary: Path) -> None:
    assert list(temporary.iterdir()) == []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_bytes()
        except OSError:
            continue
        assert str(temporary).encode() not in command, command


@pytest.mark.root
def test_as_root(checkout: Path, temporary: Path) -> None:
    assert "examples/hello" in quickstart(checkout, temporary)
    assert (checkout / ".venv/bin/sampan").exists()
    # Installed by now; and this time there is no package index.
    offline = quickstart(
        checkout, temporary, PIP_NO_INDEX="1", PIP_FIND_LINKS="/nonexistent", PIP_CONFIG_FILE="/dev/null"
    )
    assert "examples/hello-stdlib" in offline


@pytest.mark.rootless
def test_as_an_ordinary_user(checkout: Path, temporary: Path, ordinary_user: Account) -> None:
    quickstart(checkout, temporary, ordinary_user)
    if os.geteuid() == 0:
        assert (ordinary_user.home / ".cache/sampan/.venv/bin/sampan").exists()


@pytest.mark.root
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_cleans_up_when_it_is_stopped_halfway(checkout: Path, temporary: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [checkout / "scripts/quickstart"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
        process_group=0,
    )
    assert process.stdout
    said = []
    for line in process.stdout:
        said.append(line)
        if "Fetch the page" in line:
            os.killpg(process.pid, number)  # as a terminal does for Ctrl-C
    assert process.wait() == 128 + number, "".join(said)
    check_clean(temporary)
