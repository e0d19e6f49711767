"""Those who are connected with a container's monitor."""

from __future__ import annotations

from sampan.containers import streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.linux.sockets import Connection

BACKLOG = 1 << 20
"""Bytes that may wait for one slow client before the container's output is left in its pipe."""
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

    def tell_end(self, code: int) -> None:
        """Sends what is waiting, and that the container has ended."""
        self.end.setblocking(True)
        self.end.settimeout(_PATIENCE)
        try:
            for message in (*self.backlog, streams.EXIT + b"%d" % code):
                self.end.send(message)
        except OSError:
            return


def is_readable(fd: int) -> bool:
    """Whether a descriptor has something to say now, if only its end."""
    import select

    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLHUP)
    return bool(poll.poll(0))
