"""Fixtures of tests that look at containers from inside."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import commands
from bundles import Bundle
from commands import Account, Sampan
from inside import with_python
from residents import IMAGE, anyone, ordinary, root, template

__all__ = ["anyone", "anyones_bundle", "hull", "leak", "ordinary", "outside", "root", "template"]


@pytest.fixture
def hull(anyone: Sampan) -> Sampan:
    """A store with a running container of this name, which has Python."""
    anyone("run", "-d", "--network", "none", "--name", "hull", *with_python(anyone), IMAGE, "sleep", "1000")
    return anyone


@pytest.fixture
def outside(anyone: Sampan) -> Iterator[Path]:
    """A directory of the user's on the host with a canary; it is the same afterwards."""
    directory = anyone.root / "outside"
    directory.mkdir()
    (directory / "canary").write_text("canary\n")
    if anyone.account:
        for path in (directory, directory / "canary"):
            os.chown(path, anyone.account.uid, anyone.account.gid)
    before = _shape(directory)
    yield directory
    assert _shape(directory) == before


@pytest.fixture(params=["root", "ordinary"])
def anyones_bundle(request: pytest.FixtureRequest) -> Iterator[Bundle]:
    """A bundle of root's, and one of an ordinary user's. What is in the host's tree beside it stays as it is."""
    if request.param == "root" and os.geteuid() != 0:
        pytest.skip("needs root")
    account: Account | None = None
    if request.param == "ordinary":
        account = request.getfixturevalue("ordinary_user")
    directory = commands.new_store()
    directory.chmod(0o755)
    outside = directory / "outside"
    outside.mkdir()
    (outside / "canary").write_text("canary\n")
    made = Bundle(directory / "bundle", account)
    if account:
        for path in (directory, outside, outside / "canary"):
            os.chown(path, account.uid, account.gid)
    before = _shape(outside)
    try:
        yield made
        assert _shape(outside) == before
    finally:
        made.remove_all()
        commands.remove_store(directory)


def _shape(directory: Path) -> list[tuple[object, ...]]:
    paths = [directory, *sorted(directory.rglob("*"))]
    return [
        (path, path.read_bytes() if path.is_file() else b"", status.st_mode, status.st_uid, status.st_nlink)
        for path in paths
        for status in [path.lstat()]
    ]


@pytest.fixture
def leak(outside: Path) -> Iterator[int]:
    """An open directory of the host that the command line inherits."""
    fd = os.open(outside, os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(fd, True)
    yield fd
    os.close(fd)
