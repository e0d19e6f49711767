"""How a container fares: a file in its directory, which only its monitor writes."""

import json
import os
from typing import Any, NamedTuple


class State(NamedTuple):
    """How a container fares. ``status`` is Docker's: created, running, exited, dead.

    ``started`` and ``finished`` are RFC 3339 with nanoseconds, or empty; ``address`` is its IPv4 address on the bridge.
    """

    status: str = "created"
    pid: int = 0
    exit_code: int = 0
    started: str = ""
    finished: str = ""
    error: str = ""
    address: str = ""
    ports: tuple[tuple[str, int, int, str], ...] = ()


def read_state(directory: str) -> State:
    """What the monitor wrote last; "created" if it has not written yet."""
    try:
        with open(f"{directory}/state.json", "rb") as file:
            value: dict[str, Any] = json.loads(file.read())
    except FileNotFoundError:
        return State()
    value["ports"] = tuple(tuple(port) for port in value["ports"])
    return State(**value)


def write_state(directory: str, state: State) -> None:
    """Replaces the state with one rename, so that a reader never sees half of one."""
    temporary = f"{directory}/state.json.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, json.dumps(state._asdict(), separators=(",", ":")).encode())
    finally:
        os.close(fd)
    os.rename(temporary, f"{directory}/state.json")
