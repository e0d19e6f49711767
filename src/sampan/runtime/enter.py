"""A further program in a running container: joins its namespaces and cgroup, and goes on as its first process did."""

from __future__ import annotations

import os
import sys

from sampan.errors import NotFound
from sampan.linux import beneath, namespaces, sockets, syscalls
from sampan.linux.sockets import Connection
from sampan.linux.syscalls import prctl
from sampan.runtime import attributes, console, handshake, identity, init
from sampan.runtime.cgroups import container
from sampan.runtime.cgroups.container import Cgroup
from sampan.runtime.parent import Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple, NoReturn
else:
    from sampan.values import NamedTuple

# The user namespace first: it gives the right to join the others. The pid namespace counts for children only.
_ORDER = ("user", "cgroup", "ipc", "uts", "network", "pid", "time", "mount")


class Entry(NamedTuple):
    """What the joining process needs, opened on the host."""

    namespaces: tuple[tuple[int, int], ...]
    cgroup: Cgroup
    ending: init.Ending
    kept: bool
    scope: str = ""


def create(pid: int, cgroup: Cgroup, ending: init.Ending, *, kept: bool = False, scope: str = "") -> Process:
    """Makes a process in ``cgroup`` beside ``pid``, the first one of a running container; start it as one starts that.

    ``kept`` is whether its user namespace lies below that of its mounts (``init.Job.kept``): it gives no right to the
    others, so it comes last. ``scope`` is systemd's unit, which puts the process there where the caller may not.
    The caller must have a single thread. Raises NotFound if the container is not running any more.
    """
    found = _open_namespaces(pid)
    if kept:
        found = tuple(sorted(found, key=lambda pair: pair[1] == syscalls.CLONE_NEWUSER))
    entry = Entry(found, cgroup, ending, kept, scope)
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
        syscalls.set_command_line(init.TITLE)
        prctl(syscalls.PR_SET_DUMPABLE, 0)
        _enter_cgroup(entry)
        attributes.set_early(entry.ending.process, namespace=True)
        label = attributes.open_label(entry.ending.process)
        init.shut_doors()
        loaded = len(sys.modules)
        own = os.stat("/proc/self/exe")
        ending = entry.ending
        for fd, flag in entry.namespaces:
            if flag == syscalls.CLONE_NEWNS:  # the last one: /proc is the container's from here on
                ending = ending._replace(keeps_groups=identity.groups_are_kept())
            syscalls.setns(fd, flag)
            if flag == syscalls.CLONE_NEWUSER and not entry.kept:
                init.become_root()
        init.fork_and_tell(end)
        os.setsid()
        if ending.keyring:
            identity.own_keyring()
        _run(ending, end, own, loaded, label)
    except BaseException as error:
        handshake.tell_failure(end, error)
        os._exit(1)


def _enter_cgroup(entry: Entry) -> None:
    try:
        container.join(entry.cgroup)
    except PermissionError:
        if not entry.scope:
            raise
        from sampan.runtime.cgroups import systemd

        systemd.attach(entry.scope, os.getpid())


def _run(
    ending: init.Ending, end: Connection, own: os.stat_result, loaded: int, label: tuple[int, bytes] | None
) -> NoReturn:
    if ending.terminal:
        ending = ending._replace(stdio=console.make(ending.process, end, bind=False))
    root = beneath.open_root("/")
    cwd_fd = init.working_directory(root, ending.process, make=False)
    os.close(root)
    init.finish(ending, cwd_fd, end, own, loaded, label)
