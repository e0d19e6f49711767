"""The bridge between machines that the test makes: a host, two containers on it, and someone outside."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from machines import Machine, connect
from sampan.errors import Conflict, Unavailable
from sampan.linux import netlink
from sampan.networks import bridge, membership
from sampan.networks.bridge import Network
from sampan.networks.endpoints import Endpoint
from sampan.networks.ports import Port

pytestmark = [pytest.mark.system, pytest.mark.root]

HOST, OUTSIDE = "203.0.113.1", "203.0.113.2"
ONE, TWO = "1" * 64, "2" * 64


class World:
    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.host, self.outside = Machine("host"), Machine("outside")
        self.one, self.two = Machine("one"), Machine("two")
        connect(self.host, HOST, self.outside, OUTSIDE)
        self.host.run(f"ip route add default via {OUTSIDE}")

    def attach(self, machine: Machine, container_id: str, *ports: Port, network: Network = bridge.DEFAULT) -> Endpoint:
        endpoint: Endpoint = self.host.call(
            membership.attach, self.directory, container_id, machine.pid, ports, network
        )
        return endpoint

    def detach(self, container_id: str) -> None:
        self.host.call(membership.detach, self.directory, container_id)

    def interfaces(self) -> set[str]:
        return {link["ifname"] for link in json.loads(self.host.run("ip -json link"))}

    def published(self) -> str:
        """What leads to containers, as nft lists it."""
        table = self.host.run("nft list table ip sampan0")
        return "\n".join(line for line in table.splitlines() if " : 10." in line)

    def files(self) -> list[str]:
        return sorted(os.listdir(f"{self.directory}/bridge"))

    def close(self) -> None:
        for machine in (self.one, self.two, self.host, self.outside):
            machine.close()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(bridge, "_RUN", str(tmp_path / "run"))
    world = World(str(tmp_path))
    try:
        yield world
    finally:
        world.close()


def test_a_container_gets_an_interface_and_a_way_out(world: World) -> None:
    endpoint = world.attach(world.one, ONE)
    (device,) = [link for link in json.loads(world.one.run("ip -json address")) if link["ifname"] == "eth0"]
    assert device["operstate"] == "UP"
    assert device["address"] == endpoint.mac
    assert [(entry["local"], entry["prefixlen"]) for entry in device["addr_info"]] == [(endpoint.address, 16)]
    (default,) = [route for route in json.loads(world.one.run("ip -json route")) if route["dst"] == "default"]
    assert default["gateway"] == endpoint.gateway
    assert endpoint.interface in world.interfaces()
    world.outside.serve("0.0.0.0", 99)
    assert world.one.fetch(OUTSIDE, 99) == f"outside {HOST}"


def test_a_bridge_takes_the_packet_size_of_the_way_out(world: World) -> None:
    world.host.run("ip link set up0 mtu 1400")
    world.attach(world.one, ONE)
    assert json.loads(world.one.run("ip -json link show eth0"))[0]["mtu"] == 1400


def test_a_published_port_is_reached_from_everywhere(world: World) -> None:
    endpoint = world.attach(world.one, ONE, Port("", 8000, 80))
    world.attach(world.two, TWO)
    world.one.serve("0.0.0.0", 80)
    assert world.host.fetch("127.0.0.1", 8000) == f"one {endpoint.gateway}"
    assert world.host.fetch(HOST, 8000) == f"one {HOST}"
    assert world.host.fetch(endpoint.address, 80) == f"one {endpoint.gateway}"
    assert world.outside.fetch(HOST, 8000) == f"one {OUTSIDE}"
    for container in (world.one, world.two):
        assert container.fetch(endpoint.gateway, 8000).startswith("one ")
        assert container.fetch(HOST, 8000).startswith("one ")


def test_datagrams_are_published_too(world: World) -> None:
    endpoint = world.attach(world.one, ONE, Port("", 5300, 53, "udp"))
    world.one.serve(endpoint.address, 53, udp=True)
    assert world.host.fetch("127.0.0.1", 5300, udp=True).startswith("one ")
    assert world.outside.fetch(HOST, 5300, udp=True) == f"one {OUTSIDE}"
    assert world.outside.fetch(HOST, 5300) == "refused"


def test_a_port_on_one_address_is_not_on_the_others(world: World) -> None:
    world.host.run("ip address add 203.0.113.9/24 dev up0")
    world.attach(world.one, ONE, Port("203.0.113.9", 8000, 80))
    world.one.serve("0.0.0.0", 80)
    assert world.outside.fetch("203.0.113.9", 8000).startswith("one ")
    assert world.outside.fetch(HOST, 8000) == "refused"
    assert world.host.fetch("127.0.0.1", 8000) == "refused"


def _send_loopback_over_the_wire(machine: Machine, way: str) -> None:
    """Makes a machine an attacker, whose packets to 127.0.0.1 go to its neighbour."""
    machine.run(
        "sysctl -qw net.ipv4.conf.all.route_localnet=1",
        "ip address delete 127.0.0.1/8 dev lo",
        f"ip route add 127.0.0.0/8 via {way}",
    )


@pytest.mark.parametrize("flushed", [False, True])
def test_loopback_is_reached_by_the_host_alone(world: World, flushed: bool) -> None:
    """CVE-2020-8558, moby CVE-2025-54388; also after the rules were lost and recovered."""
    endpoint = world.attach(world.one, ONE, Port("127.0.0.1", 8000, 80))
    if flushed:
        world.host.run("nft flush ruleset")
    world.attach(world.two, TWO)
    world.one.serve("0.0.0.0", 80)
    world.host.serve("127.0.0.1", 22)
    assert world.host.fetch("127.0.0.1", 8000) == f"one {endpoint.gateway}"
    assert world.outside.fetch(HOST, 8000) == "refused"
    for container in (world.one, world.two):
        assert container.fetch(HOST, 8000) == "refused"
        assert container.fetch(endpoint.gateway, 8000) == "refused"
    _send_loopback_over_the_wire(world.outside, HOST)
    _send_loopback_over_the_wire(world.two, endpoint.gateway)
    assert world.outside.fetch("127.0.0.1", 8000) == "dropped"
    assert world.two.fetch("127.0.0.1", 8000) == "dropped"
    assert world.two.fetch("127.0.0.1", 22) == "dropped"
    # All of these would come through if it were not for the guard.
    world.host.run("nft flush chain ip sampan0 guard")
    assert world.outside.fetch("127.0.0.1", 8000).startswith("one ")
    assert world.two.fetch("127.0.0.1", 8000).startswith("one ")
    assert world.two.fetch("127.0.0.1", 22).startswith("host ")


def test_a_container_is_not_reached_by_routing_through_the_host(world: World) -> None:
    endpoint = world.attach(world.one, ONE)
    world.one.serve("0.0.0.0", 80)
    world.outside.run(f"ip route add 10.0.0.0/8 via {HOST}")
    assert world.outside.fetch(endpoint.address, 80) == "dropped"
    world.host.run("nft flush chain ip sampan0 passing")
    assert world.outside.fetch(endpoint.address, 80) == f"one {OUTSIDE}"


def test_no_interface_speaks_ipv6(world: World) -> None:
    """CVE-2020-13401, moby CVE-2024-32473."""
    endpoint = world.attach(world.one, ONE)
    assert world.one.run("ip -6 address show dev eth0") == ""
    for device in ("sampan0", endpoint.interface):
        assert world.host.run(f"ip -6 address show dev {device}") == ""
        assert world.host.run(f"cat /proc/sys/net/ipv6/conf/{device}/accept_ra") == "0\n"


def test_detach_leaves_nothing_of_a_container_and_all_of_another(world: World) -> None:
    before = world.interfaces()
    world.attach(world.one, ONE, Port("", 8000, 80), Port("127.0.0.1", 8001, 81, "udp"))
    kept = world.attach(world.two, TWO, Port("", 8002, 80))
    world.detach(ONE)
    world.detach(ONE)
    assert world.interfaces() == before | {"sampan0", kept.interface}
    assert kept.address in world.published()
    assert len(world.published().splitlines()) == 1
    assert world.files() == [TWO]
    world.detach(TWO)
    assert world.published() == ""
    assert world.files() == []


def test_the_kernel_removes_the_cable_of_a_dead_container(world: World) -> None:
    endpoint = world.attach(world.one, ONE)
    world.one.close()
    world.one = Machine("one again")
    world.detach(ONE)
    _eventually(lambda: endpoint.interface not in world.interfaces())


def test_what_a_killed_monitor_left_is_reclaimed(world: World) -> None:
    world.attach(world.one, ONE, Port("", 8000, 80))
    world.one.close()
    world.one = Machine("one again")
    endpoint = world.attach(world.two, TWO, Port("", 8000, 80))
    world.two.serve("0.0.0.0", 80)
    assert world.host.fetch("127.0.0.1", 8000) == f"two {endpoint.gateway}"
    assert world.files() == [TWO]


def test_a_container_comes_back_after_its_monitor_was_killed(world: World) -> None:
    world.attach(world.one, ONE, Port("", 8000, 80))
    world.one.close()
    world.one = Machine("one again")
    endpoint = world.attach(world.one, ONE, Port("", 8000, 80))
    assert endpoint.address in world.published()
    assert len(world.published().splitlines()) == 1


def test_a_port_of_a_living_container_is_not_taken(world: World) -> None:
    first = world.attach(world.one, ONE, Port("", 8000, 80))
    before = world.interfaces()
    with pytest.raises(Conflict, match="leads to another container"):
        world.attach(world.two, TWO, Port("", 7999, 80), Port("", 8000, 80))
    assert world.interfaces() == before
    assert world.files() == [ONE]
    assert first.address in world.published()
    assert "7999" not in world.published()


def test_a_failed_attach_leaves_nothing(world: World) -> None:
    world.attach(world.two, TWO)
    before = world.interfaces()
    world.one.run("ip link add eth0 type bridge")
    with pytest.raises(Unavailable, match="has an interface eth0"):
        world.attach(world.one, ONE, Port("", 8000, 80))
    assert world.interfaces() == before
    assert world.files() == [TWO]
    assert world.published() == ""


def test_a_process_that_is_gone_is_an_error(world: World) -> None:
    pid = world.two.pid
    world.two.close()
    world.two = Machine("two again")
    with pytest.raises(Unavailable, match=r"111111111111 gets no place in network bridge: No such file"):
        world.host.call(membership.attach, world.directory, ONE, pid)


def test_flushed_rules_come_back_with_all_containers(world: World) -> None:
    endpoint = world.attach(world.one, ONE, Port("", 8000, 80))
    world.one.serve("0.0.0.0", 80)
    world.host.run("nft flush ruleset")
    assert world.host.fetch("127.0.0.1", 8000) == "refused"
    world.attach(world.two, TWO)
    assert world.host.fetch("127.0.0.1", 8000) == f"one {endpoint.gateway}"


@pytest.mark.parametrize("damage", ["nft flush chain ip sampan0 guard", "nft delete chain ip sampan0 passing"])
def test_damaged_rules_are_mended(world: World, damage: str) -> None:
    world.attach(world.one, ONE, Port("", 8000, 80))
    whole = world.host.run("nft list table ip sampan0")
    world.host.run(damage)
    world.attach(world.two, TWO)
    assert world.host.run("nft list table ip sampan0") == whole


def test_the_rules_can_be_saved_and_loaded_by_nft(world: World, tmp_path: Path) -> None:
    world.attach(world.one, ONE, Port("", 8000, 80), Port("127.0.0.1", 8001, 80))
    saved = tmp_path / "rules"
    saved.write_text(world.host.run("nft list ruleset"))
    world.host.run("nft flush ruleset", f"nft -f {saved}")
    assert world.host.run("nft list ruleset") == saved.read_text()


def test_ten_at_once(world: World) -> None:
    machines = [Machine(f"number {number}") for number in range(10)]
    try:
        calls = [
            world.host.start(
                membership.attach, world.directory, f"{number:064x}", machine.pid, [Port("", 9000 + number, 80)]
            )
            for number, machine in enumerate(machines)
        ]
        endpoints = [call.result() for call in calls]
        assert len({endpoint.address for endpoint in endpoints}) == 10
        for number, machine in enumerate(machines):
            machine.serve("0.0.0.0", 80)
            assert world.host.fetch("127.0.0.1", 9000 + number).startswith(f"{machine.name} ")
        for call in [world.host.start(membership.detach, world.directory, f"{n:064x}") for n in range(10)]:
            call.result()
        assert world.files() == []
        assert world.published() == ""
    finally:
        for machine in machines:
            machine.close()


def test_two_stores_share_the_bridge(world: World, tmp_path: Path) -> None:
    first = world.attach(world.one, ONE)
    second = world.host.call(membership.attach, str(tmp_path / "other"), ONE, world.two.pid)
    assert first.address != second.address
    assert first.gateway == second.gateway
    world.one.serve("0.0.0.0", 80)
    assert world.two.fetch(first.address, 80) == f"one {second.address}"


def _attach_and_die(step: int, directory: str, container_id: str, pid: int, port: Port) -> str:
    """Attaches, but is killed as by kill -9 before its conversation with the kernel gets to ``step``."""
    send, left = netlink.Socket._frame, step

    def count(*arguments: Any) -> bytes:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return send(*arguments)

    netlink.Socket._frame = count  # type: ignore[method-assign]
    return membership.attach(directory, container_id, pid, [port]).address


@pytest.mark.parametrize("existing", [False, True])
def test_killed_at_any_step(world: World, existing: bool) -> None:
    """Wherever kill -9 strikes while a container is attached, the next one finds its way."""
    if existing:
        world.attach(world.two, TWO)
    for step in range(0, 200, 1 if existing else 5):
        machine = Machine("victim")
        container_id = f"{step:064x}"
        killed = world.host.start(
            _attach_and_die, step, world.directory, container_id, machine.pid, Port("", 8000, 80)
        ).was_killed()
        machine.close()
        if not killed:
            break
        if not existing:
            world.attach(world.one, ONE, Port("", 8000, 80))
            world.host.run("ip link delete sampan0", "nft flush ruleset")
    assert step > 10, "it was killed too seldom"
    endpoint = world.attach(world.one, ONE, Port("", 8000, 80))
    world.one.serve("0.0.0.0", 80)
    assert world.host.fetch("127.0.0.1", 8000) == f"one {endpoint.gateway}"
    assert set(world.files()) == ({ONE, TWO} if existing else {ONE})


def test_a_small_network_gets_full_and_has_room_again(world: World) -> None:
    small = Network("small", "sampan1", "10.77.0.0/29")
    machines = [Machine(f"number {number}") for number in range(6)]
    try:
        addresses = {
            world.attach(machine, f"{number:064x}", network=small).address
            for number, machine in enumerate(machines[:5])
        }
        assert addresses == {f"10.77.0.{number}" for number in range(2, 7)}
        with pytest.raises(Unavailable, match="no address left"):
            world.attach(machines[5], "f" * 64, network=small)
        world.host.call(membership.detach, world.directory, f"{2:064x}", small)
        world.attach(machines[5], "f" * 64, network=small)
    finally:
        for machine in machines:
            machine.close()


def test_networks_do_not_reach_each_other(world: World) -> None:
    first = world.attach(world.one, ONE)
    second = world.attach(world.two, TWO, network=Network("other", "sampan1"))
    assert first.gateway != second.gateway
    world.one.serve("0.0.0.0", 80)
    assert world.two.fetch(first.address, 80) == "dropped"


def test_remove_takes_the_network_from_the_machine(world: World) -> None:
    before, rules = world.interfaces(), world.host.run("nft list ruleset")
    world.host.call(bridge.remove, world.directory)
    world.attach(world.one, ONE)
    with pytest.raises(Conflict, match="has containers in it"):
        world.host.call(bridge.remove, world.directory)
    world.detach(ONE)
    world.host.call(bridge.remove, world.directory)
    world.host.call(bridge.remove, world.directory)
    assert world.interfaces() == before
    assert world.host.run("nft list ruleset") == rules


@pytest.mark.parametrize("iptables", ["iptables-nft", "iptables-legacy"])
def test_where_iptables_drops_what_is_forwarded(world: World, iptables: str) -> None:
    """As on a host with Docker."""
    world.host.run(f"{iptables} -P FORWARD DROP")
    world.attach(world.one, ONE, Port("", 8000, 80))
    world.attach(world.two, TWO)
    world.one.serve("0.0.0.0", 80)
    world.outside.serve("0.0.0.0", 99)
    assert world.outside.fetch(HOST, 8000) == f"one {OUTSIDE}"
    assert world.one.fetch(OUTSIDE, 99) == f"outside {HOST}"
    assert world.host.run(f"{iptables} -S FORWARD").count("-j ACCEPT") == 2
    world.host.run(f"{iptables} -F FORWARD")
    world.detach(TWO)
    world.attach(world.two, TWO)
    assert world.outside.fetch(HOST, 8000) == f"one {OUTSIDE}"
    world.detach(ONE)
    world.detach(TWO)
    world.host.call(bridge.remove, world.directory)
    assert "ACCEPT" not in world.host.run(f"{iptables} -S FORWARD")


def _eventually(holds: Callable[[], bool]) -> None:
    for _ in range(200):
        if holds():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen")
