"""Published ports: the language of ``-p``, the sockets that hold them on the host, and how ``ps`` shows them."""

from __future__ import annotations

import _socket as socket  # the part in C: the rest loads enumerations, which take 5 ms and a megabyte
import errno
import os

from sampan.errors import Conflict, Denied, Invalid, Unavailable, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

PROTOCOLS = ("tcp", "udp", "sctp")
_BACKLOG = 4096


class Port(NamedTuple):
    """A port of the host that leads to one of a container.

    ``host_ip`` is empty for all addresses of the host; ``host_port`` is 0 where the kernel is to choose.
    """

    host_ip: str
    host_port: int
    container_port: int
    protocol: str = "tcp"


class Reservation(NamedTuple):
    """``port`` with its final number, and the sockets that hold it: one, or one for IPv4 and one for IPv6."""

    port: Port
    sockets: tuple[socket.socket, ...]

    def close(self) -> None:
        for each in self.sockets:
            each.close()


# -- reading --------------------------------------------------------------------------------------------------------


def parse(text: str) -> list[Port]:
    """The ports of one ``-p [IP:][HOST:]CONTAINER[/PROTOCOL]``; HOST and CONTAINER may be ranges such as 8000-8009.

    An IPv6 address stands in brackets. A range of host ports for one container port means the first that is free, which
    is not offered yet. Raises Invalid, Unsupported.
    """
    rest, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in PROTOCOLS:
        raise Invalid(f"port {text!r}: {protocol!r} is not a protocol", hint="tcp, udp or sctp")
    host_ip, host, container = _split(rest, text)
    containers = _range(container, text)
    if not host:
        return [Port(host_ip, 0, number, protocol) for number in containers]
    hosts = _range(host, text, least=0)
    if len(hosts) != len(containers):
        if len(containers) == 1:
            raise Unsupported(f"port {text!r}: a range of host ports for one container port is not supported")
        raise Invalid(f"port {text!r}: the ranges differ in length ({len(hosts)} and {len(containers)})")
    return [Port(host_ip, *pair, protocol) for pair in zip(hosts, containers, strict=True)]


def parse_all(texts: Iterable[str]) -> list[Port]:
    """The ports of several ``-p``, each once, in order. Raises Invalid, Unsupported."""
    return list(dict.fromkeys(port for text in texts for port in parse(text)))


def _split(rest: str, text: str) -> tuple[str, str, str]:
    """Address, host part and container part, as written but for the address, which is in its usual form."""
    address, parts = "", rest.split(":")
    if rest.startswith("["):
        address, bracket, rest = rest[1:].partition("]")
        if not bracket or not rest.startswith(":"):
            raise Invalid(f"port {text!r}: no ']:' follows the IPv6 address")
        parts = rest[1:].split(":")
    elif len(parts) == 3:
        address, *parts = parts
    if len(parts) > 2:
        raise Invalid(f"port {text!r} has too many colons", hint="put an IPv6 address in brackets: [::1]:8000:80")
    return _address(address, text), parts[0] if len(parts) == 2 else "", parts[-1]


def _address(address: str, text: str) -> str:
    if not address:
        return ""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, address))
    except OSError:
        hint = "names are not looked up; write the address"
        raise Invalid(f"port {text!r}: {address!r} is not an IP address", hint=hint) from None


def _range(words: str, text: str, least: int = 1) -> range:
    first, dash, last = words.partition("-")
    if not dash:
        last = first
    if not all(word.isascii() and word.isdigit() and len(word) <= 5 for word in (first, last)):
        raise Invalid(f"port {text!r}: {words!r} is not a port", hint="for example 8000:80, or 127.0.0.1:8000:80/tcp")
    if not least <= int(first) <= int(last) <= 65535:
        raise Invalid(f"port {text!r}: {words!r} is not a port between 1 and 65535")
    return range(int(first), int(last) + 1)


# -- showing --------------------------------------------------------------------------------------------------------


def display(ports: Iterable[Port]) -> str:
    """As ``docker ps`` shows them: ``0.0.0.0:8000-8001->80-81/tcp, 127.0.0.1:53->53/udp``."""
    shown: list[str] = []
    group: list[Port] = []
    ordered = sorted(ports, key=lambda port: (port.protocol, port.host_ip, port.container_port, port.host_port))
    for port in ordered:
        if group and not _follows(group[-1], port):
            shown.append(_shown(group))
            group = []
        group.append(port)
    if group:
        shown.append(_shown(group))
    return ", ".join(shown)


def _follows(before: Port, port: Port) -> bool:
    step = 1 if before.host_port else 0
    following = before._replace(host_port=before.host_port + step, container_port=before.container_port + 1)
    return port == following


def _shown(group: Sequence[Port]) -> str:
    first, last = group[0], group[-1]
    inner = f"{_span(first.container_port, last.container_port)}/{first.protocol}"
    if not first.host_port:
        return inner
    address = f"[{first.host_ip}]" if ":" in first.host_ip else first.host_ip or "0.0.0.0"
    return f"{address}:{_span(first.host_port, last.host_port)}->{inner}"


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


# -- holding --------------------------------------------------------------------------------------------------------


def reserve(port: Port) -> Reservation:
    """Binds ``port`` on the host, so that nobody else gets it while the sockets are open; listens on it if it is TCP.

    All addresses of the host include IPv6's where there are any. What the packet filter forwards never reaches these
    sockets; what it does not, a ``Forwarder`` can accept from them. Raises Conflict if the port is in use, Denied,
    Unavailable if the host does not have the address.
    """
    first = _bind(port, port.host_ip or "0.0.0.0")
    port = port._replace(host_port=first.getsockname()[1])
    if port.host_ip:
        return Reservation(port, (first,))
    try:
        return Reservation(port, (first, _bind(port, "::")))
    except Unavailable:
        return Reservation(port, (first,))  # a host without IPv6
    except BaseException:
        first.close()
        raise


def reserve_all(ports: Iterable[Port]) -> list[Reservation]:
    """Reserves every port, or none. Raises as ``reserve`` does."""
    held: list[Reservation] = []
    try:
        for port in ports:
            held.append(reserve(port))
    except BaseException:
        for reservation in held:
            reservation.close()
        raise
    return held


def _bind(port: Port, address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kinds = {"tcp": (socket.SOCK_STREAM, 0), "udp": (socket.SOCK_DGRAM, 0), "sctp": (socket.SOCK_STREAM, 132)}
    kind, number = kinds[port.protocol]
    held = None
    try:
        held = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, number)
        if port.protocol != "udp":
            # Past a connection of a former owner that waits out its time; a listener still excludes all others.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        held.bind((address, port.host_port))
        if port.protocol != "udp":
            held.listen(_BACKLOG)
        return held
    except OSError as error:
        if held:
            held.close()
        raise _refusal(port, address, error) from None


def _refusal(port: Port, address: str, error: OSError) -> Exception:
    if error.errno == errno.EADDRINUSE:
        hint = (
            f"choose another, as in -p {port.host_port + 1 & 0xFFFF or 8000}:{port.container_port}, or end what has it"
        )
        return Conflict(f"port {port.host_port} of {address} is in use", hint=hint)
    if error.errno in (errno.EACCES, errno.EPERM):
        setting = f"net.ipv4.ip_unprivileged_port_start={port.host_port}"
        hint = f"use a port above 1023, or let everyone have it: sysctl {setting}"
        return Denied(f"port {port.host_port} of {address} is not for ordinary users", hint=hint)
    reason = os.strerror(error.errno or 0)
    return Unavailable(f"port {port.host_port}/{port.protocol} of {address} cannot be published: {reason}")
