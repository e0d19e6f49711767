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
import stat
import struct
import sys
import termios

from sampan.errors import CommandMissing, Invalid, NotExecutable, SampanError, Unavailable
from sampan.linux import beneath, capabilities, mounts, namespaces, seccomp, syscalls
from sampan.linux.sockets import Connection
from sampan.linux.syscalls import named, prctl
from sampan.runtime import attributes, handshake, hooks, listener, rootfs
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
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSWD_LIMIT = 1 << 20
_KEYCTL_JOIN_SESSION_KEYRING = 1
_TIOCGPTPEER = 0x5441
_TIOCSPTLCK = 0x40045431
_DEVPTS_SUPER_MAGIC = 0x1CD1
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


class Ending(NamedTuple):
    """The last steps of a process before it becomes the program, and what it takes along.

    ``filter_`` is its seccomp filter, with flags. ``tied``: it is killed when the process that made it dies. ``gate``
    is a socket at which it waits for a later command's ``start`` (-1: for none); descriptors from 3 on up to
    ``preserved`` stay open. ``listens``: some of the filter's calls are answered by somebody outside.
    ``keeps_groups``: the user namespace allows no change of groups (``groups_are_kept``).
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
        job = job._replace(operations=rootfs.opened(job.operations))
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
        own_keyring()
    own = os.stat("/proc/self/exe")
    if job.flags & syscalls.CLONE_NEWUTS or job.ending.gate >= 0:
        _set_names(job)
    if job.flags & syscalls.CLONE_NEWNET:
        _raise_loopback()
    if job.flags & syscalls.CLONE_NEWNS:
        # What is mounted here must not show on the host, nor the other way round while things are being moved.
        mounts.mount(b"", b"/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    root_fd = _open_root(job)
    rootfs.perform(list(job.operations), root_fd, job.cgroup)
    if job.hooks.waits:
        end.send(handshake.MOUNTED)
        handshake.await_word(end, handshake.GO)
    hooks.perform(job.hooks.create, hooks.state(job.hooks.state, b"creating", os.getpid()))
    label = attributes.open_label(job.process)
    ending = ending._replace(keeps_groups=groups_are_kept())
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
        ending = ending._replace(stdio=console(ending.process, end, bind=True, owner=job.kept))
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


def console(process: dict[str, Any], end: Connection, *, bind: bool, owner: int = -1) -> tuple[int, int, int]:
    """A terminal of the container's own, whose other side is sent to the parent, as standard descriptors. It belongs to
    the program's user, or to ``owner`` unless that is negative."""
    master, slave = open_terminal()
    if bind:
        _bind_console(slave)
    size = process.get("consoleSize") or {}
    if size.get("height") and size.get("width"):
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", size["height"], size["width"], 0, 0))
    uid = owner if owner >= 0 else (process.get("user") or {}).get("uid", 0)
    if os.fstat(slave).st_uid != uid:
        os.fchown(slave, uid, -1)
    handshake.tell_console(end, master)
    os.close(master)
    return slave, slave, slave


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
    _place_stdio(ending.stdio, ending.terminal)
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
    _become(process.get("user") or {}, keeps_groups=ending.keeps_groups)
    _enter(process, cwd_fd)
    _take_capabilities(sets)
    if no_new_privileges:
        prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    if label:
        os.write(*label)
    if no_new_privileges:
        _filter(ending, end)
    program, environment = _program(process, own)
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
        _lead(end)
    try:
        os.execve(program, process["args"], environment)
    except OSError as error:
        raise _not_executable(process["args"][0], error) from None


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


_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def _lead(end: Connection) -> None:
    """Goes on in a child, which becomes the program. This process stays the first one of the container (``--init``):
    it passes signals on, buries whoever loses his parent, and ends as the program does."""
    watched = (*_FORWARDED, signal.SIGCHLD, signal.SIGWINCH, signal.SIGCONT, signal.SIGTSTP)
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    pid = os.fork()
    if not pid:
        os.setpgid(0, 0)
        if os.isatty(0):
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTTOU,))
            os.tcsetpgrp(0, os.getpid())
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        return
    syscalls.set_process_name("sampan-init")
    # Nothing of the host's may stay open in a process that the container could come to trace.
    syscalls.close_range(0)
    while True:
        number = signal.sigwait(watched)
        if number != signal.SIGCHLD:
            os.kill(pid, number)
            continue
        status = _bury(pid)
        if status is not None:
            _end_as(status)


def _bury(program: int) -> int | None:
    """Waits for all children that have ended; the status of the program if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if not pid:
            return found
        if pid == program:
            found = status


def _end_as(status: int) -> NoReturn:
    if os.WIFSIGNALED(status):
        os._exit(128 + os.WTERMSIG(status))  # the first process of a namespace cannot kill itself by signal
    os._exit(os.WEXITSTATUS(status))


def own_keyring() -> None:
    """A session keyring of its own, so that the host's keys stay out of reach; not every kernel has keyrings."""
    try:
        named("keyctl", _KEYCTL_JOIN_SESSION_KEYRING, 0)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EDQUOT):
            raise


def shut_doors() -> None:
    """From here on an import raises instead of reading files that soon are the container's."""
    sys.meta_path.clear()
    sys.path.clear()
    sys.path_hooks.clear()


def open_terminal() -> tuple[int, int]:
    """A new pseudo-terminal of the container's own devpts: master and slave (pts(4), ioctl_tty(2) TIOCGPTPEER)."""
    master = os.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC)
    if mounts.filesystem_type(master) != _DEVPTS_SUPER_MAGIC:
        raise SampanError("the container's /dev/pts is not a devpts file system")
    fcntl.ioctl(master, _TIOCSPTLCK, (0).to_bytes(4, sys.byteorder))
    slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    return master, slave


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
        mount_overlay(job.root, *job.overlay, flags=0 if job.own_nodes else mounts.MS_NODEV)
        return beneath.open_root(job.root)
    root_fd = mounts.open_tree(b".", recursive=True)
    here = os.open(".", os.O_PATH | os.O_CLOEXEC)
    mounts.attach(root_fd, here)
    os.close(here)
    return root_fd


def _has_mounts(job: Job) -> bool:
    """Whether the container has a mount namespace, and not only a directory as its root (chroot(2))."""
    return bool(job.flags & syscalls.CLONE_NEWNS or any(flag == syscalls.CLONE_NEWNS for _, flag in job.joined))


def mount_overlay(target: bytes, lower: tuple[str, ...], upper: str, work: str, userxattr: bool, flags: int) -> None:
    """overlayfs takes one page of options, so directories are named relative to the one that holds them all."""
    if not lower:  # a single directory needs no overlay, and overlayfs refuses it
        mounts.mount(os.fsencode(upper), target, None, 0x1000)
        return
    base = os.path.dirname(os.path.dirname(upper))
    os.chdir(base)
    below = ":".join(os.path.relpath(path, base) for path in lower)
    options = f"lowerdir={below},upperdir={os.path.relpath(upper, base)},workdir={os.path.relpath(work, base)}"
    if userxattr:
        options += ",userxattr"
    try:
        mounts.mount(b"overlay", target, b"overlay", flags, options.encode())
    except OSError as error:
        raise SampanError(
            f"cannot mount the container's file system (overlayfs): {os.strerror(error.errno or 0)}"
        ) from None


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


def _bind_console(slave: int) -> None:
    """Shows the terminal as /dev/console too, by descriptor: a link there would lead elsewhere (CVE-2025-52565)."""
    try:
        os.mknod("/dev/console", stat.S_IFREG | 0o600)
    except FileExistsError:
        pass  # whatever it is, it is covered, and never opened for more than that
    target = os.open("/dev/console", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    kind = stat.S_IFMT(os.fstat(target).st_mode)
    if kind in (stat.S_IFLNK, stat.S_IFDIR):
        raise SampanError(f"the container's /dev/console is a {'link' if kind == stat.S_IFLNK else 'directory'}")
    clone = mounts.open_tree(b"", dir_fd=slave)
    mounts.attach(clone, target)
    os.close(clone)
    os.close(target)


def _place_stdio(stdio: tuple[int, int, int], terminal: bool) -> None:
    if terminal:
        fcntl.ioctl(stdio[0], termios.TIOCSCTTY, 0)
    # Moved out of the way first: a source may itself be 0, 1 or 2.
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in stdio]
    for number, fd in enumerate(high):
        os.dup2(fd, number, inheritable=True)


def _become(user: dict[str, Any], *, keeps_groups: bool) -> None:
    """Changes to the program's user: groups first, then gid, then uid, while each is still allowed."""
    uid, gid = user.get("uid", 0), user.get("gid", 0)
    groups = list(user.get("additionalGids") or ())
    os.umask(user.get("umask", 0o022))
    try:
        # With a single group mapped there are no others to have or to lose.
        if not keeps_groups or set(groups) - {gid}:
            os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        prctl(syscalls.PR_SET_KEEPCAPS, 1)
        os.setresuid(uid, uid, uid)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise
        raise SampanError(
            f"cannot become user {uid}:{gid}: this id does not exist in the user namespace",
            hint="an administrator can give you subordinate ids: usermod --add-subuids 100000-165535 "
            "--add-subgids 100000-165535 USER, with the package uidmap installed",
        ) from None


def groups_are_kept() -> bool:
    """Whether this process's user namespace forbids setgroups(2) (user_namespaces(7)). To be asked before the pivot."""
    with open("/proc/self/setgroups", "rb", buffering=0) as file:
        return file.read().strip() == b"deny"


def _enter(process: dict[str, Any], cwd_fd: int) -> None:
    """Changes to the working directory as the program's user, and makes sure that it is inside (CVE-2024-21626)."""
    try:
        os.fchdir(cwd_fd)
        inside = os.getcwd().startswith("/")
    except OSError as error:
        raise SampanError(f"cannot change to the working directory {process.get('cwd')}: {error.strerror}") from None
    if not inside:
        raise SampanError(f"the working directory {process.get('cwd')} is outside the container")


def _take_capabilities(sets: dict[str, Any]) -> None:
    available = capabilities.bounding()
    effective, permitted, inheritable, ambient = (
        capabilities.mask(sets.get(name) or ()) & available
        for name in ("effective", "permitted", "inheritable", "ambient")
    )
    capabilities.set_all(effective, permitted, inheritable)
    # What runc's "spec" writes asks for more; the kernel would refuse it (capabilities(7)), and other runtimes drop it.
    capabilities.set_ambient(ambient & permitted & inheritable)


def _program(process: dict[str, Any], own: os.stat_result) -> tuple[str, dict[str, str]]:
    """The absolute path of the program, found by its own walk of PATH (os.execvp imports), and its environment."""
    environment = {}
    for entry in process.get("env") or ():
        key, equals, value = entry.partition("=")
        if key and equals:  # an entry without "=" must not draw a value from outside (podman's CVE-2026-57231)
            environment[key] = value
    if "HOME" not in environment:
        environment["HOME"] = _home((process.get("user") or {}).get("uid", 0))
    command = process["args"][0]
    if not command:
        raise CommandMissing("the command is empty")
    if "/" in command:
        return _checked(command, command, own), environment
    for directory in environment.get("PATH", DEFAULT_PATH).split(":"):
        candidate = f"{directory or '.'}/{command}"
        try:
            status = os.stat(candidate)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode) and (os.access(candidate, os.X_OK) or _forbids_all(candidate)):
            return _checked(candidate, command, own), environment
    raise CommandMissing(f'exec: "{command}": executable file not found in $PATH')


def _home(uid: int) -> str:
    """A user's home by the container's /etc/passwd (passwd(5)), "/" for one whom it does not know."""
    try:
        root = beneath.open_root("/")
        lines = beneath.read_file(root, b"/etc/passwd", _PASSWD_LIMIT).split(b"\n")
        os.close(root)
    except OSError:
        return "/"
    for line in lines:
        fields = line.split(b":")
        if len(fields) > 5 and fields[2] == b"%d" % uid and fields[5]:
            return os.fsdecode(fields[5])
    return "/"


def _checked(path: str, command: str, own: os.stat_result) -> str:
    """``path``, if it can be executed and is not the runtime itself by way of /proc/self/exe (CVE-2019-5736)."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise _not_executable(command, error) from None
    if stat.S_ISDIR(status.st_mode):
        raise NotExecutable(f'exec: "{command}": is a directory')
    if (status.st_dev, status.st_ino) == (own.st_dev, own.st_ino):
        raise NotExecutable(f'exec: "{command}": permission denied: it is the container runtime itself')
    if not os.access(path, os.X_OK):
        hint = "the file system it lies on is mounted noexec: the store can lie elsewhere (--root DIR)"
        raise NotExecutable(f'exec: "{command}": permission denied', hint=hint if _forbids_all(path) else None)
    return path


def _forbids_all(path: str) -> bool:
    """Whether nothing can be executed where a file lies (mount(2), MS_NOEXEC)."""
    return bool(os.statvfs(path).f_flag & os.ST_NOEXEC)


def _not_executable(command: str, error: OSError) -> SampanError:
    reason = os.strerror(error.errno or 0).lower()
    hint = None
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        if os.path.exists(command):
            hint = "the file is there: the interpreter in its first line, or the loader of its C library, is not"
        return CommandMissing(f'exec: "{command}": {reason}', hint=hint)
    if error.errno == errno.ENOEXEC:
        hint = "is it a script without #! in its first line, or a program for another processor?"
    return NotExecutable(f'exec: "{command}": {reason}', hint=hint)
