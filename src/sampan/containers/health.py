"""A container's health: its monitor runs a command in it from time to time, and draws Docker's conclusions (moby,
``daemon/health.go``)."""

from __future__ import annotations

import os
import time

from sampan import plainjson
from sampan.containers import logs
from sampan.errors import SampanError
from sampan.linux import syscalls
from sampan.linux.poll import READ, Poll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sampan.containers.executions import Executions, Process

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
_INTERVAL, _TIMEOUT, _START_INTERVAL, _RETRIES = 30.0, 30.0, 5.0, 3
_OUTPUT = 4096
_KEPT = 5
_KILL = 9
_AGAIN = 1.0
"""Seconds until one that is paused, or a question that does not die, is looked at again."""
_BILLION = 1e9


class Health:
    """The health of one life of a container. ``due`` is when ``act`` is to be called (monotonic seconds)."""

    def __init__(
        self, check: dict[str, Any], process: dict[str, Any], path: str, poll: Poll, changed: Callable[[str], None]
    ) -> None:
        """``check`` is a settled ``options.Healthcheck``, ``process`` the container's own (runtime-spec); results are
        kept in the file ``path``, and ``changed`` hears of a new status."""
        self._interval = check["interval"] / _BILLION or _INTERVAL
        self._timeout = check["timeout"] / _BILLION or _TIMEOUT
        self._start_period = check["start_period"] / _BILLION
        self._start_interval = check["start_interval"] / _BILLION or _START_INTERVAL
        self._retries = check["retries"] or _RETRIES
        self._process = {**process, "args": check["command"], "terminal": False}
        self._path = path
        self._poll = poll
        self._changed = changed
        self._born = time.monotonic()
        self._probe: _Probe | None = None
        self._log: list[dict[str, Any]] = []
        self._streak = 0
        self.status = STARTING
        self.due = self._born + self._wait()
        self._write()

    def act(self, executions: Callable[[], Executions], *, held: bool) -> None:
        """Begins to ask, or ends a question that has taken too long. A container that is ``held`` still is left alone:
        what is begun in it would be held too."""
        if held or self._probe:
            self.due = time.monotonic() + _AGAIN
            if self._probe and not held:
                self._probe.expire()
            return
        self.due = time.monotonic() + self._timeout
        began = logs.timestamp()
        try:
            self._probe = _Probe(executions(), self._process, self._poll, self._hear, began, self._timeout)
        except (SampanError, OSError) as error:  # the command is not there, for instance
            self._hear(began, -1, str(error))

    def stop(self) -> None:
        """The container has ended; a question that was asked is gone with it."""
        if self._probe:
            self._probe.forget()
            self._probe = None

    def _wait(self) -> float:
        starting = self.status == STARTING and time.monotonic() - self._born < self._start_period
        return self._start_interval if starting else self._interval

    def _hear(self, began: str, code: int, output: str) -> None:
        self._probe = None
        entry = {"Start": began, "End": logs.timestamp(), "ExitCode": code, "Output": output}
        self._log = [*self._log, entry][-_KEPT:]
        before = self.status
        if code == 0:
            self._streak, self.status = 0, HEALTHY
        elif self.status != STARTING or time.monotonic() - self._born >= self._start_period:
            self._streak += 1
            if self._streak >= self._retries:
                self.status = UNHEALTHY
        self.due = time.monotonic() + self._wait()
        self._write()
        if self.status != before:
            self._changed(self.status)

    def _write(self) -> None:
        value = {"Status": self.status, "FailingStreak": self._streak, "Log": self._log}
        try:
            with open(f"{self._path}.new", "w") as file:
                file.write(plainjson.dumps(value))
            os.rename(f"{self._path}.new", self._path)
        except OSError:
            return  # a full disk ends nobody; the status itself has its room (state.reserve_state)


class _Probe:
    """One question: the command that runs now; ``tell`` gets when it began, its exit code and what it said."""

    def __init__(
        self,
        executions: Executions,
        process: dict[str, Any],
        poll: Poll,
        tell: Callable[[str, int, str], None],
        began: str,
        timeout: float,
    ) -> None:
        self._poll, self._tell, self._began, self._timeout = poll, tell, began, timeout
        self._said = b""
        self._expired = False
        self._output, theirs = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        os.set_blocking(theirs, True)
        try:
            self._process: Process = executions.run(process, (null, theirs, theirs))
        except BaseException:
            os.close(self._output)
            raise
        finally:
            os.close(null)
            os.close(theirs)
        self._ended = syscalls.pidfd_open(self._process.pid)
        poll.watch(self._output, READ, lambda fd, mask: self._read())
        poll.watch(self._ended, READ, lambda fd, mask: self._end())

    def expire(self) -> None:
        """Kills it; its end is told as that of one that took too long."""
        self._expired = True
        try:
            if os.getpgid(self._process.pid) == self._process.pid:
                os.killpg(self._process.pid, _KILL)  # and with it what a shell waits for
        except ProcessLookupError:
            return  # it has just ended
        self._process.kill(_KILL)

    def forget(self) -> None:
        """Reaps it, which has ended with its container."""
        self._process.wait()
        self._close()

    def _read(self) -> bool:
        try:
            data = os.read(self._output, _OUTPUT)
        except BlockingIOError:
            return False
        self._said = (self._said + data)[:_OUTPUT]
        if not data:
            self._poll.watch(self._output, 0, print)
        return bool(data)

    def _end(self) -> None:
        code = self._process.wait()
        while self._read():
            continue
        self._close()
        if self._expired:
            self._tell(self._began, -1, f"Health check exceeded timeout ({self._timeout:g}s)")
        else:
            self._tell(self._began, code, self._said.decode(errors="replace"))

    def _close(self) -> None:
        self._process.close()
        for fd in (self._output, self._ended):
            self._poll.watch(fd, 0, print)
            os.close(fd)
