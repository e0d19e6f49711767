"""How our processes and their programs are connected: sockets that keep messages apart (unix(7), SOCK_SEQPACKET), and
pipes for standard descriptors.

By the C part of the standard library's ``socket``: the rest loads a dozen modules, which every container's start would
wait for.
"""

from __future__ import annotations

import _socket
import errno
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


# -- in other network namespaces ---------------------------------------------------------------------------------------


class inside:
    """Lets the calling thread be in the network namespace behind a descriptor, for the length of a ``with`` block.

    Sockets keep the namespace in which they were made, so making them is all that needs to happen inside. Coming back
    takes root's rights over the own namespace; ``made_inside`` does without.
    """

    def __init__(self, namespace: int) -> None:
        self._namespace = namespace

    def __enter__(self) -> None:
        self._own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(self._namespace)
        except BaseException:
            os.close(self._own)
            raise

    def __exit__(self, *exc: object) -> None:
        try:
            _enter(self._own)
        finally:
            os.close(self._own)


def made_inside(namespace: int, family: int, kind: int, protocol: int = 0, count: int = 1) -> list[_socket.socket]:
    """``count`` sockets (at most 253) that a child makes in the network namespace behind a descriptor, and passes on.

    The caller must have a single thread. Raises OSError.
    """
    ours, theirs = pair()
    with ours:
        child = os.fork()
        if child == 0:
            try:
                _enter(namespace)
                made = [_socket.socket(family, kind, protocol) for _ in range(count)]
                theirs.send_descriptors(b"0", tuple(each.fileno() for each in made))
            except OSError as error:
                theirs.send(b"%d" % (error.errno or errno.EIO))
            finally:
                os._exit(0)
        theirs.close()
        told, descriptors = ours.receive(16, count)
        os.waitpid(child, 0)
    if len(descriptors) != count:
        code = int(told or errno.EIO)
        raise OSError(code, f"socket in another network namespace: {os.strerror(code)}")
    return [_socket.socket(fileno=descriptor) for descriptor in descriptors]


def _enter(namespace: int) -> None:
    from sampan.linux import syscalls  # which exec does without

    syscalls.setns(namespace, syscalls.CLONE_NEWNET)
