"""How a container fares: a file in its directory, which only its monitor writes."""

from __future__ import annotations

import os

from sampan import plainjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple

_ROOM = 4096


class State(NamedTuple):
    """How a container fares. ``status`` is Docker's: created, running, restarting, exited, dead.

    ``started`` and ``finished`` are RFC 3339 with nanoseconds, or empty; ``address`` is its IPv4 address on the bridge;
    ``restarts`` is how often its monitor started it again; ``health`` is starting, healthy, unhealthy, or empty where
    nobody asks; ``paused`` is whether it is held still, which is found out anew each time (``Container.state``);
    ``cgroup`` is where it is below each hierarchy's mount, which the start of an ordinary user's settles.
    """

    status: str = "created"
    pid: int = 0
    exit_code: int = 0
    started: str = ""
    finished: str = ""
    error: str = ""
    address: str = ""
    ports: tuple[tuple[str, int, int, str], ...] = ()
    oom_killed: bool = False
    paused: bool = False
    restarts: int = 0
    cgroup: str = ""
    health: str = ""

    @property
    def alive(self) -> bool:
        """Whether it runs, or will again in a moment."""
        return self.status in ("running", "restarting")

    @property
    def word(self) -> str:
        """What people are told of it: a container that is paused still runs."""
        return "paused" if self.paused else self.status


def read_state(directory: str) -> State:
    """What the monitor wrote last; "created" if it has not written yet."""
    try:
        with open(f"{directory}/state.json", "rb") as file:
            value: dict[str, Any] = plainjson.loads(file.read())
    except FileNotFoundError:
        return State()
    value["ports"] = tuple(tuple(port) for port in value["ports"])
    return State(**value)


def write_state(directory: str, state: State) -> None:
    """Replaces the state with one rename, so that a reader never sees half of one."""
    data = plainjson.dumps(state._asdict()).encode()
    _write_next(directory, data)
    os.rename(f"{directory}/state.json.new", f"{directory}/state.json")


def reserve_state(directory: str) -> None:
    """Takes the room for the next state, so that a disk that is full by then cannot keep it from being written."""
    _write_next(directory, bytes(_ROOM))


def _write_next(directory: str, data: bytes) -> None:
    # Not truncated before it is written: that would give the room away.
    fd = os.open(f"{directory}/state.json.new", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, data)
        os.ftruncate(fd, len(data))
    finally:
        os.close(fd)
