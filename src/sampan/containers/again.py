"""Starting a container that ran before: what its last life left is put in order first."""

from __future__ import annotations

import os
import time
from contextlib import suppress

from sampan.containers import lifecycle
from sampan.containers.prelaunch import Monitor
from sampan.containers.record import Container
from sampan.containers.state import read_state
from sampan.errors import Unavailable
from sampan.linux import locks

_PATIENCE_SECONDS = 30.0


def start(container: Container, stores: lifecycle.Stores, *, attach: bool = False) -> Monitor:
    """As ``lifecycle.start``, for a container that may have run before. Raises Unavailable if its last monitor does
    not end."""
    if container.state().status != "running":
        _await_end(container)
        with suppress(FileNotFoundError):
            os.unlink(container.pause_mark)
        _forget_address(container)
    return lifecycle.start(container, stores, attach=attach)


def _await_end(container: Container) -> None:
    """A monitor says that its container has ended a moment before it ends itself."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while locks.is_held(container.lock):
        if time.monotonic() > deadline:
            raise Unavailable(f"the last monitor of container {container.name} does not end")
        time.sleep(0.005)


def _forget_address(container: Container) -> None:
    """Takes the line with its last address out of its /etc/hosts: the monitor will write another."""
    begin = f"{read_state(container.directory).address or '127.0.0.1'}\t{lifecycle.hostname(container)} "
    path = f"{container.directory}/hosts"
    with open(path) as file:
        lines = file.readlines()
    kept = [line for line in lines if not line.startswith(begin)]
    if kept != lines:
        with open(path, "w") as file:
            file.writelines(kept)
