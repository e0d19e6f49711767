import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.errors import Conflict, Denied, Invalid, SampanError, Unavailable, Unsupported
from sampan.networks import ports
from sampan.networks.ports import Port


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", [Port("", 0, 80)]),
        ("80/tcp", [Port("", 0, 80)]),
        ("53/udp", [Port("", 0, 53, "udp")]),
        ("53/UDP", [Port("", 0, 53, "udp")]),
        ("132/sctp", [Port("", 0, 132, "sctp")]),
        ("8000:80", [Port("", 8000, 80)]),
        ("8000:80/udp", [Port("", 8000, 80, "udp")]),
        ("0:80", [Port("", 0, 80)]),
        (":80", [Port("", 0, 80)]),
        ("127.0.0.1:8000:80", [Port("127.0.0.1", 8000, 80)]),
        ("127.0.0.1::80", [Port("127.0.0.1", 0, 80)]),
        ("127.0.0.1:0:80", [Port("127.0.0.1", 0, 80)]),
        ("0.0.0.0:8000:80", [Port("0.0.0.0", 8000, 80)]),
        ("[::1]:8000:80", [Port("::1", 8000, 80)]),
        ("[::1]::80/udp", [Port("::1", 0, 80, "udp")]),
        ("[::]:8000:80", [Port("::", 8000, 80)]),
        ("[2001:DB8:0:0::1]:8000:80", [Port("2001:db8::1", 8000, 80)]),
        ("8000-8002:80-82", [Port("", 8000, 80), Port("", 8001, 81), Port("", 8002, 82)]),
        ("80-81", [Port("", 0, 80), Port("", 0, 81)]),
        ("127.0.0.1:8000-8001:80-81/udp", [Port("127.0.0.1", 8000, 80, "udp"), Port("127.0.0.1", 8001, 81, "udp")]),
        ("8000-8000:80", [Port("", 8000, 80)]),
        ("65535:65535", [Port("", 65535, 65535)]),
    ],
)
def test_parse(text: str, expected: list[Port]) -> None:
    assert ports.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not a port"),
        ("http", "'http' is not a port"),
        ("0", "not a port between 1 and 65535"),
        ("8000:0", "not a port between 1 and 65535"),
        ("65536", "not a port between 1 and 65535"),
        ("70000:80", "not a port between 1 and 65535"),
        ("000080000:80", "is not a port"),
        ("-1:80", "'-1' is not a port"),
        ("+80", "is not a port"),
        ("８０", "is not a port"),
        ("80 ", "is not a port"),
        ("8000:80/", "'' is not a protocol"),
        ("8000:80/icmp", "'icmp' is not a protocol"),
        ("82-80", "not a port between"),
        ("8000-8002:80-81", r"the ranges differ in length \(3 and 2\)"),
        ("8000:80-81", r"the ranges differ in length \(1 and 2\)"),
        ("1:2:3:4", "too many colons"),
        ("::1:8000:80", "too many colons"),
        ("[::1]8000:80", "no ']:' follows"),
        ("[::1:8000:80", "no ']:' follows"),
        ("[::1]:1:2:3", "too many colons"),
        ("localhost:8000:80", "'localhost' is not an IP address"),
        ("127.1:8000:80", "'127.1' is not an IP address"),
        ("[zz]:8000:80", "'zz' is not an IP address"),
        ("[fe80::1%eth0]:8000:80", "is not an IP address"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        ports.parse(text)


def test_a_range_for_one_port_is_said_to_be_unsupported() -> None:
    with pytest.raises(Unsupported, match="8000-8010:80"):
        ports.parse("8000-8010:80")


@given(st.text(alphabet="0123456789:-/[].tcpud", max_size=30))
def test_nothing_but_ports_and_errors_come_of_any_text(text: str) -> None:
    try:
        found = ports.parse(text)
    except SampanError:
        return
    assert found
    assert all(0 <= port.host_port <= 65535 and 1 <= port.container_port <= 65535 for port in found)


def test_parse_all_drops_repetitions() -> None:
    assert ports.parse_all(["8000:80", "53/udp", "8000:80/tcp"]) == [Port("", 8000, 80), Port("", 0, 53, "udp")]


@pytest.mark.parametrize(
    ("published", "shown"),
    [
        ([], ""),
        ([Port("", 8000, 80)], "0.0.0.0:8000->80/tcp"),
        ([Port("127.0.0.1", 8000, 80, "udp")], "127.0.0.1:8000->80/udp"),
        ([Port("::1", 8000, 80)], "[::1]:8000->80/tcp"),
        ([Port("", 8001, 81), Port("", 8000, 80)], "0.0.0.0:8000-8001->80-81/tcp"),
        ([Port("", 8000, 80), Port("", 8002, 81)], "0.0.0.0:8000->80/tcp, 0.0.0.0:8002->81/tcp"),
        ([Port("", 8000, 80), Port("127.0.0.1", 8001, 81)], "0.0.0.0:8000->80/tcp, 127.0.0.1:8001->81/tcp"),
        ([Port("", 0, 80), Port("", 0, 81)], "80-81/tcp"),
        ([Port("", 53, 53, "udp"), Port("", 53, 53)], "0.0.0.0:53->53/tcp, 0.0.0.0:53->53/udp"),
    ],
)
def test_display(published: list[Port], shown: str) -> None:
    assert ports.display(published) == shown


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_reserved_port_is_nobody_elses() -> None:
    held = ports.reserve(Port("127.0.0.1", 0, 80))
    try:
        assert held.port.host_port > 0
        assert held.port._replace(host_port=0) == Port("127.0.0.1", 0, 80)
        with pytest.raises(Conflict, match=f"port {held.port.host_port} of 127.0.0.1 is in use"):
            ports.reserve(held.port)
    finally:
        held.close()
    ports.reserve(held.port).close()


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_all_addresses_are_reserved(protocol: str) -> None:
    held = ports.reserve(Port("", 0, 80, protocol))
    try:
        assert {sock.getsockname()[0] for sock in held.sockets} == {"0.0.0.0", "::"}
        assert {sock.getsockname()[1] for sock in held.sockets} == {held.port.host_port}
        for address in ("", "127.0.0.1", "::1"):
            with pytest.raises(Conflict):
                ports.reserve(held.port._replace(host_ip=address))
    finally:
        held.close()


def test_a_port_in_use_is_a_conflict_with_a_hint(taken: int) -> None:
    with pytest.raises(Conflict, match=f"port {taken} of 0.0.0.0 is in use") as caught:
        ports.reserve(Port("", taken, 80))
    assert caught.value.hint
    assert "-p " in caught.value.hint


def test_all_or_none_are_reserved(taken: int) -> None:
    first = ports.reserve(Port("127.0.0.1", 0, 80))
    first.close()
    with pytest.raises(Conflict):
        ports.reserve_all([first.port, Port("127.0.0.1", taken, 80)])
    first.close()
    ports.reserve(first.port).close()


def test_an_address_of_another_machine() -> None:
    with pytest.raises(Unavailable, match=r"port 8000/tcp of 192\.0\.2\.77 cannot be published"):
        ports.reserve(Port("192.0.2.77", 8000, 80))


def test_a_port_that_waits_out_its_time_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        client = socket.create_connection(address)
        accepted, _ = server.accept()
        accepted.close()  # the side that ends first keeps the connection in TIME_WAIT
        client.recv(1)
        client.close()
    ports.reserve(Port("127.0.0.1", address[1], 80)).close()


@pytest.mark.system
@pytest.mark.root
@pytest.mark.rootless
def test_a_low_port_is_not_for_ordinary_users() -> None:
    pid = os.fork()
    if pid == 0:
        os.setresuid(1234, 1234, 1234)
        try:
            ports.reserve(Port("127.0.0.1", 81, 80))
        except Denied as error:
            os._exit(0 if "ip_unprivileged_port_start=81" in str(error.hint) else 2)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
