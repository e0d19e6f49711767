"""The way out of an ordinary user's container: a program that turns its packets into the user's own connections.

``pasta`` (passt) is preferred: it is faster and copies the host's addresses; ``slirp4netns`` does as well. Neither may
listen on the host, nor lead the container to services on the host's loopback.
"""

from __future__ import annotations

import _signal as signal  # the parts in C: the rest loads enumerations
import _socket as socket
import os
import select
import time

from sampan.errors import Unavailable
from sampan.linux import netlink, syscalls
from sampan.networks import dns

INTERFACE = "eth0"
_SECONDS = 10
_TUN = "/dev/net/tun"
_POLL = 0.002
_UNROUTED = b"\x0a\x00\x02\x64"

# Standard input is the network namespace: its path in /proc would ask for the right to trace the container's process,
# which these programs have given up when they open it, and newer ones close all descriptors that are not standard.
_NAMESPACE = "/proc/self/fd/0"
PROGRAMS = {
    "pasta": (
        "--foreground",
        "--quiet",
        "--config-net",
        "--no-map-gw",
        *("--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none"),
        *("--ns-ifname", INTERFACE, "--netns", _NAMESPACE),
    ),
    "slirp4netns": (
        "--configure",
        "--disable-host-loopback",
        "--mtu=65520",
        "--netns-type=path",
        *(_NAMESPACE, INTERFACE),
    ),
}
_PACKAGES = "install passt (or slirp4netns) with your system's package manager"


class Uplink:
    """A running program; ``name`` is which."""

    def __init__(self, name: str, pid: int) -> None:
        self.name = name
        self.pid = pid

    def close(self) -> None:
        """Ends it, and waits for its end. May be called again."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0


def connect(pid: int) -> Uplink:
    """Connects the network namespace of process ``pid`` with the world; returns when it has an address and a route.

    The caller is root in the user namespace that owns it, and has a single thread; when it dies, the program does.
    Raises Unavailable if no program is installed or none of them works here.
    """
    installed = {name: path for name in PROGRAMS if (path := _find(name))}
    if not installed:
        raise Unavailable("neither pasta nor slirp4netns is installed", hint=_PACKAGES)
    if not os.access(_TUN, os.R_OK | os.W_OK):
        raise Unavailable(f"ordinary users may not use {_TUN} here", hint=f"root can let them: chmod 666 {_TUN}")
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    complaints = []
    try:
        for name, path in installed.items():
            try:
                return _start(name, path, namespace)
            except Unavailable as error:
                complaints.append(error.message)
    finally:
        os.close(namespace)
    hint = _PACKAGES if len(installed) < len(PROGRAMS) else "look at what it says, or use --network none"
    raise Unavailable("; ".join(complaints), hint=hint)


def raise_loopback(pid: int) -> None:
    """Gives a container without a network its loopback, and an address that a ``Forwarder`` can lead to."""
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with netlink.open_inside(namespace) as route:
            route.perform(netlink.set_up(1), netlink.new_address(1, _UNROUTED, 32))
    finally:
        os.close(namespace)


def _find(name: str) -> str:
    directories = [*os.environ.get("PATH", os.defpath).split(":"), "/usr/bin", "/usr/sbin"]
    candidates = (f"{directory}/{name}" for directory in directories if directory.startswith("/"))
    return next((path for path in candidates if os.access(path, os.X_OK)), "")


def _start(name: str, path: str, namespace: int) -> Uplink:
    said = os.memfd_create(name)  # what it says can always be written, and needs nobody who reads
    try:
        uplink = Uplink(name, _spawn([path, *_forwarding(name), *PROGRAMS[name]], namespace, said))
        try:
            _await_ready(uplink, namespace, said)
        except BaseException:
            uplink.close()
            raise
        return uplink
    finally:
        os.close(said)


def _forwarding(name: str) -> tuple[str, ...]:
    """Has pasta ask the host's name servers, where only the host can: then it answers in their place, so not always."""
    return ("--dns-forward", dns.FORWARDED) if name == "pasta" and not dns.reachable() else ()


def _spawn(words: list[str], namespace: int, said: int) -> int:
    pid = os.fork()  # not posix_spawn, which knows no PR_SET_PDEATHSIG
    if pid:
        return pid
    try:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # pasta of 2023 takes an ignored one for a failure
        os.dup2(namespace, 0)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(said, 2)
        os.execve(words[0], words, os.environ)
    finally:
        os._exit(127)


def _await_ready(uplink: Uplink, namespace: int, said: int) -> None:
    route = netlink.open_inside(namespace)
    ended = syscalls.pidfd_open(uplink.pid)
    try:
        limit = time.monotonic() + _SECONDS
        while not _has_default_route(route):
            if select.select([ended], [], [], _POLL)[0]:
                raise Unavailable(f"{uplink.name} ended: {_last_words(said)}")
            if time.monotonic() > limit:
                raise Unavailable(f"{uplink.name} made no network within {_SECONDS} seconds: {_last_words(said)}")
    finally:
        os.close(ended)
        route.close()


def _has_default_route(route: netlink.Socket) -> bool:
    return any(
        not entry.prefix and entry.gateway
        for family in (socket.AF_INET, socket.AF_INET6)
        for entry in netlink.routes(route, family)
    )


def _last_words(said: int) -> str:
    lines = os.pread(said, 1 << 16, 0).decode(errors="replace").strip().splitlines()
    return "; ".join(lines[-2:]) or "it says nothing"
