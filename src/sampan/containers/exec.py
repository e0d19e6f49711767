"""A further program in a running container."""

from __future__ import annotations

import os

from sampan import plainjson
from sampan.containers import session
from sampan.containers.record import Container
from sampan.errors import Conflict
from sampan.linux import terminal
from sampan.runtime import launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple


class Request(NamedTuple):
    """What to execute, and how; "" and () mean: as the container itself. ``privileged`` is with all capabilities."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    terminal: bool = False
    privileged: bool = False


class Entering:
    """A process that is to enter a container, started before it is known which: that takes as long as the rest."""

    def __init__(self, *, interactive: bool, terminal: bool, detach: bool = False) -> None:
        """With ``detach`` the program is let go once it runs: it has no input, and its output goes nowhere."""
        self.interactive = interactive
        self.detach = detach
        self._outputs: dict[int, int] = {}
        self._input = -1
        if terminal or detach:
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            theirs = null, null, null
        else:
            theirs = self._make_pipes()
        try:
            self._runtime = launch.Runtime(theirs)
        finally:
            for fd in set(theirs):
                os.close(fd)

    def _make_pipes(self) -> tuple[int, int, int]:
        # Not the caller's own descriptors: a program could open a file behind those anew through /proc/self/fd.
        ends = []
        for number in (1, 2):
            reading, writing = os.pipe()
            self._outputs[reading] = number
            ends.append(writing)
        if self.interactive:
            standard_input, self._input = os.pipe()
        else:
            standard_input = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        return standard_input, ends[0], ends[1]

    def close(self) -> None:
        """Ends it, unless it has entered a container."""
        self._runtime.close()

    def execute(self, container: Container, request: Request) -> int:
        """Runs a program in ``container`` with the caller's standard descriptors, and gives its exit code: 0 if it is
        let go.

        Raises Conflict if the container is not running, CommandMissing and NotExecutable.
        """
        state = container.state()
        if state.paused:
            raise Conflict(
                f"container {container.name} is paused", hint=f"sampan unpause {container.name} lets it go on"
            )
        if state.status != "running":
            raise Conflict(f"container {container.name} is not running", hint="sampan ps -a shows how it ended")
        with open(f"{container.directory}/config.json", "rb") as file:
            spec = plainjson.loads(file.read())
        process = _process(spec["process"], request, state.pid)
        seccomp = (spec.get("linux") or {}).get("seccomp")
        entered = self._runtime.enter(state.pid, process, seccomp, container.cgroup, alone=self.detach)
        try:
            if self.detach:
                entered.start()
                entered.leave()
                return 0
            return self._with_terminal(entered) if request.terminal else self._with_pipes(entered)
        finally:
            entered.close()

    def _with_pipes(self, entered: launch.Process) -> int:
        with session.Signals(entered.kill) as signals:
            entered.start()
            session.pump(self._outputs, self._input, entered.end, signals)
            return entered.wait()

    def _with_terminal(self, entered: launch.Process) -> int:
        master = entered.console()

        def on_signal(number: int) -> None:
            size = terminal.size(0) or terminal.size(1)
            if number != 28:  # SIGWINCH
                entered.kill(number)
            elif size:
                terminal.set_size(master, *size)

        on_signal(28)
        with terminal.raw(0 if self.interactive else -1), session.Signals(on_signal) as signals:
            entered.start()
            session.pump({master: 1}, master if self.interactive else -1, entered.end, signals)
            return entered.wait()


def _process(base: dict[str, Any], request: Request, pid: int) -> dict[str, Any]:
    process = {**base, "args": list(request.args), "terminal": request.terminal}
    values = dict(entry.split("=", 1) for entry in (*base["env"], *request.env) if "=" in entry)
    if request.terminal:
        values.setdefault("TERM", "xterm")
    if request.user:
        user = _user(request.user, pid)
        if "pretence" not in base:  # else there is one id to run as, whoever is asked for
            process["user"] = {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)}
        if not any(entry.startswith("HOME=") for entry in request.env):
            values["HOME"] = user.home
        granted = base["capabilities"]["bounding"] if user.uid == 0 else []
        process["capabilities"] = {**base["capabilities"], "effective": granted, "permitted": granted}
    if request.privileged:
        from sampan.containers import security
        from sampan.containers.options import Security

        known = security.granted(Security(privileged=True))
        process["capabilities"] = {"bounding": known, "effective": known, "permitted": known}
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
