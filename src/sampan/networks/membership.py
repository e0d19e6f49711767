"""A container's place in a bridge network: a cable from the bridge into its namespace, an address, published ports.

A lock of the whole machine is held shared while a container comes or goes; ``bridge`` holds it exclusively.
"""

from __future__ import annotations

import _socket as socket  # the part in C: the rest loads enumerations, which take 5 ms and a megabyte
import errno
import os

from sampan.errors import Conflict, Unavailable
from sampan.linux import locks, netlink, sockets
from sampan.linux.netlink import Socket
from sampan.networks import endpoints, firewall
from sampan.networks.bridge import (
    DEFAULT,
    Bridge,
    Context,
    Network,
    find,
    hardware_address,
    ignore_ipv6,
    put_in_order,
    refusal,
    set_sysctl,
    sysctl,
    withdraw,
)  # fmt: skip
from sampan.networks.endpoints import Endpoint, Files
from sampan.networks.ports import Port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple


class Wish(NamedTuple):
    """What a container's place is to be like: ``address`` and ``mac`` are what is free where they are empty; ``names``
    are what others in the network call it; ``interface`` is its end's name."""

    address: str = ""
    mac: str = ""
    names: tuple[str, ...] = ()
    interface: str = "eth0"


ANYTHING = Wish()


def attach(
    directory: str,
    container_id: str,
    pid: int,
    ports: Sequence[Port] = (),
    network: Network = DEFAULT,
    wish: Wish = ANYTHING,
) -> Endpoint:
    """Connects the network namespace of process ``pid``, and publishes ``ports``, which the caller has reserved.

    Makes the network if it is not there, and leaves it there; all else is undone when a step fails. Raises Conflict if
    a port leads to another living container, Unavailable if the kernel or the host's addresses do not allow it.
    """
    try:
        detach(directory, container_id, network)  # what an earlier life may have left, whose monitor was killed
        namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with Context(directory, network) as context:
                return _attach(context, _Container(container_id, pid, namespace, tuple(ports), wish))
        finally:
            os.close(namespace)
    except OSError as error:
        raise refusal(f"container {container_id[:12]} gets no place in network {network.name}", error) from None


def detach(directory: str, container_id: str, network: Network = DEFAULT) -> None:
    """Takes away all that ``attach`` made for a container; nothing happens if nothing is there.

    Any process may call it, also while or after another one does.
    """
    endpoint = Files(directory, network.name).read(container_id)
    if endpoint is None:
        return
    try:
        with Context(directory, network) as context, locks.held(context.lock, shared=True):
            withdraw(context, container_id, endpoint)
    except OSError as error:
        raise refusal(f"container {container_id[:12]} cannot leave network {network.name}", error) from None


def detach_all(directory: str, container_id: str) -> None:
    """As ``detach``, for every network that the container is in."""
    for name, endpoint in endpoints.of_container(directory, container_id).items():
        detach(directory, container_id, Network(name, endpoint.device))


def lead_out(directory: str, container_id: str, pid: int) -> None:
    """Gives a container whose way out is gone another one by a network that it still is in, if there is such."""
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with netlink.open_inside(namespace) as inner:
            if _has_way_out(inner):
                return
            for endpoint in endpoints.of_container(directory, container_id).values():
                inside = netlink.find_link(inner, endpoint.inside)
                if inside and not endpoint.internal:
                    inner.perform(netlink.new_route(inside.ifindex, socket.inet_aton(endpoint.gateway)))
                    return
    finally:
        os.close(namespace)


class _Container(NamedTuple):
    """Who is to be attached; ``namespace`` is a descriptor."""

    id: str
    pid: int
    namespace: int
    ports: tuple[Port, ...]
    wish: Wish


def _attach(context: Context, who: _Container) -> Endpoint:
    conflict: Conflict | None = None
    for _ in range(3):
        with locks.held(context.lock, shared=True):
            found = find(context)
            if found:
                try:
                    return _join(context, found, who)
                except Conflict as error:
                    if conflict:
                        raise
                    conflict = error  # perhaps it is only a dead container that holds what is wanted
        with locks.held(context.lock):
            put_in_order(context)
    raise conflict or Unavailable(f"network {context.network.name} is taken down again and again")


def _join(context: Context, bridge: Bridge, who: _Container) -> Endpoint:
    inner = _enter(who.namespace)
    with inner:
        if netlink.find_link(inner, who.wish.interface):
            raise Unavailable(f"container {who.id[:12]} has an interface {who.wish.interface} already")
        address = _lay_cable(context, bridge, who)
        endpoint = _describe(bridge, address, who, context.device, internal=context.network.internal)
        try:
            context.files.write(who.id, endpoint)
            _configure(context, inner, bridge, endpoint, who.wish.interface)
            firewall.publish(context.filters, context.device, firewall.elements(address, who.ports))
        except BaseException as error:
            withdraw(context, who.id, endpoint)
            if isinstance(error, FileExistsError):
                hint = "sampan ps shows which container publishes what"
                raise Conflict("a published port leads to another container already", hint=hint) from None
            raise
        return endpoint


def _describe(bridge: Bridge, address: bytes, who: _Container, device: str, *, internal: bool) -> Endpoint:
    return Endpoint(
        socket.inet_ntoa(address),
        bridge.prefix,
        socket.inet_ntoa(bridge.gateway),
        who.wish.mac or hardware_address(address).hex(":"),
        _interface(address),
        who.ports,
        who.pid,
        os.fstat(who.namespace).st_ino,
        device,
        who.wish.names,
        who.wish.interface,
        internal,
    )


def _enter(namespace: int) -> Socket:
    """A socket inside a container's namespace, which is prepared for interfaces without IPv6 (moby CVE-2024-32473)."""
    with sockets.inside(namespace):
        set_sysctl("net/ipv6/conf/default/disable_ipv6", "1")
        return Socket()


def _lay_cable(context: Context, bridge: Bridge, who: _Container) -> bytes:
    """Leads a cable from the bridge into a namespace, and gives the address that it stands for.

    The kernel lets one interface have a name, so nobody else in this machine has the address. It is chosen at random:
    the neighbours will seldom remember somebody else who had it.
    """
    mac = bytes.fromhex(who.wish.mac.replace(":", ""))
    for address in _candidates(context.network, bridge, who.wish.address):
        names = _interface(address), who.wish.interface
        try:
            context.route.perform(
                netlink.new_veth(*names, bridge.link, mac or hardware_address(address), who.namespace)
            )
        except FileExistsError:
            continue
        return address
    if who.wish.address:
        raise Conflict(f"the address {who.wish.address} is in use in network {context.network.name}")
    raise Unavailable("the network has no address left", hint="remove containers, or make it wider")


def _candidates(network: Network, bridge: Bridge, wanted: str) -> Iterator[bytes]:
    if wanted:
        yield socket.inet_aton(wanted)
        return
    first, size = int.from_bytes(bridge.network, "big"), 1 << (32 - bridge.prefix)
    if network.range:
        from sampan.networks import subnets

        part, prefix = subnets.parse(network.range, least=0)
        start, count = int.from_bytes(part, "big"), 1 << (32 - prefix)
    else:
        start, count = first, size
    offset = int.from_bytes(os.urandom(4), "big")
    for number in range(count):
        address = start + (offset + number) % count
        found = address.to_bytes(4, "big")
        if address not in (first, first + size - 1) and found != bridge.gateway:
            yield found


def _interface(address: bytes) -> str:
    return f"veth{address.hex()}"


def _configure(context: Context, inner: Socket, bridge: Bridge, endpoint: Endpoint, name: str) -> None:
    route = context.route
    outside, inside = netlink.find_link(route, endpoint.interface), netlink.find_link(inner, name)
    if not outside or not inside:
        raise FileNotFoundError(errno.ENODEV, "its interface is gone as soon as it is made")
    ignore_ipv6(endpoint.interface)
    # A packet that br_netfilter redirects to the container that it comes from leaves by the port that it came in by.
    is_filtered = sysctl("net/bridge/bridge-nf-call-iptables") == "1"
    hairpin = [netlink.set_hairpin(outside.ifindex)] if is_filtered else []
    leads_out = not context.network.internal and not _has_way_out(inner)
    inner.perform(
        netlink.set_up(1),
        netlink.new_address(inside.ifindex, socket.inet_aton(endpoint.address), endpoint.prefix),
        netlink.set_up(inside.ifindex),
        *([netlink.new_route(inside.ifindex, bridge.gateway)] if leads_out else []),
    )
    route.perform(*hairpin, netlink.set_up(outside.ifindex))


def _has_way_out(inner: Socket) -> bool:
    return any(not entry.prefix and entry.gateway for entry in netlink.routes(inner))
