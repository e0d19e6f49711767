"""A further program in a running container."""

from __future__ import annotations

import os
from _signal import SIGWINCH

from sampan import plainjson
from sampan.containers import streams
from sampan.containers.record import Container
from sampan.errors import Conflict, SampanError
from sampan.linux.sockets import Connection, Pipes
from sampan.runtime import handshake, launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple


class Request(NamedTuple):
    """What to execute, and how; "" and () mean: as the container itself."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    terminal: bool = False
    privileged: bool = False
    keys: bytes = b""
    """What is typed to leave it running (``keys.parse``)."""


def execute(
    container: Container,
    request: Request,
    *,
    interactive: bool = False,
    detached: bool = False,
    warn: Callable[[str], object] = lambda sentence: None,
) -> int:
    """Runs a program in ``container`` with the caller's standard descriptors, and gives its exit code.

    With ``detached`` nobody listens, and the program is left running. Raises Conflict if the container is not running,
    CommandMissing and NotExecutable.
    """
    state = container.state()
    if state.paused:
        raise Conflict(f"container {container.name} is paused", hint=f"sampan unpause {container.name} lets it go on")
    if state.status != "running":
        raise Conflict(f"container {container.name} is not running", hint="sampan ps -a shows how it ended")
    with open(f"{container.directory}/config.json", "rb") as file:
        spec = plainjson.loads(file.read())
    job = {"process": _process(spec["process"], request, state.pid, warn), "detached": detached}
    pipes = Pipes(interactive=interactive, unused=request.terminal or detached)
    end = _ask(container, job, pipes)
    try:
        if request.terminal and not detached:
            return _with_terminal(end, interactive, request.keys)
        return _started(end) if detached else _with_pipes(end, pipes)
    finally:
        end.close()


def _ask(container: Container, job: dict[str, Any], pipes: Pipes) -> Connection:
    """Asks the container's monitor for a process, which without a terminal begins at once. Raises Conflict if there is
    no monitor any more."""
    asked = os.memfd_create("exec")
    try:
        os.write(asked, plainjson.dumps(job).encode())
        try:
            end = streams.connect(container.socket)
            end.send_descriptors(streams.EXECUTE, (asked, *pipes.theirs))
        except OSError:
            raise Conflict(f"container {container.name} is not running any more") from None
    finally:
        os.close(asked)
        for fd in set(pipes.theirs):
            os.close(fd)
    return end


def _started(end: Connection) -> int:
    launch.Process(0, end)
    handshake.expect(end, b"running")
    return 0


def _kill(end: Connection, number: int) -> None:
    try:
        end.send(streams.SIGNAL + b"%d" % number)
    except OSError:
        return  # it has ended


def _await(entered: launch.Process) -> int:
    try:
        return entered.wait()
    except SampanError:
        return 137  # the monitor was killed, and all of the container with it


def _with_pipes(end: Connection, pipes: Pipes) -> int:
    from sampan.containers import session  # while the monitor is at work

    with session.Signals(lambda number: _kill(end, number)) as signals:
        entered = launch.Process(0, end)
        handshake.expect(end, b"running")
        session.pump(pipes.outputs, pipes.input, end, signals)
        return _await(entered)


def _with_terminal(end: Connection, interactive: bool, keys: bytes) -> int:
    from sampan.containers import session
    from sampan.linux import terminal

    entered = launch.Process(0, end)
    master = entered.console()

    def on_signal(number: int) -> None:
        size = terminal.size(0) or terminal.size(1)
        if number != SIGWINCH:
            _kill(end, number)
        elif size:
            terminal.set_size(master, *size)

    on_signal(SIGWINCH)
    with terminal.raw(0 if interactive else -1), session.Signals(on_signal) as signals:
        entered.start()
        if session.pump({master: 1}, master if interactive else -1, end, signals, keys):
            end.send_descriptors(streams.DETACH, (master,))
            return 0
        return _await(entered)


def _process(base: dict[str, Any], request: Request, pid: int, warn: Callable[[str], object]) -> dict[str, Any]:
    process = {**base, "args": list(request.args), "terminal": request.terminal}
    values = dict(entry.split("=", 1) for entry in (*base["env"], *request.env) if "=" in entry)
    if request.terminal:
        values.setdefault("TERM", "xterm")
    if request.user:
        user = _user(request.user, pid)
        if "pretence" not in base:
            process["user"] = {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)}
        elif user.uid:
            warn(f"the program runs as the only user id there is here, not as {request.user}")
        if not any(entry.startswith("HOME=") for entry in request.env):
            values["HOME"] = user.home
        granted = base["capabilities"]["bounding"] if user.uid == 0 else []
        process["capabilities"] = {**base["capabilities"], "effective": granted, "permitted": granted}
    if request.privileged:
        from sampan.runtime import defaults

        process["capabilities"] = defaults.all_capabilities(uid=process["user"]["uid"])
    process["env"] = [f"{key}={value}" for key, value in values.items()]
    process["cwd"] = request.workdir or base["cwd"]
    return process


def _user(text: str, pid: int) -> Any:
    """A user of the running container, as its files of now name them."""
    from sampan.linux import beneath
    from sampan.snapshots import users

    root = beneath.open_root(f"/proc/{pid}/root")
    try:

        def read(path: bytes, limit: int) -> bytes | None:
            try:
                return beneath.read_file(root, path, limit)
            except FileNotFoundError:
                return None

        return users.resolve(text, read)
    finally:
        os.close(root)
