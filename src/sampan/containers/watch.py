"""Watching one container: writes its log and its state, forwards input and output to whoever is attached, and says how
it ended."""

from __future__ import annotations

import gc
import os

from sampan.containers import logs, streams
from sampan.containers.state import State, reserve_state, write_state
from sampan.linux import memory, syscalls, terminal
from sampan.linux.poll import READ, WRITE, Poll
from sampan.linux.seccomp import SPEC_ALLOW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.containers.executions import Executions, Process
    from sampan.containers.monitor import Streams
    from sampan.linux.sockets import Connection

_DESCRIPTORS = 4
"""As many come with a request to execute a program."""
_STARTED = 1.0
"""Seconds of quiet after which what the start, or that of a further program, needed of memory is given back."""
_BACKLOG = 1 << 20
"""Bytes that may wait for one slow client before the container's output is left in its pipe."""


class Client:
    """Someone connected to the monitor; ``backlog`` waits to be sent."""

    __slots__ = ("attached", "backlog", "end", "waiting")

    def __init__(self, end: Connection, *, attached: bool) -> None:
        end.setblocking(False)
        self.end = end
        self.attached = attached
        self.backlog: list[bytes] = []
        self.waiting = 0


class Watch:
    """One container's life, from ``process``, which is being made, to its end. ``lock`` is held until then."""

    def __init__(
        self, job: dict[str, Any], control: Connection, process: Process, streams_: Streams, lock: int
    ) -> None:
        self._job = job
        self._directory: str = job["directory"]
        self._control = control
        self._process = process
        self._lock = lock
        self._poll = Poll()
        self._clients: list[Client] = []
        self._state = State()
        self._outputs = streams_.outputs
        self._input = streams_.input
        self._pending_input = b""
        self._terminal = -1
        self._paused = False  # the container's output is left waiting: a client does not keep up
        self._deaf = False  # clients are left waiting: the container does not keep up with its input
        self._input_ended = False
        self._exit_code: int | None = None
        self._restless: float | None = _STARTED
        self._network: Any = None
        self._executions: Executions | None = None

    def start(self) -> None:
        """Lets the container run. Raises SampanError; call ``undo`` then."""
        wants_terminal = bool(self._job["spec"]["process"].get("terminal"))
        try:
            self._attach_network()
        except BaseException:
            self._process.ready(terminal=wants_terminal)  # if it failed by itself meanwhile, this says why
            raise
        self._log = logs.Writer(*self._job["log"])
        self._server = streams.listen(f"{self._directory}/monitor.sock")
        self._terminal = self._process.ready(terminal=wants_terminal)
        if self._terminal >= 0:
            self._outputs[self._terminal] = 1
            self._input = self._terminal
        warning = self._pretend()
        self._process.start()
        self._state = self._state._replace(status="running", pid=self._process.pid, started=logs.timestamp())
        write_state(self._directory, self._state)
        reserve_state(self._directory)
        missing = [f"this machine cannot set {name}: that limit is left out" for name in self._process.missing]
        warnings = [text for text in (self._network.warning if self._network else "", warning, *missing) if text]
        self._control.send(streams.RUNNING + "; ".join(warnings).encode())
        self._register()

    def undo(self) -> None:
        """Takes back what ``start`` did before it failed."""
        self._process.abandon()
        self._detach_network()

    def serve(self) -> None:
        """Serves the container and its clients until it has ended."""
        # It was off while modules were loaded (see launch.spawn); what lives by now stays for good.
        gc.freeze()
        gc.enable()
        while self._exit_code is None:
            if not self._poll.serve(self._restless):
                memory.give_back()
                self._restless = None
        self._drain()
        self._finish(self._exit_code)

    # -- the container ------------------------------------------------------------------------------------------

    def _attach_network(self) -> None:
        job, process = self._job, self._process
        if job["network"] in ("none", "host") or job["network"].startswith("container:"):
            return
        from sampan.networks import dns
        from sampan.networks.attachment import Attachment

        network = self._network = Attachment(job["id"], job["networks"])
        network.reserve(job["ports"])
        if job["rootless"]:
            network.join_user_mode(process.pid, self._poll)
        else:
            network.join_bridge(process.pid, self._poll, *job["joined"])
        self._state = self._state._replace(address=network.address, ports=network.ports)
        named = [(name, network.gateway if where == "host-gateway" else where) for name, where in job["hosts"]]
        names = tuple(dict.fromkeys((job["hostname"], job["name"])))
        with open(f"{self._directory}/hosts", "w") as file:
            file.write(dns.hosts(named, network.address or "127.0.0.1", names))

    def _detach_network(self) -> None:
        if self._network:
            self._network.close()
            self._network = None

    def _register(self) -> None:
        pidfd = syscalls.pidfd_open(self._process.pid)
        self._poll.watch(pidfd, READ, self._on_exit)
        self._poll.watch(self._server.fileno(), READ, self._on_connection)
        for fd in {*self._outputs, self._input} - {-1}:
            os.set_blocking(fd, False)
            self._await_stream(fd)
        self._add_client(self._control, attached=self._job["attach"])

    def _pretend(self) -> str:
        """Has what a single user id cannot do answered, where there is but one; gives what is to be said of that."""
        pretence = self._process.pretence(self._job["overlay"][1])
        if not pretence:
            return ""
        from sampan.containers.executions import answer

        answer(self._poll, pretence)
        asked: str = self._job["spec"]["process"]["pretence"]["user"]
        return f"the container runs as the only user id there is here, not as {asked}" if asked else ""

    def _await_stream(self, fd: int) -> None:
        """Waits for what a stream of the container is good for now; a terminal is both ways."""
        reading = fd in self._outputs and not self._paused
        writing = fd == self._input and bool(self._pending_input)
        mask = (READ if reading else 0) | (WRITE if writing else 0)
        self._poll.watch(fd, mask, self._on_stream)

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
            for client in [client for client in self._clients if client.attached]:
                self._send(client, b"%d" % stream + data)
        return bool(data)

    def _drain(self) -> None:
        """All processes of the container are gone: what they said last is still in the pipes."""
        for fd in self._outputs:
            os.set_blocking(fd, True)
            if fd == self._terminal:
                os.set_blocking(fd, False)
            while _readable(fd) and self._take(fd):
                continue

    def _finish(self, code: int) -> None:
        self._log.close()
        self._detach_network()
        limited = (self._job["spec"]["linux"].get("resources") or {}).get("memory")
        killed = bool(limited) and self._process.oom_kills() > 0
        self._process.close()
        if self._executions:
            self._executions.finish()
        state = self._state._replace(
            status="exited",
            pid=0,
            exit_code=code,
            finished=logs.timestamp(),
            oom_killed=killed,
            error=self._log.complaint(),
        )
        write_state(self._directory, state)
        self._server.close()
        os.unlink(f"{self._directory}/monitor.sock")
        for client in self._clients:
            client.end.setblocking(True)
            client.end.settimeout(10)
            try:
                for message in (*client.backlog, streams.EXIT + b"%d" % code):
                    client.end.send(message)
            except OSError:
                continue
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

    def _add_client(self, end: Connection, *, attached: bool) -> None:
        client = Client(end, attached=attached)
        self._clients.append(client)
        self._await_client(client)

    def _await_client(self, client: Client) -> None:
        mask = (0 if self._deaf else READ) | (WRITE if client.backlog else 0)
        self._poll.watch(client.end.fileno(), mask, lambda fd, mask: self._on_client(client, mask))

    def _on_connection(self, fd: int, mask: int) -> None:
        self._add_client(self._server.accept(), attached=False)

    def _on_client(self, client: Client, mask: int) -> None:
        if mask & WRITE:
            self._flush(client)
        if not mask & READ or client not in self._clients:
            return
        try:
            message, fds = client.end.receive(1 << 17, _DESCRIPTORS)
        except BlockingIOError:
            return
        except OSError:
            message, fds = b"", []
        if message == streams.EXECUTE and len(fds) == _DESCRIPTORS:
            self._execute(client, fds)
        elif message:
            self._obey(client, message[:1], message[1:])
        else:
            self._drop(client)

    def _execute(self, client: Client, fds: list[int]) -> None:
        if not self._executions:
            from sampan.containers.executions import Executions

            filter_ = (bytes.fromhex(self._job["filter"]), SPEC_ALLOW) if self._job["filter"] else None
            self._executions = Executions(self._poll, self._process, filter_, self._job["overlay"][1])
        self._clients.remove(client)
        self._poll.watch(client.end.fileno(), 0, self._on_stream)
        self._executions.begin(client.end, fds)
        self._restless = _STARTED

    def _obey(self, client: Client, kind: bytes, data: bytes) -> None:
        if kind == streams.INPUT:
            if self._input >= 0:
                self._pending_input += data
                self._write_input()
        elif kind == streams.END_OF_INPUT:
            self._input_ended = True
            self._write_input()
        elif kind == streams.SIGNAL:
            self._process.kill(int(data))
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
        full = len(self._pending_input) > _BACKLOG
        if full != self._deaf:
            self._deaf = full
            for client in self._clients:
                self._await_client(client)
        if self._input_ended and not self._pending_input:
            self._close_input()

    def _close_input(self) -> None:
        if self._terminal < 0 and self._input >= 0:
            self._poll.watch(self._input, 0, self._on_stream)
            os.close(self._input)
            self._input = -1

    def _send(self, client: Client, message: bytes) -> None:
        client.backlog.append(message)
        client.waiting += len(message)
        self._flush(client)

    def _flush(self, client: Client) -> None:
        while client.backlog:
            try:
                client.end.send(client.backlog[0])
            except BlockingIOError:
                break
            except OSError:
                self._drop(client)
                return
            client.waiting -= len(client.backlog.pop(0))
        self._await_client(client)
        self._throttle()

    def _throttle(self) -> None:
        """A client that does not read holds the container's output back, as a pipe would."""
        full = any(client.waiting > _BACKLOG for client in self._clients)
        if full != self._paused:
            self._paused = full
            for fd in self._outputs:
                self._await_stream(fd)

    def _drop(self, client: Client) -> None:
        self._clients.remove(client)
        self._poll.watch(client.end.fileno(), 0, self._on_stream)
        client.end.close()
        self._throttle()


def _readable(fd: int) -> bool:
    import select

    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLHUP)
    return bool(poll.poll(0))
