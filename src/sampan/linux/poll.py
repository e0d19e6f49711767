"""Waiting for several descriptors at once (epoll(7)), as ``selectors`` does, but without the enumerations that it and
``socket`` load: 3 ms at every container's start."""

from __future__ import annotations

import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Action = Callable[[int, int], object]

READ, WRITE = select.EPOLLIN, select.EPOLLOUT


class Poll:
    """Descriptors, what each is waited for, and what is done then: ``action(fd, mask)``."""

    __slots__ = ("_epoll", "_watched")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[int, Action]] = {}

    def watch(self, fd: int, mask: int, action: Action) -> None:
        """Has ``action`` called on these events of ``fd``, and on no others; ``mask`` 0 is none at all.

        To be called with 0 before ``fd`` is closed. Raises PermissionError for a regular file, which is always ready.
        """
        known = self._watched.get(fd)
        if not mask:
            if known:
                del self._watched[fd]
                self._epoll.unregister(fd)
            return
        if not known:
            self._epoll.register(fd, mask)
        elif known[0] != mask:
            self._epoll.modify(fd, mask)
        self._watched[fd] = mask, action

    def wait(self, seconds: float | None = None) -> list[tuple[int, int, Action]]:
        """What is ready: descriptor, events and action. An error or a hang-up counts as what was waited for."""
        ready = []
        for fd, events in self._epoll.poll(seconds):
            known = self._watched.get(fd)
            if known:
                mask = (READ if events & ~WRITE else 0) | (WRITE if events & ~READ else 0)
                ready.append((fd, mask & known[0], known[1]))
        return ready

    def serve(self, seconds: float | None = None) -> bool:
        """Waits, and does what is to be done; False if nothing was to be done in time."""
        ready = self.wait(seconds)
        for fd, mask, action in ready:
            known = self._watched.get(fd)
            if known and known[1] == action:  # else another action of this round closed it; the number may be reused
                action(fd, mask)
        return bool(ready)
