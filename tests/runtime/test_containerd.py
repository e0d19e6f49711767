"""A containerd of the test's own runs containers by the OCI runtime command, driven by its client ``ctr``."""

import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import peers as engines
from commands import new_store, remove_store
from peers import Peers
from residents import await_

pytestmark = [
    pytest.mark.system,
    pytest.mark.root,
    pytest.mark.interop,
    pytest.mark.needs("containerd", "ctr", "containerd-shim-runc-v2", "busybox", "script"),
]


class Ctr:
    """The client, for containers ``hull`` with the root file system ``box``."""

    def __init__(self, peers: Peers, address: Path) -> None:
        self._peers = peers
        self._words = ("ctr", "--address", address)
        self._box = peers.box()

    def __call__(self, *words: str | Path, check: bool = True) -> str:
        return self._peers(*self._words, *words, check=check)

    def perform(self, *words: str | Path) -> "subprocess.CompletedProcess[str]":
        return self._peers.run(*self._words, *words)

    def run(self, *words: str | Path, options: tuple[str | Path, ...] = ("--rm",)) -> tuple[str, int]:
        """What a container says, and its exit code."""
        done = self.perform(*self.running(*options), *words)
        return done.stdout, done.returncode

    def start(self, *words: str | Path, options: tuple[str | Path, ...] = ()) -> None:
        self(*self.running("--detach", *options), *words)

    def on_terminal(self, *words: str | Path) -> str:
        """What is seen of a command of the client's that is typed at a terminal."""
        line = shlex.join(map(str, (*self._words, *words)))
        return self._peers("script", "--quiet", "--return", "--command", line, "/dev/null")

    def status(self) -> str:
        lines = [line.split() for line in self("task", "ls").splitlines()]
        return next((line[2] for line in lines if line[0] == "hull"), "gone")

    def running(self, *options: str | Path) -> list[str | Path]:
        """The beginning of a command that runs one."""
        return ["run", "--runc-binary", self._peers.runtime, *options, "--rootfs", self._box, "hull"]


@pytest.fixture(scope="module")
def peers() -> Iterator[Peers]:
    root = new_store()
    shared = Path("/var/tmp") / root.name  # /dev/shm is the sandbox's own
    shared.mkdir()
    try:
        with engines.sandboxed(shared) as running:
            yield running
    finally:
        shutil.rmtree(shared)
        remove_store(root)


@pytest.fixture(scope="module")
def client(peers: Peers) -> Iterator[Ctr]:
    memory = peers.directory / "memory"
    places = ("--root", memory / "containerd", "--state", "/run/containerd-test", "--address", memory / "c.sock")
    with peers.started("containerd", "--config", "/dev/null", "--log-level", "fatal", *places):
        ctr = Ctr(peers, memory / "c.sock")
        assert await_(lambda: "Server" in ctr("version", check=False))
        yield ctr


@pytest.fixture
def ctr(client: Ctr) -> Iterator[Ctr]:
    yield client
    client("task", "delete", "--force", "hull", check=False)
    client("container", "delete", "hull", check=False)
    assert client("container", "ls", "-q") == ""


def test_output_and_exit_code_come_through(ctr: Ctr) -> None:
    assert ctr.run("sh", "-c", "echo hello; exit 5") == ("hello\n", 5)
    assert ctr.run("sh", "-c", "echo > /x || echo fast", options=("--rm", "--read-only")) == ("fast\n", 0)
    assert ctr.run("id", "-u") == ("0\n", 0)
    out, code = ctr.run("nosuch")
    assert (out, code != 0) == ("", True)


def test_a_container_is_entered_held_heard_and_killed(ctr: Ctr, peers: Peers) -> None:
    log = peers.directory / "memory/log"
    ctr.start("sh", "-c", "echo started; echo oops >&2; sleep 1000", options=("--log-uri", f"file://{log}"))
    assert await_(lambda: sorted(peers("cat", log, check=False).split()) == ["oops", "started"])
    assert ctr("task", "exec", "--exec-id", "one", "hull", "sh", "-c", "id -u; cat /proc/1/cmdline").startswith("0\n")
    assert "4" in ctr("task", "exec", "--exec-id", "two", "--user", "4", "hull", "id", "-u")
    ctr("task", "pause", "hull")
    assert ctr.status() == "PAUSED"
    ctr("task", "resume", "hull")
    assert ctr.status() == "RUNNING"
    ctr("task", "kill", "--signal", "SIGKILL", "hull")
    assert await_(lambda: ctr.status() == "STOPPED")
    assert "exit code 137" in ctr.perform("task", "delete", "hull").stderr


def test_terminals(ctr: Ctr) -> None:
    assert "/dev/pts/0" in ctr.on_terminal(*ctr.running("--rm", "--tty"), "tty")
    ctr.start("sleep", "1000")
    assert "/dev/pts/0" in ctr.on_terminal("task", "exec", "--tty", "--exec-id", "one", "hull", "tty")


def test_limits_hold(ctr: Ctr, peers: Peers) -> None:
    hog = ctr.run("tail", "/dev/zero", options=("--rm", "--memory-limit", str(20 << 20)))
    assert hog[1] == 128 + signal.SIGKILL
    ctr.start("sleep", "1000", options=("--memory-limit", str(64 << 20), "--cpus", "0.5"))
    metrics = ctr("task", "metrics", "hull").split()
    if "memory.limit_in_bytes" in metrics:
        assert metrics[metrics.index("memory.limit_in_bytes") + 1] == str(64 << 20)
        quota = peers("cat", "/sys/fs/cgroup/cpu/default/hull/cpu.cfs_quota_us")
    else:
        quota = peers("cat", "/sys/fs/cgroup/default/hull/cpu.max").split()[0]
    assert int(quota) == 50_000
