"""Attached: input and output pass between the caller's own descriptors and a container, until that ends.

Signals that reach the caller go to the container. In a terminal's raw mode Ctrl-C is a key like others and arrives
there; elsewhere it is a signal, and the third one kills a container that takes no notice.
"""

import os
import selectors
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sampan.containers import streams
from sampan.errors import Unavailable
from sampan.linux import terminal

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_PATIENCE = 3


def attach(end: socket.socket, *, interactive: bool, tty: bool) -> int:
    """Serves a container through the connection with its monitor, and gives its exit code.

    Raises Unavailable if the monitor goes away before its container.
    """
    session = _Attached(end)
    if tty:
        session.resize()
    with terminal.raw(0) if tty and interactive else _nothing(), _signals(session.on_signal):
        return session.serve(interactive=interactive)


class _Attached:
    """One connection with a monitor (see ``streams``)."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._selector = selectors.DefaultSelector()
        self._interrupts = 0

    def serve(self, *, interactive: bool) -> int:
        self._selector.register(self._end, selectors.EVENT_READ)
        if interactive and not _register(self._selector, 0):
            self._input()  # a regular file: selectors cannot wait for it, and need not
        while True:
            for key, _ in self._selector.select():
                if key.fd == 0:
                    if not self._pass_input():
                        self._selector.unregister(0)
                    continue
                message = self._end.recv(1 << 17)
                kind, data = message[:1], message[1:]
                if kind == streams.EXIT:
                    return int(data)
                if not message:
                    raise Unavailable("the container's monitor is gone; the container was ended with it")
                write_all(1 if kind == b"1" else 2, data)

    def resize(self) -> None:
        size = terminal.size(0) or terminal.size(1)
        if size:
            self._send(streams.RESIZE + b"%d %d" % size)

    def on_signal(self, number: int) -> None:
        if number == signal.SIGWINCH:
            self.resize()
            return
        self._interrupts += number == signal.SIGINT
        self._send(streams.SIGNAL + b"%d" % (signal.SIGKILL if self._interrupts >= _PATIENCE else number))

    def _input(self) -> None:
        while self._pass_input():
            continue

    def _pass_input(self) -> bool:
        data = os.read(0, streams.CHUNK)
        self._send(streams.INPUT + data if data else streams.END_OF_INPUT)
        return bool(data)

    def _send(self, message: bytes) -> None:
        try:
            self._end.send(message)
        except OSError:
            return  # it has ended; what it said last is still to be read


def pump(outputs: dict[int, int], standard_input: int, pidfd_like: socket.socket | None) -> None:
    """Copies from the descriptors in ``outputs`` to those they are mapped to, and 0 to ``standard_input`` (-1: not).

    Ends when all outputs have, or ``pidfd_like`` is readable and they have nothing more to say.
    """
    selector = selectors.DefaultSelector()
    for fd in outputs:
        selector.register(fd, selectors.EVENT_READ)
    if pidfd_like is not None:
        selector.register(pidfd_like, selectors.EVENT_READ)
    if standard_input >= 0 and not _register(selector, 0):
        while _copy(0, standard_input):
            continue
        _end_input(standard_input, outputs)
    left = set(outputs)
    ended = False
    while left:
        ready = [key.fd for key, _ in selector.select(0.05 if ended else None)]
        if ended and not left.intersection(ready):
            return
        for fd in ready:
            if fd == 0 and standard_input >= 0:
                if not _copy(0, standard_input):
                    selector.unregister(0)
                    _end_input(standard_input, outputs)
            elif fd in left:
                if not _copy(fd, outputs[fd]):
                    selector.unregister(fd)
                    left.discard(fd)
            elif pidfd_like is not None:
                selector.unregister(pidfd_like)
                ended = True


def _end_input(standard_input: int, outputs: dict[int, int]) -> None:
    if standard_input not in outputs:  # a terminal's master is both ways, and stays
        os.close(standard_input)


def _copy(source: int, target: int) -> bool:
    try:
        data = os.read(source, 1 << 16)
    except OSError:  # EIO: the other side of a terminal is gone
        return False
    try:
        write_all(target, data)
    except BrokenPipeError:
        return False
    return bool(data)


def write_all(fd: int, data: bytes) -> None:
    """Writes all of ``data``, also to a pipe that is full at times."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:
            import select

            select.select([], [fd], [])


def _register(selector: selectors.BaseSelector, fd: int) -> bool:
    try:
        selector.register(fd, selectors.EVENT_READ)
    except (PermissionError, ValueError, OSError):
        return False
    return True


@contextmanager
def _signals(action: Callable[[int], None]) -> Iterator[None]:
    """Has ``action`` called for every signal that is to be passed on."""
    before = {}
    for number in (*_PASSED_ON, signal.SIGWINCH):
        if signal.getsignal(number) is not signal.SIG_IGN or number == signal.SIGWINCH:
            before[number] = signal.signal(number, lambda number, frame: action(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


signals = _signals
