"""Other engines, to exchange images with: docker (its daemon included), podman, skopeo and umoci in a sandbox.

with peers.sandboxed(directory) as peers:
    peers("podman", "load", "-i", archive)

What they keep is in the sandbox's memory and ends with it; files are exchanged below directories that both sides see.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))  # also for the process inside

from bench import sandbox
from commands import Account

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NAMESPACES = ("--mount", "--net", "--pid", "--ipc", "--cgroup")


class Peers:
    """Programs run in the sandbox whose first process is ``pid``; ``directory`` is seen from there too."""

    def __init__(self, pid: int, directory: Path) -> None:
        self.directory = directory
        self._pid = pid
        memory = directory / "memory"
        self._environment = {
            "PATH": _PATH,
            "LANG": "C.UTF-8",
            "HOME": f"{memory}/home",
            "TMPDIR": str(memory),
            "CONTAINERS_STORAGE_CONF": f"{memory}/storage.conf",
            "DOCKER_HOST": f"unix://{memory}/docker.sock",
            "DOCKER_BUILDKIT": "1",
        }

    def __call__(self, *command: str | Path, check: bool = True) -> str:
        """What the command writes to its standard output. Fails the test if it fails."""
        done = self.run(*command)
        if check and done.returncode:
            pytest.fail(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def run(self, *command: str | Path) -> "subprocess.CompletedProcess[str]":
        """The command, when it has ended in one way or another."""
        return subprocess.run(
            self._entering(command),
            check=False,
            text=True,
            capture_output=True,
            timeout=300,
            env=self._environment,
            stdin=subprocess.DEVNULL,
        )

    @contextlib.contextmanager
    def started(self, *command: str | Path) -> Iterator["subprocess.Popen[str]"]:
        """A server, with a pipe for what it says; it ends with the block."""
        words = self._entering(("setpriv", "--pdeathsig=KILL", *command))
        with subprocess.Popen(words, text=True, stdout=subprocess.PIPE, env=self._environment) as process:
            try:
                yield process
            finally:
                process.kill()

    def _entering(self, command: Sequence[str | Path]) -> list[str]:
        return ["nsenter", f"--target={self._pid}", *_NAMESPACES, "--wd=/", "--", *map(str, command)]

    def docker_answers(self) -> bool:
        return bool(self("docker", "version", "--format={{.Server.Version}}", check=False).strip())

    @property
    def runtime(self) -> Path:
        """Sampan's OCI runtime command, which docker knows as "sampan"."""
        return self.directory / "memory" / "sampan-runtime"

    def box(self) -> Path:
        """A root file system of busybox alone."""
        root = self.directory / "box"
        (root / "bin").mkdir(parents=True)
        shutil.copy(shutil.which("busybox") or "", root / "bin/busybox")
        for name in ("cat", "echo", "hostname", "id", "sh", "sleep", "tail", "touch", "tty"):
            (root / "bin" / name).symlink_to("busybox")
        return root

    def introduce(self, user: Account) -> None:
        """Gives a user the name "jobber" in the sandbox."""
        for name, line in (("passwd", f"{user.uid}::{user.home}:/bin/sh"), ("group", "")):
            file = self.directory / name
            file.write_text(Path("/etc", name).read_text() + f"jobber:x:{user.uid}:{line}\n")
            self("mount", "--bind", file, f"/etc/{name}")

    def podman(self, *words: str | Path) -> str:
        """podman, with limits that root of a container may set."""
        return self("podman", "--cgroup-manager=cgroupfs", *words)


@contextlib.contextmanager
def sandboxed(directory: Path, *, docker: bool = False) -> Iterator[Peers]:
    """A sandbox that is gone when the block ends; with ``docker`` its daemon runs there. Needs root."""
    (directory / "memory").mkdir()
    name = f"sampan-test-peers-{os.getpid()}"
    program = shutil.which("dockerd", path=_PATH) if docker else None
    with sandbox.sandbox(name, [sys.executable, __file__, name, directory, program or "sleep"]) as process:
        peers = Peers(_first_process(process), directory)
        for _ in range(3000):
            if (directory / "ready").exists() and (not docker or peers.docker_answers()):
                break
            if process.poll() is not None:
                raise RuntimeError(f"the sandbox did not start: {(directory / 'log').read_text()}")
            time.sleep(0.05)
        yield peers


def _first_process(process: "subprocess.Popen[bytes]") -> int:
    """unshare --fork waits for the one child that the sandbox begins with."""
    for _ in range(3000):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if children and (Path("/proc") / children[0] / "ns/pid").exists():
            program = (Path("/proc") / children[0] / "cmdline").read_bytes().split(b"\0")
            if os.fsencode(__file__) in program or b"--data-root" in program or b"infinity" in program:
                return int(children[0])
        time.sleep(0.02)
    raise RuntimeError("the sandbox has no process")


def _main(name: str, directory: Path, program: str) -> None:
    """Inside: makes ready what the programs need, and becomes the daemon."""
    memory = directory / "memory"
    log = os.open(directory / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sandbox.furnish(name, memory)
    settings = memory / "home/.config/containers"
    settings.mkdir(parents=True)
    (settings / "policy.json").write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    # Short: what podman has conmon run at a container's end refuses a longer one, and podman waits 20 s for that.
    stores = f'graphroot = "{memory}/containers"\nrunroot = "/run/containers"\n'
    (memory / "storage.conf").write_text(f'[storage]\ndriver = "overlay"\n{stores}')
    runtime = memory / "sampan-runtime"
    runtime.write_text(f"#!{sys.executable}\nfrom sampan.cli.runtime import run\n\nrun()\n")
    runtime.chmod(0o755)
    (memory / "daemon.json").write_text(json.dumps({"runtimes": {"sampan": {"path": str(runtime)}}}))
    options = {
        "config-file": memory / "daemon.json",
        "host": f"unix://{memory}/docker.sock",
        "data-root": memory / "docker",
        "exec-root": memory / "run",
        "pidfile": memory / "pid",
        "bridge": "none",
        "iptables": "false",
    }
    (directory / "ready").touch()
    if program == "sleep":
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries orphans then
        os.execvp(program, [program, "infinity"])
    words = [f"--{option}={value}" for option, value in options.items()]
    os.execve(program, [program, *words], {"PATH": _PATH, "HOME": str(memory), "TMPDIR": str(memory)})


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
