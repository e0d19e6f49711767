"""A further program in a running container: joins its namespaces and cgroup, and goes on as its first process did."""

from __future__ import annotations

import os
import sys

from sampan.errors import NotFound
from sampan.linux import beneath, namespaces, sockets, syscalls
from sampan.linux.sockets import Connection
from sampan.linux.syscalls import prctl
from sampan.runtime import handshake, init
from sampan.runtime.cgroups import container
from sampan.runtime.cgroups.container import Cgroup
from sampan.runtime.parent import Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple, NoReturn
else:
    from sampan.values import NamedTuple

# The user namespace first: it gives the right to join the others. The pid namespace counts for children only.
_ORDER = ("user", "cgroup", "ipc", "uts", "network", "pid", "mount")


class Entry(NamedTuple):
    """What the joining process needs, opened on the host."""

    process: dict[str, Any]
    namespaces: tuple[tuple[int, int], ...]
    cgroup: Cgroup
    seccomp: bytes | None
    stdio: tuple[int, int, int]
    terminal: bool


def create(pid: int, process: dict[str, Any], filter_: bytes, cgroup_path: str, stdio: tuple[int, int, int]) -> Process:
    """Makes a process beside ``pid``, the first one of a running container; start it as one starts that.

    ``filter_`` is its seccomp filter, compiled. The caller must have a single thread. Raises NotFound
    if the container is not running any more.
    """
    entry = Entry(
        process,
        _open_namespaces(pid),
        container.found(cgroup_path) if cgroup_path else (),
        filter_ or None,
        stdio,
        bool(process.get("terminal")),
    )
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    ours, theirs = sockets.pair()
    child = os.fork()
    if child == 0:
        ours.close()
        _join(entry, theirs)
    theirs.close()
    for fd, _ in entry.namespaces:
        os.close(fd)
    try:
        message, _ = handshake.expect(ours, b"pid ")
    except BaseException:
        ours.close()
        raise
    finally:
        os.waitpid(child, 0)
    return Process(int(message[4:]), ours, ())


def _open_namespaces(pid: int) -> tuple[tuple[int, int], ...]:
    """Descriptors of the namespaces in which ``pid`` differs from this process, with their flags."""
    found = []
    for kind in _ORDER:
        name = namespaces.PROC_NAMES.get(kind, kind)
        try:
            if os.stat(f"/proc/{pid}/ns/{name}").st_ino == os.stat(f"/proc/self/ns/{name}").st_ino:
                continue
            found.append((os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), namespaces.FLAGS[kind]))
        except FileNotFoundError:
            raise NotFound("the container is not running any more") from None
    return tuple(found)


def _join(entry: Entry, end: Connection) -> NoReturn:
    try:
        init.settle_signals()
        prctl(syscalls.PR_SET_DUMPABLE, 0)
        container.join(entry.cgroup)
        init.shut_doors()
        loaded = len(sys.modules)
        own = os.stat("/proc/self/exe")
        for fd, flag in entry.namespaces:
            syscalls.setns(fd, flag)
            if flag == syscalls.CLONE_NEWUSER:
                os.setresgid(0, 0, 0)
                os.setresuid(0, 0, 0)
        init.fork_and_tell(end)
        os.setsid()
        init.own_keyring()
        _run(entry, end, own, loaded)
    except BaseException as error:
        handshake.tell_failure(end, error)
        os._exit(1)


def _run(entry: Entry, end: Connection, own: os.stat_result, loaded: int) -> NoReturn:
    stdio = entry.stdio
    if entry.terminal:
        master, slave = init.open_terminal()
        handshake.tell_console(end, master)
        os.close(master)
        stdio = (slave, slave, slave)
    root = beneath.open_root("/")
    cwd_fd = init.working_directory(root, entry.process, make=False)
    os.close(root)
    init.finish(entry.process, entry.seccomp, stdio, entry.terminal, cwd_fd, end, own, loaded)
