"""Starting a container that ran before: what its last life left is put in order first."""

from __future__ import annotations

import os
import time
from contextlib import suppress

from sampan.containers import lifecycle
from sampan.containers.prelaunch import Monitor
from sampan.containers.record import Container
from sampan.errors import Unavailable
from sampan.linux import locks

_PATIENCE_SECONDS = 30.0


def start(container: Container, stores: lifecycle.Stores, *, attach: bool = False) -> Monitor:
    """As ``lifecycle.start``, for a container that may have run before. Raises Unavailable if its last monitor does
    not end."""
    if not container.state().alive:
        _await_end(container)
        with suppress(FileNotFoundError):
            os.unlink(container.pause_mark)
    return lifecycle.start(container, stores, attach=attach)


def _await_end(container: Container) -> None:
    """A monitor says that its container has ended a moment before it ends itself."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while locks.is_held(container.lock):
        if time.monotonic() > deadline:
            raise Unavailable(f"the last monitor of container {container.name} does not end")
        time.sleep(0.005)
