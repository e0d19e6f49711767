"""Networks of containers: none, the host's, and the bridge with published ports, on a machine that the test makes."""

import functools
import http.client
import os
import re
import socket
from contextlib import closing
from http.server import BaseHTTPRequestHandler

import pytest

import servers
from commands import Sampan
from machines import Beside, Machine, connect
from residents import IMAGE, PATIENCE, SEED, SERVE, assert_clean, await_

pytestmark = [pytest.mark.system]


def fetch(address: str, port: int) -> str:
    """A page, or why there is none."""
    with closing(http.client.HTTPConnection(address, port, timeout=PATIENCE)) as connection:
        try:
            connection.request("GET", "/seed")
            return connection.getresponse().read().decode()
        except ConnectionRefusedError:
            return "refused"
        except (ConnectionError, http.client.HTTPException) as error:
            return f"broken: {error}"


def serve(sampan: Sampan, *options: str) -> tuple[str, int]:
    """The id of a server's container, and the port of the host that it has."""
    identifier = sampan("run", "-d", *options, IMAGE, *SERVE).stdout.strip()
    shown = re.search(r":(\d+)->80/tcp", sampan("ps").stdout)
    return identifier, int(shown[1]) if shown else 0


def test_none_is_a_loopback_alone(anyone: Sampan) -> None:
    done = anyone(
        "run", "--rm", "--network", "none", IMAGE, "sh", "-c", "ip -o link; ip -o -4 address; ping -c1 127.0.0.1"
    )
    assert [line.split(":")[1].strip() for line in done.stdout.splitlines()[:1]] == ["lo"]
    assert "2: " not in done.stdout
    assert "127.0.0.1/8" in done.stdout
    assert "1 packets received" in done.stdout


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\nhello\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_host_is_the_hosts_own(anyone: Sampan) -> None:
    with servers.serving(Hello) as address:
        script = f"readlink /proc/self/ns/net; hostname; wget -qO- http://{address}/"
        done = anyone("run", "--rm", "--network", "host", IMAGE, "sh", "-c", script)
    assert done.stdout.splitlines() == [os.readlink("/proc/self/ns/net"), os.uname().nodename, "hello"]


def test_ports_need_the_bridge(anyone: Sampan) -> None:
    for network in ("none", "host"):
        done = anyone("run", "--network", network, "-p", "80", IMAGE, "true", check=False)
        assert done.returncode == 125
        assert f"ports cannot be published with --network {network}" in done.stderr
    done = anyone("run", "-p", "nonsense", IMAGE, "true", check=False)
    assert (done.returncode, done.stdout) == (125, "")


def test_published_on_the_bridge(harbour: Beside) -> None:
    outside = Machine("outside")
    try:
        connect(outside, "10.9.9.2", harbour.machine, "10.9.9.1")
        identifier, port = serve(harbour, "-p", "8080:80", "--name", "web")
        assert port == 8080
        assert await_(lambda: harbour.machine.call(fetch, "127.0.0.1", 8080) == SEED)
        assert harbour.machine.call(fetch, "10.9.9.1", 8080) == SEED
        assert outside.call(fetch, "10.9.9.1", 8080) == SEED
        inside = harbour("exec", "web", "ip", "-o", "-4", "address", "show", "eth0").stdout
        address = re.search(r"inet ([\d.]+)/", inside)
        assert address
        assert harbour.machine.call(fetch, address[1], 80) == SEED
        # From another container: directly, and by the host's address.
        for target in (f"{address[1]}:80", "10.9.9.1:8080"):
            assert harbour("run", "--rm", IMAGE, "wget", "-qO-", f"http://{target}/seed").stdout == SEED
        # And from itself, by the way around.
        assert harbour("exec", "web", "wget", "-qO-", "http://10.9.9.1:8080/seed").stdout == SEED
        # Out into the world, with the host's address.
        outside.serve("10.9.9.2", 99)
        assert harbour("run", "--rm", IMAGE, "nc", "10.9.9.2", "99").stdout == "outside 10.9.9.1"
        assert harbour("run", "--rm", IMAGE, "grep", "-c", "localhost", "/etc/hosts").stdout.strip() != "0"
        harbour("rm", "-f", identifier)
        assert harbour.machine.call(fetch, "127.0.0.1", 8080) == "refused"
        assert outside.call(fetch, "10.9.9.1", 8080) == "refused"
    finally:
        outside.close()
    assert_clean(harbour)


def test_published_on_loopback_only(harbour: Beside) -> None:
    outside = Machine("outside")
    try:
        connect(outside, "10.9.9.2", harbour.machine, "10.9.9.1")
        _, port = serve(harbour, "-p", "127.0.0.1::80")
        assert port > 1024
        assert await_(lambda: harbour.machine.call(fetch, "127.0.0.1", port) == SEED)
        assert outside.call(fetch, "10.9.9.1", port) == "refused"
    finally:
        outside.close()


def test_a_port_in_use(harbour: Beside) -> None:
    serve(harbour, "-p", "8080:80", "--name", "first")
    before = harbour("ps", "-aq").stdout
    done = harbour("run", "-d", "-p", "8080:80", "--name", "second", IMAGE, "true", check=False)
    assert done.returncode == 125
    assert done.stderr.splitlines()[0].startswith("sampan: port 8080")
    assert "hint: " in done.stderr
    assert harbour("ps", "-aq").stdout == before
    harbour("rm", "-f", "first")
    harbour("run", "--rm", "-p", "8080:80", IMAGE, "true")


def test_a_port_that_a_program_of_the_host_has(harbour: Beside) -> None:
    harbour.machine.serve("0.0.0.0", 8080)
    done = harbour("run", "-d", "-p", "8080:80", IMAGE, "true", check=False)
    assert done.returncode == 125
    assert done.stderr.splitlines()[0].startswith("sampan: port 8080")
    assert harbour("ps", "-aq").stdout == ""
    assert_clean(harbour)


def test_a_container_knows_its_own_name(harbour: Beside) -> None:
    done = harbour("run", "--rm", "-h", "hull", IMAGE, "sh", "-c", "ip -o -4 address show eth0; grep hull /etc/hosts")
    address = re.search(r"inet ([\d.]+)/", done.stdout)
    assert address
    assert re.search(rf"^{re.escape(address[1])}\s+hull\b", done.stdout, re.MULTILINE)


def test_a_port_published_by_an_ordinary_user(ordinary: Sampan) -> None:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    identifier, port = serve(ordinary, "-p", f"127.0.0.1:{free}:80")
    assert port == free
    assert await_(functools.partial(_serves, free))
    taken = ordinary("run", "-d", "-p", f"127.0.0.1:{free}:80", IMAGE, "true", check=False)
    assert taken.returncode == 125
    assert f"port {free}" in taken.stderr
    assert len(ordinary("ps", "-aq").stdout.split()) == 1
    ordinary("rm", "-f", identifier)
    assert await_(lambda: fetch("127.0.0.1", free) == "refused")


def _serves(port: int) -> bool:
    return fetch("127.0.0.1", port) == SEED
