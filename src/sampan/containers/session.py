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
    with terminal.raw(0) if tty and interactive else _nothing(), signals(session.on_signal):
        return session.serve(interactive=interactive)


class _Input:
    """The caller's standard input, read only as fast as someone takes it.

    A terminal or a pipe is waited for; a regular file is always ready, and selectors refuse it.
    """

    def __init__(self, selector: selectors.BaseSelector, *, wanted: bool) -> None:
        self._selector = selector
        self._open = wanted
        self._pollable = wanted and _register(selector, 0)
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
        self.pending.append(data)
        self._open = bool(data)
        self.wait()

    def wait(self) -> None:
        """Has the selector watch for input exactly when it is wanted."""
        if self._pollable:
            mask = selectors.EVENT_READ if self._open and not self.pending else 0
            streams.await_events(self._selector, 0, mask, _ignore)


class _Attached:
    """One connection with a monitor (see ``streams``)."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._selector = selectors.DefaultSelector()
        self._interrupts = 0

    def serve(self, *, interactive: bool) -> int:
        self._selector.register(self._end, selectors.EVENT_READ)
        source = _Input(self._selector, wanted=interactive)
        while True:
            source.fill()
            mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if source.pending else 0)
            streams.await_events(self._selector, self._end, mask, _ignore)
            for key, events in self._selector.select():
                if key.fd == 0:
                    source.read()
                    continue
                if events & selectors.EVENT_WRITE:
                    self._pass_on(source)
                if events & selectors.EVENT_READ:
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
        write_all(1 if kind == b"1" else 2, data)
        return None

    def _pass_on(self, source: _Input) -> None:
        data = source.pending[0]
        try:
            self._end.send(streams.INPUT + data if data else streams.END_OF_INPUT, socket.MSG_DONTWAIT)
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


def pump(outputs: dict[int, int], target: int, news: socket.socket) -> None:
    """Copies from the descriptors in ``outputs`` to those they are mapped to, and standard input to ``target`` (-1:
    nowhere), which is closed at its end unless it is an output too.

    Ends when all outputs have, or when ``news`` is readable (the program is gone) and they have nothing more to say.
    """
    selector = selectors.DefaultSelector()
    source = _Input(selector, wanted=target >= 0)
    if target >= 0:
        os.set_blocking(target, False)
    selector.register(news, selectors.EVENT_READ)
    left, ended = set(outputs), False
    while left:
        source.fill()
        for fd in left | {target} - {-1}:
            mask = (selectors.EVENT_READ if fd in left else 0) | (
                selectors.EVENT_WRITE if fd == target and source.pending else 0
            )
            streams.await_events(selector, fd, mask, _ignore)
        ready = selector.select(0.05 if ended else None)
        if ended and not any(key.fd in left and events & selectors.EVENT_READ for key, events in ready):
            return
        for key, events in ready:
            fd = key.fd
            if key.fileobj is news:
                selector.unregister(news)
                ended = True
            elif fd == 0:
                source.read()
            if fd == target and events & selectors.EVENT_WRITE and not _feed(source, target, selector, outputs):
                target = -1
            if fd in left and events & selectors.EVENT_READ and not _copy(fd, outputs[fd]):
                left.discard(fd)
                streams.await_events(selector, fd, 0, _ignore)


def _feed(source: _Input, target: int, selector: selectors.BaseSelector, outputs: dict[int, int]) -> bool:
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
    streams.await_events(selector, target, 0, _ignore)
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
        return False
    return bool(data)


def _ignore(key: object, mask: int) -> None:
    """Events are told apart where they are waited for."""


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
def signals(action: Callable[[int], None]) -> Iterator[None]:
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
