"""A place of its own for a whole benchmark: its processes, mounts, network and cgroups end with it, however it ends.

Everything runs in new PID, mount, network, IPC and cgroup namespaces, as children of one process: when that one dies,
the kernel ends them all, and bridges, firewall rules and mounts go with them. Only cgroups remain, which ``Cgroups``
removes. All engines see the same: a network with nothing but its loopback, and their files in memory.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.errors import BenchError

_UNSHARE = "unshare --mount --net --pid --ipc --cgroup --fork --kill-child --mount-proc --propagation=private --"
_MASKED = ("/run", "/dev/shm", "/etc/docker", "/var/lib/docker", "/var/lib/containers", "/var/lib/containerd")
"""Directories where engines keep or share state; in the sandbox they are empty."""
_CPUSET = ("cpuset.mems", "cpuset.cpus")


class Cgroups:
    """A cgroup in every hierarchy that is mounted here, v1 and v2, as the root of what the sandbox sees."""

    def __init__(self, name: str) -> None:
        self._paths = [Path(mount) / name for mount in mounted_cgroups(Path("/proc/self/mountinfo").read_text())]

    def make(self) -> list[Path]:
        """Makes them."""
        for path in self._paths:
            path.mkdir()
            for name in _CPUSET:  # without these a cpuset takes no process
                with contextlib.suppress(FileNotFoundError):
                    (path / name).write_text((path.parent / name).read_text())
        return self._paths

    def remove(self) -> None:
        """Removes them, and what was made in them. Their processes have ended."""
        for path in self._paths:
            for directory, _, _ in os.walk(path, topdown=False):
                os.rmdir(directory)


def mounted_cgroups(mountinfo: str) -> list[str]:
    """Where cgroup hierarchies are mounted (proc(5), mountinfo)."""
    found: list[str] = []
    for line in mountinfo.splitlines():
        head, _, tail = line.partition(" - ")
        if tail.split()[0] in ("cgroup", "cgroup2"):
            found.append(head.split()[4])
    return list(dict.fromkeys(found))


@contextlib.contextmanager
def sandbox(name: str, command: Sequence[str | Path]) -> Iterator["subprocess.Popen[bytes]"]:
    """Starts a command in a new sandbox with cgroups of that name; at the end of the block nothing of it is left."""
    cgroups = Cgroups(name)
    paths = cgroups.make()
    try:
        # A process that joins the cgroups before it leaves for namespaces of its own; its parent stays where it is.
        script = f'for path in {" ".join(map(str, paths))}; do echo $$ >"$path/cgroup.procs"; done; exec "$@"'
        words = ["setpriv", "--pdeathsig=KILL", "sh", "-ec", script, "sh", *_UNSHARE.split(), *command]
        process = subprocess.Popen(words)
        try:
            yield process
        finally:
            process.kill()
            process.wait()
    finally:
        _wait_until_empty(paths)
        cgroups.remove()


def _wait_until_empty(cgroups: Sequence[Path], patience: float = 10) -> None:
    end = time.monotonic() + patience
    while any(file.read_text() for path in cgroups for file in path.rglob("cgroup.procs")):
        if time.monotonic() > end:
            raise BenchError(f"processes of the benchmark are left in {cgroups[0]}")
        time.sleep(0.05)


def furnish(name: str, memory: Path) -> None:
    """Performed inside, first: mounts a file system in memory, and lets the sandbox's cgroups look like all there are.

    Args:
        name: of the cgroups.
        memory: an empty directory.
    """
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(memory))
    for directory in filter(os.path.isdir, _MASKED):
        mode = "1777" if directory == "/dev/shm" else "755"
        _run("mount", "-t", "tmpfs", "-o", f"mode={mode}", "tmpfs", directory)
    for mount in mounted_cgroups(Path("/proc/self/mountinfo").read_text()):
        _narrow(mount, name, memory / "cgroup")
    _run("ip", "link", "set", "lo", "up")


def _narrow(mount: str, name: str, aside: Path) -> None:
    """Replaces the mount of a hierarchy by its part that belongs to the sandbox (the root of the cgroup namespace)."""
    aside.mkdir()
    _run("mount", "--bind", f"{mount}/{name}", str(aside))
    _run("umount", "--lazy", mount)
    _run("mount", "--move", str(aside), mount)
    aside.rmdir()
    controllers = Path(mount, "cgroup.controllers")
    if controllers.exists():
        _delegate(Path(mount), controllers.read_text().split())


def _delegate(root: Path, controllers: Sequence[str]) -> None:
    """In v2 a cgroup with processes cannot give controllers to its children, so this process moves into one of them."""
    if controllers:
        (root / "own").mkdir()
        (root / "own/cgroup.procs").write_text(str(os.getpid()))
    for controller in controllers:
        (root / "cgroup.subtree_control").write_text(f"+{controller}")


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"{' '.join(command)}: {done.stderr.strip()}")
