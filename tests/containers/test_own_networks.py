"""Networks that users made: who reaches whom in them, what they are called, and what is left of them."""

import functools
import json
import os
import re
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from commands import Sampan
from machines import Beside, Machine, connect
from residents import IMAGE, PATIENCE, SEED, SERVE, await_

pytestmark = [pytest.mark.system]


def address(sampan: Sampan, container: str, interface: str = "eth0") -> str:
    shown = sampan("exec", container, "ip", "-o", "-4", "address", "show", interface).stdout
    found = re.search(r"inet ([\d.]+)/", shown)
    assert found, shown
    return found[1]


def reaches(sampan: Sampan, container: str, where: str) -> bool:
    done = sampan("exec", container, "sh", "-c", f"echo | nc -w 3 {where} 80 > /dev/null", check=False)
    return done.returncode == 0


def test_who_is_in_a_network_reaches_the_others_in_it_and_nobody_else(harbour: Beside) -> None:
    harbour("network", "create", "one")
    harbour("network", "create", "two")
    harbour("run", "-d", "--name", "web", "--network", "one", IMAGE, *SERVE)
    harbour("run", "-d", "--name", "near", "--network", "one", IMAGE, "sleep", "1077")
    harbour("run", "-d", "--name", "far", "--network", "two", IMAGE, "sleep", "1077")
    harbour("run", "-d", "--name", "both", "--network", "two", "--network", "one", IMAGE, "sleep", "1077")
    web = address(harbour, "web")
    assert await_(lambda: reaches(harbour, "near", web))
    assert not reaches(harbour, "far", web)
    assert reaches(harbour, "both", web)
    assert harbour("ps", "--format", "{{.Networks}}", "-f", "name=both").stdout == "two,one\n"
    assert (
        address(harbour, "both", "eth1").rpartition(".")[0].rpartition(".")[0]
        == web.rpartition(".")[0].rpartition(".")[0]
    )
    done = harbour("network", "rm", "one", check=False)
    assert (done.returncode, "network one has containers in it: both, near, web" in done.stderr) == (1, True)
    harbour("restart", "-t", "0", "web")
    assert await_(lambda: reaches(harbour, "near", address(harbour, "web")))
    harbour("rm", "-f", "web", "near", "far", "both")
    harbour("network", "rm", "one", "two")
    assert "sp-" not in harbour.machine.run("ip -o link")
    assert "sp-" not in harbour.machine.run("nft list tables")


def test_addresses_of_one_s_own(harbour: Beside) -> None:
    harbour(
        "network", "create", "--subnet", "10.77.0.0/24", "--gateway", "10.77.0.200", "--ip-range", "10.77.0.8/30", "lan"
    )
    harbour(
        "run",
        "-d",
        "--name",
        "fixed",
        "--network",
        "name=lan,ip=10.77.0.77,mac-address=92:d0:c6:0a:29:33",
        IMAGE,
        "sleep",
        "1077",
    )
    assert address(harbour, "fixed") == "10.77.0.77"
    assert harbour("exec", "fixed", "cat", "/sys/class/net/eth0/address").stdout == "92:d0:c6:0a:29:33\n"
    assert "via 10.77.0.200 " in harbour("exec", "fixed", "ip", "route").stdout
    for number in range(3):
        harbour("run", "-d", "--name", f"free{number}", "--network", "lan", IMAGE, "sleep", "1077")
    given = {address(harbour, f"free{number}") for number in range(3)}
    assert given < {f"10.77.0.{number}" for number in range(8, 12)}
    done = harbour("run", "-d", "--network", "lan", "--ip", "10.77.0.77", IMAGE, "true", check=False)
    assert (done.returncode, "the address 10.77.0.77 is in use" in done.stderr) == (125, True), done.stderr
    for wrong in ("10.77.1.5", "10.77.0.0", "10.77.0.255", "10.77.0.200", "10.77"):
        for words in (("--network", "lan", "--ip", wrong), ("--network", f"name=lan,ip={wrong}")):
            done = harbour("run", "--rm", *words, IMAGE, "true", check=False)
            assert (done.returncode, wrong in done.stderr, "hint: run it again" in done.stderr) == (125, True, False)
        assert harbour("network", "connect", "--ip", wrong, "lan", "free0", check=False).returncode == 1
    harbour("restart", "-t", "0", "fixed")
    assert address(harbour, "fixed") == "10.77.0.77"


def test_what_leads_nowhere(harbour: Beside) -> None:
    outside = Machine("outside")
    try:
        connect(outside, "10.9.9.2", harbour.machine, "10.9.9.1")
        outside.serve("10.9.9.2", 99)
        harbour("network", "create", "--internal", "inner")
        harbour("network", "create", "outer")
        script = "nc -w 3 10.9.9.2 99"
        assert harbour("run", "--rm", "--network", "outer", IMAGE, "sh", "-c", script).stdout == "outside 10.9.9.1"
        assert harbour("run", "--rm", "--network", "inner", IMAGE, "sh", "-c", script, check=False).stdout == ""
        done = harbour("run", "--rm", "-p", "8080:80", "--network", "inner", IMAGE, "true", check=False)
        assert (done.returncode, "with --network inner, which is internal" in done.stderr) == (125, True)
        # Also not by a route that a container makes for itself.
        gateway = json.loads(harbour("network", "inspect", "inner").stdout)[0]["IPAM"]["Config"][0]["Gateway"]
        script = f"ip route add default via {gateway}; {script}"
        words = ("run", "--rm", "--cap-add", "NET_ADMIN", "--network", "inner", IMAGE, "sh", "-c", script)
        assert harbour(*words, check=False).stdout == ""
    finally:
        outside.close()


def ask(name: str, server: str = "127.0.0.11", *, stream: bool = False) -> bytes:
    """What a name server answers to a question for an address."""
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    query = bytes.fromhex("abcd 0100 0001 0000 0000 0000") + labels + bytes.fromhex("00 0001 0001")
    with socket.socket(type=socket.SOCK_STREAM if stream else socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.connect((server, 53))
        if not stream:
            client.send(query)
            return client.recv(4096)
        client.sendall(len(query).to_bytes(2, "big") + query)
        with client.makefile("rb") as file:
            return file.read(int.from_bytes(file.read(2), "big"))


def flood(count: int) -> int:
    """How many bytes of questions a name server takes from someone who reads no answers."""
    query = bytes.fromhex("abcd 0100 0001 0000 0000 0000") + b"\x03web\x00" + bytes.fromhex("0001 0001")
    with socket.socket() as client:
        client.connect(("127.0.0.11", 53))
        client.setblocking(False)
        sent, data = 0, (len(query).to_bytes(2, "big") + query) * 1000
        while sent < count and select.select([], [client], [], 2)[1]:
            sent += client.send(data)
    return sent


def answer(heard: str, ready: int) -> None:
    """A name server of the host's at 127.0.0.1: everybody is at 9.9.9.9; what it is asked is added to a file."""

    def reply(query: bytes, how: str) -> bytes:
        with open(heard, "ab") as file:
            file.write(how.encode() + query[12:-4] + b"\n")
        record = bytes.fromhex("c00c 0001 0001 0000003c 0004 09090909")
        return query[:2] + bytes.fromhex("8180 0001 0001 0000 0000") + query[12:] + record

    with socket.socket(type=socket.SOCK_DGRAM) as datagrams, socket.create_server(("127.0.0.1", 53)) as listener:
        datagrams.bind(("127.0.0.1", 53))
        os.write(ready, b"!")
        while True:
            for each in select.select([datagrams, listener], [], [])[0]:
                if each is datagrams:
                    query, peer = datagrams.recvfrom(4096)
                    datagrams.sendto(reply(query, "udp "), peer)
                else:
                    connection, _ = listener.accept()
                    with connection, connection.makefile("rb") as file:
                        text = reply(file.read(int.from_bytes(file.read(2), "big")), "tcp ")
                        connection.sendall(len(text).to_bytes(2, "big") + text)


@contextmanager
def host_s_name_server(machine: Machine, heard: Path) -> Iterator[None]:
    reading, writing = os.pipe()
    call = machine.start(answer, str(heard), writing)
    os.close(writing)
    try:
        assert os.read(reading, 1) == b"!"
        yield
    finally:
        os.close(reading)
        os.kill(call.pid, signal.SIGKILL)
        call.was_killed()


def test_names(harbour: Beside, tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    heard.touch()
    words = ("--dns", "127.0.0.1", IMAGE)
    harbour("network", "create", "lan")
    harbour("network", "create", "--internal", "inner")
    harbour("run", "-d", "--name", "Web", "--network", "lan", "--network-alias", "www", "-h", "hull", IMAGE, *SERVE)
    harbour("run", "-d", "--name", "near", "--network", "lan", *words, "sleep", "1077")
    harbour("run", "-d", "--name", "shut", "--network", "inner", *words, "sleep", "1077")
    pid = {name: json.loads(harbour("inspect", name).stdout)[0]["State"]["Pid"] for name in ("near", "shut")}
    near, shut = Machine.of("near", pid["near"]), Machine.of("shut", pid["shut"])
    where = socket.inet_aton(address(harbour, "Web"))
    identifier = harbour("ps", "-q", "-f", "name=Web").stdout.strip()
    for name in ("web", "WEB", "www", "hull", identifier, "web.lan"):
        assert near.call(ask, name).endswith(b"\x00\x04" + where), name
        assert near.call(functools.partial(ask, name, stream=True)).endswith(b"\x00\x04" + where), name
    assert await_(lambda: harbour("exec", "near", "wget", "-qO-", "http://www/seed", check=False).stdout == SEED)
    assert harbour("exec", "near", "cat", "/etc/resolv.conf").stdout == "nameserver 127.0.0.11\noptions ndots:0\n"
    with host_s_name_server(harbour.machine, heard):
        for stream in (False, True):
            assert near.call(functools.partial(ask, "example.com", stream=stream)).endswith(bytes((9, 9, 9, 9)))
        assert heard.read_bytes() == b"udp \x07example\x03com\x00\ntcp \x07example\x03com\x00\n"
        # From an internal network no name leaves the host, and no neighbour's is known in another one.
        for name in ("example.com", "web"):
            for stream in (False, True):
                assert shut.call(functools.partial(ask, name, stream=stream))[3] & 15 == 3
        assert heard.read_bytes().count(b"\n") == 2
    # Who asks and does not listen is not listened to.
    assert near.call(flood, 1 << 28) < 1 << 28
    assert near.call(ask, "web").endswith(where)
    # A name server of the container's own is not in the way.
    harbour("exec", "-d", "near", "nc", "-ll", "-p", "53")
    assert near.call(ask, "web").endswith(where)
    harbour("rename", "Web", "Site")
    assert near.call(ask, "site").endswith(where)
    harbour("rm", "-f", "Site")
    assert near.call(ask, "web")[3] & 15 == 2  # nobody of the host's answers any more
    harbour("restart", "-t", "0", "near")
    assert harbour("exec", "near", "nslookup", "near").stdout.count("Address: ") == 1


def test_going_into_networks_and_out_of_them(harbour: Beside) -> None:
    harbour("network", "create", "one")
    harbour("network", "create", "two")
    harbour("run", "-d", "--name", "web", "--network", "one", IMAGE, *SERVE)
    harbour("run", "-d", "--name", "mover", IMAGE, "sleep", "1077")

    def fetched() -> bool:
        return harbour("exec", "mover", "wget", "-qO-", "http://web/seed", check=False).stdout == SEED

    def interfaces() -> list[str]:
        return re.findall(r"eth\d", harbour("exec", "mover", "ip", "-o", "-4", "address").stdout)[::2]

    assert not fetched()
    harbour("network", "connect", "--alias", "me", "one", "mover")
    assert await_(fetched)
    assert "Address: " in harbour("exec", "web", "nslookup", "me").stdout
    done = harbour("network", "connect", "one", "mover", check=False)
    assert (done.returncode, "container mover is in network one already" in done.stderr) == (1, True)
    harbour("network", "disconnect", "bridge", "mover")
    # The way out is by the network that is left.
    route = harbour("exec", "mover", "ip", "route").stdout
    assert (interfaces(), fetched(), "default via " in route) == (["eth1"], True, True)
    harbour("restart", "-t", "0", "mover")
    assert await_(fetched)
    networks = json.loads(harbour("inspect", "mover").stdout)[0]["NetworkSettings"]["Networks"]
    assert (list(networks), networks["one"]["Aliases"]) == (["one"], ["me"])
    harbour("network", "disconnect", "one", "mover")
    assert (interfaces(), fetched()) == ([], False)
    harbour("network", "connect", "two", "mover")
    assert (len(interfaces()), fetched()) == (1, False)
    assert harbour("network", "disconnect", "one", "mover", check=False).returncode == 1
    harbour("network", "disconnect", "-f", "one", "mover")
    # A container that does not run is where it will be.
    harbour("stop", "-t", "0", "mover")
    harbour("network", "connect", "one", "mover")
    harbour("start", "mover")
    assert await_(fetched)
    assert len(interfaces()) == 2
    for words in (("connect", "host", "mover"), ("connect", "nowhere", "mover"), ("connect", "one", "nobody")):
        assert harbour("network", *words, check=False).returncode == 1
    harbour("rm", "-f", "mover", "web")
    harbour("network", "rm", "one", "two")


def test_listing_and_describing(harbour: Beside) -> None:
    identifier = harbour(
        "network", "create", "--label", "a=b", "--internal", "--subnet", "10.78.0.0/24", "lan"
    ).stdout.strip()
    assert [line.split()[1:3] for line in harbour("network", "ls").stdout.splitlines()[1:]] == [
        ["bridge", "bridge"], ["host", "host"], ["lan", "bridge"], ["none", "null"],
    ]  # fmt: skip
    assert harbour("network", "ls", "-q", "--no-trunc", "-f", "label=a").stdout == f"{identifier}\n"
    assert harbour("network", "ls", "--format", "{{.Name}}", "-f", "type=custom").stdout == "lan\n"
    assert harbour("network", "ls", "-q", "-f", "dangling=true").stdout == f"{identifier[:12]}\n"
    harbour("run", "-d", "--name", "first", "--network", "lan", IMAGE, "sleep", "1077")
    (value,) = json.loads(harbour("network", "inspect", identifier[:8]).stdout)
    assert (value["Name"], value["Internal"], value["Labels"]) == ("lan", True, {"a": "b"})
    assert value["IPAM"]["Config"] == [{"Subnet": "10.78.0.0/24", "Gateway": "10.78.0.1"}]
    (member,) = value["Containers"].values()
    assert (member["Name"], member["IPv4Address"]) == ("first", f"{address(harbour, 'first')}/24")
    assert harbour("network", "prune", "-f").stdout == ""
    assert harbour("ps", "-q", "-f", "network=lan").stdout.strip()
    harbour("rm", "-f", "first")
    assert harbour("network", "prune", "-f", "--filter", "label!=a").stdout == ""
    assert harbour("network", "prune", "-f").stdout == "Deleted Networks:\nlan\n\n"
    harbour("network", "create", "lan")
    assert "Deleted Networks:\nlan\n" in harbour("system", "prune", "-f").stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("create", "bridge"), "the network bridge is there already"),
        (("create", "a b"), "'a b' is not a network's name"),
        (("create", "--subnet", "10.1.0.5/24", "x"), "10.1.0.5/24 has host bits set"),
        (("create", "--subnet", "fd00::/64", "x"), "only IPv4 is supported"),
        (("create", "--gateway", "10.1.0.1", "x"), "--gateway and --ip-range take a --subnet"),
        (("create", "--subnet", "10.1.0.0/24", "--gateway", "10.2.0.1", "x"), "is not an address of 10.1.0.0/24"),
        (("create", "--subnet", "10.1.0.0/24", "--ip-range", "10.2.0.0/25", "x"), "is not a part of 10.1.0.0/24"),
        (("create", "-d", "macvlan", "x"), "the network driver 'macvlan' is not supported"),
        (("create", "--ipv6", "x"), "containers have no IPv6 addresses here"),
        (("create", "--ipv4=false", "x"), "--ipv4=false: containers have no IPv6 addresses here"),
        (("create", "-o", "magic=1", "x"), "--opt magic is not supported"),
        (("create", "--scope", "swarm", "x"), "--scope: they are for swarms"),
        (("rm", "host"), "host is a pre-defined network"),
        (("rm", "nowhere"), "network nowhere not found"),
        (("inspect", "nowhere"), "network nowhere not found"),
    ],
)
def test_what_is_refused(root: Sampan, words: tuple[str, ...], sentence: str) -> None:
    done = root("network", *words, check=False)
    assert (done.returncode, sentence in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--network", "nowhere"), "network nowhere not found"),
        (("--ip", "10.1.0.5"), "--ip is for networks that you made"),
        (("--network-alias", "x"), "--network-alias is for networks that you made"),
        (("--network", "host", "--network", "bridge"), "contradict each other"),
        (("--network", "bridge", "--network", "bridge"), "is given twice"),
        (("--network", "name=bridge,magic=1"), "--network: magic is not supported"),
        (("--network", "alias=x"), "it has no name"),
        (("--network", "name=bridge,ip=10.1.0.5"), "--ip is for networks that you made"),
    ],
)
def test_what_no_container_can_have(root: Sampan, options: tuple[str, ...], sentence: str) -> None:
    done = root("run", "--rm", *options, IMAGE, "true", check=False)
    assert (done.returncode, sentence in done.stderr) == (125, True), done.stderr


def test_an_ordinary_user_is_told(ordinary: Sampan) -> None:
    done = ordinary("network", "create", "lan", check=False)
    assert (done.returncode, "networks of one's own take root" in done.stderr) == (1, True)
    done = ordinary("run", "--rm", "--network", "lan", IMAGE, "true", check=False)
    assert (done.returncode, "networks of one's own take root" in done.stderr) == (125, True)
