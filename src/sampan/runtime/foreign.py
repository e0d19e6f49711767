"""Another OCI runtime in this one's place (``run --runtime crun``): containers are made, started, entered, signalled
and deleted by its command, which takes the words of runc's (runtime-spec, runtime.md, "Operations").

What stands here for ``parent.Process`` is one of those; the process that made it watches it in the same way.
"""

from __future__ import annotations

import os
import shutil
from _signal import SIGKILL
from contextlib import suppress

from sampan import plainjson
from sampan.errors import CommandMissing, NotExecutable, NotFound, SampanError
from sampan.linux import fuse, mounts, syscalls
from sampan.runtime import mounting, parent, translation
from sampan.runtime.cgroups import choose, container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def find(name: str) -> str:
    """The program of a runtime given by its name or path. Raises NotFound."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if not path:
        raise NotFound(
            f"unknown runtime {name}: there is no such program",
            hint="give the name or the path of an OCI runtime that is installed, such as crun or runc",
        )
    return os.path.abspath(path)


class Runtime:
    """The runtime ``program``, for the container ``name``. ``directory`` is for what both keep of that."""

    def __init__(self, program: str, name: str, directory: str) -> None:
        self._program = program
        self.name = name
        self.directory = directory
        self.mounted: list[str] = []
        """Where something is mounted for the container."""
        self.shown: list[fuse.Mounted] = []
        """What stands in overlayfs' place for that."""
        self.made: set[int] = set()
        """The processes that it has made and that are still to be waited for: children of this one by now."""

    def __call__(self, verb: str, *words: str, stdio: tuple[int, ...] = ()) -> None:
        """Performs one command, with ``stdio`` as its standard descriptors. Raises SampanError with what it logged."""
        log = f"{self.directory}/log.json"
        with open(log, "wb"):
            pass
        command = [self._program, "--root", f"{self.directory}/state", "--log", log, "--log-format", "json"]
        placed = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(stdio)]
        try:
            pid = os.posix_spawn(self._program, [*command, verb, *words], os.environ, file_actions=placed)
        except OSError as error:
            raise SampanError(f"cannot start the runtime {self._program}: {error.strerror}") from None
        code = parent.exit_code(os.waitpid(pid, 0)[1])
        if code:
            raise _failure(self._program, verb, _last_words(log) or f"exit code {code}")

    def make(self, verb: str, *words: str, stdio: tuple[int, ...], terminal: bool) -> tuple[int, int]:
        """Performs a command that makes a process; gives its pid, and its terminal's master side (else -1)."""
        before = self.made | _children()  # the kernel may leave out some while others come (proc(5))
        try:
            made = self._make(verb, *words, stdio=stdio, terminal=terminal)
        except BaseException:
            _end(_children() - before)
            raise
        self.made.add(made[0])
        return made

    def _make(self, verb: str, *words: str, stdio: tuple[int, ...], terminal: bool) -> tuple[int, int]:
        pid_file = f"{self.directory}/pid"
        if not terminal:
            self(verb, *words, "--pid-file", pid_file, self.name, stdio=stdio)
            return self._pid(pid_file), -1
        with _ConsoleSocket(self.directory) as console:
            self(verb, *words, "--pid-file", pid_file, "--console-socket", console.path, self.name, stdio=stdio)
            return self._pid(pid_file), console.receive()

    def _pid(self, path: str) -> int:
        try:
            with open(path) as file:
                return int(file.read())
        except (OSError, ValueError):
            raise SampanError(f"{self._program} is no OCI runtime: it told of no process that it made") from None
        finally:
            if os.path.exists(path):
                os.unlink(path)


def _children() -> set[int]:
    with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
        return {int(pid) for pid in file.read().split()}


def _end(strays: set[int]) -> None:
    """Ends what a command that failed left behind: a container's end would wait for it."""
    for pid in strays:
        os.kill(pid, SIGKILL)
        os.waitpid(pid, 0)


def _last_words(log: str) -> str:
    with open(log, "rb") as file:
        lines = file.read(1 << 16).splitlines()
    for line in reversed(lines):
        try:
            return str(plainjson.loads(line)["msg"])
        except (ValueError, KeyError, TypeError):
            continue
    return ""


def _failure(program: str, verb: str, words: str) -> SampanError:
    """The kind of error that its words mean; each runtime has its own."""
    lower = words.lower()
    kind = SampanError
    if "executable" in lower or "exec:" in lower:
        if any(reason in lower for reason in ("not found", "no such file")):
            kind = CommandMissing
        elif any(reason in lower for reason in ("permission denied", "not permitted", "is a directory", "format")):
            kind = NotExecutable
    return kind(f"{os.path.basename(program)} {verb}: {words}")


class _ConsoleSocket:
    """Where the runtime sends the master side of a terminal (runc, docs/terminals.md)."""

    def __init__(self, directory: str) -> None:
        import _socket

        self._place = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        # An address holds 107 bytes; through the descriptor a directory of any length fits.
        self.path = f"/proc/{os.getpid()}/fd/{self._place}/console.sock"
        self._server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._server.bind(self.path)
        self._server.listen(1)

    def __enter__(self) -> _ConsoleSocket:
        return self

    def __exit__(self, *rest: object) -> None:
        self._server.close()
        os.unlink(self.path)
        os.close(self._place)

    def receive(self) -> int:
        import _socket

        self._server.setblocking(False)  # it was sent before the command ended, or never will be
        try:
            accepted, _ = self._server._accept()  # type: ignore[attr-defined]  # not in the stubs
        except BlockingIOError:
            raise SampanError("the runtime sent no terminal") from None
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, fileno=accepted)
        connection.setblocking(True)
        _, rights, _, _ = connection.recvmsg(4096, _socket.CMSG_LEN(4), _socket.MSG_CMSG_CLOEXEC)
        connection.close()
        if not rights:
            raise SampanError("the runtime sent no terminal")
        return int.from_bytes(rights[0][2][:4], "little")


class Process:
    """A process that another runtime made. ``console`` is -1 where there is no terminal."""

    missing: tuple[str, ...] = ()

    def __init__(self, pid: int, console: int, runtime: Runtime, *, first: bool = False, cgroup: str = "") -> None:
        """``first`` is whether it is the container's first one, so that its end is that of the container."""
        self.pid = pid
        self._console = console
        self._runtime = runtime
        self._first = first
        self._cgroup = cgroup

    def ready(self, *, terminal: bool = False) -> int:
        """The terminal's master side."""
        return self._console

    def pretence(self, upper: str) -> None:
        """Other runtimes do not pretend."""

    def start(self) -> None:
        """Lets the program run; one that was executed runs already."""
        if self._first:
            self._runtime("start", self._runtime.name)

    def kill(self, number: int) -> None:
        """Sends it a signal; no error if it is gone."""
        try:
            if self._first:
                self._runtime("kill", self._runtime.name, str(number))
            else:
                os.kill(self.pid, number)
        except (ProcessLookupError, SampanError):
            return

    def wait(self) -> int:
        """Waits for its end and gives the exit code, 128+n for signal n."""
        status = os.waitpid(self.pid, 0)[1]
        self._runtime.made.discard(self.pid)
        return parent.exit_code(status)

    def oom_kills(self) -> int:
        """How many of the container's processes were killed for want of memory. To be asked before ``close``."""
        return container.oom_kills(container.found(self._cgroup))

    def close(self) -> None:
        """Forgets the container, so that its directory can be removed."""
        if not self._first:
            return
        with suppress(SampanError):  # what it keeps of one that has ended is in that directory, too
            self._runtime("delete", "--force", self._runtime.name)
        for path in self._runtime.mounted:
            mounts.umount(os.fsencode(path), mounts.MNT_DETACH)
        for shown in self._runtime.shown:
            shown.close()
        self._runtime.mounted.clear()

    def abandon(self) -> None:
        """Kills it, and waits until it is gone."""
        self.close()
        try:
            os.kill(self.pid, SIGKILL)
            self.wait()
        except (ProcessLookupError, ChildProcessError):
            return

    def execute(self, process: dict[str, Any], stdio: tuple[int, int, int]) -> Process:
        """A further process in the container whose first one this is; it runs at once. Raises SampanError."""
        runtime = self._runtime
        path = f"{runtime.directory}/process.json"
        terminal = bool(process.get("terminal"))
        with open(path, "w") as file:
            file.write(plainjson.dumps(translation.process(process)))
        try:
            made = runtime.make("exec", "--detach", "--process", path, stdio=stdio, terminal=terminal)
            return Process(*made, runtime)
        finally:
            os.unlink(path)


def create(
    program: str,
    name: str,
    spec: dict[str, Any],
    directory: str,
    *,
    overlay: tuple[tuple[str, ...], str, str, bool, bool],
    stdio: tuple[int, int, int],
) -> Process:
    """Has ``program`` make the container ``name`` from its runtime spec, all but its program's start.

    ``overlay`` is as for ``parent.create``. It is mounted in a mount namespace that this process enters: so nothing
    stays mounted when it ends. Raises SampanError.
    """
    place = f"{directory}/runtime"
    runtime = Runtime(program, name, place)
    if os.path.exists(place):  # what watched it before was killed
        runtime("delete", "--force", name)
        shutil.rmtree(place)
    os.mkdir(place, 0o700)
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    linux, root = spec.get("linux") or {}, f"{directory}/{spec['root']['path']}"
    _enter_mounts()
    _mount(root, overlay, 0 if linux.get("ownNodes") else mounts.MS_NODEV, runtime)
    made, layers = translation.translated(spec, root, place)
    for path, stack in layers:
        _mount(path, (*stack, False), mounts.MS_NODEV, runtime)
    with open(f"{place}/config.json", "w") as file:
        file.write(plainjson.dumps(made))
    terminal = bool(spec["process"].get("terminal"))
    try:
        pid, console = runtime.make("create", "--bundle", place, stdio=stdio, terminal=terminal)
    except BaseException:
        with suppress(SampanError):
            runtime("delete", "--force", name)
        raise
    return Process(pid, console, runtime, first=True, cgroup=linux.get("cgroupsPath") or "")


def _enter_mounts() -> None:
    syscalls.unshare(syscalls.CLONE_NEWNS)
    mounts.mount(b"none", b"/", None, mounts.MS_REC | mounts.MS_SLAVE)
    _hide_unified()


def _mount(target: str, layers: tuple[tuple[str, ...], str, str, bool, bool], flags: int, runtime: Runtime) -> None:
    os.makedirs(target, exist_ok=True)
    lower, upper, work, userxattr, fused = layers
    runtime.mounted.append(target)
    if fused:
        runtime.shown.append(fuse.mount(lower, upper, work))
        lower, upper = (), runtime.shown[-1].path
    mounting.mount_overlay(os.fsencode(target), lower, upper, work, userxattr, flags)
    os.chdir("/")


def _hide_unified() -> None:
    """Where cgroups are a hybrid, hides its second version, as crun refuses to work beside controllers there; this
    runtime does not use them either (``cgroups.choose``)."""
    found = choose.hierarchies()
    if all(entry.version == 2 for entry in choose.joined(found)):
        return
    for entry in found:
        if entry.version == 2:
            try:
                mounts.umount(os.fsencode(entry.mount), mounts.MNT_DETACH)
            except OSError:  # an ordinary user may only put something over it
                mounts.mount(b"tmpfs", os.fsencode(entry.mount), b"tmpfs", mounts.MS_RDONLY)
