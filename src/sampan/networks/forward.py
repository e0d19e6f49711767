"""Published ports without the packet filter: TCP connections are accepted on the host and carried into the container;
``datagrams`` does the like for UDP.

All runs in the monitor's one loop: a ``Forwarder`` has its sockets watched by the monitor's ``Poll``. Bytes go from
socket to socket through a pipe, by splice(2), and never through this process's memory. A connection keeps a pipe only
while its receiver is slower than its sender, so that an idle one costs two descriptors.

The container sees its own address as the peer's, never 127.0.0.1 (podman CVE-2021-20199), and not the client's.
"""

from __future__ import annotations

import _socket as socket  # the part in C: the rest loads enumerations, which take 5 ms and a megabyte
import errno
import os
import resource
import struct

from sampan.errors import Unsupported
from sampan.linux import netlink, sockets
from sampan.linux.poll import READ, WRITE, Poll
from sampan.networks.ports import Reservation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sampan.networks.datagrams import Datagrams

_CHUNK = 1 << 16  # what a pipe holds
_TURNS = 16  # chunks that one direction may move before others get their turn
_CONNECTIONS = 1024
_DESCRIPTORS_EACH = 6
_SOCKETS_AHEAD = 32
_DESCRIPTORS_OF_OTHERS = 96
_SPLICE = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class Forwarder:
    """Accepts from the listening sockets of ``reservations``, which stay the caller's, and connects into ``namespace``.

    ``namespace`` is a descriptor of the container's network namespace; it is duplicated. The process must have
    a single thread. Raises Unsupported for ports that are neither TCP's nor UDP's.
    """

    def __init__(self, poll: Poll, reservations: Sequence[Reservation], namespace: int, address: str = "") -> None:
        for reservation in reservations:
            port = reservation.port
            if port.protocol not in ("tcp", "udp"):
                what = f"port {port.host_port}/{port.protocol} cannot be published without root"
                raise Unsupported(what, hint="only TCP and UDP ports can")
        self._poll = poll
        self._namespace = os.dup(namespace)
        self._address = address or _address_inside(namespace)
        self._listeners = {
            listener.fileno(): (listener, reservation.port.container_port)
            for reservation in reservations
            for listener in reservation.sockets
            if reservation.port.protocol == "tcp"
        }
        self._datagrams = self._forward_datagrams(reservations)
        self._limit = _most_connections()
        self._connections: set[_Connection] = set()
        self._sockets: list[socket.socket] = []
        self._pipes: list[tuple[int, int]] = []
        self._accepting = False
        self._accept(True)

    def _forward_datagrams(self, reservations: Sequence[Reservation]) -> Datagrams | None:
        of_udp = [reservation for reservation in reservations if reservation.port.protocol == "udp"]
        if not of_udp:
            return None
        from sampan.networks.datagrams import Datagrams

        return Datagrams(self._poll, of_udp, self._namespace, self._address)

    def close(self) -> None:
        """Ends all connections. May be called again."""
        if self._namespace < 0:
            return
        if self._datagrams:
            self._datagrams.close()
        self._accept(False)
        self._listeners.clear()
        for connection in list(self._connections):
            connection.abort()
        for made in self._sockets:
            made.close()
        self._sockets.clear()
        for pipe in self._pipes:
            _close_pipe(pipe)
        self._pipes.clear()
        os.close(self._namespace)
        self._namespace = -1

    def _accept(self, on: bool) -> None:
        """Takes new connections, or leaves them waiting in the kernel."""
        if on == self._accepting:
            return
        for fd, (listener, _) in self._listeners.items():
            listener.setblocking(False)
            self._poll.watch(fd, READ if on else 0, self._on_connection)
        self._accepting = on

    def _on_connection(self, fd: int, mask: int) -> None:
        if fd not in self._listeners:
            return  # closed by another event of the same round
        listener, port = self._listeners[fd]
        try:
            client = socket.socket(fileno=listener._accept()[0])  # type: ignore[attr-defined]  # not in the stubs
        except OSError:
            return  # it went away while it waited
        try:
            server = self._take_socket()
        except OSError:
            _reset(client)
            return
        client.setblocking(False)
        server.setblocking(False)
        self._connections.add(_Connection(self, client, server, (self._address, port)))
        if len(self._connections) >= self._limit:
            self._accept(False)

    def _take_socket(self) -> socket.socket:
        """One made inside the container's namespace; they are made in advance, since it takes a process to do so."""
        if not self._sockets:
            self._sockets = sockets.made_inside(
                self._namespace, socket.AF_INET, socket.SOCK_STREAM, count=_SOCKETS_AHEAD
            )
        return self._sockets.pop()

    # -- for connections --------------------------------------------------------------------------------------------

    def watch(self, end: socket.socket, events: int, connection: _Connection) -> None:
        """Has ``connection`` called when ``end`` is ready for ``events``; for none of them with 0."""
        self._poll.watch(end.fileno(), events, connection.on_ready)

    def forget(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        if self._namespace >= 0:
            self._accept(True)

    def take_pipe(self) -> tuple[int, int]:
        return self._pipes.pop() if self._pipes else os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def give_pipe(self, pipe: tuple[int, int], *, empty: bool) -> None:
        if empty and len(self._pipes) < 4:
            self._pipes.append(pipe)
        else:
            _close_pipe(pipe)


class _Direction:
    """One way of a connection; ``waiting`` bytes are in ``pipe``, and ``ended`` once the source has no more to say."""

    __slots__ = ("ended", "finished", "pipe", "sink", "source", "waiting")

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.pipe: tuple[int, int] | None = None
        self.waiting = 0
        self.ended = False
        self.finished = False


class _Connection:
    """A client and the container's server, and what flows between them."""

    def __init__(
        self, forwarder: Forwarder, client: socket.socket, server: socket.socket, target: tuple[str, int]
    ) -> None:
        self._forwarder = forwarder
        self._client, self._server = client, server
        self._directions = _Direction(client, server), _Direction(server, client)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connecting = server.connect_ex(target) == errno.EINPROGRESS
        self._released = False
        # Also an immediate success or failure shows in the next round of the loop.
        forwarder.watch(server, READ | WRITE, self)

    def on_ready(self, fd: int, mask: int) -> None:
        if self._released:
            return  # by the other side's event in the same round
        try:
            if self._connecting:
                self._connecting = False
                code = self._server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code))
            for direction in self._directions:
                self._move(direction)
        except OSError:
            self.abort()  # one side was reset, or never there: the other learns it in the same way
            return
        if all(direction.finished for direction in self._directions):
            self._release()
        else:
            self._watch()

    def abort(self) -> None:
        """Resets both sides."""
        self._release(reset=True)

    def _watch(self) -> None:
        up, down = self._directions
        for end, to_read, to_write in ((self._client, up, down), (self._server, down, up)):
            reads = not to_read.ended and not to_read.waiting
            self._forwarder.watch(end, READ * reads | WRITE * bool(to_write.waiting), self)

    def _move(self, direction: _Direction) -> None:
        """Carries what there is, as far as the other side takes it. Raises OSError when a side is broken."""
        for _ in range(_TURNS):
            if direction.waiting and not self._pour_out(direction):
                return
            if direction.ended or not self._fill(direction):
                break
        if direction.ended and not direction.waiting and not direction.finished:
            direction.finished = True
            direction.sink.shutdown(socket.SHUT_WR)

    def _fill(self, direction: _Direction) -> bool:
        """Takes from the source what fits into an empty pipe; whether there was anything."""
        pipe = direction.pipe or self._forwarder.take_pipe()
        direction.pipe = pipe
        try:
            direction.waiting = os.splice(direction.source.fileno(), pipe[1], _CHUNK, flags=_SPLICE)
            direction.ended = not direction.waiting
        except BlockingIOError:
            pass
        if not direction.waiting:
            self._drop_pipe(direction)
        return bool(direction.waiting)

    def _pour_out(self, direction: _Direction) -> bool:
        """Gives the sink what waits in the pipe; whether it took all of it."""
        assert direction.pipe
        try:
            while direction.waiting:
                direction.waiting -= os.splice(
                    direction.pipe[0], direction.sink.fileno(), direction.waiting, flags=_SPLICE
                )
        except BlockingIOError:
            return False
        self._drop_pipe(direction)
        return True

    def _drop_pipe(self, direction: _Direction) -> None:
        if direction.pipe:
            self._forwarder.give_pipe(direction.pipe, empty=not direction.waiting)
            direction.pipe = None

    def _release(self, *, reset: bool = False) -> None:
        self._released = True
        for direction in self._directions:
            self._drop_pipe(direction)
        for end in (self._client, self._server):
            self._forwarder.watch(end, 0, self)
            if reset:
                _reset(end)
            end.close()
        self._forwarder.forget(self)


def _address_inside(namespace: int) -> str:
    """Where the container is reached from inside: its own address, or loopback if it has no other."""
    with netlink.open_inside(namespace) as route:
        for found in netlink.addresses(route):
            if found.address[0] != 127:
                return socket.inet_ntoa(found.address)
    return "127.0.0.1"


def _most_connections() -> int:
    """As many as the descriptors allow that this process may have; it is allowed as many as it may ask for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _CONNECTIONS * _DESCRIPTORS_EACH + _DESCRIPTORS_OF_OTHERS
    if soft < wanted:
        soft = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(_CONNECTIONS, (soft - _DESCRIPTORS_OF_OTHERS) // _DESCRIPTORS_EACH))


def _reset(end: socket.socket) -> None:
    """Closes with a reset in place of an orderly end (socket(7), SO_LINGER)."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


def _close_pipe(pipe: tuple[int, int]) -> None:
    for fd in pipe:
        os.close(fd)
