"""The verbs of the OCI runtime command (runtime-spec, runtime.md, "Operations"; their words are runc's).

A container is made by one process, started by another and deleted by a third: what they know of it is in ``state``.
"""

from __future__ import annotations

import os
import time
from _signal import SIGKILL, pidfd_send_signal

from sampan import plainjson
from sampan.errors import Conflict, Invalid, NotFound, SampanError
from sampan.linux import namespaces, sockets, syscalls
from sampan.runtime import attributes, bundle, enter, handshake, hooks, init, listener, parent, shape, state
from sampan.runtime.cgroups import container
from sampan.runtime.state import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple

_STDIO = (0, 1, 2)


class Start(NamedTuple):
    """How a program is started, beside its spec. ``waited`` is whether the caller stays until it has ended: killed, it
    takes the program along. ``systemd`` is whether that makes the cgroup."""

    waited: bool = False
    pid_file: str = ""
    console_socket: str = ""
    preserved: int = 0
    keyring: bool = True
    systemd: bool = False


class Begun(NamedTuple):
    """A process that has been made. ``console`` is its terminal's master side, -1 if it is not for the caller;
    ``warnings`` are what it had to do without."""

    process: parent.Process
    console: int
    warnings: tuple[str, ...] = ()


def create(root: str, name: str, directory: str, how: Start) -> Begun:
    """Makes a container from the bundle in ``directory``; its program is still to be started. Raises SampanError."""
    directory = os.path.realpath(directory)
    spec, text = bundle.read(directory)
    bundle.check_process(spec.get("process") or {}, spec.get("linux") or {})
    _check_terminal(bool(spec["process"].get("terminal")), how)
    place = state.make(root, name)
    try:
        with state.held(place):
            state.put(f"{place}/config.json", text)
            return _create(place, spec, directory, how)
    except BaseException:
        state.remove(place)
        raise


def _create(place: str, spec: dict[str, Any], directory: str, how: Start) -> Begun:
    spec["process"], warnings = attributes.clamped(spec["process"])
    spec["process"].pop("execCPUAffinity", None)  # not for the first process (config.md, "Linux Process")
    linux = spec.get("linux") or {}
    spec["process"]["personality"] = _personality(linux)
    filter_ = bundle.filter_of(linux)
    if filter_:
        state.put(f"{place}/filter", filter_[1].to_bytes(4, "little") + filter_[0])
    record, name = _record(place, spec, directory), os.path.basename(place)
    if how.systemd:
        from sampan.runtime.cgroups import systemd

        record = record._replace(cgroup="", scope=systemd.parse(linux.get("cgroupsPath") or "", name)[0])
    terminal = bool(spec["process"].get("terminal"))
    told = _told(record)
    early = hooks.of(spec, "prestart", "createRuntime")
    create, start = hooks.of(spec, "createContainer"), hooks.of(spec, "startContainer")
    hooks.of(spec, "poststart", "poststop")  # wrong ones are refused before there is anything to undo
    gate = _gate(place)
    answering = listener.of(linux.get("seccomp"))
    rest = (how.waited, gate.fileno(), how.preserved, how.keyring, answering is not None)
    ending = init.Ending(spec["process"], filter_, _STDIO, terminal, *rest)
    job, maps = bundle.job(spec, directory, record.cgroup, ending, hooks.Inside(bool(early), create, start, told))
    process = parent.begin(job, maps, (lambda pid: bundle.settle(spec, name, pid)) if how.systemd else None)
    gate.close()
    try:

        def run_early() -> None:
            hooks.perform(early, hooks.state(told, b"creating", process.pid))

        listening = _hands_over(answering, hooks.state(told, b"creating", process.pid), process.pid)
        console = process.ready(terminal=terminal, mounted=run_early if early else None, listening=listening)
        record = record._replace(pid=process.pid, started=state.start_time(process.pid) or 0)
        record = record._replace(cgroup=process.path or record.cgroup)
        state.write(place, record)
        return Begun(process, _publish(process.pid, console, how), tuple(warnings))
    except BaseException:
        process.abandon()
        raise


def _publish(pid: int, console: int, how: Start) -> int:
    """Hands the terminal to who asked for it and writes the pid file. What is left of the terminal, or -1."""
    if console >= 0 and how.console_socket:
        _send_console(how.console_socket, console)
        console = -1
    if how.pid_file:
        state.put(how.pid_file, b"%d" % pid)
    return console


def _send_console(path: str, console: int) -> None:
    import _socket

    sender = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sender.connect(path)
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, console.to_bytes(4, "little"))]
        sender.sendmsg([b"/dev/ptmx"], rights)
    except OSError as error:
        raise SampanError(f"cannot send the terminal to the console socket {path}: {error.strerror}") from None
    finally:
        sender.close()
        os.close(console)


def _check_terminal(terminal: bool, how: Start) -> None:
    if terminal and not how.waited and not how.console_socket:
        raise Invalid("a terminal needs --console-socket, as this command does not stay to serve it")
    if how.console_socket and not terminal:
        raise Invalid("--console-socket is for a process with a terminal; process.terminal is false")


def _record(place: str, spec: dict[str, Any], directory: str) -> Record:
    name = os.path.basename(place)
    path = (spec.get("linux") or {}).get("cgroupsPath") or name
    now = time.time()
    return Record(
        name,
        0,
        0,
        directory,
        bundle.root(spec, directory),
        f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1e9):09d}Z",
        os.path.normpath(f"/{path}").replace("//", "/"),
        str(os.getuid()),
        spec["ociVersion"],
        spec.get("annotations") or {},
    )


def _told(record: Record) -> bytes:
    """What hooks read on their standard input, but for status and pid (runtime-spec, runtime.md, "State")."""
    rest = {
        "ociVersion": record.version,
        "id": record.id,
        "bundle": record.bundle,
        "annotations": record.annotations,
    }
    return plainjson.dumps(rest).encode()


def _gate(place: str) -> sockets.Connection:
    """The socket at which the first process will wait: in a directory of the owner's alone."""
    gate = sockets.Connection()
    fd = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        gate.bind(f"/proc/self/fd/{fd}/gate")  # a path of its own may be too long for an address (unix(7))
        gate.listen(1)
    finally:
        os.close(fd)
    return gate


def wait(process: parent.Process) -> int:
    """Waits for a process that this one has made, and gives its exit code, 128+n for signal n."""
    return parent.exit_code(os.waitpid(process.pid, 0)[1])


def start(root: str, name: str) -> list[str]:
    """Lets a created container's program run, and gives what went wrong afterwards: a poststart hook fails in vain.

    Raises Conflict if it was started before, and what keeps the program from running.
    """
    place = state.find(root, name)
    with state.held(place):
        record = state.read(place)
        if not state.is_alive(record) or not state.has_gate(place):
            raise Conflict(f"cannot start container {name}: it is {state.status(place, record)}, and not created")
        fd = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        with sockets.Connection() as end:
            try:
                end.connect(f"/proc/self/fd/{fd}/gate")
            except ConnectionRefusedError:
                raise Conflict(f"cannot start container {name}: its first process has ended") from None
            finally:
                os.close(fd)
            end.send(handshake.START)
            os.unlink(f"{place}/gate")
            handshake.expect_end(end)
        return _after_start(place, record)


def begin(root: str, name: str, process: parent.Process) -> list[str]:
    """As ``start``, by the process that made the container."""
    place = state.find(root, name)
    with state.held(place):
        os.unlink(f"{place}/gate")
        process.start()
        return _after_start(place, state.read(place))


def _after_start(place: str, record: Record) -> list[str]:
    return _in_vain(hooks.of(state.spec(place), "poststart"), hooks.state(_told(record), b"running", record.pid))


def _in_vain(some: tuple[hooks.Hook, ...], text: bytes) -> list[str]:
    failed = []
    for hook in some:
        try:
            hooks.perform((hook,), text)
        except SampanError as error:
            failed.append(str(error))
    return failed


def kill(root: str, name: str, number: int, *, everyone: bool = False) -> None:
    """Sends a signal to the first process, or to all of the container. Raises Conflict if it has ended."""
    place = state.find(root, name)
    record = state.read(place)
    if everyone:
        _signal_all(record, number)
        return
    if not state.is_alive(record):
        raise Conflict(f"container not running: {name} has ended")
    _signal(record.pid, number, record.started)


def _signal(pid: int, number: int, started: int | None = None) -> None:
    try:
        fd = syscalls.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # Asked again, now that the descriptor holds the process: its number cannot be another one's any more.
        if started is None or state.start_time(pid) == started:
            pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return
    finally:
        os.close(fd)


def _signal_all(record: Record, number: int) -> None:
    for pid in _processes(record):
        _signal(pid, number)


def _processes(record: Record) -> list[int]:
    """Those in its cgroup; for one that could be given none, those in its pid namespace."""
    cgroup = container.found(record.cgroup)
    if cgroup or not state.is_alive(record):
        return container.processes(cgroup)
    return namespaces.processes(record.pid)


def delete(root: str, name: str, *, force: bool = False) -> list[str]:
    """Forgets a container that has ended, and gives what went wrong with its poststop hooks.

    ``force`` ends one that has not, and does not mind if there is none. Raises Conflict.
    """
    try:
        place = state.find(root, name)
    except NotFound:
        if force:
            return []
        raise
    with state.held(place):
        try:
            record = state.read(place)
        except NotFound:  # its making was broken off
            state.remove(place)
            return []
        now = state.status(place, record)
        if now in ("running", "paused") and not force:
            raise Conflict(f"cannot delete container {name} that is not stopped: {now}", hint="--force kills it first")
        cgroup = container.found(record.cgroup)
        if now == "paused":
            container.freeze(cgroup, frozen=False)
        if now != "stopped":
            _signal(record.pid, SIGKILL, record.started)
        _end(record)
        container.remove(cgroup)
        if record.scope:
            from sampan.runtime.cgroups import systemd

            systemd.stop(record.scope)
        spec = state.spec(place)
        state.remove(place)
    return _in_vain(hooks.of(spec, "poststop"), hooks.state(_told(record), b"stopped", 0))


def _end(record: Record) -> None:
    """Waits until nothing of a killed container is left."""
    for attempt in range(500):
        # Without a pid namespace of its own, the others outlive the first process.
        _signal_all(record, SIGKILL)
        if not state.is_alive(record) and not _processes(record):
            break
        time.sleep(0.001 * min(attempt + 1, 20))


def execute(root: str, name: str, process: dict[str, Any], how: Start, *, cgroup: str = "") -> Begun:
    """Makes a further process in a running container; ``Begun.process.start`` lets it run. Raises SampanError."""
    place = state.find(root, name)
    record = state.read(place)
    now = state.status(place, record)
    if now != "running" and now != "created":
        raise Conflict(f"cannot exec in container {name}: it is {now}")
    bundle.check_process(process, {})
    process, warnings = attributes.clamped(process)
    terminal = bool(process.get("terminal"))
    _check_terminal(terminal, how)
    path = os.path.normpath(f"{record.cgroup}/{cgroup}") if cgroup else record.cgroup
    linux = state.spec(place).get("linux") or {}
    process["personality"] = _personality(linux)
    answering = listener.of(linux.get("seccomp"))
    rest = (how.waited, -1, how.preserved, how.keyring, answering is not None)
    ending = init.Ending(process, _kept_filter(place), _STDIO, terminal, *rest)
    begun = enter.create(
        record.pid, container.found(path) if path else (), ending, scope="" if cgroup else record.scope
    )
    listening = _hands_over(answering, hooks.state(_told(record), now.encode(), record.pid), begun.pid)
    try:
        console = begun.ready(terminal=terminal, listening=listening)
        return Begun(begun, _publish(begun.pid, console, how), tuple(warnings))
    except BaseException:
        begun.abandon()
        raise


def _personality(linux: dict[str, Any]) -> str | None:
    domain: str | None = (linux.get("personality") or {}).get("domain")
    return domain


def _hands_over(answering: listener.Listener | None, told: bytes, pid: int) -> Callable[[int], None] | None:
    """What is done with the descriptor on which calls of process ``pid`` are notified, if anybody is to answer."""
    return (lambda fd: listener.hand_over(answering, told, pid, fd)) if answering else None


def _kept_filter(place: str) -> tuple[bytes, int] | None:
    try:
        with open(f"{place}/filter", "rb") as file:
            text = file.read()
    except FileNotFoundError:
        return None
    return text[4:], int.from_bytes(text[:4], "little")


def freeze(root: str, name: str, *, frozen: bool) -> None:
    """Stops a running container where it is, or lets a paused one go on. Raises Conflict."""
    place = state.find(root, name)
    with state.held(place):
        record = state.read(place)
        now = state.status(place, record)
        if frozen and now not in ("running", "created"):
            raise Conflict(f"cannot pause container {name}: it is {now}")
        if not frozen and now != "paused":
            raise Conflict(f"cannot resume container {name}: it is {now}, and not paused")
        container.freeze(container.found(record.cgroup), frozen=frozen)


def update(root: str, name: str, resources: dict[str, Any]) -> None:
    """Changes a container's limits (runtime-spec ``linux.resources``). Raises Unavailable, and Invalid."""
    shape.check(resources, shape.RESOURCES, "resources")
    place = state.find(root, name)
    with state.held(place):
        record = state.read(place)
        if record.scope:
            from sampan.runtime.cgroups import systemd

            systemd.change(record.scope, systemd.properties(resources))
        container.change(container.found(record.cgroup), resources)


def processes(root: str, name: str) -> list[int]:
    """The pids of a container, as this process sees them."""
    return _processes(state.read(state.find(root, name)))
