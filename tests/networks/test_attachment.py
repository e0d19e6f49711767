"""A container's way to the world, held by a process that does what its monitor does."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from machines import Call, Machine, connect
from sampan.linux.poll import READ, Poll
from sampan.networks import bridge
from sampan.networks.attachment import Attachment

pytestmark = [pytest.mark.system, pytest.mark.root]

HOST, OUTSIDE = "203.0.113.1", "203.0.113.2"
NAME = "1" * 64


def _watch(directory: str, container: int, published: list[str], said: int) -> None:
    stopping = os.eventfd(0)
    signal.signal(signal.SIGTERM, lambda *_: os.eventfd_write(stopping, 1))
    poll = Poll()
    attachment = Attachment(NAME, directory)
    attachment.reserve(published)
    attachment.join_bridges(container, poll, [(bridge.DEFAULT, "", "", ())])
    poll.watch(stopping, READ, lambda *_: None)
    os.write(said, b"!")
    running = True
    while running:
        for fd, mask, action in poll.wait():
            action(fd, mask)
            running = running and fd != stopping
    attachment.close()
    attachment.close()
    assert set(poll._watched) == {stopping}


class World:
    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.host, self.outside, self.container = Machine("host"), Machine("outside"), Machine("container")
        connect(self.host, HOST, self.outside, OUTSIDE)
        self._monitors: list[Call] = []

    def publish(self, *texts: str) -> None:
        reading, writing = os.pipe()
        self._monitors.append(self.host.start(_watch, self._directory, self.container.pid, list(texts), writing))
        os.close(writing)
        assert os.read(reading, 1) == b"!"
        os.close(reading)

    def end(self) -> None:
        for monitor in self._monitors:
            os.kill(monitor.pid, signal.SIGTERM)
            monitor.result()
        self._monitors.clear()

    def close(self) -> None:
        try:
            self.end()
        finally:
            for machine in (self.container, self.host, self.outside):
                machine.close()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(bridge, "_RUN", str(tmp_path / "run"))
    world = World(str(tmp_path))
    try:
        yield world
    finally:
        world.close()


def _fetch6(port: int) -> str:
    with socket.create_connection(("::1", port), 5) as client:
        return client.recv(100).decode()


def test_localhost_is_reached_by_ipv6_too(world: World) -> None:
    """Programs try ::1 first for localhost: the socket that holds the port there must not swallow them."""
    world.publish("8000:80")
    world.container.serve("0.0.0.0", 80)
    assert world.host.call(_fetch6, 8000).startswith("container 10.")
    assert world.host.fetch("127.0.0.1", 8000).startswith("container 10.")


def test_published_ports_survive_the_loss_of_the_rules(world: World) -> None:
    world.publish("8000:80", "127.0.0.1:8001:80")
    world.container.serve("0.0.0.0", 80)
    world.host.run("nft flush ruleset")
    assert world.outside.fetch(HOST, 8000).startswith("container ")
    assert world.outside.fetch(HOST, 8001) == "refused"
    assert world.host.fetch("127.0.0.1", 8001).startswith("container ")


def test_tcp_and_udp_of_one_number(world: World) -> None:
    world.publish("5300:53", "5300:53/udp")
    world.container.serve("0.0.0.0", 53)
    world.container.serve("0.0.0.0", 53, udp=True)
    assert world.outside.fetch(HOST, 5300) == f"container {OUTSIDE}"
    assert world.outside.fetch(HOST, 5300, udp=True) == f"container {OUTSIDE}"


def test_nothing_is_left(world: World) -> None:
    world.publish("8000:80")
    world.end()
    assert world.host.fetch("127.0.0.1", 8000) == "refused"
    assert "veth" not in world.host.run("ip -o link")
    assert " : 10." not in world.host.run("nft list ruleset")
