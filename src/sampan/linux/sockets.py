"""How our processes and their programs are connected: sockets that keep messages apart (unix(7), SOCK_SEQPACKET), and
pipes for standard descriptors.

By the C part of the standard library's ``socket``: the rest loads a dozen modules, which every container's start would
wait for.
"""

from __future__ import annotations

import _socket
import os
import sys

_PACKETS = (_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
_INT = 4


class Connection(_socket.socket):
    """A socket with the methods of ``socket.socket``, and a context manager. Unless made from ``fileno``, unconnected.

    A descriptor that it makes or receives is not inherited by programs.
    """

    __slots__ = ()

    def __init__(self, fileno: int = -1) -> None:
        if fileno < 0:
            super().__init__(*_PACKETS)
        else:
            super().__init__(*_PACKETS, fileno=fileno)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *rest: object) -> None:
        self.close()

    def accept(self) -> Connection:
        """The next connection to a socket that listens."""
        return Connection(self._accept()[0])  # type: ignore[attr-defined]  # not in the stubs

    def send_descriptors(self, message: bytes, fds: tuple[int, ...]) -> None:
        """Sends ``message`` together with descriptors (unix(7), SCM_RIGHTS)."""
        rights = b"".join(fd.to_bytes(_INT, sys.byteorder) for fd in fds)
        self.sendmsg([message], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])

    def receive(self, limit: int, most: int = 1) -> tuple[bytes, list[int]]:
        """The next message, of ``limit`` bytes at most, and the descriptors that came with it, ``most`` at most."""
        message, extra, _, _ = self.recvmsg(limit, _socket.CMSG_LEN(_INT * most), _socket.MSG_CMSG_CLOEXEC)
        rights = [data for level, kind, data in extra if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS)]
        whole = b"".join(rights)
        return message, [int.from_bytes(whole[at : at + _INT], sys.byteorder) for at in range(0, len(whole), _INT)]


class Pipes:
    """What a program's standard descriptors are connected with: ``theirs`` become its own, the others are kept.

    ``outputs`` are descriptors with the number of their stream (1 or 2), ``input`` is -1 where nobody is to write.
    ``unused``: there are no pipes, for it gets a terminal, or nobody listens.
    """

    __slots__ = ("input", "outputs", "theirs")

    def __init__(self, *, interactive: bool, unused: bool) -> None:
        self.outputs: dict[int, int] = {}
        self.input = -1
        if unused:
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            self.theirs = null, null, null
            return
        # Not the caller's own descriptors: a program could open a file behind those anew through /proc/self/fd.
        ends = []
        for stream in (1, 2):
            reading, writing = os.pipe()
            self.outputs[reading] = stream
            ends.append(writing)
        if interactive:
            standard_input, self.input = os.pipe()
        else:
            standard_input = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self.theirs = standard_input, ends[0], ends[1]


def pair() -> tuple[Connection, Connection]:
    """Two connected ends."""
    ours, theirs = _socket.socketpair(*_PACKETS)
    return Connection(ours.detach()), Connection(theirs.detach())
