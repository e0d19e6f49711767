"""Those who are connected with a container's monitor."""

from __future__ import annotations

import os

from sampan.containers import streams
from sampan.errors import SampanError
from sampan.linux.poll import READ, WRITE, Poll
from sampan.runtime import handshake

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.linux.sockets import Connection

BACKLOG = 1 << 20
"""Bytes that may wait for one slow client before the container's output is left in its pipe."""
_DESCRIPTORS = 4
"""As many come with a request to execute a program."""
_PATIENCE = 10
"""Seconds for a client to take what it is told last."""


class Client:
    """Someone connected to the monitor; ``backlog`` waits to be sent."""

    __slots__ = ("attached", "backlog", "end", "waiting")

    def __init__(self, end: Connection, *, attached: bool) -> None:
        end.setblocking(False)
        self.end = end
        self.attached = attached
        self.backlog: list[bytes] = []
        self.waiting = 0

    def refuse(self, error: SampanError, fds: list[int]) -> None:
        """Says why nothing is done for this one, which nobody listens to any more; ``fds`` came with what it asked."""
        for fd in fds:
            os.close(fd)
        handshake.tell_failure(self.end, error)
        self.end.close()

    def tell_end(self, code: int) -> None:
        """Sends what is waiting, and that the container has ended."""
        self.end.setblocking(True)
        self.end.settimeout(_PATIENCE)
        try:
            for message in (*self.backlog, streams.EXIT + b"%d" % code):
                self.end.send(message)
        except OSError:
            return


class Clients:
    """All of them, and what waits for them. ``heard`` gets every message with its descriptors; ``held`` hears whether
    the container's output is to be left waiting, since one of them does not keep up."""

    __slots__ = ("_all", "_deaf", "_heard", "_held", "_holding", "_poll", "_server")

    def __init__(
        self, poll: Poll, heard: Callable[[Client, bytes, list[int]], None], held: Callable[[bool], None]
    ) -> None:
        self._poll = poll
        self._heard = heard
        self._held = held
        self._holding = False
        self._deaf = False
        self._all: list[Client] = []
        self._server: Connection | None = None

    def listen(self, server: Connection) -> None:
        """Takes in whoever connects with ``server`` from now on."""
        self._server = server
        self._poll.watch(server.fileno(), READ, lambda fd, mask: self.add(server.accept(), attached=False))

    def add(self, end: Connection, *, attached: bool) -> None:
        client = Client(end, attached=attached)
        self._all.append(client)
        self._await(client)

    def leave(self, client: Client) -> None:
        """Somebody else talks with this one from now on."""
        self._all.remove(client)
        self._poll.watch(client.end.fileno(), 0, print)

    def ignore(self, deaf: bool) -> None:
        """Whether they are left waiting, since the container does not keep up with its input."""
        if deaf != self._deaf:
            self._deaf = deaf
            for client in self._all:
                self._await(client)

    def tell(self, message: bytes) -> None:
        """Sends a message to those who are attached."""
        for client in [client for client in self._all if client.attached]:
            client.backlog.append(message)
            client.waiting += len(message)
            self._flush(client)

    def dismiss(self, code: int) -> None:
        """Tells those who are attached that what they watched has ended with ``code``, and lets them go."""
        for client in [client for client in self._all if client.attached]:
            client.tell_end(code)
            self._drop(client)

    def close(self, code: int) -> None:
        """Takes in nobody any more, and tells all the end."""
        if self._server:
            self._server.close()
        for client in self._all:
            client.tell_end(code)

    def _await(self, client: Client) -> None:
        mask = (0 if self._deaf else READ) | (WRITE if client.backlog else 0)
        self._poll.watch(client.end.fileno(), mask, lambda fd, mask: self._on_ready(client, mask))

    def _on_ready(self, client: Client, mask: int) -> None:
        if mask & WRITE:
            self._flush(client)
        if not mask & READ or client not in self._all:
            return
        try:
            message, fds = client.end.receive(1 << 17, _DESCRIPTORS)
        except BlockingIOError:
            return
        except OSError:
            message, fds = b"", []
        if message:
            self._heard(client, message, fds)
        else:
            self._drop(client)

    def _flush(self, client: Client) -> None:
        while client.backlog:
            try:
                client.end.send(client.backlog[0])
            except BlockingIOError:
                break
            except OSError:
                self._drop(client)
                return
            client.waiting -= len(client.backlog.pop(0))
        self._await(client)
        self._throttle()

    def _throttle(self) -> None:
        """A client that does not read holds the container's output back, as a pipe would."""
        full = any(client.waiting > BACKLOG for client in self._all)
        if full != self._holding:
            self._holding = full
            self._held(full)

    def _drop(self, client: Client) -> None:
        self.leave(client)
        client.end.close()
        self._throttle()


def is_readable(fd: int) -> bool:
    """Whether a descriptor has something to say now, if only its end."""
    import select

    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLHUP)
    return bool(poll.poll(0))
