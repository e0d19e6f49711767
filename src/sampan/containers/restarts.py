"""Whether a container that has ended is started again, and when: Docker's restart policies.

The wait doubles from a tenth of a second to a minute, and begins anew after a life of ten seconds (moby,
``restartmanager/restartmanager.go``).
"""

from __future__ import annotations

from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.containers.options import Restart

_FIRST, _LAST = 0.1, 60.0
_LONG_LIFE = 10.0
_NAMES = ("no", "always", "unless-stopped", "on-failure")


def parse(text: str) -> Restart:
    """``--restart``: no, always, unless-stopped or on-failure[:N]. Raises Invalid."""
    from sampan.containers.options import Restart  # which a monitor does without

    name, colon, count = text.partition(":")
    if name not in _NAMES:
        raise Invalid(f"invalid --restart {text!r}", hint="no, always, unless-stopped or on-failure[:N]")
    if colon and name != "on-failure":
        raise Invalid(f"invalid --restart {text!r}: only on-failure has a number of times")
    if colon and not (count.isascii() and count.isdigit() and len(count) < 10):
        raise Invalid(f"invalid --restart {text!r}: {count!r} is not a number of times")
    return Restart(name, int(count or 0))


class Restarts:
    """What is known of one container's restarts: ``count`` were begun since it was started by hand."""

    __slots__ = ("_policy", "_wait", "count", "stopped")

    def __init__(self, name: str, most: int = 0) -> None:
        """By an ``options.Restart``."""
        self._policy = name, most
        self._wait = _FIRST
        self.count = 0
        self.stopped = False
        """Whether somebody asked it to end: it stays so."""

    def wait(self, code: int, lived: float) -> float | None:
        """The seconds after which a container that ended with ``code``, having ``lived`` so many, is started again;
        None if it is not."""
        name, most = self._policy
        if self.stopped or name == "no" or (name == "on-failure" and (code == 0 or 0 < most <= self.count)):
            return None
        if lived >= _LONG_LIFE:
            self._wait = _FIRST
        self.count += 1
        wait, self._wait = self._wait, min(2 * self._wait, _LAST)
        return wait
