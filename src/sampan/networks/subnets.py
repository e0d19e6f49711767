"""Which private network is free on this host; asked once, when a bridge is made."""

from __future__ import annotations

import _socket as socket  # the part in C: the rest loads enumerations, which take 5 ms and a megabyte

from sampan.errors import Conflict, Invalid, Unavailable
from sampan.linux import netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LOCAL_TABLE = 255

Subnet = tuple[bytes, int]


def choose(route: netlink.Socket, wanted: str = "", others: Iterable[str] | None = None) -> Subnet:
    """The network ``wanted`` (as 10.1.0.0/16), or one that overlaps no address, route or name server of the host, nor
    any of ``others``, those of networks that users made. They may not be in use yet, nor may the default network: it
    begins at one end of what there is, and they (where ``others`` is given) at the other.

    Raises Invalid, Unavailable.
    """
    taken = [*_taken(route), *(parse(other) for other in others or () if other)]
    if wanted:
        subnet = parse(wanted)
        if any(_overlap(subnet, other) for other in taken):
            raise Unavailable(f"network {wanted} overlaps an address or a route of this host, or another network")
        return subnet
    for subnet in _candidates() if others is None else reversed(list(_candidates())):
        if not any(_overlap(subnet, other) for other in taken):
            return subnet
    raise Unavailable("every private network overlaps an address or a route of this host")


def parse(text: str, *, least: int = 3) -> Subnet:
    """Raises Invalid unless ``text`` is an IPv4 network with room for two hosts, or of 2**``least`` addresses."""
    address, _, prefix = text.partition("/")
    try:
        network, length = socket.inet_aton(address), int(prefix)
    except (OSError, ValueError):
        raise Invalid(f"{text!r} is not an IPv4 network", hint="for example 10.1.0.0/16") from None
    if not 8 <= length <= 32 - least or int.from_bytes(network, "big") & ((1 << (32 - length)) - 1):
        raise Invalid(f"{text!r} is not an IPv4 network", hint="for example 10.1.0.0/16")
    return network, length


def check_address(text: str, subnet: str, gateway: str = "") -> str:
    """``text``, an IPv4 address, or nothing, if a container can have it in a network. Raises Invalid."""
    if not text:
        return text
    try:
        number = int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big")
    except OSError:
        raise Invalid(f"{text!r} is not an IPv4 address") from None
    network, length = parse(subnet)
    first, size = int.from_bytes(network, "big"), 1 << (32 - length)
    if not first < number < first + size - 1:
        raise Invalid(f"{text} is not an address for a container in {subnet}")
    own = int.from_bytes(socket.inet_aton(gateway), "big") if gateway else first + 1
    if number == own:
        raise Conflict(f"the address {text} is the network's own")
    return text


def mtu(route: netlink.Socket) -> int:
    """The packet size of the device that leads to the world; 0 if none does."""
    default = {entry.ifindex for entry in netlink.routes(route) if not entry.prefix and entry.table != _LOCAL_TABLE}
    return min((link.mtu for link in netlink.links(route) if link.ifindex in default), default=0)


def _candidates() -> Iterator[Subnet]:
    # Away from where Docker (172.17 and up), Podman (10.88) and Kubernetes (10.42, 10.96, 10.244) begin.
    yield from ((bytes((10, second, 0, 0)), 16) for second in range(201, 240))
    yield from ((bytes((172, second, 0, 0)), 16) for second in range(31, 17, -1))
    yield from ((bytes((192, 168, third, 0)), 20) for third in range(16, 256, 16))


def _taken(route: netlink.Socket) -> Iterator[Subnet]:
    from sampan.networks import dns

    yield from ((found.address, found.prefix) for found in netlink.addresses(route))
    # Default routes, also the two halves that VPNs use in their place, lead everywhere and occupy nothing.
    yield from ((entry.destination, entry.prefix) for entry in netlink.routes(route) if entry.prefix > 1)
    yield from ((socket.inet_aton(server), 32) for server in dns.host_nameservers() if ":" not in server)


def _overlap(one: Subnet, other: Subnet) -> bool:
    shift = 32 - min(one[1], other[1])
    return int.from_bytes(one[0], "big") >> shift == int.from_bytes(other[0], "big") >> shift
