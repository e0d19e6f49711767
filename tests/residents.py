"""Who runs containers in a test, each with a store of their own that has the image ``box``; fixtures for conftest.py.

``anyone`` is root in one run of a test and an ordinary user in the next; ``root`` and ``ordinary`` are one of them.
When a test is over its containers are removed, and nothing of them may be left on the machine.
"""

import compileall
import json
import os
import select
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

import commands
import images
from commands import Sampan

IMAGE = "box"
SERVE = ("httpd", "-f", "-p", "80", "-h", "/data")
"""What serves the page ``seed`` of the image, which says:"""
SEED = "from the image\n"
PATIENCE = 30
"""Seconds until something that has to happen counts as failed; no test is about how long it took."""

RESIDENT, PRIVATE = 10_000, 5_000
"""Kilobytes that a container's monitor may hold, and of these those that nobody shares with it."""

Template = Callable[[commands.Account | None], Path]


@pytest.fixture(scope="session")
def template() -> Iterator[Template]:
    """A store with the image, made once for each kind of user and then copied."""
    made: dict[bool, Path] = {}
    if os.access(commands.SOURCE, os.W_OK):
        compileall.compile_dir(commands.SOURCE, quiet=1)  # as an installer does; who cannot write there could not

    def make(account: commands.Account | None) -> Path:
        key = account is not None
        if key not in made:
            # Not in pytest's own directory, which only its owner may enter.
            directory = Path(tempfile.mkdtemp(prefix="sampan-test-template-"))
            if account:
                os.chown(directory, account.uid, account.gid)
            images.put(Sampan(directory, account), IMAGE)
            made[key] = directory
        return made[key]

    yield make
    for path in made.values():
        commands.remove_store(path)


@pytest.fixture
def root(store_root: Path, template: Template) -> Iterator[Sampan]:
    """The command line as root runs it."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    yield from _living(Sampan(store_root), template(None))


@pytest.fixture
def ordinary(store_root: Path, template: Template, ordinary_user: commands.Account) -> Iterator[Sampan]:
    """The command line as someone without privileges or subordinate ids runs it."""
    os.chown(store_root, ordinary_user.uid, ordinary_user.gid)
    yield from _living(Sampan(store_root, ordinary_user), template(ordinary_user))


@pytest.fixture(params=["root", "ordinary"])
def anyone(request: pytest.FixtureRequest) -> Sampan:
    """The command line as root, and as an ordinary user."""
    sampan: Sampan = request.getfixturevalue(request.param)
    return sampan


def _living(sampan: Sampan, template: Path) -> Iterator[Sampan]:
    shutil.copytree(template, sampan.root, symlinks=True, dirs_exist_ok=True)
    if sampan.account:
        for top, directories, files in os.walk(sampan.root):
            for name in (*directories, *files):
                os.chown(f"{top}/{name}", sampan.account.uid, sampan.account.gid, follow_symlinks=False)
    try:
        yield sampan
    finally:
        sampan.remove_containers()
    assert_clean(sampan)


def await_(condition: Callable[[], object]) -> bool:
    """Whether a condition comes true before patience ends."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@contextmanager
def started(sampan: Sampan, *arguments: str | Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A command that goes on beside the test, with pipes for what it reads and writes; killed when the block ends."""
    account, env = sampan.account, dict(os.environ)
    if account:
        env = {"PATH": env["PATH"], "HOME": str(account.home), "LANG": "C.UTF-8", **account.environment}
        options.setdefault("cwd", account.home)
        if os.geteuid() == 0:
            options |= {"user": account.uid, "group": account.gid, "extra_groups": []}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen(sampan.command(*arguments), env=env, **{**pipes, **options})
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def read_until(source: IO[bytes] | int | None, wanted: str) -> str:
    """What comes until ``wanted`` is among it; fails the test when the source ends or nothing more comes."""
    assert source is not None
    fd = source if isinstance(source, int) else source.fileno()
    seen = b""
    while wanted.encode() not in seen:
        if not select.select([fd], [], [], PATIENCE)[0]:
            pytest.fail(f"{wanted!r} did not come, only {seen!r}", pytrace=False)
        try:
            data = os.read(fd, 4096)
        except OSError:  # EIO: a terminal's other side is closed
            data = b""
        if not data:
            pytest.fail(f"{wanted!r} did not come before the end, only {seen!r}", pytrace=False)
        seen += data
    return seen.decode(errors="replace")


def state(sampan: Sampan, container: str) -> dict[str, Any]:
    """How a container fares, as ``inspect`` says it."""
    value: dict[str, Any] = json.loads(sampan("inspect", container).stdout)[0]["State"]
    return value


def assert_clean(sampan: Sampan) -> None:
    """Nothing is left of what ran, or will be in a moment: monitors live a little longer than their containers."""
    assert await_(lambda: not leftovers(sampan)), leftovers(sampan)


def leftovers(sampan: Sampan) -> list[str]:
    """What is there of containers, builds and transfers that are over: of all that there should be nothing."""
    found = []
    with closing(sqlite3.connect(sampan.root / "sampan.db", timeout=20)) as database:
        for (key,) in database.execute("SELECT key FROM snapshot WHERE key IS NOT NULL"):
            found.append(f"snapshot {key}")
        for (name,) in database.execute("SELECT name FROM container"):
            found.append(f"record {name}")
    for directory in ("containers", "tmp", "blobs/aside"):
        if (sampan.root / directory).is_dir():
            found += [f"{directory}/{name}" for name in os.listdir(sampan.root / directory)]
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if sampan.root.name in line]
    return found + [f"process {pid}: {command(pid)}" for pid in processes(sampan)]


def cgroups(identifier: str) -> list[Path]:
    """The directories of a container in all hierarchies."""
    return [path for depth in ("", "*/") for path in Path("/sys/fs/cgroup").glob(f"{depth}sampan/{identifier}")]


def cgroups_named(prefix: str, top: str = "/sys/fs/cgroup") -> list[str]:
    """The directories below ``top`` with names that begin so; others come and go meanwhile."""
    return [f"{place}/{name}" for place, names, _ in os.walk(top) for name in names if name.startswith(prefix)]


def processes(sampan: Sampan) -> list[int]:
    """Processes that have something of the store open or mounted: those of containers, and what watches them."""
    needle = sampan.root.name
    return [
        int(pid) for pid in os.listdir("/proc") if pid.isdigit() and int(pid) != os.getpid() and _holds(pid, needle)
    ]


def _holds(pid: str, needle: str) -> bool:
    try:
        if needle in Path(f"/proc/{pid}/mountinfo").read_text():
            return True
        descriptors = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    return any(needle in _target(f"/proc/{pid}/fd/{fd}") for fd in descriptors)


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # it was closed just now
        return ""


def command(pid: int) -> str:
    """The command line of a process; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def footprint(sampan: Sampan) -> tuple[int, int]:
    """What the one monitor holds resident, and what of that is its alone (proc(5), smaps_rollup)."""
    (monitor,) = (pid for pid in processes(sampan) if "sampan.containers.monitor" in command(pid))
    lines = [line.split() for line in Path(f"/proc/{monitor}/smaps_rollup").read_text().splitlines()[1:]]
    counts = {words[0]: int(words[1]) for words in lines}
    private = ("Private_Clean:", "Private_Dirty:", "Private_Hugetlb:")
    return counts["Rss:"], sum(counts[name] for name in private)


def assert_small(sampan: Sampan) -> None:
    """It is, once what its start needed has been given back."""
    small = await_(lambda: footprint(sampan)[0] <= RESIDENT and footprint(sampan)[1] <= PRIVATE)
    assert small, footprint(sampan)
