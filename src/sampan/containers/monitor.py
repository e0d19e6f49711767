"""The monitor: the one small process that outlives the command line and watches one container.

It makes the container (it is the runtime's parent process), and then does what ``watch`` describes. It is started while
the container is still being described, so that its start and the command line's own work go on side by side; descriptor
3 is its connection to the command line.

When it dies, the container dies with it (PR_SET_PDEATHSIG); its lock is how others know that it lives.
"""

from __future__ import annotations

import os
from _signal import SIG_IGN, SIGPIPE, signal

from sampan import plainjson
from sampan.linux import syscalls
from sampan.linux.sockets import Connection, Pipes
from sampan.runtime import handshake, parent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.containers.executions import Process
    from sampan.containers.watch import Watch


def main() -> None:
    """Entry of the monitor's process."""
    syscalls.set_process_name("sampan-monitor")
    control = Connection(3)
    os.set_inheritable(3, False)
    signal(SIGPIPE, SIG_IGN)
    watch = None
    try:
        message = control.recv(1 << 20)
        if not message:
            os._exit(0)  # the command line changed its mind
        watch = _begin(plainjson.loads(message), control)
        watch.start()
    except BaseException as error:
        if watch:
            watch.undo()
        handshake.tell_failure(control, error)
        os._exit(1)
    try:
        watch.serve()
    except Exception as error:
        watch.give_up(error)
        os._exit(1)
    os._exit(0)


def _begin(job: dict[str, Any], control: Connection) -> Watch:
    """Begins to make the container of ``job``, which ``lifecycle.start`` made. Raises SampanError."""
    lock = _take_lock(f"{job['directory']}/monitor.lock")
    if job["rootless"]:
        from sampan.runtime.cgroups import delegation

        linux = job["spec"]["linux"]
        home = delegation.home(f"sampan-{job['id']}.scope", required=bool(linux.get("resources")))
        linux["cgroupsPath"] = home + linux["cgroupsPath"]
    process, pipes = make(job)
    # Loaded while the container's first process sets itself up.
    from sampan.containers.watch import Watch

    return Watch(job, control, process, pipes, lock)


def make(job: dict[str, Any]) -> tuple[Process, Pipes]:
    """The first process of ``job``'s container as far as its namespaces, and what it is connected with. Raises
    SampanError."""
    directory, spec = job["directory"], job["spec"]
    pipes = Pipes(interactive=job["interactive"], unused=bool(spec["process"].get("terminal")))
    try:
        process = _create(job, spec, directory, pipes.theirs)
    finally:
        for fd in set(pipes.theirs):
            os.close(fd)
    return process, pipes


def _create(job: dict[str, Any], spec: dict[str, Any], directory: str, stdio: tuple[int, int, int]) -> Process:
    if job["runtime"]:
        from sampan.runtime import foreign

        return foreign.create(job["runtime"], job["id"], spec, directory, overlay=job["overlay"], stdio=stdio)
    filter_ = bytes.fromhex(job["filter"])
    return parent.create(spec, directory, overlay=job["overlay"], stdio=stdio, filter_=filter_)


def _take_lock(path: str) -> int:
    import fcntl

    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return fd
