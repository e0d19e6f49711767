"""What the processes of a container that is being made say to each other, over a SOCK_SEQPACKET socket.

    parent → child    cgroup PATH  (where systemd makes the cgroup) the child is in it now
    child → parent    user         it is in a new user namespace; the parent writes the id maps, and says
    parent → child    go
    child → parent    pid N        N is the container's init, in the parent's pid namespace; namespaces exist
    child → parent    mounted      (where hooks wait for it) all is mounted, the host still in view; after them
    parent → child    go
    child → parent    console      with the descriptor of the terminal's master side (only where one was asked for)
    child → parent    listener     with the descriptor on which system calls are notified (only where somebody answers)
    child → parent    ready        all is set up; only the program is missing. With the descriptor on which the system
                                   calls of ``pretence`` are notified, where there are such
    parent → child    start        or    later: a command that comes to the container's gate will say it
    child → parent    (end of file: the program runs)    or    failed KIND MESSAGE HINT at any moment

The init may import nothing after the pivot, so messages are plain bytes.
"""

import os

from sampan import errors
from sampan.errors import SampanError
from sampan.linux.sockets import Connection

START = b"start"
READY = b"ready"
CONSOLE = b"console"
LISTENER = b"listener"
USER = b"user"
MOUNTED = b"mounted"
GO = b"go"
CGROUP = b"cgroup "
LATER = b"later"
NODES = "nodes"
"""The file of a bundle in which a container's watcher leaves ``Pretence.nodes``."""
_LIMIT = 1 << 16


def tell_pid(end: Connection, pid: int) -> None:
    end.send(b"pid %d" % pid)


def tell_failure(end: Connection, error: BaseException) -> None:
    """Sends an error in a form from which ``expect`` raises it again."""
    if isinstance(error, SampanError):
        kind, message, hint = type(error).__name__, error.message, error.hint or ""
    else:
        kind, message, hint = "SampanError", f"{type(error).__name__}: {error}", ""
    parts = (part.encode("utf-8", "replace").replace(b"\0", b" ")[:16000] for part in (kind, message, hint))
    try:
        end.send(b"failed\0" + b"\0".join(parts))
    except OSError:
        return  # nobody is left to be told


def tell_console(end: Connection, fd: int) -> None:
    end.send_descriptors(CONSOLE, (fd,))


def await_word(end: Connection, word: bytes) -> None:
    """Waits for the parent; if it says anything else, or is gone, this process ends."""
    if end.recv(64) != word:
        os._exit(1)


def await_cgroup(end: Connection) -> str:
    """Waits for the path of the cgroup into which this process was put; without a parent it ends."""
    message = end.recv(_LIMIT)
    if not message.startswith(CGROUP):
        os._exit(1)
    return message.removeprefix(CGROUP).decode("utf-8", "surrogateescape")


def expect(end: Connection, word: bytes) -> tuple[bytes, list[int]]:
    """The next message, which must begin with ``word``, and its descriptors. Raises what the other side failed with."""
    try:
        message, fds = end.receive(_LIMIT)
    except ConnectionResetError:
        # The other side ended without having read all that we said. The kernel tells this once, before its last words.
        message, fds = end.receive(_LIMIT)
    _raise_failure(message)
    if not message.startswith(word):
        for fd in fds:
            os.close(fd)
        what = message.decode("utf-8", "replace") or "nothing more"
        raise SampanError(f"the container's first process ended while it was being set up (it said {what!r})")
    return message, fds


def expect_end(end: Connection) -> None:
    """Waits until the program runs. Raises what the other side failed with."""
    try:
        message = end.recv(_LIMIT)
    except ConnectionResetError:
        message = end.recv(_LIMIT)
    _raise_failure(message)


def _raise_failure(message: bytes) -> None:
    if message.startswith(b"failed\0"):
        kind, text, hint = message.decode("utf-8", "replace").split("\0")[1:4]
        raise getattr(errors, kind, SampanError)(text, hint=hint or None)
