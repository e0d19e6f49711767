"""The packet filter of one bridge network: a table named after the bridge, with rules that never change and a map of
published ports, to which a container adds its own and from which it takes them back.

Map "published" leads from (protocol, port) to (address, port) of a container, map "published_at" from (protocol,
address, port) for ports published on one address of the host. One table per bridge: removing the table removes all
traces of that network and of no other.
"""

from __future__ import annotations

import _socket as socket  # the part in C: the rest loads enumerations, which take 5 ms and a megabyte
import errno
import os

from sampan.errors import Unavailable
from sampan.linux import nftables, sockets
from sampan.linux.netlink import Message, Socket
from sampan.linux.nftables import Chain, Rule
from sampan.networks.ports import Port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

_MAPS = {  # with the types of their keys
    "published": (nftables.TYPE_PROTOCOL, nftables.TYPE_PORT),
    "published_at": (nftables.TYPE_PROTOCOL, nftables.TYPE_IPV4, nftables.TYPE_PORT),
}
_DATA = (nftables.TYPE_IPV4, nftables.TYPE_PORT)
_NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132}
_CHAINS = (
    Chain("guard", "filter", nftables.PREROUTING, nftables.RAW),
    Chain("arriving", "nat", nftables.PREROUTING, nftables.DSTNAT),
    Chain("own", "nat", nftables.OUTPUT, nftables.DSTNAT),
    Chain("passing", "filter", nftables.FORWARD, nftables.FILTER),
    Chain("leaving", "nat", nftables.POSTROUTING, nftables.SRCNAT),
)
_INSIDE = "sampan"
_LOOPBACK = bytes((127, 0, 0, 0)), 8


class Element(NamedTuple):
    """What one published port adds to a map."""

    map: str
    key: bytes
    data: bytes


class Bridged(NamedTuple):
    """What the rules depend on: the bridge and the IPv4 network behind it."""

    device: str
    network: bytes
    prefix: int
    internal: bool = False


def rules(bridge: Bridged) -> list[Rule]:
    """All rules of the table, in order."""
    device, subnet = bridge.device, (bridge.network, bridge.prefix)
    into, source = nftables.to_device(device), nftables.source_in(*subnet)
    published = nftables.connection_has(nftables.CT_STATUS, nftables.STATUS_DNAT)
    to_published = [
        Rule(chain, f"redirect what is {name}", (*nftables.destination_is_local(), *_redirect(name)))
        for chain in ("arriving", "own")
        for name in _MAPS
    ]
    masquerade = nftables.masquerade()
    leaving = nftables.to_device(device, equal=False)
    outside = (
        Rule("passing", "nothing leaves", (*nftables.from_device(device), *leaving, nftables.drop()))
        if bridge.internal
        else Rule("leaving", "to the world", (*source, *leaving, masquerade))
    )
    return [
        # route_localnet, which lets the host reach containers from 127.0.0.1, would else let the way back be used by
        # packets sent to 127.0.0.1 from outside: they reached services of the host (CVE-2020-8558) and ports published
        # on loopback alone (moby CVE-2025-54388). No such packet is ever legitimate (RFC 1122, 3.2.1.3).
        Rule(
            "guard",
            "loopback addresses come from loopback",
            (*nftables.from_device("lo", equal=False), *nftables.destination_in(*_LOOPBACK), nftables.drop()),
        ),
        *to_published,
        # Reaching a container's own address by routing through the host would go round -p (as Docker 28 has it).
        Rule(
            "passing",
            "only published ports from outside",
            (
                *into,
                *nftables.from_device(device, equal=False),
                *nftables.connection_lacks(nftables.CT_STATE, nftables.STATE_ESTABLISHED | nftables.STATE_RELATED),
                *nftables.connection_lacks(nftables.CT_STATUS, nftables.STATUS_DNAT),
                nftables.drop(),
            ),
        ),
        outside,
        # The other container would answer directly, from an address that the asking one never spoke to.
        Rule("leaving", "between containers by a published port", (*source, *into, *published, masquerade)),
        Rule("leaving", "from the host's loopback", (*nftables.source_in(*_LOOPBACK), *into, masquerade)),
    ]


def _redirect(name: str) -> tuple[bytes, ...]:
    first, second, third = nftables.REGISTERS
    rest: tuple[bytes, ...] = (nftables.load_destination_port(second),)
    if name == "published_at":
        rest = nftables.load_destination(second), nftables.load_destination_port(third)
    return nftables.load_protocol(first), *rest, nftables.look_up(name), nftables.destination_nat()


def elements(address: bytes, ports: Iterable[Port]) -> list[Element]:
    """What a container's published ports add to the maps; those on IPv6 addresses have no place in them."""
    found = []
    for port in ports:
        protocol, target = bytes((_NUMBERS[port.protocol], 0, 0, 0)), address + _port(port.container_port)
        if port.host_ip in ("", "0.0.0.0"):
            found.append(Element("published", protocol + _port(port.host_port), target))
        elif ":" not in port.host_ip:
            key = protocol + socket.inet_aton(port.host_ip) + _port(port.host_port)
            found.append(Element("published_at", key, target))
    return found


def _port(number: int) -> bytes:
    return number.to_bytes(2, "big") + bytes(2)


def is_complete(sock: Socket, bridge: Bridged) -> bool:
    """Whether the table has all its rules, and no others."""
    wanted: dict[str, list[str]] = {}
    for rule in rules(bridge):
        wanted.setdefault(rule.chain, []).append(rule.comment)
    present = nftables.rules(sock, bridge.device)
    if {chain: [comment for comment, _ in found] for chain, found in present.items()} != wanted:
        return False
    return not _is_shut_elsewhere(sock, bridge.device)


def install(sock: Socket, bridge: Bridged, published: Iterable[Element]) -> None:
    """Makes the table anew, at once, with the elements of all containers. Raises OSError, Unavailable."""
    table = bridge.device
    messages = [
        nftables.add_table(table),  # or removing it would fail if it is not there
        nftables.delete_table(table),
        nftables.add_table(table),
        *(nftables.add_chain(table, chain) for chain in _CHAINS),
        *(nftables.add_map(table, name, key, _DATA, number) for number, (name, key) in enumerate(_MAPS.items())),
        *(nftables.add_rule(table, rule) for rule in rules(bridge)),
        *_addition(table, list(published)),
    ]
    try:
        nftables.commit(sock, messages)
    except FileNotFoundError as error:
        hint = "load the modules nft_chain_nat, nft_masq and nft_fib_ipv4, or use --network host or none"
        raise Unavailable(f"the kernel lacks a part of nf_tables: {error.strerror}", hint=hint) from None
    _open_elsewhere(sock, table)


def remove(sock: Socket, device: str) -> None:
    """Removes the table of a bridge, if it is there, and what was added elsewhere for it."""
    nftables.commit(sock, [nftables.add_table(device), nftables.delete_table(device)])
    _close_elsewhere(sock, device)


def lead_inside(namespace: int, address: str, port: int, ports: dict[str, int]) -> None:
    """Leads what is sent to ``port`` of ``address``, one of the loopback's, inside a container's namespace to another
    port of it, by protocol. Raises Unavailable."""
    with sockets.inside(namespace):
        sock = nftables.open_socket()
    name, where = "published_at", socket.inet_aton(address)
    found = [
        (bytes((_NUMBERS[protocol], 0, 0, 0)) + where + _port(port), where + _port(target))
        for protocol, target in ports.items()
    ]
    try:
        with sock:
            nftables.commit(
                sock,
                [
                    nftables.add_table(_INSIDE),
                    nftables.add_chain(_INSIDE, Chain("own", "nat", nftables.OUTPUT, nftables.DSTNAT)),
                    nftables.add_map(_INSIDE, name, _MAPS[name], _DATA, 0),
                    nftables.add_rule(_INSIDE, Rule("own", "to the name server", _redirect(name))),
                    *nftables.add_elements(_INSIDE, name, found),
                ],
            )
    except OSError as error:
        raise Unavailable(f"the kernel lacks a part of nf_tables: {error.strerror}") from None


def publish(sock: Socket, table: str, published: list[Element]) -> None:
    """Opens a container's ports. Raises FileExistsError if one of them leads to another container."""
    if published:
        nftables.commit(sock, _addition(table, published))


def withdraw(sock: Socket, table: str, published: list[Element]) -> None:
    """Takes a container's ports back; those that are gone, or another container's by now, stay as they are."""
    if not published or _try(sock, _removal(table, published)):
        return
    for element in published:
        _try(sock, _removal(table, [element]))


def _addition(table: str, published: list[Element]) -> list[Message]:
    return [
        message
        for name in _MAPS
        for message in nftables.add_elements(table, name, [each[1:] for each in published if each.map == name])
    ]


def _removal(table: str, published: list[Element]) -> list[Message]:
    removal = [
        message
        for name in _MAPS
        for message in nftables.remove_elements(table, name, [each.key for each in published if each.map == name])
    ]
    # Adding first makes it fail for a key that leads elsewhere, and succeed for one that is gone.
    return _addition(table, published) + removal


def _try(sock: Socket, messages: list[Message]) -> bool:
    try:
        nftables.commit(sock, messages)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOENT):
            raise
        return False
    return True


# -- other people's rules -------------------------------------------------------------------------------------------
# Docker, ufw and others set the policy of iptables' chain FORWARD to DROP. What one table accepts another may still
# drop, so the bridge needs to be accepted there too: after all other rules, so that only the policy is overruled.


def _accepts(device: str) -> tuple[Rule, Rule]:
    comment = f"sampan network {device}"
    return (
        Rule("FORWARD", comment, (*nftables.from_device(device), nftables.accept())),
        Rule("FORWARD", comment, (*nftables.to_device(device), nftables.accept())),
    )


def _is_shut_elsewhere(sock: Socket, device: str) -> bool:
    if nftables.drops_by_default(sock, "filter", "FORWARD") and not _accepted(sock, device):
        return True
    return bool(_missing_in_legacy(device))


def _open_elsewhere(sock: Socket, device: str) -> None:
    if nftables.drops_by_default(sock, "filter", "FORWARD") and not _accepted(sock, device):
        nftables.commit(sock, [nftables.add_rule("filter", rule) for rule in _accepts(device)])
    for rule in _missing_in_legacy(device):
        _iptables("-A", *rule.split())


def _close_elsewhere(sock: Socket, device: str) -> None:
    handles = _accepted(sock, device)
    if handles:
        nftables.commit(sock, [nftables.delete_rule("filter", "FORWARD", handle) for handle in handles])
    present = _legacy_forward()
    for rule in _legacy_rules(device):
        if f"-A {rule}" in present:
            _iptables("-D", *rule.split())


def _accepted(sock: Socket, device: str) -> list[bytes]:
    """The handles of the rules that accept a bridge."""
    ours = {rule.comment for rule in _accepts(device)}
    present = nftables.rules(sock, "filter", "FORWARD").get("FORWARD", [])
    return [handle for comment, handle in present if comment in ours]


# The older iptables, of which nf_tables knows nothing, speaks no netlink: its own program is asked where it is in use.

_LEGACY_TABLES = "/proc/net/ip_tables_names"
_LEGACY_PROGRAMS = ("/usr/sbin/iptables-legacy", "/sbin/iptables-legacy", "/usr/sbin/iptables", "/sbin/iptables")


def _legacy_rules(device: str) -> list[str]:
    return [f"FORWARD {option} {device} -j ACCEPT" for option in ("-i", "-o")]


def _missing_in_legacy(device: str) -> list[str]:
    present = _legacy_forward()
    if "-P FORWARD DROP" not in present:
        return []
    return [rule for rule in _legacy_rules(device) if f"-A {rule}" not in present]


def _legacy_forward() -> list[str]:
    """The chain FORWARD of the older iptables, as its program lists it; empty where it filters nothing."""
    try:
        with open(_LEGACY_TABLES) as file:
            in_use = "filter\n" in file.readlines()
    except OSError:
        in_use = False
    return _iptables("-S", "FORWARD").splitlines() if in_use else []


def _iptables(*words: str) -> str:
    program = next((path for path in _LEGACY_PROGRAMS if os.path.exists(path)), "")
    if not program:
        return ""
    reading, writing = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, writing, 1), (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)]
    pid = os.posix_spawn(program, [program, "-w", *words], os.environ, file_actions=actions)
    os.close(writing)
    with open(reading) as file:
        output = file.read()
    os.waitpid(pid, 0)
    return output
