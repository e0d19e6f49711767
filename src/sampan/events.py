"""What long operations report, and who listens.

An operation takes a ``report`` function and calls it with one of the values below; it never prints. The CLI turns them
into a live display or plain lines, the API into JSON lines, tests into a list.
"""

from __future__ import annotations

from collections.abc import Callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple


class Resolved(NamedTuple):
    """A reference was looked up: ``digest`` is what its manifest (or index) hashes to."""

    reference: str
    digest: str


class LayerExists(NamedTuple):
    """Nothing to transfer: the other side, or the store, has this blob."""

    digest: str


class Transferring(NamedTuple):
    """``done`` of ``total`` bytes of a blob have been received or sent."""

    digest: str
    done: int
    total: int


class Transferred(NamedTuple):
    """A blob arrived and was verified, or was accepted by the registry. ``how`` is "pulled", "pushed" or "mounted"."""

    digest: str
    size: int
    how: str


class Unpacked(NamedTuple):
    """A layer is on disk, its diff id verified."""

    digest: str


class StepStarted(NamedTuple):
    """A step of a build begins. ``number`` counts from 1 within ``total``; ``text`` is the instruction as written."""

    number: int
    total: int
    stage: str
    text: str


class StepCached(NamedTuple):
    number: int


class StepOutput(NamedTuple):
    """Bytes that the command of a RUN step wrote. ``stream`` is 1 or 2."""

    number: int
    stream: int
    data: bytes


class StepFinished(NamedTuple):
    number: int
    seconds: float


class Warned(NamedTuple):
    """Something the user should know and that does not stop the operation: one sentence."""

    message: str


Event = (
    Resolved
    | LayerExists
    | Transferring
    | Transferred
    | Unpacked
    | StepStarted
    | StepCached
    | StepOutput
    | StepFinished
    | Warned
)
Report = Callable[[Event], None]


def quiet(event: Event) -> None:
    """A listener that drops everything."""
