"""Ending containers: signals, and waiting for what comes of them."""

from __future__ import annotations

import os
import time

from sampan.containers import streams
from sampan.containers.record import Container
from sampan.containers.state import State
from sampan.errors import Conflict, Invalid, SampanError, Unavailable
from sampan.linux.poll import READ, Poll
from sampan.linux.sockets import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

KILL = 9
SIGNALS = {"SIGTERM": 15, "SIGKILL": KILL, "SIGINT": 2, "SIGHUP": 1, "SIGQUIT": 3, "SIGUSR1": 10, "SIGUSR2": 12}
_DEATH_SECONDS = 10
"""What a container that is killed gets to be gone."""
_AT_ONCE = 200
"""Containers that are waited for together: each takes a descriptor."""


def parse_signal(text: str) -> int:
    """The number of a signal given as TERM, SIGTERM or 15. Raises Invalid."""
    if text.isdigit() and 1 <= int(text) <= 64:
        return int(text)
    name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
    if name in SIGNALS:
        return SIGNALS[name]
    import signal

    number = getattr(signal, name, None)
    if not isinstance(number, signal.Signals):
        raise Invalid(f"{text!r} is not a signal", hint="for example SIGTERM, KILL or 15")
    return number.value


def send_signal(container: Container, number: int) -> None:
    """Sends a signal to the container's first process. Raises Conflict if it is not running."""
    with connect(container) as end:
        _send(end, container, number)
        let_go(container)
        if number == KILL:
            _await_exit(end, _DEATH_SECONDS)


def stop(container: Container, seconds: int | None = None, signal: int | None = None) -> None:
    """Asks a container to end (its stop signal, or ``signal``), and after ``seconds`` (its own time by default) kills
    it; with less than none it is waited for without an end.

    Nothing happens if it is not running. Raises Unavailable if even killing does not end it.
    """
    for error in stop_all([container], seconds, signal):
        if error:
            raise error


def stop_all(
    containers: Sequence[Container], seconds: int | None = None, signal: int | None = None
) -> Iterator[SampanError | None]:
    """As ``stop`` for several at once, so that none waits for another: what went wrong with each, in their order."""

    def ask(container: Container, ending: _Ending) -> None:
        options = container.options
        number = signal or parse_signal(options.stop_signal or "SIGTERM")
        try:
            ending.begin(container, number, options.stop_seconds if seconds is None else seconds)
        except Conflict:
            return  # it does not run, as it should be

    return _together(containers, ask)


def signal_all(containers: Sequence[Container], number: int) -> Iterator[SampanError | None]:
    """As ``send_signal`` for several at once: what went wrong with each, in their order."""

    def ask(container: Container, ending: _Ending) -> None:
        if number == KILL:
            ending.killed = True
            ending.begin(container, number, _DEATH_SECONDS)
        else:
            send_signal(container, number)

    return _together(containers, ask)


def _together(
    containers: Sequence[Container], ask: Callable[[Container, _Ending], None]
) -> Iterator[SampanError | None]:
    for first in range(0, len(containers), _AT_ONCE):
        poll, endings = Poll(), []
        for container in containers[first : first + _AT_ONCE]:
            endings.append(_Ending(container.name, poll))
            try:
                ask(container, endings[-1])
            except SampanError as error:
                endings[-1].error = error
        for ending in endings:
            while ending.end:
                _serve(endings, poll)
            yield ending.error


class _Ending:
    """A container that was asked to end; ``end`` is the connection with its monitor while that is waited for, and
    ``deadline`` when it is killed, or given up if it is ``killed``."""

    __slots__ = ("_name", "_poll", "deadline", "end", "error", "killed")

    def __init__(self, name: str, poll: Poll) -> None:
        self._name = name
        self._poll = poll
        self.end: Connection | None = None
        self.deadline: float | None = None
        self.killed = False
        self.error: SampanError | None = None

    def begin(self, container: Container, number: int, seconds: float) -> None:
        """Sends a signal, and waits from now on; less than no ``seconds`` are no limit. Raises Conflict."""
        end = connect(container)
        _send(end, container, number)
        let_go(container)
        self.end = end
        self.deadline = None if seconds < 0 else time.monotonic() + seconds
        self._poll.watch(end.fileno(), READ, self._hear)

    def _hear(self, fd: int, mask: int) -> None:
        """Takes a message of the monitor, which may be its last."""
        assert self.end
        try:
            message = self.end.recv(1 << 16)
        except OSError:
            message = b""
        if not message or message.startswith(streams.EXIT):
            self._close()

    def urge(self) -> None:
        """Its time is over: it is killed, or given up."""
        assert self.end
        if self.killed:
            self.error = Unavailable(f"container {self._name} does not end, even when it is killed")
            self._close()
            return
        self.killed, self.deadline = True, time.monotonic() + _DEATH_SECONDS
        try:
            self.end.send(streams.SIGNAL + b"%d" % KILL)
        except OSError:
            self._close()

    def _close(self) -> None:
        assert self.end
        self._poll.watch(self.end.fileno(), 0, self._hear)
        self.end.close()
        self.end = None


def _send(end: Connection, container: Container, number: int) -> None:
    """Sends a signal; one that is to end the container says that it is not to be started again, too."""
    options = container.options
    try:
        if options.restart.name != "no" and number in (KILL, parse_signal(options.stop_signal or "SIGTERM")):
            end.send(streams.STAY)
        end.send(streams.SIGNAL + b"%d" % number)
    except OSError:
        return  # it ended just now; what its monitor said last is still to be read


def _serve(endings: list[_Ending], poll: Poll) -> None:
    """Waits until a monitor has something to say, or somebody's time is over."""
    deadlines = [ending.deadline for ending in endings if ending.end and ending.deadline is not None]
    poll.serve(max(0.0, min(deadlines) - time.monotonic()) if deadlines else None)
    now = time.monotonic()
    for ending in endings:
        if ending.end and ending.deadline is not None and ending.deadline <= now:
            ending.urge()


def wait(container: Container) -> State:
    """Waits until a container has ended, and gives its state."""
    try:
        with connect(container) as end:
            _await_exit(end, None)
    except Conflict:
        pass
    return container.state()


def let_go(container: Container) -> None:
    """Ends a pause: what is held still takes no signal."""
    if os.path.exists(container.pause_mark):
        from sampan.containers import resources

        resources.thaw(container)


def connect(container: Container, *, attach: bool = False) -> Connection:
    """A connection with the monitor of a container that runs, with ``attach`` for its output from now on. Raises
    Conflict if it does not."""
    try:
        end = streams.connect(container.socket)
    except OSError:
        raise Conflict(f"container {container.name} is not running") from None
    if attach:
        end.send(streams.ATTACH)
    return end


def _await_exit(end: Connection, seconds: float | None) -> None:
    """Waits until the monitor reports the end of its container, or is gone itself, for ``seconds`` at most."""
    end.settimeout(seconds)
    try:
        while message := end.recv(1 << 16):
            if message.startswith(streams.EXIT):
                return
    except OSError:
        return
