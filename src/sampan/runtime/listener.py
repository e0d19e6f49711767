"""Programs of others that answer a container's system calls (runtime-spec, config-linux.md, "Seccomp": ``listenerPath``
and "The Container Process State"; seccomp_unotify(2)).

Part of the first process; nothing is imported late.
"""

from __future__ import annotations

import os
import time
from _signal import SIGCHLD, SIGKILL

from sampan import plainjson
from sampan.errors import Invalid, SampanError
from sampan.linux import seccomp, syscalls
from sampan.linux.sockets import Connection
from sampan.runtime import handshake

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple

_CLONE_FILES = 0x400


class Listener(NamedTuple):
    """The socket at which the program waits, and what it is told besides."""

    path: str
    metadata: str


def of(profile: dict[str, Any] | None) -> Listener | None:
    """Who is to answer, if the profile has calls that are notified. Raises Invalid."""
    profile = profile or {}
    path, metadata = profile.get("listenerPath") or "", profile.get("listenerMetadata") or ""
    if metadata and not path:
        raise Invalid("the seccomp profile has a listenerMetadata, and no listenerPath")
    if not seccomp.notifies(profile):
        return None
    if profile.get("defaultAction") == "SCMP_ACT_NOTIFY":
        raise Invalid("SCMP_ACT_NOTIFY cannot be the default action of the seccomp profile")
    if not path:
        raise Invalid("SCMP_ACT_NOTIFY in the seccomp profile needs a listenerPath")
    return Listener(path, metadata)


def install(program: bytes, flags: int, end: Connection) -> None:
    """Installs a filter on this process, and has its listener sent to the parent (``handshake.LISTENER``).

    The call that sends it could itself be one that waits for an answer. So another process sends it, which shares the
    descriptors and was made before there is a filter: it sees the listener appear.
    """
    number = os.dup(0)  # the lowest number that is free, and so the listener's
    os.close(number)
    sender = syscalls.named("clone", SIGCHLD | _CLONE_FILES, 0, 0, 0, 0)
    if not sender:
        _send_once_there(number, end)
    if seccomp.listen(program, flags) != number:
        raise SampanError("the listener of the seccomp profile has another number than was told")
    os.waitpid(sender, 0)


def _send_once_there(number: int, end: Connection) -> None:
    try:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, SIGKILL)
        while True:
            try:
                os.fstat(number)
                break
            except OSError:
                time.sleep(0.0005)
        end.send_descriptors(handshake.LISTENER, (number,))
        # For both: while it is open here, calls wait for an answer though there may be nobody who could give one.
        os.close(number)
    finally:
        os._exit(0)


def hand_over(listener: Listener, state: bytes, pid: int, fd: int) -> None:
    """Sends the descriptor to the program, with the state of the container (a JSON object) whose process ``pid`` is.

    Closes it here. Raises SampanError: calls that nobody answers would never return.
    """
    import _socket

    about = {"fds": ["seccompFd"], "pid": pid, "metadata": listener.metadata, "state": plainjson.loads(state)}
    text = plainjson.dumps({"ociVersion": about["state"]["ociVersion"], **about}).encode()
    sender = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sender.connect(listener.path)
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd.to_bytes(4, "little"))]
        sent = sender.sendmsg([text], rights)
        sender.sendall(text[sent:])
    except OSError as error:
        raise SampanError(f"cannot hand the seccomp listener to {listener.path}: {error.strerror}") from None
    finally:
        sender.close()
        os.close(fd)
