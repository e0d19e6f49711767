"""Programs outside that answer a container's system calls, as the runtime specification describes it."""

import fcntl
import json
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bundles import Bundle
from residents import PATIENCE

pytestmark = [pytest.mark.system, pytest.mark.needs("busybox")]
# linux/seccomp.h: struct seccomp_notif is id, pid, flags and seccomp_data; ..._resp is id, value, error, flags.
RECEIVE, SEND = 0xC0502100, 0xC0182101
CONTINUE = 1


class Agent:
    """Waits at a socket; answers mkdir with EDOM, and lets all else go on."""

    def __init__(self, path: Path) -> None:
        self.states: list[dict[str, Any]] = []
        self.calls: list[int] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        path.chmod(0o777)
        self._socket.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                text, fds, _, _ = socket.recv_fds(connection, 1 << 16, 2)
                while more := connection.recv(1 << 16):
                    text += more
            self.states.append({**json.loads(text), "count": len(fds)})
            threading.Thread(target=self._answer, args=(fds[0],), daemon=True).start()

    def _answer(self, fd: int) -> None:
        while True:
            notice = bytearray(80)
            try:
                fcntl.ioctl(fd, RECEIVE, notice)
                identifier, _, _, number = struct.unpack_from("QIIi", notice)
                self.calls.append(number)
                refused = number == 83
                answer = struct.pack("QqiI", identifier, 0, -33 if refused else 0, 0 if refused else CONTINUE)
                fcntl.ioctl(fd, SEND, bytearray(answer))
            except OSError as error:
                if error.errno == 2:  # ENOENT: the process has ended meanwhile
                    if not alive(fd):
                        return
                    continue
                return

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def alive(fd: int) -> bool:
    import select

    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return not any(event & select.POLLHUP for _, event in poll.poll(PATIENCE * 1000))


@pytest.fixture
def agent(anyones_bundle: Bundle) -> Iterator[Agent]:
    found = Agent(anyones_bundle.path / "agent.sock")
    yield found
    found.close()


def notify(bundle: Bundle, *names: str, **more: Any) -> None:
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": list(names), "action": "SCMP_ACT_NOTIFY"}],
        "listenerPath": str(bundle.path / "agent.sock"),
        **more,
    }


@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_calls_are_answered(anyones_bundle: Bundle, agent: Agent, no_new_privileges: bool) -> None:
    notify(anyones_bundle, "mkdir", listenerMetadata="told", flags=["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])
    anyones_bundle.process["noNewPrivileges"] = no_new_privileges
    anyones_bundle.spec["annotations"] = {"key": "value"}
    done = anyones_bundle.run("sh", "-c", "mkdir /tmp/made 2>&1; ls /tmp")
    assert done.stdout == "mkdir: can't create directory '/tmp/made': Numerical argument out of domain\n"
    (told,) = agent.states
    assert (told["ociVersion"], told["fds"], told["metadata"], told["count"]) == ("1.0.2", ["seccompFd"], "told", 1)
    assert told["pid"] == told["state"]["pid"] > 1
    state = told["state"]
    assert (state["status"], state["bundle"], state["annotations"]) == (
        "creating", str(anyones_bundle.path), {"key": "value"},
    )  # fmt: skip
    assert agent.calls == [83]


def test_a_further_process_is_told_of_too(anyones_bundle: Bundle, agent: Agent) -> None:
    notify(anyones_bundle, "mkdir")
    name = anyones_bundle.create("sleep", "1000")
    anyones_bundle("start", name)
    done = anyones_bundle("exec", name, "sh", "-c", "mkdir /tmp/made", check=False)
    assert (done.returncode, "out of domain" in done.stderr) == (1, True)
    first, second = agent.states
    assert second["state"]["status"] == "running"
    assert second["state"]["pid"] == first["pid"] != second["pid"]


def test_the_runtimes_own_calls_may_be_among_them(anyones_bundle: Bundle, agent: Agent) -> None:
    """Those that it makes from then on, down to the one that hands the listener over."""
    own = "sendmsg sendto write read close mmap munmap brk prctl setresuid execve wait4 futex rt_sigaction"
    notify(anyones_bundle, *own.split())
    assert anyones_bundle.run("echo", "ran").stdout == "ran\n"
    assert len(agent.calls) > 10


def hang_up(agent: socket.socket) -> None:
    connection, _ = agent.accept()
    connection.close()


def test_nobody_is_left_where_the_agent_goes_away(anyones_bundle: Bundle) -> None:
    path = anyones_bundle.path / "agent.sock"
    notify(anyones_bundle, "mkdir", "close")
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(path))
        path.chmod(0o777)
        agent.listen()
        threading.Thread(target=hang_up, args=(agent,), daemon=True).start()
        done = anyones_bundle.run("sh", "-c", "mkdir /tmp/made 2>&1", check=False)
    assert done.returncode == 1
    assert os.listdir(anyones_bundle.root / "tmp") == []
    assert anyones_bundle("list", "-q").stdout == ""
