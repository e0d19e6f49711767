"""Names of containers: a small name server in each container that is in a network of its users' own.

It is the container's monitor that listens, on sockets made inside the container's namespace, at 127.0.0.11 as Docker's
does. What the neighbours are called is in their files (``endpoints``); all else is asked of the host's name servers,
from the host, and of nobody where every network of the container is internal (moby CVE-2024-29018).
"""

from __future__ import annotations

import _socket as socket
import errno
import time

from sampan.errors import Unavailable
from sampan.linux import sockets
from sampan.linux.poll import READ, WRITE, Poll
from sampan.networks import endpoints, wire
from sampan.networks.dns import OWN as ADDRESS
from sampan.networks.endpoints import Files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sampan.networks.wire import Question

PORT = 53
_LARGEST = 1 << 16
_PENDING = 256
_PATIENCE = 20.0  # seconds for a name server to answer
_STREAMS = 64
_TRUSTED = 1.0  # seconds that what is known of the neighbours holds, unless their files change
_TURNS = 64  # datagrams before others get their turn
Client = tuple[str, int]


class Resolver:
    """Answers the container ``container_id``, whose network namespace is behind a descriptor; ``servers`` are asked for
    what is not known here. The process must have a single thread. Raises OSError."""

    def __init__(self, poll: Poll, directory: str, container_id: str, namespace: int, servers: Sequence[str]) -> None:
        self._poll = poll
        self._directory = directory
        self._container_id = container_id
        self._servers = tuple(servers)
        self._pending: dict[int, tuple[socket.socket, Client, bytes, float]] = {}
        """What was asked elsewhere, from the oldest to the newest, by the descriptor where the answer comes."""
        self._streams: dict[int, _Stream] = {}
        self._names: dict[str, list[str]] = {}
        self._reverse: dict[str, str] = {}
        self._internal = True
        self._changes: dict[str, float] = {}
        self._learned = 0.0
        self._datagrams, self._listener = _listen(namespace)
        poll.watch(self._datagrams.fileno(), READ, self._on_datagram)
        poll.watch(self._listener.fileno(), READ, self._on_connection)

    def close(self) -> None:
        """Answers nothing any more. May be called again."""
        for stream in list(self._streams.values()):
            stream.close()
        for fd in list(self._pending):
            self._forget(fd)
        for each in (self._datagrams, self._listener):
            if each.fileno() >= 0:
                self._poll.watch(each.fileno(), 0, self._on_datagram)
                each.close()

    def reply(self, query: bytes, asked: Question) -> bytes | None:
        """The answer, if it is known here, or nobody else may be asked."""
        if asked.category != wire.IN:
            return None
        found, internal = self._look_up(asked)
        if found is not None:
            return wire.answer(query, asked, found)
        if internal or not self._servers:
            return wire.answer(query, asked, code=wire.NO_SUCH_NAME if internal else wire.SERVER_FAILURE)
        return None

    def _look_up(self, asked: Question) -> tuple[list[tuple[int, bytes]] | None, bool]:
        """The records for a name of the neighbours' (None if nobody is called so), and whether nothing leads out."""
        self._learn()
        addresses = self._names.get(asked.name)
        if addresses is not None:
            wanted = asked.kind in (wire.A, wire.ANY)
            return [(wire.A, socket.inet_aton(address)) for address in addresses if wanted], self._internal
        name = self._reverse.get(wire.reversed_address(asked.name)) if asked.kind == wire.PTR else None
        return ([(wire.PTR, wire.domain(name))] if name else None), self._internal

    def _learn(self) -> None:
        """Reads who the neighbours are, if that may have changed: a container can ask as fast as it likes."""
        changes = endpoints.changes(self._directory)
        now = time.time()
        if changes == self._changes and now - self._learned < _TRUSTED and max(changes.values(), default=0) < now - 0.1:
            return
        self._changes, self._learned = changes, now
        self._names, self._reverse, self._internal = {}, {}, True
        for network, own in endpoints.of_container(self._directory, self._container_id).items():
            self._internal = self._internal and own.internal
            for _, endpoint in Files(self._directory, network).all():
                if not endpoint.names or not endpoint.is_alive():
                    continue
                self._reverse.setdefault(endpoint.address, f"{endpoint.names[0]}.{network}")
                for name in endpoint.names:
                    for known in (name, f"{name}.{network.lower()}"):
                        self._names.setdefault(known, []).append(endpoint.address)

    # -- datagrams --------------------------------------------------------------------------------------------------

    def _on_datagram(self, fd: int, mask: int) -> None:
        for _ in range(_TURNS):
            try:
                query, client = self._datagrams.recvfrom(_LARGEST)
            except BlockingIOError:
                return
            except OSError:
                continue
            asked = wire.question(query)
            if asked:
                self._answer(query, asked, client)

    def _answer(self, query: bytes, asked: Question, client: Client) -> None:
        reply = self.reply(query, asked)
        if reply is None and not self._pass_on(query, client):
            reply = wire.answer(query, asked, code=wire.SERVER_FAILURE)
        if reply is not None:
            self._send(reply, client)

    def _pass_on(self, query: bytes, client: Client) -> bool:
        """Asks a name server: the next one, if this was asked before and is not answered yet."""
        tries = sum(each[2] == query for each in self._pending.values())
        server = self._servers[tries % len(self._servers)]
        now = time.monotonic()
        for fd, (*_, since) in list(self._pending.items()):
            if since < now - _PATIENCE or len(self._pending) >= _PENDING:
                self._forget(fd)
        # A port of its own for each, so that nobody answers in the server's place by guessing (RFC 5452).
        asking = socket.socket(_family(server), socket.SOCK_DGRAM)
        try:
            asking.setblocking(False)
            asking.connect((server, PORT))
            asking.send(query)
        except OSError:
            asking.close()
            return False
        self._pending[asking.fileno()] = asking, client, query, now
        self._poll.watch(asking.fileno(), READ, self._on_answer)
        return True

    def _on_answer(self, fd: int, mask: int) -> None:
        if fd not in self._pending:
            return  # closed by another event of the same round
        asking, client, query, _ = self._pending[fd]
        try:
            reply = asking.recv(_LARGEST)
        except BlockingIOError:
            return
        except OSError:  # nobody listens there; whoever asks again is led to the next server
            asked = wire.question(query)
            reply = wire.answer(query, asked, code=wire.SERVER_FAILURE) if asked else b""
        if reply[:2] == query[:2]:
            self._forget(fd)
            self._send(reply, client)

    def _forget(self, fd: int) -> None:
        asking, *_ = self._pending.pop(fd)
        self._poll.watch(fd, 0, self._on_answer)
        asking.close()

    def _send(self, reply: bytes, client: Client) -> None:
        try:
            self._datagrams.sendto(reply, client)
        except OSError:
            return  # it is lost, as any datagram may be

    # -- streams ----------------------------------------------------------------------------------------------------

    def _on_connection(self, fd: int, mask: int) -> None:
        try:
            number, _ = self._listener._accept()  # type: ignore[attr-defined]  # not in the stubs
        except OSError:
            return
        if len(self._streams) >= _STREAMS:
            next(iter(self._streams.values())).close()
        client = socket.socket(fileno=number)
        client.setblocking(False)
        self._streams[number] = _Stream(self._poll, self, client)

    def gone(self, fd: int) -> None:
        """A stream has ended."""
        self._streams.pop(fd, None)

    def server(self) -> socket.socket | None:
        """A connection with the first name server, that may not stand yet."""
        server = self._servers[0]
        asking = socket.socket(_family(server), socket.SOCK_STREAM)
        asking.setblocking(False)
        try:
            asking.connect((server, PORT))
        except BlockingIOError:
            pass
        except OSError:
            asking.close()
            return None
        return asking


class _Stream:
    """A client that asks over TCP (RFC 7766), one question after the other; what is not known here is passed on."""

    def __init__(self, poll: Poll, resolver: Resolver, client: socket.socket) -> None:
        self._poll = poll
        self._resolver = resolver
        self._client = client
        self._fd = client.fileno()
        self._server: socket.socket | None = None
        self._asked = b""
        self._to_server = b""
        self._to_client = b""
        self._watch()

    def close(self) -> None:
        for each in (self._client, self._server):
            if each and each.fileno() >= 0:
                self._poll.watch(each.fileno(), 0, self._on_ready)
                each.close()
        self._resolver.gone(self._fd)

    def _watch(self) -> None:
        """Nobody is listened to while the other side does not take what was said."""
        takes = len(self._to_client) < _LARGEST
        mask = (READ if takes and len(self._to_server) < _LARGEST else 0) | (WRITE if self._to_client else 0)
        self._poll.watch(self._fd, mask, self._on_ready)
        if self._server:
            mask = (READ if takes else 0) | (WRITE if self._to_server else 0)
            self._poll.watch(self._server.fileno(), mask, self._on_ready)

    def _on_ready(self, fd: int, mask: int) -> None:
        if self._client.fileno() < 0:
            return  # closed by another event of the same round
        try:
            if fd == self._fd:
                self._serve_client(mask)
            elif self._server:
                self._serve_server(self._server, mask)
            self._watch()
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def _serve_client(self, mask: int) -> None:
        if mask & WRITE and self._to_client:
            self._to_client = self._to_client[self._client.send(self._to_client) :]
        if not mask & READ:
            return
        data = self._client.recv(_LARGEST)
        if not data or len(self._asked) > _LARGEST:
            raise ConnectionResetError(errno.ECONNRESET, "the client is gone")
        self._asked += data
        for query in self._queries():
            self._ask(query)

    def _queries(self) -> Iterator[bytes]:
        data, place = self._asked, 0
        while len(data) >= place + 2 and len(data) >= (
            end := place + 2 + int.from_bytes(data[place : place + 2], "big")
        ):
            yield data[place + 2 : end]
            place = end
        self._asked = data[place:]

    def _ask(self, query: bytes) -> None:
        asked = wire.question(query)
        if not asked:
            raise ConnectionResetError(errno.ECONNRESET, "this is no question")
        reply = self._resolver.reply(query, asked)
        if reply is None:
            self._server = self._server or self._resolver.server()
            if self._server:
                self._to_server += len(query).to_bytes(2, "big") + query
                return
            reply = wire.answer(query, asked, code=wire.SERVER_FAILURE)
        self._to_client += len(reply).to_bytes(2, "big") + reply

    def _serve_server(self, server: socket.socket, mask: int) -> None:
        if mask & WRITE and self._to_server:
            self._to_server = self._to_server[server.send(self._to_server) :]
        if mask & READ:
            data = server.recv(_LARGEST)
            self._to_client += data
            if data:
                return
            # It has said all; what it said last may still be on its way to the client, who may ask more.
            self._poll.watch(server.fileno(), 0, self._on_ready)
            server.close()
            self._server = None
            if not self._to_client:
                raise ConnectionResetError(errno.ECONNRESET, "the server is gone")


def _family(server: str) -> int:
    return socket.AF_INET6 if ":" in server else socket.AF_INET


def _listen(namespace: int) -> tuple[socket.socket, socket.socket]:
    """Sockets inside: at ports that no server of the container's wants, to which the usual one is led; else there."""
    from sampan.networks import firewall

    (datagrams,) = sockets.made_inside(namespace, socket.AF_INET, socket.SOCK_DGRAM)
    (listener,) = sockets.made_inside(namespace, socket.AF_INET, socket.SOCK_STREAM)
    try:
        datagrams.bind((ADDRESS, 0))
        listener.bind((ADDRESS, 0))
        ports = {"udp": datagrams.getsockname()[1], "tcp": listener.getsockname()[1]}
        firewall.lead_inside(namespace, ADDRESS, PORT, ports)
    except Unavailable:
        datagrams.close()
        listener.close()
        (datagrams,) = sockets.made_inside(namespace, socket.AF_INET, socket.SOCK_DGRAM)
        (listener,) = sockets.made_inside(namespace, socket.AF_INET, socket.SOCK_STREAM)
        datagrams.bind((ADDRESS, PORT))
        listener.bind((ADDRESS, PORT))
    listener.listen(16)
    for each in (datagrams, listener):
        each.setblocking(False)
    return datagrams, listener
