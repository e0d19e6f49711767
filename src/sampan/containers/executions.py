"""Programs that ``exec`` starts beside a container's first one: children of its monitor, which has nearly all that it
takes loaded already, where a process of its own would start for as long as all else takes together.

The conversation is the runtime's (``runtime.handshake``), with signals in between (``streams.SIGNAL``). Nobody has to
say that a program without a terminal is to begin: there is nothing to make ready for it.
"""

from __future__ import annotations

import os

from sampan import plainjson
from sampan.containers import streams
from sampan.linux import syscalls
from sampan.linux.poll import READ, Poll
from sampan.runtime import enter, handshake, init, parent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.linux.sockets import Connection
    from sampan.runtime import foreign
    from sampan.runtime.pretence import Pretence

    Process = parent.Process | foreign.Process


class Execution:
    """One program, from the request to its end."""

    __slots__ = ("console", "detached", "end", "process", "terminal", "watched")

    def __init__(self, end: Connection, process: Process, console: int, *, terminal: bool, detached: bool) -> None:
        self.end = end
        self.process = process
        self.console = console
        """The terminal's master side, if nobody else has it; what it says goes nowhere."""
        self.terminal = terminal
        self.detached = detached
        self.watched = -1
        """A descriptor of the running program; -1 before it runs."""


class Executions:
    """Those of one container, whose ``first`` process this is. ``filter_`` is its seccomp filter; its changes go to the
    directory ``upper``."""

    def __init__(self, poll: Poll, first: Process, filter_: tuple[bytes, int] | None, upper: str) -> None:
        self._poll = poll
        self._first = first
        self._filter = filter_
        self._upper = upper
        self._running: list[Execution] = []

    def begin(self, end: Connection, fds: list[int]) -> None:
        """Takes over a connection and makes the program that it asks for: ``fds`` are a file with what is asked, and
        the program's standard descriptors."""
        end.setblocking(True)
        try:
            execution = self._make(end, fds)
        except BaseException as error:
            handshake.tell_failure(end, error)
            end.close()
            return
        finally:
            for fd in fds:
                os.close(fd)
        self._running.append(execution)
        self._poll.watch(end.fileno(), READ, lambda fd, mask: self._hear(execution))
        if not execution.terminal:
            self._start(execution)

    def run(self, process: dict[str, Any], stdio: tuple[int, int, int]) -> Process:
        """A program (runtime-spec ``process``) that runs, and that the caller watches. Raises SampanError."""
        made = self._enter(process, stdio)
        try:
            made.ready()
            self._pretend(made)
            made.start()
        except BaseException:
            made.abandon()
            raise
        return made

    def finish(self) -> None:
        """The container is gone, and with it all of these: tells how they ended."""
        for execution in list(self._running):
            if execution.watched >= 0:
                self._end(execution)
            else:
                self._forget(execution)

    def _make(self, end: Connection, fds: list[int]) -> Execution:
        job, *stdio = fds
        asked: dict[str, Any] = plainjson.loads(os.pread(job, os.fstat(job).st_size, 0))
        process, terminal = asked["process"], bool(asked["process"].get("terminal"))
        made = self._enter(process, (stdio[0], stdio[1], stdio[2]))
        try:
            console = made.ready(terminal=terminal)
            self._pretend(made)
            handshake.tell_pid(end, made.pid)
            if terminal and not asked["detached"]:
                handshake.tell_console(end, console)
                os.close(console)
                console = -1
        except BaseException:
            made.abandon()
            raise
        return Execution(end, made, console, terminal=terminal and not asked["detached"], detached=asked["detached"])

    def _enter(self, process: dict[str, Any], stdio: tuple[int, int, int]) -> Process:
        if not isinstance(self._first, parent.Process):
            return self._first.execute(process, stdio)
        ending = init.Ending(process, self._filter, stdio, bool(process.get("terminal")))
        return enter.create(self._first.pid, self._first.cgroup, ending, kept=bool(self._first.maps))

    def _pretend(self, process: Process) -> None:
        """Has what a single user id cannot do answered, where there is but one."""
        pretence = process.pretence(self._upper)
        if pretence:
            answer(self._poll, pretence)

    def _hear(self, execution: Execution) -> None:
        try:
            message, fds = execution.end.receive(64)
        except OSError:  # it was killed, with something left to read
            message, fds = b"", []
        if message == streams.DETACH and fds:
            self._take_over(execution, fds[0])
        elif message == handshake.START:
            self._start(execution)
        elif message.startswith(streams.SIGNAL):
            execution.process.kill(int(message[1:]))
        elif not execution.detached:
            self._forget(execution)
        else:  # nobody listens any more, and the program goes on
            self._poll.watch(execution.end.fileno(), 0, print)

    def _start(self, execution: Execution) -> None:
        try:
            execution.process.start()
            execution.end.send(b"running")
        except BaseException as error:
            handshake.tell_failure(execution.end, error)
            self._forget(execution)
            return
        if execution.console >= 0:
            self._poll.watch(execution.console, READ, lambda fd, mask: self._drain(execution))
        execution.watched = syscalls.pidfd_open(execution.process.pid)
        self._poll.watch(execution.watched, READ, lambda fd, mask: self._end(execution))

    def _take_over(self, execution: Execution, console: int) -> None:
        """Its client left the program to itself: what its terminal says goes nowhere from now on."""
        execution.detached, execution.console = True, console
        self._poll.watch(console, READ, lambda fd, mask: self._drain(execution))

    def _drain(self, execution: Execution) -> None:
        try:
            os.read(execution.console, streams.CHUNK)
        except OSError:  # EIO: nobody has the terminal open any more
            self._close_console(execution)

    def _close_console(self, execution: Execution) -> None:
        if execution.console >= 0:
            self._poll.watch(execution.console, 0, print)
            os.close(execution.console)
            execution.console = -1

    def _end(self, execution: Execution) -> None:
        code = execution.process.wait()
        execution.process.close()
        try:
            execution.end.send(b"exit %d" % code)
        except OSError:
            pass  # nobody wants to know
        self._drop(execution)

    def _forget(self, execution: Execution) -> None:
        """Ends a program whose client is gone, or that could not be started."""
        execution.process.abandon()
        self._drop(execution)

    def _drop(self, execution: Execution) -> None:
        self._running.remove(execution)
        self._poll.watch(execution.end.fileno(), 0, print)
        execution.end.close()
        self._close_console(execution)
        if execution.watched >= 0:
            self._poll.watch(execution.watched, 0, print)
            os.close(execution.watched)


def answer(poll: Poll, pretence: Pretence) -> None:
    """Has the calls of a program answered until it ends (``runtime.pretence``)."""

    def on_call(fd: int, mask: int) -> None:
        if not pretence.answer():
            poll.watch(fd, 0, on_call)
            pretence.close()

    poll.watch(pretence.listener, READ, on_call)
