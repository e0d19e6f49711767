"""The user's ssh agent as a step sees it: a socket of the step's own that is forwarded for as long as the step runs.

The agent's own socket is not mounted: it belongs to the user, and agents ask the kernel who calls.
"""

import os
import socket
from threading import Thread

from sampan.errors import NotFound

_CHUNK = 1 << 16
_MOST = 64
"""Connections that may wait."""


class Agent:
    """A socket called ``socket`` in ``directory`` that leads to the one at ``target``; a context manager."""

    __slots__ = ("_directory", "_listening", "_open", "_target")

    def __init__(self, directory: str, target: str) -> None:
        self._directory = directory
        self._target = target
        self._listening = socket.socket(socket.AF_UNIX)
        self._open: set[socket.socket] = set()

    def __enter__(self) -> "Agent":
        """Raises NotFound if nobody listens at the target."""
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(self._target)
        except OSError as error:
            self._listening.close()
            raise NotFound(f"the ssh agent cannot be reached: {error.strerror}: {self._target}") from None
        fd = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._listening.bind(f"/proc/self/fd/{fd}/socket")  # the path itself may be too long for an address
        finally:
            os.close(fd)
        self._listening.listen(_MOST)
        Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *rest: object) -> None:
        for end in (self._listening, *tuple(self._open)):
            _shut(end)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                inside, _ = self._listening.accept()
            except OSError:
                return  # it was closed
            outside = socket.socket(socket.AF_UNIX)
            try:
                outside.connect(self._target)
            except OSError:
                inside.close()
                outside.close()
                continue
            self._open |= {inside, outside}
            Thread(target=self._converse, args=(inside, outside), daemon=True).start()

    def _converse(self, inside: socket.socket, outside: socket.socket) -> None:
        answers = Thread(target=_forward, args=(outside, inside), daemon=True)
        answers.start()
        _forward(inside, outside)
        answers.join()
        for end in (inside, outside):
            self._open.discard(end)
            end.close()


def _forward(reading: socket.socket, writing: socket.socket) -> None:
    try:
        while data := reading.recv(_CHUNK):
            writing.sendall(data)
    except OSError:
        _shut(reading)
    _shut(writing, socket.SHUT_WR)


def _shut(end: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    try:
        end.shutdown(how)
    except OSError:
        return  # the other side was faster
