"""How a container is started: the runtime's front door.

The runtime is a process of its own: ``python -SI`` with nothing but the standard library and a few modules of ours,
started afresh by ``posix_spawn``, so that it has a single thread and none of the caller's memory. Its file is executed
from a detached read-only mount, or where that cannot be made from a sealed copy in memory: nobody in a container can
open it for writing, not even through /proc/PID/exe (CVE-2019-5736).
"""

from __future__ import annotations

import os
import sys

from sampan import plainjson
from sampan.errors import SampanError
from sampan.linux import sockets
from sampan.linux.sockets import Connection
from sampan.runtime import handshake

TYPE_CHECKING = False  # nothing is imported here that the start of a monitor does not need
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_MESSAGE = 1 << 20
_MFD_EXEC = 0x10


class Process:
    """A container's first process, made by a runtime process that watches it; see ``create``.

    Closing it, or dying, kills the container. ``runtime`` is the runtime process's pid; 0 if it is no child of ours.
    """

    def __init__(self, runtime: int, end: Connection) -> None:
        self._runtime = runtime
        self.end = end
        """Readable once there is news of the program, such as its end."""
        self._code: int | None = None
        try:
            self.pid = int(handshake.expect(end, b"pid ")[0][4:])
        except BaseException:
            self.close()
            raise

    def console(self) -> int:
        """The master side of the terminal that was asked for. To be called before ``start``."""
        return handshake.expect(self.end, handshake.CONSOLE)[1][0]

    def start(self) -> None:
        """Lets the program run. Raises CommandMissing or NotExecutable if it cannot be."""
        try:
            self.end.send(handshake.START)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has failed already, and has said why
        handshake.expect(self.end, b"running")

    def wait(self) -> int:
        """Waits for the program's end and gives its exit code, 128+n for signal n."""
        if self._code is None:
            self._code = int(handshake.expect(self.end, b"exit ")[0][5:])
        return self._code

    def kill(self, signal: int) -> None:
        """Sends a signal to the container's first process; no error if it is gone."""
        try:
            os.kill(self.pid, signal)
        except ProcessLookupError:
            return

    def close(self) -> None:
        """Ends what is left of the container and waits until it is gone. May be called again."""
        self.end.close()
        if self._runtime:
            os.waitpid(self._runtime, 0)
            self._runtime = 0


class Runtime:
    """A runtime process that was started and waits to hear what to make, so that its start goes on beside other work.

    ``stdio`` become the program's standard descriptors; they may be closed once this exists.
    """

    def __init__(self, stdio: tuple[int, int, int]) -> None:
        from _socket import SO_SNDBUF, SOL_SOCKET

        self._end, theirs = sockets.pair()
        self._end.setsockopt(SOL_SOCKET, SO_SNDBUF, _MESSAGE)
        try:
            self._pid = spawn("sampan.runtime.main", stdio, theirs.fileno())
        except BaseException:
            self._end.close()
            raise
        finally:
            theirs.close()

    def close(self) -> None:
        """Ends it, unless it has made something. May be called again."""
        if self._pid:
            self._end.close()
            os.waitpid(self._pid, 0)
            self._pid = 0

    def create(
        self, spec: dict[str, Any], bundle: str, rootfs: tuple[tuple[str, ...], str, str, bool, bool] | None
    ) -> Process:
        """Makes a container: namespaces, cgroup and file system, all but the program itself.

        ``bundle`` is a directory of the caller's for config.json and the mount point; ``rootfs`` is what to mount there
        (a ``snapshots.overlay.Rootfs``). Raises SampanError.
        """
        os.makedirs(os.path.join(bundle, spec["root"]["path"]), exist_ok=True)
        with open(f"{bundle}/config.json", "w") as file:
            file.write(plainjson.dumps(spec))
        job = {"bundle": bundle, "overlay": rootfs, "terminal": bool(spec["process"].get("terminal"))}
        return self._perform(job)

    def _perform(self, job: dict[str, Any]) -> Process:
        self._end.send(plainjson.dumps(job).encode())
        pid, self._pid = self._pid, 0
        return Process(pid, self._end)


def create(
    spec: dict[str, Any],
    bundle: str,
    *,
    rootfs: tuple[tuple[str, ...], str, str, bool, bool] | None,
    stdio: tuple[int, int, int],
) -> Process:
    """Makes a container in a runtime process of its own (see ``Runtime``)."""
    runtime = Runtime(stdio)
    try:
        return runtime.create(spec, bundle, rootfs)
    finally:
        runtime.close()


def compiled(seccomp: dict[str, Any] | None) -> str:
    """A profile's filter as the runtime takes it, in hexadecimal: compiled while that still starts."""
    if not seccomp:
        return ""
    from sampan.linux.seccomp import compile

    return compile(seccomp, os.uname().machine).hex()


def spawn(module: str, stdio: tuple[int, int, int], control: int, arguments: Sequence[str] = ()) -> int:
    """Starts ``module``'s ``main()`` in a fresh ``python -SI``, in a session of its own, and gives its pid.

    It gets ``stdio`` as its standard descriptors and ``control`` as descriptor 3, and no others, so that an open file
    of the caller's is never a container's (CVE-2024-21626).
    """
    interpreter, words = _command(module)
    executable = _out_of_reach(interpreter)
    duplicates = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(_above((*stdio, control)))]
    temporary = [fd for _, fd, _ in duplicates]
    try:
        return os.posix_spawn(
            f"/proc/self/fd/{executable}" if executable >= 0 else interpreter,
            [*words, *arguments],
            {"PATH": os.environ.get("PATH", os.defpath), "HOME": os.environ.get("HOME", "/")},
            file_actions=duplicates,
            setsid=True,
            setsigmask=(),
        )
    except OSError as error:
        raise SampanError(f"cannot start the container runtime {interpreter}: {error.strerror}") from None
    finally:
        for fd in temporary:
            os.close(fd)
        if executable >= 0:
            os.close(executable)


def become(module: str, function: str, arguments: Sequence[str]) -> None:
    """Has this process go on as a fresh ``python -SI`` that runs a function of ``module``, as ``spawn`` starts one."""
    interpreter, words = _command(module, function)
    executable = _out_of_reach(interpreter)
    try:
        os.execve(f"/proc/self/fd/{executable}" if executable >= 0 else interpreter, [*words, *arguments], os.environ)
    except OSError as error:
        raise SampanError(f"cannot start the container runtime {interpreter}: {error.strerror}") from None


def _command(module: str, function: str = "main") -> tuple[str, list[str]]:
    """The interpreter, and the words that have it run a function of ``module``."""
    home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    # The names are constants of ours and the path is quoted: nothing foreign becomes code.
    code = f"import gc,sys;gc.disable();sys.path.append({home!r});from {module} import {function};{function}()"
    interpreter = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    return interpreter, [interpreter, "-SI", "-c", code]


def _out_of_reach(path: str) -> int:
    """A descriptor to execute ``path`` by, through which no container can write to the file; -1 if none is needed."""
    from sampan.linux import mounts

    try:
        fd = mounts.open_tree(os.fsencode(path))
    except OSError:
        # Without privileges nothing can be mounted, and root of a container is this very user: a file of his own would
        # be within his reach.
        return _sealed_copy(path) if os.access(path, os.W_OK) or os.stat(path).st_uid == os.geteuid() else -1
    try:
        mounts.set_attributes(fd, mounts.MOUNT_ATTR_RDONLY)
    except OSError:
        os.close(fd)
        return _sealed_copy(path)
    return fd


def _sealed_copy(path: str) -> int:
    """A descriptor of a copy in memory that nobody can change (memfd_create(2), fcntl(2) "File Sealing")."""
    import fcntl

    with open(path, "rb", buffering=0) as source:
        copy = _memory_file()
        try:
            while os.sendfile(copy, source.fileno(), None, 1 << 30):
                pass
            seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
            fcntl.fcntl(copy, fcntl.F_ADD_SEALS, seals)
            # What is open for writing cannot be executed.
            return os.open(f"/proc/self/fd/{copy}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(copy)


def _memory_file() -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create("sampan-runtime", flags | _MFD_EXEC)
    except OSError:  # a kernel before 6.3
        return os.memfd_create("sampan-runtime", flags)


def _above(fds: Sequence[int]) -> list[int]:
    """Copies of descriptors with numbers from 10 on, so that placing one never overwrites the next."""
    import fcntl

    return [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in fds]
