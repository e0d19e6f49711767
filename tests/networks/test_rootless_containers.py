"""An ordinary user's containers and builds with a network, on a machine of the test's own that lets him have one."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import images
from commands import Account, Sampan
from elsewhere import Elsewhere, mounts
from machines import Machine, connect
from residents import await_
from sampan.networks.dns import FORWARDED
from sampan.networks.rootless import PROGRAMS

pytestmark = [pytest.mark.system, pytest.mark.root, pytest.mark.rootless, pytest.mark.needs("busybox")]

HOST, OUTSIDE = "203.0.113.1", "203.0.113.2"
PUBLISHED = ("-p", "127.0.0.1:8080:80", "-p", "127.0.0.1:8053:53/udp")
WITH = [pytest.param(name, marks=pytest.mark.needs(name)) for name in PROGRAMS]


@pytest.fixture
def outside() -> Iterator[Machine]:
    with closing(Machine("outside")) as machine:
        yield machine


@pytest.fixture
def host(outside: Machine) -> Iterator[Machine]:
    """A machine with a server on its loopback, and a cable to one outside that answers on ports 53 and 99."""
    with closing(Machine("host")) as machine:
        connect(machine, HOST, outside, OUTSIDE)
        machine.run(f"ip route add default via {OUTSIDE}")
        machine.serve("127.0.0.1", 98)
        outside.serve("0.0.0.0", 99)
        outside.serve("0.0.0.0", 53, udp=True)
        yield machine


@contextmanager
def ashore(sampan: Sampan, host: Machine, directory: Path, *hidden: str, server: str = OUTSIDE) -> Iterator[Elsewhere]:
    """A user there, who may make network devices, for whom ``hidden`` programs are not installed, and who asks the name
    server ``server``."""
    binds: dict[str, str | int] = {"/dev/net/tun": os.makedev(10, 200), "/etc/resolv.conf": f"nameserver {server}\n"}
    binds |= {f"/usr/bin/{name}": "" for name in hidden}
    with mounts(directory, binds) as namespace:
        images.put(sampan, "box")
        there = Elsewhere(sampan, (f"--net=/proc/{host.pid}/ns/net", namespace))
        try:
            yield there
        finally:
            there.remove_containers()


def other(name: str) -> tuple[str, ...]:
    return tuple(each for each in PROGRAMS if each != name)


@contextmanager
def inside(sampan: Elsewhere, name: str) -> Iterator[Machine]:
    """The network of a container, with servers on its ports 80 and, for UDP, 53."""
    pid = int(sampan("inspect", "-f", "{{.State.Pid}}", name).stdout)
    container = Machine.of("container", pid)
    try:
        container.serve("0.0.0.0", 80)
        container.serve("0.0.0.0", 53, udp=True)
        yield container
    finally:
        container.leave()


@pytest.mark.parametrize("program", WITH)
def test_a_container(rootless_sampan: Sampan, host: Machine, tmp_path: Path, program: str) -> None:
    with ashore(rootless_sampan, host, tmp_path, *other(program)) as sampan:
        done = sampan("run", "-d", "--name", "one", *PUBLISHED, "box", "sleep", "1000")
        assert done.stderr == ""
        assert ("slirp4netns" in sampan.processes()) == (program == "slirp4netns")
        with inside(sampan, "one") as container:
            assert await_(lambda: host.fetch("127.0.0.1", 8080).startswith("container "))
            assert await_(lambda: host.fetch("127.0.0.1", 8053, udp=True).startswith("container "))
            assert await_(lambda: container.fetch(OUTSIDE, 99) == f"outside {HOST}")
            assert await_(lambda: container.fetch(OUTSIDE, 53, udp=True) == f"outside {HOST}")
            gateway = container.run("ip route show default").split()[2]
            for address in (gateway, "127.0.0.1", HOST, "10.0.2.2"):
                assert not container.fetch(address, 98).startswith("host "), address
        assert sampan("exec", "one", "cat", "/etc/resolv.conf").stdout == f"nameserver {OUTSIDE}\n"
        sampan("rm", "-f", "one")
        assert await_(lambda: sampan.processes() == "")
        assert host.fetch("127.0.0.1", 8080) == "refused"


@pytest.mark.parametrize("program", WITH)
def test_a_name_server_on_the_host_s_loopback(
    rootless_sampan: Sampan, host: Machine, tmp_path: Path, program: str
) -> None:
    host.serve("127.0.0.1", 53, udp=True)
    with ashore(rootless_sampan, host, tmp_path, *other(program), server="127.0.0.1") as sampan:
        sampan("run", "-d", "--name", "one", "box", "sleep", "1000")
        shown = sampan("exec", "one", "cat", "/etc/resolv.conf").stdout
        assert shown == f"nameserver {FORWARDED}\n"
        pid = int(sampan("inspect", "-f", "{{.State.Pid}}", "one").stdout)
        container = Machine.of("container", pid)
        assert await_(lambda: container.fetch(FORWARDED, 53, udp=True) == "host 127.0.0.1")
        assert not container.fetch(FORWARDED, 98).startswith("host "), "only names are asked there"
        assert (
            sampan("run", "--rm", "--network=host", "box", "cat", "/etc/resolv.conf").stdout.split()[1] == "127.0.0.1"
        )


@pytest.mark.parametrize("program", WITH)
def test_a_build(rootless_sampan: Sampan, host: Machine, tmp_path: Path, program: str, ordinary_user: Account) -> None:
    context = ordinary_user.home / "context"
    context.mkdir(mode=0o755)
    lines = f"FROM box\nRUN sleep 1 | nc {OUTSIDE} 99\nRUN ! nc -w 1 127.0.0.1 98\n"
    (context / "Dockerfile").write_text(lines)
    with ashore(rootless_sampan, host, tmp_path, *other(program)) as sampan:
        done = sampan("build", "--progress", "plain", context)
        assert f"outside {HOST}" in done.stderr
        assert "WARNING" not in done.stderr


def test_without_a_program(rootless_sampan: Sampan, host: Machine, tmp_path: Path) -> None:
    """The container is alone, and still its published ports lead to it."""
    with ashore(rootless_sampan, host, tmp_path, *PROGRAMS) as sampan:
        done = sampan("run", "-d", "--name", "one", *PUBLISHED, "box", "sleep", "1000")
        warning = "WARNING: neither pasta nor slirp4netns is installed; the container cannot reach the network"
        assert done.stderr.startswith(f"{warning} (install passt (or slirp4netns) ")
        with inside(sampan, "one") as container:
            assert await_(lambda: host.fetch("127.0.0.1", 8080).startswith("container "))
            assert await_(lambda: host.fetch("127.0.0.1", 8053, udp=True).startswith("container "))
            assert container.fetch(OUTSIDE, 99) == "unreachable"
