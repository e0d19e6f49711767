"""Commands that are timed, servers that run beside them, and what all of them hold in memory.

The benchmark is process 1 of its own PID namespace (see ``sandbox``): whatever a command leaves behind becomes its
child, so it can wait until everything that belongs to a command is over, and learn how much memory each process took.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from bench.errors import BenchError, CaseFailed

LIMIT = 600
"""Seconds after which a command counts as hanging."""
SETTLE = 10.0
"""Seconds that a command's own left-overs (a shim, a monitor) get to end after it returned."""
_REST = 0.05
"""Seconds between commands, for what the kernel itself finishes afterwards: namespaces, cgroups, mounts."""
_PEAK = Path(__file__).with_name("peak.py")


class Outcome(NamedTuple):
    """How a command ended. ``output`` is what it wrote, standard error included."""

    code: int
    seconds: float
    output: str


class Footprint(NamedTuple):
    """Memory of a command and of everything that it started, in megabytes.

    ``largest`` is the peak resident set of its largest process (exact: ``ru_maxrss`` and ``VmHWM``), ``together`` the
    largest sum of proportional set sizes that was seen in a sample every few milliseconds.
    """

    largest: float
    together: float
    output: str


class Processes:
    """Starts and reaps everything. ``kept`` are the processes that are meant to stay: servers and what they started."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self._output, self._peak = directory / "output", directory / "peak"
        self._kept: set[int] = set()
        self._peaks: dict[int, float] = {}

    def run(self, command: Sequence[str], environment: Mapping[str, str] = {}) -> Outcome:
        """Performs a command and takes its time, from the fork to the exit."""
        with self._output.open("w+b") as output, _limited(command):
            start = time.perf_counter()
            pid = self._spawn(command, output.fileno(), environment)
            while (reaped := os.wait3(0))[0] != pid:
                pass
            seconds = time.perf_counter() - start
            return Outcome(os.waitstatus_to_exitcode(reaped[1]), seconds, _text(output.fileno()))

    def check(self, command: Sequence[str], environment: Mapping[str, str] = {}) -> Outcome:
        """As ``run``; raises CaseFailed unless the command succeeds."""
        outcome = self.run(command, environment)
        _check(command, outcome.code, outcome.output)
        return outcome

    def footprint(
        self, command: Sequence[str], environment: Mapping[str, str] = {}, servers: Iterable[int] = ()
    ) -> Footprint:
        """Performs a command and watches its memory, and that of ``servers`` that work for it."""
        servers = set(servers)
        for pid in servers:
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5): the peak starts anew
        self._peaks.clear()
        helper = (sys.executable, "-I", "-S", str(_PEAK), str(self._peak), *command)
        with self._output.open("w+b") as output, _limited(command):
            pid = self._spawn(helper, output.fileno(), environment)
            together = 0.0
            while (code := self._reap().get(pid)) is None:
                together = max(together, sum(map(_proportional, servers | self.strays() - {pid})))
                time.sleep(0.002)
            written = _text(output.fileno())
        _check(command, code, written)
        self.settle()
        del self._peaks[pid]
        largest = max(_megabytes(int(self._peak.read_text())), *map(_high_water, servers), *self._peaks.values(), 0)
        return Footprint(largest, together, written)

    def _spawn(self, command: Sequence[str], output: int, environment: Mapping[str, str] = {}) -> int:
        actions = [(os.POSIX_SPAWN_DUP2, output, fd) for fd in (1, 2)]
        null = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        return os.posix_spawn(
            command[0], list(command), {**self.environment, **environment}, file_actions=[null, *actions]
        )

    def _reap(self) -> dict[int, int]:
        """The exit codes of children that have ended, commands and orphans. Notes their peaks of memory."""
        codes: dict[int, int] = {}
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status, usage = os.wait3(os.WNOHANG)
                if not pid:
                    break
                codes[pid] = os.waitstatus_to_exitcode(status)
                self._peaks[pid] = _megabytes(usage.ru_maxrss)
        return codes

    def settle(self) -> None:
        """Waits for what the last command left behind. Raises CaseFailed if it stays."""
        end = time.monotonic() + SETTLE
        while self._reap() or self.strays():
            if time.monotonic() > end:
                left = self.keep()
                raise CaseFailed(f"still running {SETTLE:.0f} s after the command: {', '.join(map(_name, left))}")
            time.sleep(0.002)
        time.sleep(_REST)

    def serve(self, command: Sequence[str], log: Path, ready: Callable[[], bool], *, patience: float = 60) -> int:
        """Starts a server and waits until it is ``ready``. Gives its process id."""
        with log.open("wb") as output:
            pid = self._spawn(command, output.fileno())
        end = time.monotonic() + patience
        while not ready():
            if pid in self._reap() or time.monotonic() > end:
                raise BenchError(f"{command[0]} did not start: {log.read_text(errors='replace').strip()[-500:]}")
            time.sleep(0.05)
        self.keep()
        return pid

    def keep(self) -> set[int]:
        """Whatever runs now is meant to stay. Gives what is new of it."""
        new = self.strays()
        self._kept |= new
        return new

    def strays(self) -> set[int]:
        """The processes that are not meant to stay."""
        self._kept &= (present := _present())
        return present - self._kept - {os.getpid()}

    def descendants(self, pid: int) -> set[int]:
        """A process and all that it started."""
        found, parents = {pid}, {each: int(_status(each).get("PPid", 0)) for each in _present()}
        while more := {each for each, parent in parents.items() if parent in found} - found:
            found |= more
        return found


def resident(pid: int) -> float:
    """The resident set of a process, in megabytes."""
    return _megabytes(_kilobytes(_status(pid).get("VmRSS")))


def in_container(pid: int) -> bool:
    """Whether a process lives in another PID namespace than this one: it is the container's own."""
    return _namespace(pid) != _namespace(os.getpid())


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def _present() -> set[int]:
    return {int(name) for name in os.listdir("/proc") if name.isdecimal()}


def _status(pid: int) -> dict[str, str]:
    """proc(5), status; empty for a process that is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def _name(pid: int) -> str:
    return f"{_status(pid).get('Name', '?')} ({pid})"


def _check(command: Sequence[str], code: int, output: str) -> None:
    if code:
        raise CaseFailed(f"{' '.join(command)}: exit code {code}: {output.strip()[-500:]}")


def _megabytes(kilobytes: int) -> float:
    """Of the kernel's kilobytes, which have 1024 bytes."""
    return kilobytes * 1024 / 1e6


def _kilobytes(text: str | None) -> int:
    return int(text.split()[0]) if text else 0


def _high_water(pid: int) -> float:
    return _megabytes(_kilobytes(_status(pid).get("VmHWM")))


def _proportional(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # it is over, or has no memory any more
        return 0.0
    return next((_megabytes(_kilobytes(line[4:])) for line in text.splitlines() if line.startswith("Pss:")), 0.0)


def _text(fd: int) -> str:
    return os.pread(fd, 1 << 20, 0).decode(errors="replace")


@contextmanager
def _limited(command: Sequence[str]) -> Iterator[None]:
    def give_up(_signal: int, _frame: FrameType | None) -> None:
        raise BenchError(f"{' '.join(command)} has not ended after {LIMIT} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
