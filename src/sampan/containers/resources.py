"""What a running container is doing, as its cgroups tell it: its processes, what it uses, and holding it still.

Control groups v1 and v2 (Documentation/admin-guide/cgroup-v1, cgroup-v2.rst) say the same things in different files.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

from sampan.errors import Conflict, Unavailable
from sampan.linux import namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    from sampan.containers.record import Container
else:
    from sampan.values import NamedTuple

_MICROSECOND, _NANOSECOND = 1e-6, 1e-9


class Sample(NamedTuple):
    """What a container has used up to a moment (``at``, monotonic seconds) and uses now; bytes and seconds.

    ``limit`` is the memory that it may use: its own limit, or what the machine has.
    """

    at: float
    processor: float
    memory: int
    limit: int
    received: int
    sent: int
    read: int
    written: int
    processes: int


def pause(container: Container) -> None:
    """Stops all its processes where they are. Raises Conflict if it does not run or is paused already."""
    state = container.state()
    if state.status != "running":
        raise Conflict(f"container {container.name} is not running")
    if state.paused:
        raise Conflict(f"container {container.name} is already paused")
    # The mark first: what is held still without one could not be let go.
    os.close(os.open(container.pause_mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        _freeze(container, frozen=True)
    except BaseException:
        os.unlink(container.pause_mark)
        raise


def unpause(container: Container) -> None:
    """Lets its processes go on. Raises Conflict if it is not paused."""
    if not container.state().paused:
        raise Conflict(f"container {container.name} is not paused")
    thaw(container)


def thaw(container: Container) -> None:
    """Lets its processes go on, whether they were held still or not. Raises Unavailable."""
    _freeze(container, frozen=False)
    with suppress(FileNotFoundError):  # someone else did the same just now
        os.unlink(container.pause_mark)


def processes(container: Container) -> list[int]:
    """The ids of its processes, also of those in cgroups that it made itself. Raises Conflict if it is not running."""
    state = container.state()
    if state.status != "running":
        raise Conflict(f"container {container.name} is not running")
    found: set[int] = set()
    for directory in _directories(container)[:1]:
        for path, _, _ in os.walk(directory):
            found.update(int(word) for word in _read(f"{path}/cgroup.procs").split())
    return sorted(found) or namespaces.processes(state.pid)


def sample(container: Container) -> Sample | None:
    """What it uses; None if it is not running. Without a cgroup of its own its processes are added up."""
    state, directories = container.state(), _directories(container)
    if state.status != "running":
        return None
    moment = time.monotonic()
    received, sent = _network(state.pid)
    limit = min(_limit(directories), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    read, written = _blocks(directories)
    count = _number(directories, "pids.current") or len(processes(container))
    if not directories:
        processor, memory = _added_up(processes(container))
    else:
        processor, memory = _processor(directories), _memory(directories)
    return Sample(moment, processor, memory, limit, received, sent, read, written, count)


def _freeze(container: Container, *, frozen: bool) -> None:
    from sampan.runtime.cgroups import container as cgroups

    cgroup = tuple(
        part for part in cgroups.plan(container.state().cgroup or container.cgroup) if os.path.isdir(part.directory)
    )
    try:
        cgroups.freeze(cgroup, frozen=frozen)
    except (OSError, Unavailable):
        raise Unavailable(
            f"container {container.name} cannot be paused: it has no cgroup that this user may change",
            hint="pausing needs root, or cgroups v2 and a session with systemd (loginctl enable-linger)",
        ) from None


def _directories(container: Container) -> list[str]:
    """Its directories in the hierarchies that it is in."""
    from sampan.runtime.cgroups import container as cgroups

    return [
        part.directory
        for part in cgroups.plan(container.state().cgroup or container.cgroup)
        if os.path.isdir(part.directory)
    ]


def _added_up(pids: list[int]) -> tuple[float, int]:
    """Seconds of processor time and resident bytes of processes that live now (proc(5), stat)."""
    ticks = pages = 0
    for pid in pids:
        fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        if len(fields) > 21:
            ticks += int(fields[11]) + int(fields[12])
            pages += int(fields[21])
    return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")


def _processor(directories: list[str]) -> float:
    """Seconds of processor time."""
    usage = _table(directories, "cpu.stat").get("usage_usec")
    if usage is not None:
        return usage * _MICROSECOND
    return (_number(directories, "cpuacct.usage") or 0) * _NANOSECOND


def _memory(directories: list[str]) -> int:
    """Bytes in use, without the cache of files that could be dropped, as Docker counts."""
    table = _table(directories, "memory.stat")
    used = _number(directories, "memory.current") or _number(directories, "memory.usage_in_bytes") or 0
    return max(0, used - table.get("total_inactive_file", table.get("inactive_file", 0)))


def _limit(directories: list[str]) -> int:
    return _number(directories, "memory.max") or _number(directories, "memory.limit_in_bytes") or 1 << 62


def _blocks(directories: list[str]) -> tuple[int, int]:
    """Bytes read from and written to block devices; 0 where no controller counts them."""
    read = written = 0
    for line in _first(directories, "io.stat").splitlines():
        facts = dict(word.partition("=")[::2] for word in line.split()[1:])
        read += int(facts.get("rbytes", 0))
        written += int(facts.get("wbytes", 0))
    for line in _first(directories, "blkio.throttle.io_service_bytes").splitlines():
        words = line.split()
        if len(words) == 3:
            read += int(words[2]) if words[1] == "Read" else 0
            written += int(words[2]) if words[1] == "Write" else 0
    return read, written


def _network(pid: int) -> tuple[int, int]:
    """Bytes received and sent by the interfaces of a process's network namespace, but the loopback (proc(5))."""
    received = sent = 0
    for line in _read(f"/proc/{pid}/net/dev").splitlines()[2:]:
        name, _, counts = line.partition(":")
        if name.strip() != "lo":
            received += int(counts.split()[0])
            sent += int(counts.split()[8])
    return received, sent


def _number(directories: list[str], file: str) -> int | None:
    text = _first(directories, file).strip()
    return int(text) if text.isdigit() else None


def _table(directories: list[str], file: str) -> dict[str, int]:
    lines = [line.split() for line in _first(directories, file).splitlines()]
    return {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdigit()}


def _first(directories: list[str], file: str) -> str:
    """What the first hierarchy that has ``file`` says; nothing if none has it."""
    return next((text for text in (_read(f"{directory}/{file}") for directory in directories) if text), "")


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:  # not in this hierarchy, or the container ended just now
        return ""
