"""The monitor's start, which takes as long as all else that ``run`` does: it comes first, so this module is light."""

import os

from sampan.linux import sockets
from sampan.linux.sockets import Connection
from sampan.runtime import launch


class Monitor:
    """A monitor that was started and waits to hear of its container, or is connected with us while that runs."""

    def __init__(self, pid: int, end: Connection) -> None:
        self.pid = pid
        self.end = end
        self.warning = ""
        """What the user should know of the container that it started."""

    def close(self) -> None:
        """Ends the connection. A monitor without a container then ends; one with a container goes on by itself."""
        self.end.close()


def prelaunch() -> Monitor:
    """Starts a monitor that has no container yet, so that it starts while the container is still being described."""
    ours, theirs = sockets.pair()
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        pid = launch.spawn("sampan.containers.monitor", (null, null, null), theirs.fileno())
    finally:
        theirs.close()
        os.close(null)
    return Monitor(pid, ours)
