"""pasta and slirp4netns as an ordinary user runs them, on a host that the test makes."""

import os
import select
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from machines import Machine, connect
from sampan.errors import Unavailable
from sampan.linux import mounts, namespaces, syscalls
from sampan.networks import rootless

pytestmark = [pytest.mark.system, pytest.mark.root, pytest.mark.rootless]

MS_BIND = 0x1000
HOST, OUTSIDE = "203.0.113.1", "203.0.113.2"
PROGRAMS = [pytest.param(name, marks=pytest.mark.needs(name)) for name in rootless.PROGRAMS]


@pytest.fixture
def outside() -> Iterator[Machine]:
    machine = Machine("outside")
    yield machine
    machine.close()


@pytest.fixture
def host(outside: Machine) -> Iterator[Machine]:
    machine = Machine("host")
    try:
        connect(machine, HOST, outside, OUTSIDE)
        machine.run(f"ip route add default via {OUTSIDE}")
        yield machine
    finally:
        machine.close()


def _become_user(tun: str) -> None:
    """Somebody who may use ``tun``, as on most machines, and is root only in a user namespace of his own."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    os.mknod(tun, stat.S_IFCHR, os.makedev(10, 200))
    os.chmod(tun, 0o666)
    mounts.mount(b"none", b"/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    mounts.mount(os.fsencode(tun), b"/dev/net/tun", None, MS_BIND)
    os.setgroups([])
    os.setresgid(1234, 1234, 1234)
    os.setresuid(1234, 1234, 1234)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
    namespaces.enter_user_namespace()


def _look_around(tun: str, name: str) -> dict[str, str]:
    _become_user(tun)
    only = {name: rootless.PROGRAMS[name]}
    rootless.PROGRAMS.clear()
    rootless.PROGRAMS.update(only)
    container = Machine("container", loopback=False)
    uplink = rootless.connect(container.pid)
    gateway = container.run("ip route show default").split()[2]
    container.serve("0.0.0.0", 81)
    found = {
        "program": uplink.name,
        "outside": container.fetch(OUTSIDE, 99),
        "loopback": container.fetch("127.0.0.1", 81),
        "host's loopback": container.fetch(gateway, 98),
        "listening": container.run("ss -Hltn"),
    }
    uplink.close()
    uplink.close()
    container.close()
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_way_out(host: Machine, outside: Machine, name: str, tmp_path: Path) -> None:
    outside.serve("0.0.0.0", 99)
    host.serve("127.0.0.1", 98)
    os.chmod(tmp_path, 0o755)
    found = host.call(_look_around, str(tmp_path / "tun"), name)
    assert found["program"] == name
    assert found["outside"] == f"outside {HOST}"
    assert found["loopback"] == "container 127.0.0.1"
    assert not found["host's loopback"].startswith("host ")
    assert "81" in found["listening"]
    assert host.run("ss -Hltn").split() == host.run("ss -Hltn sport = :98").split(), "nothing else listens on the host"


def _connect_and_die(tun: str, said: int) -> None:
    _become_user(tun)
    container = Machine("container", loopback=False)
    uplink = rootless.connect(container.pid)
    os.write(said, b"%d" % uplink.pid)
    signal.pause()


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_dies_with_the_monitor(host: Machine, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rootless, "PROGRAMS", {name: rootless.PROGRAMS[name]})
    reading, writing = os.pipe()
    call = host.start(_connect_and_die, str(tmp_path / "tun"), writing)
    os.close(writing)
    uplink = int(os.read(reading, 20))
    os.close(reading)
    ended = syscalls.pidfd_open(uplink)
    os.kill(call.pid, signal.SIGKILL)
    assert call.was_killed()
    assert select.select([ended], [], [], 20)[0], "it still runs"
    os.close(ended)


def _connect_without(programs: dict[str, tuple[str, ...]], path: str) -> None:
    rootless.PROGRAMS.clear()
    rootless.PROGRAMS.update(programs)
    os.environ["PATH"] = path
    container = Machine("container", loopback=False)
    try:
        rootless.connect(container.pid)
    finally:
        container.close()


def test_nothing_installed_is_said_with_what_to_install(host: Machine) -> None:
    with pytest.raises(Unavailable, match="neither pasta nor slirp4netns is installed") as caught:
        host.call(_connect_without, {"no-such-program": ()}, "/nonexistent")
    assert "passt" in str(caught.value.hint)


def test_its_last_words_are_told(host: Machine, tmp_path: Path) -> None:
    program = tmp_path / "unlucky"
    program.write_text("#!/bin/sh\necho one >&2; echo no tun for $# >&2; exit 3\n")
    program.chmod(0o755)
    with pytest.raises(Unavailable, match="unlucky ended: one; no tun for 2"):
        host.call(_connect_without, {"unlucky": ("a", "b")}, str(tmp_path))
