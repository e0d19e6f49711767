"""The runtime process: ``python -SI``, started by ``launch``. Descriptor 3 is its connection to whoever started it.

It makes one container, lets it run when told, says how it ended, and ends it when the connection ends.
"""

from __future__ import annotations

import os
import select

from sampan import plainjson
from sampan.linux import syscalls
from sampan.linux.sockets import Connection
from sampan.runtime import handshake
from sampan.runtime.parent import Process, exit_code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.runtime.pretence import Pretence


def main() -> None:
    end = Connection(3)
    os.set_inheritable(3, False)
    syscalls.set_process_name("sampan-runtime")
    try:
        message = end.recv(1 << 20)
        if not message:
            os._exit(0)  # whoever started this changed its mind
        job = plainjson.loads(message)
        process = _create(job)
    except BaseException as error:
        handshake.tell_failure(end, error)
        os._exit(1)
    try:
        handshake.tell_pid(end, process.pid)
        terminal = bool(job.get("terminal"))
        console = process.ready(terminal=terminal)
        if terminal:
            handshake.tell_console(end, console)
            os.close(console)
        pretence = process.pretence(job["overlay"][1] if job.get("overlay") else "")
        if end.recv(64) == handshake.START:
            process.start()
            end.send(b"running")
            _watch(process, end, pretence, str(job.get("bundle") or ""))
    except BaseException as error:
        handshake.tell_failure(end, error)
    process.abandon()
    os._exit(0)


def _create(job: dict[str, Any]) -> Process:
    from sampan.runtime import parent

    bundle, overlay = job["bundle"], job["overlay"]
    with open(f"{bundle}/config.json", "rb") as file:
        spec = plainjson.loads(file.read())
    return parent.create(spec, str(bundle), overlay=overlay, stdio=(0, 1, 2))


def _watch(process: Process, end: Connection, pretence: Pretence | None, bundle: str) -> None:
    """Waits for the program's end, reaping what it leaves behind, or for the connection's."""
    pidfd = syscalls.pidfd_open(process.pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(end, select.POLLIN)
    if pretence:
        poll.register(pretence.listener, select.POLLIN)
    while True:
        ready = [fd for fd, _ in poll.poll()]
        if pretence and pretence.listener in ready:
            if not pretence.answer():
                poll.unregister(pretence.listener)
            continue
        if pidfd in ready:
            code = exit_code(os.waitpid(process.pid, 0)[1])
            # All of the container is gone when its first process is; its cgroup is removed before anyone hears of it.
            process.close()
            if pretence and pretence.nodes and bundle:
                with open(f"{bundle}/{handshake.NODES}", "w") as file:
                    file.write(plainjson.dumps({str(number): owner for number, owner in pretence.nodes.items()}))
            end.send(b"exit %d" % code)
            return
        if not end.recv(64):
            return
