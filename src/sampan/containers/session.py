"""Attached: input and output pass between the caller's own descriptors and a container, until that ends.

Signals that reach the caller go to the container. In a terminal's raw mode Ctrl-C is a key like others and arrives
there; elsewhere it is a signal, and the third one kills a container that takes no notice.
"""

from __future__ import annotations

import _signal as signal  # the part in C: the rest loads enumerations, which take 2 ms
import os
from _socket import MSG_DONTWAIT
from errno import EBADF

from sampan.containers import streams
from sampan.containers.keys import Detector
from sampan.errors import Unavailable, unwritten
from sampan.linux import terminal
from sampan.linux.poll import READ, WRITE, Poll
from sampan.linux.sockets import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_PATIENCE = 3
_NAMES = {1: "standard output", 2: "standard error"}


def attach(
    end: Connection,
    *,
    interactive: bool,
    tty: bool,
    keys: bytes = b"",
    proxy_signals: bool = True,
    outputs: tuple[int, ...] = (1, 2),
) -> int | None:
    """Serves a container through the connection with its monitor, and gives its exit code.

    None if ``keys`` were typed (``keys.parse``), which leave a container with a terminal running by itself. Without
    ``proxy_signals`` those that would be passed on mean this process itself.
    Raises Unavailable if the monitor goes away before its container.
    """
    session = _Attached(end, keys if tty else b"", outputs)
    if tty:
        session.resize()
    with terminal.raw(0 if tty and interactive else -1), Signals(session.on_signal, proxy=proxy_signals) as signals:
        return session.serve(signals, interactive=interactive)


class _Input:
    """The caller's standard input, read only as fast as someone takes it.

    A terminal or a pipe is waited for; a regular file is always ready, and epoll(7) refuses it.
    """

    def __init__(self, poll: Poll, *, wanted: bool, keys: bytes = b"") -> None:
        self._poll = poll
        self._open = wanted
        self._detector = Detector(keys)
        self.detached = False
        self._pollable = wanted and _can_watch(poll, 0)
        self.pending: list[bytes] = []

    def fill(self) -> None:
        """Reads on if nothing is waiting to be passed on and there is, or may be, something to read."""
        if self._open and not self._pollable and not self.pending:
            self.read()

    def read(self) -> None:
        """Takes what there is; at the end of input ``pending`` gets an empty text, once."""
        try:
            data = os.read(0, streams.CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: the terminal is gone
            data = b""
        self._open = bool(data)
        passed, self.detached = self._detector.feed(data)
        if passed or not data:
            self.pending.append(passed)
        self.wait()

    def wait(self) -> None:
        """Watches for input exactly when it is wanted."""
        if self._pollable:
            self._poll.watch(0, READ if self._open and not self.pending else 0, _ignore)


class _Attached:
    """One connection with a monitor (see ``streams``)."""

    def __init__(self, end: Connection, keys: bytes, outputs: tuple[int, ...]) -> None:
        """``outputs`` are the streams that are shown."""
        self._end = end
        self._outputs = outputs
        self._keys = keys
        self._interrupts = 0

    def serve(self, signals: Signals, *, interactive: bool) -> int | None:
        poll, end = Poll(), self._end.fileno()
        signals.watch(poll)
        source = _Input(poll, wanted=interactive, keys=self._keys)
        while True:
            source.fill()
            poll.watch(end, READ | (WRITE if source.pending else 0), _ignore)
            for fd, events, action in poll.wait():
                action(fd, events)
                if fd == 0:
                    source.read()
                if source.detached:
                    return None
                if fd == end and events & WRITE:
                    self._pass_on(source)
                if fd == end and events & READ:
                    code = self._receive()
                    if code is not None:
                        return code

    def resize(self) -> None:
        size = terminal.size(0) or terminal.size(1)
        if size and all(size):
            self._send(streams.RESIZE + b"%d %d" % size)

    def on_signal(self, number: int) -> None:
        if number == signal.SIGWINCH:
            self.resize()
            return
        self._interrupts += number == signal.SIGINT
        self._send(streams.SIGNAL + b"%d" % (signal.SIGKILL if self._interrupts >= _PATIENCE else number))

    def _receive(self) -> int | None:
        """One message from the monitor; the exit code if it is the last."""
        message = self._end.recv(1 << 17)
        kind, data = message[:1], message[1:]
        if kind == streams.EXIT:
            return int(data)
        if not message:
            raise Unavailable("the container's monitor is gone; the container was ended with it")
        stream = 1 if kind == b"1" else 2
        if stream in self._outputs:
            write_all(stream, data)
        return None

    def _pass_on(self, source: _Input) -> None:
        data = source.pending[0]
        try:
            self._end.send(streams.INPUT + data if data else streams.END_OF_INPUT, MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:  # the container has ended; what it said last is still to be read
            pass
        source.pending.pop(0)
        source.wait()

    def _send(self, message: bytes) -> None:
        try:
            self._end.send(message)
        except OSError:
            return


def pump(outputs: dict[int, int], target: int, news: Connection | int, signals: Signals, keys: bytes = b"") -> bool:
    """Copies from the descriptors in ``outputs`` to those they are mapped to, and standard input to ``target`` (-1:
    nowhere), which is closed at its end unless it is an output too.

    Ends when ``news`` is readable (the program is gone) and the outputs have nothing more to say, or with True when
    ``keys`` were typed. Pipes among the outputs are closed at their end, and when nobody takes any more what comes from
    them; of a terminal that raises BrokenPipeError.
    """
    poll = Poll()
    signals.watch(poll)
    source = _Input(poll, wanted=target >= 0, keys=keys)
    if target >= 0:
        os.set_blocking(target, False)
    news = news if isinstance(news, int) else news.fileno()
    poll.watch(news, READ, _ignore)
    left, ended = set(outputs), False
    while left or not ended:
        source.fill()
        for fd in left | {target} - {-1}:
            mask = (READ if fd in left else 0) | (WRITE if fd == target and source.pending else 0)
            poll.watch(fd, mask, _ignore)
        ready = poll.wait(0.05 if ended else None)
        if ended and not any(fd in left and events & READ for fd, events, _ in ready):
            return False
        for fd, events, action in ready:
            action(fd, events)
            if fd == news:
                poll.watch(fd, 0, _ignore)
                ended = True
            elif fd == 0:
                source.read()
                if source.detached:
                    return True
            if fd == target and events & WRITE and not _feed(source, target, poll, outputs):
                target = -1
            if fd in left and events & READ and not _copy(fd, outputs[fd]):
                left.discard(fd)
                poll.watch(fd, 0, _ignore)
                if not os.isatty(fd):
                    os.close(fd)  # so that a program whose output nobody takes is told by SIGPIPE
    return False


def _feed(source: _Input, target: int, poll: Poll, outputs: dict[int, int]) -> bool:
    """Passes on what waits in ``source``; False once ``target`` takes no more, or is to have no more."""
    data = source.pending[0]
    try:
        rest = data[os.write(target, data) :] if data else b""
    except BlockingIOError:
        return True
    except OSError:  # the program closed its input, or is gone
        data = rest = b""
    if rest:
        source.pending[0] = rest
        return True
    source.pending.pop(0)
    source.wait()
    if data or target in outputs:
        return True
    poll.watch(target, 0, _ignore)
    os.close(target)
    return False


def _copy(source: int, target: int) -> bool:
    try:
        data = os.read(source, 1 << 16)
    except BlockingIOError:
        return True
    except OSError:  # EIO: the other side of a terminal is gone
        return False
    try:
        write_all(target, data)
    except BrokenPipeError:
        if os.isatty(source):
            raise
        return False
    return bool(data)


def _ignore(fd: int, mask: int) -> None:
    """Events are told apart where they are waited for."""


def write_all(fd: int, data: bytes) -> None:
    """Writes all of ``data``, also to a pipe that is full at times; nothing to a standard stream that is closed."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:
            import select

            select.select([], [fd], [])
        except OSError as error:
            if fd in _NAMES and error.errno == EBADF:
                return
            if fd not in _NAMES or isinstance(error, BrokenPipeError):
                raise
            raise unwritten(_NAMES[fd], error) from None


def _can_watch(poll: Poll, fd: int) -> bool:
    try:
        poll.watch(fd, READ, _ignore)
    except OSError:
        return False
    return True


class Signals:
    """For the length of a ``with`` block ``action`` is called for every signal that is to be passed on.

    Python calls it between two steps of the program; so that a signal that comes just before the program begins to
    wait is not left until something else happens, ``watch`` has it end the waiting too.
    """

    def __init__(self, action: Callable[[int], None], *, proxy: bool = True) -> None:
        """Without ``proxy`` only a terminal's change of size is told."""
        self._action = action
        self._numbers = (*(_PASSED_ON if proxy else ()), signal.SIGWINCH)
        self._before: dict[int, Any] = {}
        self._woken, self._wake = -1, -1
        self._wake_before = -1

    def __enter__(self) -> Signals:
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake_before = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in self._numbers:
            if signal.getsignal(number) != signal.SIG_IGN or number == signal.SIGWINCH:
                self._before[number] = signal.signal(number, lambda number, frame: self._action(number))
        return self

    def __exit__(self, *rest: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wake_before)
        os.close(self._woken)
        os.close(self._wake)

    def watch(self, poll: Poll) -> None:
        """Has a signal end ``poll.wait``."""
        poll.watch(self._woken, READ, lambda fd, mask: os.read(fd, 512))
