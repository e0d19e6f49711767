"""The parent's half of making a container: everything that needs imports or the host's files is worked out here, then
the first process is forked, and the two shake hands.

The process that calls ``create`` must have a single thread (law 5): it forks.
"""

from __future__ import annotations

import os
from _signal import SIGKILL

from sampan.errors import Invalid, Unsupported
from sampan.linux import namespaces, seccomp, sockets, syscalls
from sampan.linux.sockets import Connection
from sampan.runtime import handshake, init, rootfs
from sampan.runtime.cgroups import container
from sampan.runtime.cgroups.container import Cgroup
from sampan.runtime.defaults import DEVICES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Process:
    """A container's first process. Made by ``create``; runs after ``start``; gone after ``wait``."""

    def __init__(self, pid: int, end: Connection, cgroup: Cgroup) -> None:
        self.pid = pid
        self._end = end
        self._cgroup = cgroup

    def ready(self, *, terminal: bool = False) -> int:
        """Waits until only the program is missing, and gives the terminal's master (-1 if none was asked for)."""
        console = -1
        if terminal:
            _, fds = handshake.expect(self._end, handshake.CONSOLE)
            console = fds[0]
        handshake.expect(self._end, handshake.READY)
        return console

    def start(self) -> None:
        """Lets the program run. Raises CommandMissing or NotExecutable if it cannot be."""
        self._end.send(handshake.START)
        handshake.expect_end(self._end)

    def wait(self) -> int:
        """Waits for its end and gives the exit code, 128+n for signal n."""
        return exit_code(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        """Forgets the container; the cgroup goes. Its processes must be gone (``wait``)."""
        self._end.close()
        container.remove(self._cgroup)

    def abandon(self) -> None:
        """Kills the container, wherever its making stood, and waits until it is gone."""
        self._end.close()
        try:
            os.kill(self.pid, SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        container.remove(self._cgroup)


def exit_code(status: int) -> int:
    """Docker's exit code for a wait status."""
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def create(
    spec: dict[str, Any],
    bundle: str,
    *,
    overlay: tuple[tuple[str, ...], str, str, bool] | None,
    stdio: tuple[int, int, int],
    filter_: bytes = b"",
) -> Process:
    """Makes a container from its runtime spec as far as its namespaces, and gives its first process.

    ``overlay`` (lower directories, upper, work, userxattr) is mounted on the spec's root before all else; ``filter_``
    is the spec's seccomp profile, if somebody compiled it already.
    """
    job = _job(spec, bundle, overlay, stdio, filter_)
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    ours, theirs = sockets.pair()
    child = os.fork()
    if child == 0:
        ours.close()
        init.begin(job, theirs)
    theirs.close()
    try:
        message, _ = handshake.expect(ours, b"pid ")
    except BaseException:
        ours.close()
        container.remove(job.cgroup)
        raise
    finally:
        os.waitpid(child, 0)
    return Process(int(message[4:]), ours, job.cgroup)


def _job(
    spec: dict[str, Any],
    bundle: str,
    overlay: tuple[tuple[str, ...], str, str, bool] | None,
    stdio: tuple[int, int, int],
    filter_: bytes,
) -> init.Job:
    linux = spec.get("linux") or {}
    if not (spec.get("process") or {}).get("args"):
        raise Invalid("no command was given, and the image has none")
    operations = tuple(rootfs.plan(spec, DEVICES))
    if linux.get("seccomp") and not filter_:
        filter_ = seccomp.compile(linux["seccomp"], os.uname().machine)
    resources = linux.get("resources") or {}
    cgroup = container.plan(linux["cgroupsPath"]) if linux.get("cgroupsPath") else ()
    return init.Job(
        process=spec["process"],
        hostname=spec.get("hostname") or "",
        domainname=spec.get("domainname") or "",
        root=os.fsencode(os.path.join(bundle, spec["root"]["path"])),
        root_readonly=bool(spec["root"].get("readonly")),
        overlay=overlay,
        operations=operations,
        flags=_flags(linux),
        seccomp=filter_ or None,
        stdio=stdio,
        terminal=bool(spec["process"].get("terminal")),
        cgroup=container.make(cgroup, resources, required=bool(resources)),
    )


def _flags(linux: dict[str, Any]) -> int:
    flags = 0
    for namespace in linux.get("namespaces") or ():
        kind = namespace["type"]
        if kind not in namespaces.FLAGS:
            raise Invalid(f"unknown kind of namespace: {kind}")
        if namespace.get("path") or kind == "user":
            raise Unsupported(f"a {kind} namespace given by path, or with id maps, is not supported yet")
        flags |= namespaces.FLAGS[kind]
    return flags
