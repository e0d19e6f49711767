"""Machines for network tests: a network namespace each, held by a process that sleeps. The test stays where it is."""

import errno
import os
import pickle
import signal
import socket
import subprocess
import traceback
from collections.abc import Callable
from typing import Any

from commands import Sampan
from sampan.linux import syscalls

TIMEOUT = 0.7
"""Seconds after which a packet counts as dropped; everything here answers within milliseconds."""


class Machine:
    """A network namespace. Close it, or it stays."""

    def __init__(self, name: str, *, loopback: bool = True) -> None:
        self.name = name
        self._servers: list[int] = []
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _exit_with_parent()
            syscalls.unshare(syscalls.CLONE_NEWNET)
            os.write(writing, b"!")
            while True:
                signal.pause()
        os.close(writing)
        assert os.read(reading, 1) == b"!"
        os.close(reading)
        if loopback:
            self.run("ip link set lo up")

    @classmethod
    def of(cls, name: str, pid: int) -> "Machine":
        """The network namespace of a process that somebody else looks after; ``leave`` it."""
        machine = cls.__new__(cls)
        machine.name, machine.pid, machine._servers = name, pid, []
        return machine

    def run(self, *commands: str) -> str:
        """Runs commands of the test machine's own programs inside; gives the last one's output."""
        output = ""
        for command in commands:
            words = ["nsenter", f"--net=/proc/{self.pid}/ns/net", *command.split()]
            output = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
        return output

    def start(self, function: Callable[..., Any], *arguments: Any) -> "Call":
        """Lets a child of the test perform ``function`` inside."""
        return Call(self.pid, function, arguments)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What ``function`` returns or raises inside."""
        return self.start(function, *arguments).result()

    def serve(self, address: str, port: int, *, udp: bool = False, backlog: int = 16) -> None:
        """Answers everyone with this machine's name and the address that they come from."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            _exit_with_parent()
            _enter(self.pid)
            server = socket.socket(type=socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((address, port))
            if not udp:
                server.listen(backlog)
            os.write(writing, b"!")
            while True:
                if udp:
                    _, peer = server.recvfrom(100)
                    server.sendto(f"{self.name} {peer[0]}".encode(), peer)
                else:
                    connection, peer = server.accept()
                    connection.sendall(f"{self.name} {peer[0]}".encode())
                    connection.close()
        os.close(writing)
        assert os.read(reading, 1) == b"!"
        os.close(reading)
        self._servers.append(pid)

    def fetch(self, address: str, port: int, *, udp: bool = False) -> str:
        """What a server answers to this machine, or why it does not: "refused", "dropped", "unreachable"."""
        answer: str = self.call(_fetch, address, port, udp)
        return answer

    def close(self) -> None:
        self._servers.append(self.pid)
        self.leave()

    def leave(self) -> None:
        """Ends its servers, and nothing else."""
        for pid in self._servers:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self._servers.clear()


class Call:
    def __init__(self, machine: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _exit_with_parent()
            os.close(self._reading)
            _enter(machine)
            try:
                answer = (True, function(*arguments), "")
            except BaseException as error:
                answer = (False, error, traceback.format_exc())
            with open(writing, "wb") as file:
                pickle.dump(answer, file)
            os._exit(0)
        os.close(writing)

    def was_killed(self) -> bool:
        """Waits for its end."""
        return not self._end()

    def _end(self) -> bytes:
        with open(self._reading, "rb") as file:
            data = file.read()
        os.waitpid(self.pid, 0)
        return data

    def result(self) -> Any:
        data = self._end()
        assert data, "the child was killed"
        succeeded, value, trace = pickle.loads(data)
        if succeeded:
            return value
        value.add_note(trace)
        raise value


def _enter(pid: int) -> None:
    fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    syscalls.setns(fd, syscalls.CLONE_NEWNET)
    os.close(fd)


def _exit_with_parent() -> None:
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)


def _fetch(address: str, port: int, udp: bool) -> str:
    with socket.socket(type=socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as client:
        client.settimeout(TIMEOUT)
        try:
            client.connect((address, port))
            if udp:
                client.send(b"?")
            return client.recv(1000).decode()
        except TimeoutError:
            return "dropped"
        except ConnectionError:
            return "refused"
        except OSError as error:
            if error.errno not in (errno.ENETUNREACH, errno.EHOSTUNREACH):
                raise
            return "unreachable"


def connect(one: Machine, its: str, other: Machine, others: str, prefix: int = 24) -> None:
    """Lays a cable between two machines, with device "eth0" at ``other``'s and "up0" at ``one``'s end."""
    one.run(
        f"ip link add up0 type veth peer name eth0 netns {other.pid}",
        f"ip address add {its}/{prefix} dev up0",
        "ip link set up0 up",
    )
    other.run(f"ip address add {others}/{prefix} dev eth0", "ip link set eth0 up")


class Beside(Sampan):
    """The command line in the network namespace of a test machine."""

    machine: Machine

    def command(self, *arguments: object) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.machine.pid}/ns/net", *super().command(*map(str, arguments))]
