"""Watching one container: writes its log and its state, forwards input and output to whoever is attached, and says how
it ended."""

from __future__ import annotations

import gc
import os
import time

from sampan.containers import clients, logs, streams
from sampan.containers.clients import Client, Clients
from sampan.containers.state import State, reserve_state, write_state
from sampan.errors import CommandMissing, Conflict, NotExecutable, SampanError
from sampan.linux import memory, syscalls, terminal
from sampan.linux.poll import READ, WRITE, Poll
from sampan.linux.seccomp import SPEC_ALLOW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.containers.executions import Executions, Process
    from sampan.containers.health import Health
    from sampan.containers.restarts import Restarts
    from sampan.linux.sockets import Connection, Pipes

_STARTED = 1.0
"""Seconds after which what the start, or that of a further program, needed of memory is given back."""
_UNSTARTED: dict[type[BaseException], int] = {NotExecutable: 126, CommandMissing: 127}
"""Docker's exit codes for a life that could not begin; 128 for other reasons."""


class Watch:
    """One container's life, from ``process``, which is being made, to its end. ``lock`` is held until then."""

    def __init__(self, job: dict[str, Any], control: Connection, process: Process, pipes: Pipes, lock: int) -> None:
        self._job = job
        self._directory: str = job["directory"]
        self._control = control
        self._process = process
        self._lock = lock
        self._poll = Poll()
        self._clients = Clients(self._poll, self._hear, self._hold)
        self._state = State()
        self._outputs = pipes.outputs
        self._input = pipes.input
        self._pending_input = b""
        self._terminal = -1
        self._paused = False  # the container's output is left waiting: a client does not keep up
        self._input_ended = False
        self._exit_code: int | None = None
        self._settles: float | None = time.monotonic() + _STARTED
        self._network: Any = None
        self._executions: Executions | None = None
        self._health: Health | None = None

        self._restarts: Restarts | None = None
        if job["restart"][0] != "no":
            from sampan.containers.restarts import Restarts

            self._restarts = Restarts(*job["restart"])

    def start(self) -> None:
        """Lets the container run. Raises SampanError; call ``undo`` then."""
        warning = self._begin()
        self._control.send(streams.RUNNING + warning.encode())
        self._clients.listen(self._server)
        self._clients.add(self._control, attached=self._job["attach"])

    def _begin(self) -> str:
        """Lets a life of the container begin, and gives what is to be said of it."""
        wants_terminal = bool(self._job["spec"]["process"].get("terminal"))
        try:
            self._attach_network()
        except BaseException:
            self._process.ready(terminal=wants_terminal)  # if it failed by itself meanwhile, this says why
            raise
        if not self._state.restarts:
            self._log = logs.Writer(*self._job["log"])
            self._server = streams.listen(f"{self._directory}/monitor.sock")
        self._terminal = self._process.ready(terminal=wants_terminal)
        if self._terminal >= 0:
            self._outputs[self._terminal] = 1
            self._input = self._terminal
        warning = self._pretend()
        self._process.start()
        self._born = time.monotonic()
        self._state = self._state._replace(
            status="running", pid=self._process.pid, exit_code=0, started=logs.timestamp(), oom_killed=False,
            cgroup=self._job["spec"]["linux"].get("cgroupsPath") or "",
        )  # fmt: skip
        write_state(self._directory, self._state)
        reserve_state(self._directory)
        missing = [f"this machine cannot set {name}: that limit is left out" for name in self._process.missing]
        warnings = [text for text in (self._network.warning if self._network else "", warning, *missing) if text]
        self._register()
        self._ask_for_health()
        return "; ".join(warnings)

    def undo(self) -> None:
        """Takes back what ``start`` did before it failed."""
        self._process.abandon()
        self._detach_network()

    def give_up(self, error: Exception) -> None:
        """Ends the container, which cannot be served any more for an ``error`` that nobody expected, and says so."""
        if self._state.pid:
            self.undo()
        text = f"its monitor failed: {type(error).__name__}: {error}"
        self._state = self._state._replace(status="exited", pid=0, exit_code=137, finished=logs.timestamp(), error=text)
        write_state(self._directory, self._state)

    def serve(self) -> None:
        """Serves the container and its clients until it has ended."""
        # It was off while modules were loaded (see launch.spawn); what lives by now stays for good.
        gc.freeze()
        gc.enable()
        self._live()
        while self._restarts and self._again(self._restarts):
            self._live()
        self._finish()

    def _live(self) -> None:
        """One life of the container, to its end."""
        while self._exit_code is None:
            now = time.monotonic()
            if self._settles and self._settles <= now:
                memory.give_back()
                self._settles = None
            if self._health and self._health.due <= now:
                self._health.act(self._executor, held=os.path.exists(f"{self._directory}/paused"))
                self._settles = self._settles or now + _STARTED
            moments = [moment for moment in (self._settles, self._health and self._health.due) if moment]
            self._poll.serve(max(0.0, min(moments) - now) if moments else None)
        self._drain()
        self._end(self._exit_code)

    def _again(self, restarts: Restarts) -> bool:
        """Starts the container again if that is to be; whether it lives."""
        wait = restarts.wait(self._state.exit_code, time.monotonic() - self._born)
        if wait is None:
            return False
        self._state = self._state._replace(status="restarting", restarts=restarts.count)
        write_state(self._directory, self._state)
        reserve_state(self._directory)
        self._clients.dismiss(self._state.exit_code)
        end = time.monotonic() + wait
        while (left := end - time.monotonic()) > 0 and not self._is_stopped():
            self._poll.serve(left)
        if self._is_stopped():
            return False
        try:
            self._renew()
        except (SampanError, OSError) as error:
            self._state = self._state._replace(
                exit_code=_UNSTARTED.get(type(error), 128), error=str(error), finished=logs.timestamp()
            )
            return False
        return True

    def _is_stopped(self) -> bool:
        # Not those that the wait began with: the policy may have been changed meanwhile.
        return bool(self._restarts and self._restarts.stopped)

    def _renew(self) -> None:
        from sampan.containers import monitor

        self._process, made = monitor.make(self._job)
        self._outputs, self._input = made.outputs, made.input
        self._pending_input, self._input_ended = b"", False
        self._settles = self._settles or time.monotonic() + _STARTED
        try:
            self._begin()
        except BaseException:
            self.undo()
            raise
        self._exit_code = None

    # -- the container ------------------------------------------------------------------------------------------

    def _attach_network(self) -> None:
        job = self._job
        if job["network"] in ("none", "host") or job["network"].startswith("container:"):
            return
        from sampan.containers import connecting

        network = self._network = connecting.connect(job, self._process.pid, self._poll)
        self._state = self._state._replace(address=network.address, ports=network.ports)

    def _change_network(self, data: bytes) -> None:
        from sampan.containers import connecting

        try:
            self._network = connecting.changed(self._network, self._job, data, self._state.pid, self._poll)
        except (SampanError, OSError):
            return  # it goes on without its neighbours' names: nobody is left to be told

    def _detach_network(self) -> None:
        if self._network:
            self._network.close()
            self._network = None

    def _register(self) -> None:
        pidfd = syscalls.pidfd_open(self._process.pid)
        self._poll.watch(pidfd, READ, self._on_exit)
        self._open = {*self._outputs, self._input} - {-1}
        for fd in self._open:
            os.set_blocking(fd, False)
            self._await_stream(fd)
        self._open.add(pidfd)

    def _pretend(self) -> str:
        """Has what a single user id cannot do answered, where there is but one; gives what is to be said of that."""
        pretence = self._process.pretence(self._job["overlay"][1])
        if pretence:
            from sampan.containers.executions import answer

            answer(self._poll, pretence)
        asked: str = (self._job["spec"]["process"].get("pretence") or {}).get("user") or ""
        return f"the container runs as the only user id there is here, not as {asked}" if asked else ""

    def _await_stream(self, fd: int) -> None:
        """Waits for what a stream of the container is good for now; a terminal is both ways."""
        reading = fd in self._outputs and not self._paused
        writing = fd == self._input and bool(self._pending_input)
        mask = (READ if reading else 0) | (WRITE if writing else 0)
        self._poll.watch(fd, mask, self._on_stream)

    def _hold(self, paused: bool) -> None:
        self._paused = paused
        for fd in self._outputs:
            self._await_stream(fd)

    def _on_stream(self, fd: int, mask: int) -> None:
        if mask & WRITE:
            self._write_input()
        if mask & READ and not self._take(fd):
            del self._outputs[fd]
            self._await_stream(fd)

    def _on_exit(self, fd: int, mask: int) -> None:
        self._exit_code = self._process.wait()

    def _take(self, fd: int) -> bool:
        """Passes on what a stream has to say; False at its end."""
        try:
            data = os.read(fd, streams.CHUNK)
        except BlockingIOError:
            return True
        except OSError:  # EIO: the terminal has no other side any more
            data = b""
        if data:
            stream = self._outputs[fd]
            self._log.write(stream, data)
            self._clients.tell(b"%d" % stream + data)
        return bool(data)

    def _drain(self) -> None:
        """All processes of the container are gone: what they said last is still in the pipes."""
        for fd in self._outputs:
            os.set_blocking(fd, True)
            if fd == self._terminal:
                os.set_blocking(fd, False)
            while clients.is_readable(fd) and self._take(fd):
                continue

    def _end(self, code: int) -> None:
        """A life is over: gives back what it had."""
        self._detach_network()
        limited = (self._job["spec"]["linux"].get("resources") or {}).get("memory")
        killed = bool(limited) and self._process.oom_kills() > 0
        self._process.close()
        if self._health:
            self._health.stop()
            self._health = None
            self._state = self._state._replace(health="unhealthy")  # as Docker says of all that do not run
        if self._executions:
            self._executions.finish()
            self._executions = None
        for fd in self._open:
            self._poll.watch(fd, 0, self._on_exit)
            os.close(fd)
        self._outputs, self._input, self._terminal = {}, -1, -1
        self._state = self._state._replace(pid=0, exit_code=code, finished=logs.timestamp(), oom_killed=killed)

    def _finish(self) -> None:
        self._log.close()
        error = self._state.error or self._log.complaint()
        self._state = self._state._replace(status="exited", error=error)
        write_state(self._directory, self._state)
        os.unlink(f"{self._directory}/monitor.sock")
        self._clients.close(self._state.exit_code)
        if self._job["auto_remove"] and not self._someone_removes():
            from sampan.containers import lifecycle

            lifecycle.remove_from_monitor(self._job["root"], self._job["id"], rootless=self._job["rootless"])

    def _someone_removes(self) -> bool:
        """Whether the command line that started the container still waits for it, and removes it by itself."""
        try:
            return self._control.recv(64) == streams.KEEP
        except OSError:
            return False

    # -- clients ------------------------------------------------------------------------------------------------

    def _hear(self, client: Client, message: bytes, fds: list[int]) -> None:
        if message != streams.EXECUTE or not fds:
            self._obey(client, message[:1], message[1:])
            return
        self._clients.leave(client)
        if not self._state.pid:  # the number may be another process's by now
            client.refuse(Conflict("the container waits to be started again"), fds)
            return
        self._executor().begin(client.end, fds)
        self._settles = self._settles or time.monotonic() + _STARTED

    def _executor(self) -> Executions:
        if not self._executions:
            from sampan.containers.executions import Executions

            filter_ = (bytes.fromhex(self._job["filter"]), SPEC_ALLOW) if self._job["filter"] else None
            self._executions = Executions(self._poll, self._process, filter_, self._job["overlay"][1])
        return self._executions

    def _ask_for_health(self) -> None:
        if not self._job["health"]:
            return
        from sampan.containers.health import Health

        process, path = self._job["spec"]["process"], f"{self._directory}/health.json"
        self._health = Health(self._job["health"], process, path, self._poll, self._set_health)
        self._set_health(self._health.status)

    def _set_health(self, status: str) -> None:
        self._state = self._state._replace(health=status)
        write_state(self._directory, self._state)
        reserve_state(self._directory)

    def _obey(self, client: Client, kind: bytes, data: bytes) -> None:
        if kind == streams.INPUT:
            if self._input >= 0:
                self._pending_input += data
                self._write_input()
        elif kind == streams.END_OF_INPUT:
            self._input_ended = True
            self._write_input()
        elif kind == streams.STAY and self._restarts:
            self._restarts.stopped = True
        elif kind == streams.CHANGED:
            from sampan.containers import change

            self._restarts = change.learn(self._job, data.decode(), self._restarts)
        elif kind == streams.SIGNAL and self._state.pid:
            self._process.kill(int(data))
        elif kind == streams.NETWORK:
            self._change_network(data)
        elif kind == streams.ATTACH:
            client.attached = True
        elif kind == streams.RESIZE and self._terminal >= 0:
            rows, columns = data.split()
            terminal.set_size(self._terminal, int(rows), int(columns))

    def _write_input(self) -> None:
        """Passes on as much input as the program takes; clients are not listened to while too much is waiting."""
        while self._pending_input and self._input >= 0:
            try:
                written = os.write(self._input, self._pending_input[: streams.CHUNK])
            except BlockingIOError:
                break
            except OSError:  # the program closed its input
                self._pending_input = b""
                break
            self._pending_input = self._pending_input[written:]
        if self._input >= 0:
            self._await_stream(self._input)
        self._clients.ignore(len(self._pending_input) > clients.BACKLOG)
        if self._input_ended and not self._pending_input:
            self._close_input()

    def _close_input(self) -> None:
        if self._terminal < 0 and self._input >= 0:
            self._poll.watch(self._input, 0, self._on_stream)
            os.close(self._input)
            self._open.discard(self._input)
            self._input = -1
