"""The network of a step that an ordinary user builds: a process that starts pasta or slirp4netns and ends it again.

It is a process of its own because such a program is forked, which wants a single thread, and the builder has several.
"""

import os
from contextlib import closing

from sampan.linux import sockets
from sampan.runtime import handshake, launch

PROGRAMS = ("pasta", "slirp4netns")
_READY = b"connected"
_TUN = "/dev/net/tun"


class Connection:
    """A container's way out; exists until it is closed, or whoever made it dies."""

    def __init__(self, pid: int) -> None:
        """Connects the network namespace of process ``pid``. Raises SampanError."""
        self._end, theirs = sockets.pair()
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._helper = launch.spawn(__name__, (null, null, null), theirs.fileno(), (str(pid),))
        finally:
            os.close(null)
            theirs.close()
        try:
            handshake.expect(self._end, _READY)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the connection, and waits until it has ended."""
        self._end.close()
        os.waitpid(self._helper, 0)


def obstacle() -> str | None:
    """Why an ordinary user's step cannot have a network of its own here, if so: one clause."""
    from shutil import which

    if not any(which(name) or which(name, path="/usr/bin:/usr/sbin") for name in PROGRAMS):
        return "neither pasta nor slirp4netns is installed"
    if not os.access(_TUN, os.R_OK | os.W_OK):
        return f"ordinary users cannot use {_TUN} here"
    return None


def main() -> None:
    """The process. Descriptor 3 is the connection to the builder."""
    import sys

    with sockets.Connection(3) as end:
        os.set_inheritable(3, False)
        try:
            from sampan.networks import rootless

            with closing(rootless.connect(int(sys.argv[1]))):
                end.send(_READY)
                end.recv(1)
        except BaseException as error:
            handshake.tell_failure(end, error)
