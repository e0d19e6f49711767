"""Published UDP ports without the packet filter: datagrams are received on the host and carried into the container.

Each client gets a socket inside, so that the container's answers find their way back to him; whoever was silent longest
makes room for a new one. As with TCP (``forward``) the container sees its own address as the peer's.
"""

from __future__ import annotations

import _socket as socket  # as in ``forward``

from sampan.linux import sockets
from sampan.linux.poll import READ, Poll
from sampan.networks.ports import Reservation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_CLIENTS = 256
_LARGEST = 1 << 16
_TURNS = 64  # datagrams from one socket before others get their turn
_SOCKETS_AHEAD = 8
Client = tuple[int, tuple[object, ...]]
"""The socket of the host's that he came to, and his address."""


class Datagrams:
    """Receives on the sockets of ``reservations``, which stay the caller's, and sends to ``address`` in the network
    namespace behind a descriptor, which has to stay open. The process must have a single thread.
    """

    def __init__(self, poll: Poll, reservations: Sequence[Reservation], namespace: int, address: str) -> None:
        self._poll = poll
        self._namespace = namespace
        self._address = address
        self._held = {
            held.fileno(): (held, reservation.port.container_port)
            for reservation in reservations
            for held in reservation.sockets
        }
        self._inside: dict[Client, socket.socket] = {}
        """From the one silent longest to the one who spoke last."""
        self._clients: dict[int, Client] = {}
        """Whose a socket inside is."""
        self._made: list[socket.socket] = []
        for fd in self._held:
            poll.watch(fd, READ, self._on_datagram)

    def close(self) -> None:
        """Forwards nothing any more. May be called again."""
        for fd in self._held:
            self._poll.watch(fd, 0, self._on_datagram)
        self._held.clear()
        for client in list(self._inside):
            self._forget(client)
        while self._made:
            self._made.pop().close()

    def _on_datagram(self, fd: int, mask: int) -> None:
        if fd not in self._held:
            return  # closed by another event of the same round
        held, port = self._held[fd]
        for _ in range(_TURNS):
            try:
                data, address = held.recvfrom(_LARGEST)
                _send(self._of((fd, address), port), data)
            except BlockingIOError:
                return
            except OSError:
                continue  # it is lost, as any datagram may be

    def _of(self, client: Client, port: int) -> socket.socket:
        """The client's socket inside. Raises OSError."""
        found = self._inside.pop(client, None)
        if found is None:
            if len(self._inside) >= _CLIENTS:
                self._forget(next(iter(self._inside)))
            found = self._take_socket()
            found.setblocking(False)
            found.connect((self._address, port))
            self._clients[found.fileno()] = client
            self._poll.watch(found.fileno(), READ, self._on_answer)
        self._inside[client] = found
        return found

    def _on_answer(self, fd: int, mask: int) -> None:
        client = self._clients.get(fd)
        if client is None:
            return
        origin, address = client
        for _ in range(_TURNS):
            try:
                self._held[origin][0].sendto(self._inside[client].recv(_LARGEST), address)
            except BlockingIOError:
                return
            except OSError:
                continue  # nobody listens inside, or the client has gone

    def _take_socket(self) -> socket.socket:
        if not self._made:
            self._made = sockets.made_inside(self._namespace, socket.AF_INET, socket.SOCK_DGRAM, count=_SOCKETS_AHEAD)
        return self._made.pop()

    def _forget(self, client: Client) -> None:
        end = self._inside.pop(client)
        del self._clients[end.fileno()]
        self._poll.watch(end.fileno(), 0, self._on_answer)
        end.close()


def _send(end: socket.socket, data: bytes) -> None:
    try:
        end.send(data)
    except ConnectionRefusedError:
        end.send(data)  # what was refused was an earlier one (udp(7), IP_RECVERR)
