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
from sampan.runtime import handshake, hooks, init, rootfs
from sampan.runtime.cgroups import container
from sampan.runtime.cgroups.choose import PARENT
from sampan.runtime.cgroups.container import Cgroup
from sampan.runtime.defaults import DEVICES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sampan.linux.fuse import Mounted
    from sampan.runtime.idmaps import Maps
    from sampan.runtime.pretence import Pretence


class Process:
    """A container's first process. Made by ``create``; runs after ``start``; gone after ``wait``."""

    def __init__(self, pid: int, end: Connection, cgroup: Cgroup, *, leads: bool = True) -> None:
        """``leads`` is whether it is the first of its pid namespace, so that the kernel ends all others with it."""
        self.pid = pid
        self._end = end
        self.cgroup = cgroup
        self._leads = leads
        self.path = ""
        """Of the cgroup, if systemd made it."""
        self._listener = -1
        self.mounted: Mounted | None = None
        """Who shows it its file system, if that is a program."""
        self.missing: tuple[str, ...] = ()
        """Names of settings of its cgroup that could not be had here."""
        self.early: tuple[hooks.Hook, ...] = ()
        """Hooks that run on the host when all is mounted; each hears ``told``."""
        self.told = b""
        self.maps: Maps | None = None
        """The ids of the user namespace that its program is in, if that is another one than that of its mounts."""

    def ready(
        self,
        *,
        terminal: bool = False,
        mounted: Callable[[], None] | None = None,
        listening: Callable[[int], None] | None = None,
    ) -> int:
        """Waits until only the program is missing, and gives the terminal's master (-1 if none was asked for).

        ``mounted`` is called when all is mounted, if the first process was told to wait for that; ``listening`` with
        the descriptor on which its calls are notified, if somebody is to answer them.
        """
        console = -1
        if mounted or self.early:
            handshake.expect(self._end, handshake.MOUNTED)
            if mounted:
                mounted()
            hooks.perform(self.early, hooks.state(self.told, b"creating", self.pid))
            self._end.send(handshake.GO)
        if terminal:
            _, fds = handshake.expect(self._end, handshake.CONSOLE)
            console = fds[0]
        if self.maps:
            from sampan.runtime import idmaps

            handshake.expect(self._end, handshake.USER)
            idmaps.write(self.pid, self.maps)
            self._end.send(handshake.GO)
        if listening:
            listening(handshake.expect(self._end, handshake.LISTENER)[1][0])
        _, fds = handshake.expect(self._end, handshake.READY)
        self._listener = fds[0] if fds else -1
        return console

    def leave(self) -> None:
        """Leaves it to whoever comes to its gate to let it run."""
        self._end.send(handshake.LATER)
        self._end.close()

    def pretence(self, upper: str) -> Pretence | None:
        """Who answers its calls from now on, for a container that has to pretend; its changes go to ``upper``. To be
        asked once, when it is ready."""
        if self._listener < 0:
            return None
        from sampan.runtime.pretence import Pretence

        return Pretence(self._listener, upper)

    def start(self) -> None:
        """Lets the program run. Raises CommandMissing or NotExecutable if it cannot be."""
        self._end.send(handshake.START)
        handshake.expect_end(self._end)

    def kill(self, number: int) -> None:
        """Sends it a signal."""
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Waits for its end and gives the exit code, 128+n for signal n."""
        return exit_code(os.waitpid(self.pid, 0)[1])

    def oom_kills(self) -> int:
        """How many of its processes were killed for want of memory. To be asked before ``close``."""
        return container.oom_kills(self.cgroup)

    def close(self) -> None:
        """Forgets the container; the cgroup goes. Its first process must be gone (``wait``)."""
        self._end.close()
        if not self._leads:
            _end_children()
        container.remove(self.cgroup)
        if self.mounted:
            self.mounted.close()

    def abandon(self) -> None:
        """Kills the container, wherever its making stood, and waits until it is gone."""
        self._end.close()
        try:
            os.kill(self.pid, SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        if not self._leads:
            _end_children()
        container.remove(self.cgroup)
        if self.mounted:
            self.mounted.close()


def _end_children() -> None:
    """Kills all that the container's processes left behind: they are children of ours now (PR_SET_CHILD_SUBREAPER)."""
    while True:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
            children = [int(pid) for pid in file.read().split()]
        if not children:
            return
        for pid in children:
            os.kill(pid, SIGKILL)
            os.waitpid(pid, 0)


def exit_code(status: int) -> int:
    """Docker's exit code for a wait status."""
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def create(
    spec: dict[str, Any],
    bundle: str,
    *,
    overlay: tuple[tuple[str, ...], str, str, bool, bool] | None,
    stdio: tuple[int, int, int],
    filter_: bytes = b"",
) -> Process:
    """Makes a container from its runtime spec as far as its namespaces, and gives its first process.

    ``overlay`` (lower directories, upper, work, userxattr; by fuse-overlayfs?) is mounted on the spec's root before all
    else; in a spec without any namespaces its upper directory is the root, for want of anything better. ``filter_`` is
    the spec's seccomp profile, if somebody compiled it already.
    """
    if not overlay or not overlay[4]:
        return _create(spec, bundle, overlay and overlay[:4], stdio, filter_)
    from sampan.linux import fuse

    mounted = fuse.mount(*overlay[:3])
    try:
        process = _create(spec, bundle, ((), mounted.path, *overlay[2:4]), stdio, filter_)
    except BaseException:
        mounted.close()
        raise
    process.mounted = mounted
    return process


def _create(
    spec: dict[str, Any],
    bundle: str,
    overlay: tuple[tuple[str, ...], str, str, bool] | None,
    stdio: tuple[int, int, int],
    filter_: bytes,
) -> Process:
    if not (spec.get("process") or {}).get("args"):
        raise Invalid("no command was given, and the image has none")
    linux = spec.get("linux") or {}
    if linux.get("seccomp") and not filter_:
        filter_ = seccomp.compile(linux["seccomp"], os.uname().machine)
    resources = linux.get("resources") or {}
    cgroup = container.plan(linux["cgroupsPath"], resources) if linux.get("cgroupsPath") else ()
    missing: list[str] = []
    kept = linux.get("keptIds")
    early, inside = hooks.beside(spec, bundle)
    job = init.Job(
        process=spec["process"],
        hostname=spec.get("hostname") or "",
        domainname=spec.get("domainname") or "",
        root=os.fsencode(os.path.join(bundle, spec["root"]["path"])),
        root_readonly=bool(spec["root"].get("readonly")),
        overlay=overlay,
        operations=tuple(rootfs.plan(spec, DEVICES)),
        flags=flags(linux) if linux.get("namespaces") else 0,
        joined=joined(linux),
        cgroup=container.make(cgroup, resources, required=bool(resources) or _is_elsewhere(linux), missing=missing),
        ending=init.Ending(
            spec["process"],
            (filter_, seccomp.SPEC_ALLOW) if filter_ else None,
            stdio,
            bool(spec["process"].get("terminal")),
        ),
        hooks=inside,
        kept=_outside(kept[0], spec["process"]["user"]["uid"]) if kept else -1,
        own_nodes=bool(linux.get("ownNodes")),
    )
    process = begin(job)
    process.missing = tuple(missing)
    process.early = early
    process.told = inside.state
    if kept:
        from sampan.runtime import idmaps

        process.maps = idmaps.Maps(*(tuple(namespaces.IdRange(*each) for each in ranges) for ranges in kept))
    return process


def _outside(ranges: list[tuple[int, int, int]], inside: int) -> int:
    """What an id is called outside of a user namespace with these maps; root's where it is not mapped."""
    return next((outside + inside - first for first, outside, length in ranges if first <= inside < first + length), 0)


def _is_elsewhere(linux: dict[str, Any]) -> bool:
    """Whether the container's cgroup was asked for, and is not just where all are."""
    path = linux.get("cgroupsPath") or ""
    return bool(path) and not path.startswith(f"/{PARENT}/")


def begin(job: init.Job, maps: Maps | None = None, place: Callable[[int], tuple[str, Cgroup]] | None = None) -> Process:
    """Forks the first process of a container; ``maps`` are the ids of its user namespace, if it gets one.

    ``place`` puts a ``scoped`` job's child, whose pid it gets, into a cgroup, and tells its path and memberships.
    """
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    ours, theirs = sockets.pair()
    child = os.fork()
    if child == 0:
        ours.close()
        init.begin(job, theirs)
    theirs.close()
    for fd, _ in job.joined:
        os.close(fd)
    path = ""
    try:
        if place:
            path, cgroup = place(child)
            job = job._replace(cgroup=cgroup)
            ours.send(handshake.CGROUP + os.fsencode(path))
        if maps:
            handshake.expect(ours, handshake.USER)
            from sampan.runtime import idmaps

            idmaps.write(child, maps)
            ours.send(handshake.GO)
        message, _ = handshake.expect(ours, b"pid ")
    except BaseException:
        ours.close()
        container.remove(job.cgroup)
        raise
    finally:
        os.waitpid(child, 0)
    process = Process(int(message[4:]), ours, job.cgroup, leads=bool(job.flags & syscalls.CLONE_NEWPID))
    process.path = path
    return process


def flags(linux: dict[str, Any]) -> int:
    """The flags of the namespaces that are made."""
    made = 0
    seen = set()
    for namespace in linux.get("namespaces") or ():
        kind = kind_of(namespace)
        if kind in seen:
            raise Invalid(f"the {kind} namespace is given twice")
        seen.add(kind)
        if not namespace.get("path"):
            made |= namespaces.FLAGS[kind]
    # In the engine's own one the pivot would give the host another root.
    if "mount" not in namespaces.apart(linux.get("namespaces") or []):
        raise Unsupported("a container without a mount namespace is not supported")
    return made


def kind_of(namespace: dict[str, Any]) -> str:
    """The type of one of the spec's namespaces. Raises Invalid if there is no such."""
    kind = namespace.get("type")
    if kind not in namespaces.FLAGS:
        raise Invalid(f"unknown kind of namespace: {kind}")
    return str(kind)


def joined(linux: dict[str, Any]) -> tuple[tuple[int, int], ...]:
    """Descriptors of the namespaces that are given by path, with their flags. Raises Invalid if one is not there."""
    found = []
    # The user namespace first: it gives the right to join the others. The mount namespace last: paths are its own.
    given = sorted(linux.get("namespaces") or (), key=lambda each: (each["type"] == "mount", each["type"] != "user"))
    for namespace in given:
        path = namespace.get("path")
        if not path:
            continue
        try:
            found.append((os.open(path, os.O_RDONLY | os.O_CLOEXEC), namespaces.FLAGS[namespace["type"]]))
        except OSError as error:
            raise Invalid(f"cannot join the {namespace['type']} namespace {path}: {error.strerror}") from None
    return tuple(found)
