"""The forwarder between real sockets: its loop in a process of the host, the server in a container's namespace."""

import hashlib
import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from machines import Machine
from residents import await_
from sampan.errors import Unsupported
from sampan.linux import syscalls
from sampan.linux.poll import READ, Poll
from sampan.networks import datagrams, forward, ports, rootless
from sampan.networks.ports import Port

pytestmark = [pytest.mark.system, pytest.mark.root]

ADDRESS = "10.9.8.7"


def _serve_forever(container: int, port: Port, said: int) -> None:
    """What a monitor does, for one port."""
    reservation = ports.reserve(port)
    namespace = os.open(f"/proc/{container}/ns/net", os.O_RDONLY)
    stopping = os.eventfd(0)
    signal.signal(signal.SIGTERM, lambda *_: os.eventfd_write(stopping, 1))
    poll = Poll()
    forwarder = forward.Forwarder(poll, [reservation], namespace)
    os.close(namespace)
    before = len(os.listdir("/proc/self/fd"))
    poll.watch(stopping, READ, lambda *_: None)
    os.write(said, b"%d " % reservation.port.host_port)
    running = True
    while running:
        for fd, mask, action in poll.wait():
            action(fd, mask)
            running = running and fd != stopping
    after = len(os.listdir("/proc/self/fd"))
    forwarder.close()
    forwarder.close()
    assert set(poll._watched) == {stopping}
    os.write(said, b"%d" % (after - before))


class Forwarding:
    """A forwarder that runs; ``stop`` gives how many descriptors it held more than at its start."""

    def __init__(self, host: Machine, container: Machine, port: Port) -> None:
        self._reading, writing = os.pipe()
        self._call = host.start(_serve_forever, container.pid, port, writing)
        os.close(writing)
        self.port = int(os.read(self._reading, 20))

    def stop(self) -> int:
        os.kill(self._call.pid, signal.SIGTERM)
        try:
            self._call.result()
            return int(os.read(self._reading, 20))
        finally:
            os.close(self._reading)


@pytest.fixture
def host() -> Iterator[Machine]:
    machine = Machine("host")
    yield machine
    machine.close()


@pytest.fixture
def container() -> Iterator[Machine]:
    machine = Machine("container", loopback=False)
    try:
        machine.run("ip link set lo up", f"ip address add {ADDRESS}/32 dev lo")
        yield machine
    finally:
        machine.close()


@pytest.fixture
def forwarding(host: Machine, container: Machine) -> Iterator[Forwarding]:
    running = Forwarding(host, container, Port("", 0, 80))
    yield running
    assert running.stop() <= 4 * 2 + 32, "descriptors leak"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.7.7.7", "::1"])
def test_the_container_answers_and_sees_no_loopback(
    host: Machine, container: Machine, forwarding: Forwarding, address: str
) -> None:
    """podman CVE-2021-20199: a program that trusts 127.0.0.1 must not trust everyone."""
    container.serve("0.0.0.0", 80)
    assert host.call(_read_all, address, forwarding.port) == f"container {ADDRESS}".encode()


def test_what_listens_on_the_container_s_loopback_is_not_published(
    host: Machine, container: Machine, forwarding: Forwarding
) -> None:
    container.serve("127.0.0.1", 80)
    assert host.fetch("127.0.0.1", forwarding.port) == "refused"


def test_nobody_listening_is_a_reset(host: Machine, forwarding: Forwarding) -> None:
    assert host.fetch("127.0.0.1", forwarding.port) == "refused"


def test_a_port_of_one_address(host: Machine, container: Machine) -> None:
    container.serve("0.0.0.0", 80)
    running = Forwarding(host, container, Port("127.0.0.2", 0, 80))
    try:
        assert host.fetch("127.0.0.2", running.port).startswith("container")
        assert host.fetch("127.0.0.1", running.port) == "refused"
    finally:
        running.stop()


def _read_all(address: str, port: int) -> bytes:
    with socket.create_connection((address, port), 10) as client, client.makefile("rb") as file:
        return file.read()


# -- servers of one connection, and clients -------------------------------------------------------------------------


def _listen(said: int, serve: Callable[[socket.socket], object]) -> object:
    with socket.create_server(("0.0.0.0", 80)) as server:
        os.write(said, b"!")
        connection, _ = server.accept()
        with connection:
            connection.settimeout(20)
            return serve(connection)


def _serving(container: Machine, serve: Callable[[socket.socket], object]) -> "object":
    reading, writing = os.pipe()
    call = container.start(_listen, writing, serve)
    os.close(writing)
    assert os.read(reading, 1) == b"!"
    os.close(reading)
    return call


def _digest_of_all(connection: socket.socket) -> bytes:
    digest = hashlib.sha256()
    while data := connection.recv(1 << 16):
        digest.update(data)
    return digest.digest()


def _digest_then_answer(connection: socket.socket) -> None:
    connection.sendall(_digest_of_all(connection) * 1000)


def _send_then_half_close(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(1 << 16), b""))


def test_a_half_closed_connection_carries_the_answer(host: Machine, container: Machine, forwarding: Forwarding) -> None:
    data = os.urandom(8 << 20)
    server = _serving(container, _digest_then_answer)
    assert host.call(_send_then_half_close, forwarding.port, data) == hashlib.sha256(data).digest() * 1000
    server.result()  # type: ignore[attr-defined]


def _echo_slowly(connection: socket.socket) -> None:
    while data := connection.recv(1 << 12):
        connection.sendall(data)


def _flood_both_ways(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        pid = os.fork()
        if pid == 0:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            os._exit(0)
        got = _digest_of_all(client)
        os.waitpid(pid, 0)
        return got


def test_slow_receivers_hold_senders_back_and_nothing_is_lost(
    host: Machine, container: Machine, forwarding: Forwarding
) -> None:
    data = os.urandom(8 << 20)
    server = _serving(container, _echo_slowly)
    assert host.call(_flood_both_ways, forwarding.port, data) == hashlib.sha256(data).digest()
    server.result()  # type: ignore[attr-defined]


def _expect_reset(connection: socket.socket) -> str:
    connection.sendall(b"hello")
    try:
        return repr(connection.recv(1))
    except ConnectionResetError:
        return "reset"


def _reset_after_hello(port: int) -> None:
    client = socket.create_connection(("127.0.0.1", port), 10)
    client.recv(5)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def test_a_client_s_reset_reaches_the_server(host: Machine, container: Machine, forwarding: Forwarding) -> None:
    server = _serving(container, _expect_reset)
    host.call(_reset_after_hello, forwarding.port)
    assert server.result() == "reset"  # type: ignore[attr-defined]


def _say_and_reset(connection: socket.socket) -> None:
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _say_and_wait(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"!")
        try:
            return repr(client.recv(1))
        except ConnectionResetError:
            return "reset"


def test_a_server_s_reset_reaches_the_client(host: Machine, container: Machine, forwarding: Forwarding) -> None:
    server = _serving(container, _say_and_reset)
    assert host.call(_say_and_wait, forwarding.port) == "reset"
    server.result()  # type: ignore[attr-defined]


def _open_many(port: int, count: int) -> set[bytes]:
    clients = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(count)]
    answers = set()
    for client in clients:
        with client:
            answers.add(client.recv(100))
    return answers


def test_more_connections_than_the_limit_take_turns(
    host: Machine, container: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "_CONNECTIONS", 3)
    container.serve("0.0.0.0", 80)
    running = Forwarding(host, container, Port("", 0, 80))
    try:
        assert host.call(_open_many, running.port, 20) == {f"container {ADDRESS}".encode()}
    finally:
        running.stop()


def test_sctp_is_refused() -> None:
    reservation = ports.reserve(Port("127.0.0.1", 0, 53, "udp"))
    try:
        sctp = reservation._replace(port=reservation.port._replace(protocol="sctp"))
        with pytest.raises(Unsupported, match="/sctp cannot be published"):
            forward.Forwarder(Poll(), [sctp], 0)
    finally:
        reservation.close()


def _ask(port: int, clients: int) -> list[tuple[bytes, bytes]]:
    """What is sent by each of several clients, and what he receives, in turns."""
    ends = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(clients)]
    heard = []
    for turn in range(2):
        for number, end in enumerate(ends):
            end.settimeout(10)
            end.sendto(b"%d.%d" % (number, turn), ("127.0.0.1", port))
            heard.append((b"%d.%d" % (number, turn), end.recv(100)))
    return heard


def test_datagrams_and_their_answers(host: Machine, container: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each client hears what is meant for him, also when there are more than are remembered."""
    monkeypatch.setattr(datagrams, "_CLIENTS", 3)
    echo = container.start(_echo)
    running = Forwarding(host, container, Port("", 0, 53, "udp"))
    try:
        assert await_(lambda: host.fetch("127.0.0.1", running.port, udp=True) == "?")
        heard = host.call(_ask, running.port, 5)
        assert [answer for _, answer in heard] == [question for question, _ in heard]
    finally:
        descriptors = running.stop()
        os.kill(echo.pid, signal.SIGKILL)
        assert echo.was_killed()
    assert descriptors <= 3 + datagrams._SOCKETS_AHEAD


def _echo() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as end:
        end.bind(("0.0.0.0", 53))
        while True:
            end.sendto(*end.recvfrom(100))


def test_a_server_that_comes_later_is_found(host: Machine, container: Machine) -> None:
    running = Forwarding(host, container, Port("", 0, 53, "udp"))
    try:
        assert host.fetch("127.0.0.1", running.port, udp=True) == "dropped"
        echo = container.start(_echo)
        assert await_(lambda: host.fetch("127.0.0.1", running.port, udp=True) == "?")
        os.kill(echo.pid, signal.SIGKILL)
        assert echo.was_killed()
    finally:
        running.stop()


# -- as an ordinary user --------------------------------------------------------------------------------------------


def _as_user(function: Callable[..., object], *arguments: object) -> object:
    """Performs ``function`` as somebody who is root only in a user namespace of his own."""
    from sampan.linux import namespaces

    os.setgroups([])
    os.setresgid(1234, 1234, 1234)
    os.setresuid(1234, 1234, 1234)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
    namespaces.enter_user_namespace()
    return function(*arguments)


def _publish_from_own_container() -> bytes:
    container = Machine("rootless", loopback=False)
    rootless.raise_loopback(container.pid)
    container.serve("0.0.0.0", 80)
    reservation = ports.reserve(Port("", 0, 80))
    namespace = os.open(f"/proc/{container.pid}/ns/net", os.O_RDONLY)
    answer = b""
    poll = Poll()
    forwarder = forward.Forwarder(poll, [reservation], namespace)
    with socket.socket() as client:
        client.connect(("127.0.0.1", reservation.port.host_port))
        client.setblocking(False)
        poll.watch(client.fileno(), READ, lambda *_: None)
        while not answer:
            for fd, mask, action in poll.wait(10):
                if fd == client.fileno():
                    answer = client.recv(100)
                else:
                    action(fd, mask)
    forwarder.close()
    container.close()
    return answer


@pytest.mark.rootless
def test_an_ordinary_user_s_container_without_a_way_out(host: Machine) -> None:
    assert host.call(_as_user, _publish_from_own_container) == b"rootless 10.0.2.100"
