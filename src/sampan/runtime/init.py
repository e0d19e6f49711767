"""The container's first process, from its birth in new namespaces to the execve(2) of the program.

Nothing is imported after the pivot: from then on ``sys.path`` would resolve inside the container, and a late import
would run the image's code with the runtime's privileges. Everything is therefore imported here, at the top, the doors
are shut before the pivot, and the last step compares what is loaded with what was.
"""

from __future__ import annotations

import _signal as signal  # the parts in C: the rest of signal and socket takes 4 ms to load
import _socket as socket
import errno
import fcntl
import os
import struct
import sys

from sampan.errors import Invalid, SampanError, Unavailable
from sampan.linux import beneath, capabilities, mounts, namespaces, seccomp, syscalls
from sampan.linux.sockets import Connection
from sampan.linux.syscalls import named, prctl
from sampan.runtime import attributes, console, handshake, hooks, identity, leader, listener, mounting, program
from sampan.runtime.cgroups import container
from sampan.runtime.cgroups.container import Cgroup
from sampan.runtime.rootfs import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple, NoReturn
else:
    from sampan.values import NamedTuple

TITLE = b"sampan-init"
"""What is seen of these processes inside, in place of words that tell of the host's files."""
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


class Ending(NamedTuple):
    """The last steps of a process before it becomes the program, and what it takes along.

    ``filter_`` is its seccomp filter, with flags. ``tied``: it is killed when the process that made it dies. ``gate``
    is a socket at which it waits for a later command's ``start`` (-1: for none); descriptors from 3 on up to
    ``preserved`` stay open. ``listens``: some of the filter's calls are answered by somebody outside.
    ``keeps_groups``: the user namespace allows no change of groups (``identity.groups_are_kept``).
    """

    process: dict[str, Any]
    filter_: tuple[bytes, int] | None
    stdio: tuple[int, int, int]
    terminal: bool
    tied: bool = True
    gate: int = -1
    preserved: int = 0
    keyring: bool = True
    listens: bool = False
    keeps_groups: bool = False


class Job(NamedTuple):
    """All that the first process needs, worked out by its parent while imports and the host's files are at hand."""

    process: dict[str, Any]
    hostname: str
    domainname: str
    root: bytes
    root_readonly: bool
    overlay: tuple[tuple[str, ...], str, str, bool] | None
    operations: tuple[Operation, ...]
    cgroup: Cgroup
    flags: int
    joined: tuple[tuple[int, int], ...]
    ending: Ending
    user: int | None = None
    """Who it is in a user namespace of its own: 0, or None where no such id is mapped."""
    offsets: bytes = b""
    hooks: hooks.Inside = hooks.NONE_INSIDE
    propagation: int = 0
    """Of the root (``rootfsPropagation``), as mount(2)'s flags."""
    kept: int = -1
    """Who the program is in the first process's namespace, if it goes into another one that has his own id (-1: no)."""
    own_nodes: bool = False
    """Whether device nodes that are made in the container's own layer work."""
    scoped: bool = False
    """Whether systemd puts it into a cgroup, of which it hears then; ``cgroup`` is empty until that."""


def begin(job: Job, end: Connection) -> NoReturn:
    """Runs in a fresh child of the parent: makes the namespaces, forks the first process in them, says its pid, ends.

    Two forks, because a pid namespace receives only the children of the process that makes it.
    """
    try:
        settle_signals()
        syscalls.set_command_line(TITLE)
        # The cgroup comes before its namespace, whose root it becomes.
        if job.scoped:
            job = job._replace(cgroup=container.found(handshake.await_cgroup(end)))
        container.join(job.cgroup)
        attributes.set_early(job.process, namespace=bool(job.flags & syscalls.CLONE_NEWUSER))
        if not job.overlay:
            os.chdir(job.root)  # followed into the mount namespace, whoever may search the directories above it
        job = job._replace(operations=mounting.opened(job.operations))
        _enter_namespaces(job, end)
        fork_and_tell(end)
        _first_process(job, end)
    except BaseException as error:
        handshake.tell_failure(end, error)
        os._exit(1)


def _enter_namespaces(job: Job, end: Connection) -> None:
    # Nobody in the container may trace this process or use its open files (CVE-2016-9962).
    prctl(syscalls.PR_SET_DUMPABLE, 0)
    for fd, flag in job.joined:
        if flag == syscalls.CLONE_NEWNS:
            shut_doors()  # files are someone else's from here on
        syscalls.setns(fd, flag)
        if flag == syscalls.CLONE_NEWUSER:
            become_root()
    if job.flags & syscalls.CLONE_NEWUSER:
        prctl(syscalls.PR_SET_DUMPABLE, 1)  # nobody else is in it yet, and its maps are to be written
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        end.send(handshake.USER)
        handshake.await_word(end, handshake.GO)
        if job.user is not None:
            become_root()
    if job.offsets:
        prctl(syscalls.PR_SET_DUMPABLE, 1)
        syscalls.unshare(syscalls.CLONE_NEWTIME)
        with open("/proc/self/timens_offsets", "wb", buffering=0) as file:
            file.write(job.offsets)
    prctl(syscalls.PR_SET_DUMPABLE, 0)
    made = job.flags & ~syscalls.CLONE_NEWUSER & ~(syscalls.CLONE_NEWTIME if job.offsets else 0)
    if made:
        syscalls.unshare(made)


def become_root() -> None:
    """After a user namespace was entered: root's ids in it."""
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def fork_and_tell(end: Connection) -> None:
    """Goes on in a child. This process says its pid, which is the first thing that is said, and ends."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid:
        handshake.tell_pid(end, pid)
        os._exit(0)
    os.close(tell)
    os.read(told, 1)  # the end of file: it has been said
    os.close(told)


def _first_process(job: Job, end: Connection) -> NoReturn:
    ending = job.ending
    os.setsid()
    if ending.keyring:
        identity.own_keyring()
    own = os.stat("/proc/self/exe")
    if job.flags & syscalls.CLONE_NEWUTS or job.ending.gate >= 0:
        _set_names(job)
    if job.flags & syscalls.CLONE_NEWNET:
        _raise_loopback()
    if job.flags & syscalls.CLONE_NEWNS:
        # What is mounted here must not show on the host, nor the other way round while things are being moved.
        mounts.mount(b"", b"/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    root_fd = _open_root(job)
    mounting.perform(list(job.operations), root_fd, job.cgroup)
    if job.hooks.waits:
        end.send(handshake.MOUNTED)
        handshake.await_word(end, handshake.GO)
    hooks.perform(job.hooks.create, hooks.state(job.hooks.state, b"creating", os.getpid()))
    label = attributes.open_label(job.process)
    ending = ending._replace(keeps_groups=identity.groups_are_kept())
    cwd_fd = working_directory(root_fd, job.process)
    shut_doors()
    loaded = len(sys.modules)
    if _has_mounts(job):
        _pivot(root_fd)
    else:
        os.fchdir(root_fd)
        os.chroot(".")
        os.close(root_fd)
    if ending.terminal:
        ending = ending._replace(stdio=console.make(ending.process, end, bind=True, owner=job.kept))
    if job.propagation:
        mounts.mount(b"", b"/", None, job.propagation)
    if job.root_readonly:
        mounts.set_attributes(os.open("/", os.O_PATH | os.O_DIRECTORY), mounts.MOUNT_ATTR_RDONLY)
    if job.kept >= 0:
        _enter_kept(end)
    finish(ending, cwd_fd, end, own, loaded, label, job.hooks)


def _enter_kept(end: Connection) -> None:
    """Goes into a user namespace below that of the mounts, whose maps the parent writes."""
    prctl(syscalls.PR_SET_DUMPABLE, 1)  # its maps are to be written, and nobody else is in it yet
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    end.send(handshake.USER)
    handshake.await_word(end, handshake.GO)
    prctl(syscalls.PR_SET_DUMPABLE, 0)


def finish(
    ending: Ending,
    cwd_fd: int,
    end: Connection,
    own: os.stat_result,
    loaded: int,
    label: tuple[int, bytes] | None,
    inside: hooks.Inside = hooks.NONE_INSIDE,
) -> NoReturn:
    """From a process that is in its namespaces and root to the program: the order of the steps is law."""
    process = ending.process
    console.place(ending.stdio, ending.terminal)
    attributes.give_stdio((process.get("user") or {}).get("uid", 0))
    # A limit of open files counts for ours too; above, descriptors get numbers that it may not allow.
    attributes.set_limits(process)
    attributes.set_priorities(process)
    no_new_privileges = bool(process.get("noNewPrivileges"))
    sets = process.get("capabilities") or {}
    if not no_new_privileges:
        # Without no_new_privs loading a filter is privileged, so it comes before the capabilities go.
        _filter(ending, end)
    capabilities.limit_bounding(capabilities.mask(sets.get("bounding") or ()))
    identity.become(process.get("user") or {}, keeps_groups=ending.keeps_groups)
    _enter(process, cwd_fd)
    identity.take_capabilities(sets)
    if no_new_privileges:
        prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    if label:
        os.write(*label)
    if no_new_privileges:
        _filter(ending, end)
    path, environment = program.find(process, own)
    if process.get("pretence"):
        # The last filter: from here on nothing of ours makes a call that it answers.
        _pretend(process["pretence"]["filter"], end)
    else:
        end.send(handshake.READY)
    _await_start(ending, end)
    if ending.tied:
        # Last, because a change of user clears it: the container does not outlive who watches it.
        prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    hooks.perform(inside.start, hooks.state(inside.state, b"created", os.getpid()))
    syscalls.close_range(3 + ending.preserved, flags=syscalls.CLOSE_RANGE_CLOEXEC)
    if len(sys.modules) != loaded:
        raise SampanError("a module was loaded after the pivot; the program was not started")
    if process.get("init"):
        leader.lead()
    try:
        os.execve(path, process["args"], environment)
    except OSError as error:
        raise program.not_executable(process["args"][0], error) from None


def _filter(ending: Ending, end: Connection) -> None:
    if ending.filter_ and ending.listens:
        listener.install(*ending.filter_, end)
    elif ending.filter_:
        seccomp.install(*ending.filter_)


def _pretend(filter_: str, end: Connection) -> None:
    """Has the parent answer what the filter (in hexadecimal) notifies."""
    try:
        fd = seccomp.listen(bytes.fromhex(filter_))
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        # Only one may listen (seccomp(2)): this container is in one that pretends already.
        end.send(handshake.READY)
        return
    end.send_descriptors(handshake.READY, (fd,))
    os.close(fd)


def _await_start(ending: Ending, end: Connection) -> None:
    """Waits for the word to begin: the parent's, or that of a later command where the parent is to go away first.

    That command's connection takes the place of the parent's, and hears of what goes wrong from here on.
    """
    word = end.recv(64)
    while word != handshake.START:
        if word != handshake.LATER:
            os._exit(1)  # the parent gave up, or is gone
        with Connection(os.dup(ending.gate)) as gate, gate.accept() as caller:
            os.dup2(caller.fileno(), end.fileno(), inheritable=False)
        word = end.recv(64) or handshake.LATER  # one who went away before he said it is not the last to come


def shut_doors() -> None:
    """From here on an import raises instead of reading files that soon are the container's."""
    sys.meta_path.clear()
    sys.path.clear()
    sys.path_hooks.clear()


def settle_signals() -> None:
    """Python ignores SIGPIPE and SIGXFSZ, and an ignored signal stays ignored across execve(2)."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _set_names(job: Job) -> None:
    for call, name in (("sethostname", job.hostname), ("setdomainname", job.domainname)):
        if name:
            text = name.encode()
            named(call, text, len(text))


def _raise_loopback() -> None:
    """Turns on the network interface that every network namespace is born with (netdevice(7))."""
    any_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
    except PermissionError:
        raise Unavailable(
            "a network of the container's own takes CAP_NET_ADMIN, which root has not", hint="--network host does not"
        ) from None
    finally:
        any_socket.close()


def _open_root(job: Job) -> int:
    """Mounts the snapshot, or the root itself so that it is a mount point (pivot_root(2) wants one), and opens it."""
    if job.overlay and not _has_mounts(job):
        return beneath.open_root(job.overlay[1])
    if job.overlay:
        mounting.mount_overlay(job.root, *job.overlay, flags=0 if job.own_nodes else mounts.MS_NODEV)
        return beneath.open_root(job.root)
    root_fd = mounts.open_tree(b".", recursive=True)
    here = os.open(".", os.O_PATH | os.O_CLOEXEC)
    mounts.attach(root_fd, here)
    os.close(here)
    return root_fd


def _has_mounts(job: Job) -> bool:
    """Whether the container has a mount namespace, and not only a directory as its root (chroot(2))."""
    return bool(job.flags & syscalls.CLONE_NEWNS or any(flag == syscalls.CLONE_NEWNS for _, flag in job.joined))


def working_directory(root_fd: int, process: dict[str, Any], *, make: bool = True) -> int:
    """Opens the working directory below the root, where a path such as /proc/self/fd/7 leads nowhere.

    One that is missing is made, or else is an error.
    """
    cwd = process.get("cwd") or "/"
    if not cwd.startswith("/"):
        raise Invalid(f"the working directory {cwd!r} is not absolute")
    try:
        if make:
            return beneath.make_directories(root_fd, os.fsencode(cwd))
        return beneath.open_directory(root_fd, os.fsencode(cwd))
    except OSError as error:
        raise SampanError(f"cannot use the working directory {cwd}: {os.strerror(error.errno or 0)}") from None


def _pivot(root_fd: int) -> None:
    os.fchdir(root_fd)
    # Both arguments the same: the old root ends up upon the new one and is taken away (pivot_root(2), NOTES).
    try:
        syscalls.pivot_root(b".", b".")
    except PermissionError:
        raise Unavailable(namespaces.NO_PIVOT, hint=namespaces.SECCOMP_HINT) from None
    mounts.umount(b".", mounts.MNT_DETACH)
    os.chdir("/")
    os.close(root_fd)


def _enter(process: dict[str, Any], cwd_fd: int) -> None:
    """Changes to the working directory as the program's user, and makes sure that it is inside (CVE-2024-21626)."""
    try:
        os.fchdir(cwd_fd)
        inside = os.getcwd().startswith("/")
    except OSError as error:
        raise SampanError(f"cannot change to the working directory {process.get('cwd')}: {error.strerror}") from None
    if not inside:
        raise SampanError(f"the working directory {process.get('cwd')} is outside the container")
