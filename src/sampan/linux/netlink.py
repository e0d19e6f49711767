"""Netlink: how the kernel is told about links, addresses and routes (netlink(7), rtnetlink(7)).

A ``Message`` is a value that says what is wanted; functions make them, ``Socket.perform`` sends some at once and waits
for their acknowledgements, ``Socket.ask`` returns what the kernel answers. Nothing here runs a program.
"""

from __future__ import annotations

import _socket as socket  # the part in C: the rest loads enumerations, which take 5 ms and a megabyte
import errno
import os
import struct
import sys

from sampan.linux import sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800
NLM_F_ACK_TLVS = 0x200
NLMSGERR_ATTR_MSG = 1
NLA_F_NESTED = 0x8000
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_GETADDR = 20, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_PROTINFO, IFLA_LINKINFO, IFLA_NET_NS_FD = 1, 3, 4, 10, 12, 18, 28
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
IFLA_BRPORT_MODE = 4
VETH_INFO_PEER = 1
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
RTA_DST, RTA_OIF, RTA_GATEWAY = 1, 4, 5
RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RTN_UNICAST = 254, 3, 0, 253, 1
IFF_UP = 1
AF_BRIDGE = 7

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_RECEIVE = 1 << 17


class Message(NamedTuple):
    """One netlink message without its header; ``subject`` says in an error what it was about."""

    kind: int
    flags: int
    payload: bytes
    subject: str


class Link(NamedTuple):
    ifindex: int
    name: str
    flags: int
    mtu: int
    address: bytes
    master: int


class Address(NamedTuple):
    ifindex: int
    address: bytes
    prefix: int


class Route(NamedTuple):
    """``destination`` is empty for a default route; ``ifindex`` is 0 where a route has no single device."""

    destination: bytes
    prefix: int
    gateway: bytes
    ifindex: int
    table: int


class Socket:
    """A netlink socket in the network namespace that the process was in when it, or the socket ``made``, was made.

    Every method raises OSError with the kernel's errno, and its text where it gives one.
    """

    def __init__(self, protocol: int = NETLINK_ROUTE, *, made: socket.socket | None = None) -> None:
        self._socket = made or socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._sequence = 0
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK):
            self._socket.setsockopt(SOL_NETLINK, option, 1)
        self._socket.bind((0, 0))

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def perform(self, *messages: Message) -> None:
        """Sends ``messages`` at once, which the kernel obeys in order, and waits for all their acknowledgements.

        A failed message does not stop the ones after it; the first failure is raised.
        """
        self.send(messages, {index: message.subject for index, message in enumerate(messages)})

    def send(self, messages: Iterable[Message], awaited: dict[int, str]) -> None:
        """Sends ``messages``; asks for an acknowledgement of those whose positions are in ``awaited``, and waits."""
        first = self._sequence + 1
        packet = b"".join(
            self._frame(message, NLM_F_ACK if index in awaited else 0) for index, message in enumerate(messages)
        )
        waiting = {first + index: subject for index, subject in awaited.items()}
        self._socket.send(packet)
        failure: OSError | None = None
        while waiting:
            for kind, flags, sequence, payload in self._receive():
                if kind != NLMSG_ERROR or sequence < first:
                    continue
                known = waiting.pop(sequence, None)
                error = _failure(payload, flags, known or "netlink")
                failure = failure or error
                if known is None and error:
                    raise error  # of the frame around a batch: nothing of it will be answered
        if failure:
            raise failure

    def ask(self, message: Message) -> list[bytes]:
        """The payloads with which the kernel answers a question: one, or with NLM_F_DUMP many."""
        dump = message.flags & NLM_F_DUMP == NLM_F_DUMP
        packet = self._frame(message, 0 if dump else NLM_F_ACK)
        sequence = self._sequence
        self._socket.send(packet)
        answers: list[bytes] = []
        while True:
            for kind, flags, number, payload in self._receive():
                if number != sequence:
                    continue
                if kind == NLMSG_ERROR and (error := _failure(payload, flags, message.subject)):
                    raise error
                if kind in (NLMSG_ERROR, NLMSG_DONE):
                    return answers
                answers.append(payload)

    def _frame(self, message: Message, flags: int) -> bytes:
        self._sequence += 1
        size = _HEADER.size + len(message.payload)
        header = _HEADER.pack(size, message.kind, message.flags | flags | NLM_F_REQUEST, self._sequence, 0)
        return header + message.payload + bytes(-size % 4)

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        data = self._socket.recv(_RECEIVE)
        offset = 0
        while offset + _HEADER.size <= len(data):
            size, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
            yield kind, flags, sequence, data[offset + _HEADER.size : offset + size]
            offset += size + -size % 4


def _failure(payload: bytes, flags: int, subject: str) -> OSError | None:
    """The error in a NLMSG_ERROR message, with the text of its extended acknowledgement; None if all went well."""
    code = -int.from_bytes(payload[:4], sys.byteorder, signed=True)
    if not code:
        return None
    text = os.strerror(code)
    if flags & NLM_F_ACK_TLVS:
        told = attributes(payload[4 + _HEADER.size :]).get(NLMSGERR_ATTR_MSG, b"")
        text = told.rstrip(b"\0").decode(errors="replace") or text
    return OSError(code, f"{subject}: {text}")


# -- attributes -----------------------------------------------------------------------------------------------------


def attribute(kind: int, data: bytes) -> bytes:
    """One attribute, padded. Raises OSError (EMSGSIZE) if its 16 bits of length cannot hold it (CVE-2021-43784)."""
    size = _ATTRIBUTE.size + len(data)
    if size > 0xFFFF:
        raise OSError(errno.EMSGSIZE, f"netlink attribute {kind} would need {size} bytes")
    return _ATTRIBUTE.pack(size, kind) + data + bytes(-size % 4)


def nested(kind: int, *parts: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(parts))


def number(kind: int, value: int) -> bytes:
    """An attribute that holds 32 bits in the machine's order."""
    return attribute(kind, value.to_bytes(4, sys.byteorder))


def text(kind: int, value: str) -> bytes:
    """An attribute that holds a string with its ending zero."""
    return attribute(kind, value.encode() + b"\0")


def each_attribute(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes in ``data``, in order; kinds without their flags. A malformed rest is left out."""
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, offset)
        if not _ATTRIBUTE.size <= size <= len(data) - offset:
            return
        yield kind & 0x3FFF, data[offset + _ATTRIBUTE.size : offset + size]
        offset += size + -size % 4


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes in ``data`` by kind, the last of each."""
    return dict(each_attribute(data))


# -- links ----------------------------------------------------------------------------------------------------------


def _link(index: int = 0, flags: int = 0, change: int = 0, family: int = 0) -> bytes:
    return _LINK.pack(family, 0, index, flags, change)


def _properties(name: str = "", address: bytes = b"", mtu: int = 0, master: int = 0) -> bytes:
    return (
        (text(IFLA_IFNAME, name) if name else b"")
        + (attribute(IFLA_ADDRESS, address) if address else b"")
        + (number(IFLA_MTU, mtu) if mtu else b"")
        + (number(IFLA_MASTER, master) if master else b"")
    )


def _new_link(kind: str, name: str, properties: bytes, data: bytes = b"") -> Message:
    info = nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, kind), nested(IFLA_INFO_DATA, data) if data else b"")
    payload = _link() + text(IFLA_IFNAME, name) + properties + info
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, payload, f"making {kind} {name}")


def new_bridge(name: str, address: bytes, mtu: int = 0) -> Message:
    """A bridge with a hardware ``address`` of its own, so that it does not take over one of its ports'."""
    return _new_link("bridge", name, _properties(address=address, mtu=mtu))


def new_veth(name: str, peer: str, bridge: Link, peer_address: bytes, peer_namespace: int) -> Message:
    """A pair, both down: ``name`` here, a port of ``bridge``; ``peer`` in the namespace behind a descriptor."""
    other = _link() + _properties(peer, peer_address, bridge.mtu) + number(IFLA_NET_NS_FD, peer_namespace)
    properties = _properties(mtu=bridge.mtu, master=bridge.ifindex)
    return _new_link("veth", name, properties, attribute(VETH_INFO_PEER, other))


def set_up(index: int) -> Message:
    return Message(RTM_SETLINK, 0, _link(index, IFF_UP, IFF_UP), f"setting link {index} up")


def set_hairpin(index: int) -> Message:
    """Lets a bridge send a packet back out of the port that it came in by."""
    payload = _link(index, family=AF_BRIDGE) + nested(IFLA_PROTINFO, attribute(IFLA_BRPORT_MODE, b"\1"))
    return Message(RTM_SETLINK, 0, payload, f"hairpin mode of link {index}")


def delete_link(name: str) -> Message:
    return Message(RTM_DELLINK, 0, _link() + text(IFLA_IFNAME, name), f"removing link {name}")


def find_link(sock: Socket, name: str) -> Link | None:
    """The link called ``name``."""
    try:
        answers = sock.ask(Message(RTM_GETLINK, 0, _link() + text(IFLA_IFNAME, name), f"link {name}"))
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise
    return _parse_link(answers[0])


def links(sock: Socket) -> list[Link]:
    return [_parse_link(data) for data in sock.ask(Message(RTM_GETLINK, NLM_F_DUMP, _link(), "links"))]


def _parse_link(data: bytes) -> Link:
    _, _, index, flags, _ = _LINK.unpack_from(data)
    found = attributes(data[_LINK.size :])
    return Link(
        index,
        found.get(IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace"),
        flags,
        _integer(found.get(IFLA_MTU, b"")),
        found.get(IFLA_ADDRESS, b""),
        _integer(found.get(IFLA_MASTER, b"")),
    )


# -- addresses and routes (IPv4: 4 bytes, IPv6: 16) -----------------------------------------------------------------


def _family(address: bytes) -> int:
    return socket.AF_INET6 if len(address) == 16 else socket.AF_INET


def new_address(index: int, address: bytes, prefix: int) -> Message:
    """Gives link ``index`` an address with its network's broadcast address (IPv4)."""
    payload = _ADDRESS.pack(_family(address), prefix, 0, RT_SCOPE_UNIVERSE, index)
    payload += attribute(IFA_LOCAL, address) + attribute(IFA_ADDRESS, address)
    if len(address) == 4:
        last = int.from_bytes(address, "big") | ((1 << (32 - prefix)) - 1)
        payload += attribute(IFA_BROADCAST, last.to_bytes(4, "big"))
    return Message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, payload, f"address of link {index}")


def new_route(index: int, gateway: bytes, destination: bytes = b"", prefix: int = 0) -> Message:
    """A route through ``gateway`` on link ``index``: the default one unless a destination is given."""
    header = (_family(gateway), prefix, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0)
    payload = _ROUTE.pack(*header) + (attribute(RTA_DST, destination) if destination else b"")
    payload += attribute(RTA_GATEWAY, gateway) + number(RTA_OIF, index)
    return Message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, payload, f"route on link {index}")


def addresses(sock: Socket, family: int = socket.AF_INET) -> list[Address]:
    answers = sock.ask(Message(RTM_GETADDR, NLM_F_DUMP, _ADDRESS.pack(family, 0, 0, 0, 0), "addresses"))
    return [_parse_address(data) for data in answers]


def _parse_address(data: bytes) -> Address:
    _, prefix, _, _, index = _ADDRESS.unpack_from(data)
    found = attributes(data[_ADDRESS.size :])
    return Address(index, found.get(IFA_LOCAL) or found.get(IFA_ADDRESS, b""), prefix)


def routes(sock: Socket, family: int = socket.AF_INET) -> list[Route]:
    """The routes of all tables, the kernel's own of table local too."""
    answers = sock.ask(Message(RTM_GETROUTE, NLM_F_DUMP, _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0), "routes"))
    return [_parse_route(data) for data in answers]


def _parse_route(data: bytes) -> Route:
    _, prefix, _, _, table, _, _, _, _ = _ROUTE.unpack_from(data)
    found = attributes(data[_ROUTE.size :])
    destination, gateway = found.get(RTA_DST, b""), found.get(RTA_GATEWAY, b"")
    return Route(destination, prefix, gateway, _integer(found.get(RTA_OIF, b"")), table)


def _integer(data: bytes) -> int:
    return int.from_bytes(data, sys.byteorder)


def open_inside(namespace: int) -> Socket:
    """A socket for links, addresses and routes of the network namespace behind a descriptor; see ``sockets``."""
    return Socket(made=sockets.made_inside(namespace, socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE)[0])
