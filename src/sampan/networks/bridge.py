"""The bridge network: containers on a private IPv4 network of this host, with address translation to the world.

The kernel's own state is the truth, and no one needs to run for it: a container's address is its own for as long as the
host's end of its cable, which is named after the address, exists; and that goes with the container's namespace. Only
published ports outlive a container whose monitor was killed. ``DIRECTORY/NAME/ID`` tells what to undo then.

A lock of the whole machine is held shared while a container comes or goes, and exclusively while the network itself is
made or put in order.
"""

from __future__ import annotations

import _socket as socket  # the part in C: the rest loads enumerations, which take 5 ms and a megabyte
import errno
import os

from sampan.errors import Conflict, SampanError, Unavailable
from sampan.linux import locks, netlink, nftables
from sampan.linux.netlink import Link, Socket
from sampan.networks import endpoints, firewall
from sampan.networks.endpoints import Endpoint, Files
from sampan.networks.ports import Port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

INTERFACE = "eth0"
_RUN = "/run/sampan"
_BURIAL = 100  # looks, 20 ms apart


class Network(NamedTuple):
    """A bridge network's settings. Without ``subnet`` a free one is chosen when the bridge is made; ``gateway`` is its
    first address unless another is given, and addresses are given of all of it, or of ``range``.

    An ``internal`` one leads nowhere: its containers reach each other and the host, and nobody from outside them.
    """

    name: str = "bridge"
    device: str = "sampan0"
    subnet: str = ""
    gateway: str = ""
    range: str = ""
    internal: bool = False


class Wish(NamedTuple):
    """What a container's place is to be like: ``address`` and ``mac`` are what is free where they are empty; ``names``
    are what others in the network call it; ``interface`` is its end's name."""

    address: str = ""
    mac: str = ""
    names: tuple[str, ...] = ()
    interface: str = INTERFACE


DEFAULT = Network()
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
            with _Context(directory, network) as context:
                return _attach(context, _Container(container_id, pid, namespace, tuple(ports), wish))
        finally:
            os.close(namespace)
    except OSError as error:
        raise _refusal(f"container {container_id[:12]} gets no place in network {network.name}", error) from None


def detach(directory: str, container_id: str, network: Network = DEFAULT) -> None:
    """Takes away all that ``attach`` made for a container; nothing happens if nothing is there.

    Any process may call it, also while or after another one does.
    """
    endpoint = Files(directory, network.name).read(container_id)
    if endpoint is None:
        return
    try:
        with _Context(directory, network) as context, locks.held(context.lock, shared=True):
            _leave(context, container_id, endpoint)
    except OSError as error:
        raise _refusal(f"container {container_id[:12]} cannot leave network {network.name}", error) from None


def detach_all(directory: str, container_id: str) -> None:
    """As ``detach``, for every network that the container is in."""
    for name, endpoint in endpoints.of_container(directory, container_id).items():
        detach(directory, container_id, Network(name, endpoint.device))


def lead_out(directory: str, container_id: str, pid: int) -> None:
    """Gives a container whose way out is gone another one by a network that it still is in, if there is such."""
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with netlink.open_inside(namespace) as inner:
            if any(not entry.prefix and entry.gateway for entry in netlink.routes(inner)):
                return
            for endpoint in endpoints.of_container(directory, container_id).values():
                inside = netlink.find_link(inner, endpoint.inside)
                if inside and not endpoint.internal:
                    inner.perform(netlink.new_route(inside.ifindex, socket.inet_aton(endpoint.gateway)))
                    return
    finally:
        os.close(namespace)


def remove(directory: str, network: Network = DEFAULT) -> None:
    """Removes the network from this machine, if it is there. Raises Conflict while a container is in it."""
    try:
        with _Context(directory, network) as context, locks.held(context.lock):
            context.files.make()
            _reclaim(context)
            link = netlink.find_link(context.route, network.device)
            if link and not _is_left(context.route, link):
                raise Conflict(f"network {network.name} has containers in it")
            if link:
                context.route.perform(netlink.delete_link(network.device))
            firewall.remove(context.filters, network.device)
            context.files.forget()
    except OSError as error:
        raise _refusal(f"network {network.name} cannot be removed", error) from None


def _is_left(route: Socket, bridge: Link) -> bool:
    """Whether no cable leads to a bridge, in a moment: the kernel buries a namespace after its last process."""
    import time

    for _ in range(_BURIAL):
        if not any(other.master == bridge.ifindex for other in netlink.links(route)):
            return True
        time.sleep(0.02)
    return False


class _Container(NamedTuple):
    """Who is to be attached; ``namespace`` is a descriptor."""

    id: str
    pid: int
    namespace: int
    ports: tuple[Port, ...]
    wish: Wish


class _Context:
    """What all steps need: the settings, the files, and two sockets, which a ``with`` block closes."""

    def __init__(self, directory: str, network: Network) -> None:
        os.makedirs(_RUN, mode=0o700, exist_ok=True)
        self.network = network
        self.device = network.device
        self.lock = f"{_RUN}/{network.device}.lock"
        self.files = Files(directory, network.name)
        self.route = Socket()
        try:
            self.filters = nftables.open_socket()
        except BaseException:
            self.route.close()
            raise

    def __enter__(self) -> _Context:
        return self

    def __exit__(self, *exc: object) -> None:
        self.route.close()
        self.filters.close()


class _Bridge(NamedTuple):
    link: Link
    gateway: bytes
    prefix: int

    @property
    def network(self) -> bytes:
        shift = 32 - self.prefix
        return (int.from_bytes(self.gateway, "big") >> shift << shift).to_bytes(4, "big")


def _refusal(what: str, error: OSError) -> Unavailable:
    hint = "it takes root's CAP_NET_ADMIN and CAP_SYS_ADMIN" if error.errno == errno.EPERM else None
    return Unavailable(f"{what}: {error.strerror or error}", hint=hint)


def _attach(context: _Context, who: _Container) -> Endpoint:
    refusal: SampanError | None = None
    for _ in range(3):
        with locks.held(context.lock, shared=True):
            bridge = _find(context)
            if bridge:
                try:
                    return _join(context, bridge, who)
                except Conflict as error:
                    if refusal:
                        raise
                    refusal = error  # perhaps it is only a dead container that holds what is wanted
        with locks.held(context.lock):
            _put_in_order(context)
    raise refusal or Unavailable(f"network {context.network.name} is taken down again and again")


# -- one container --------------------------------------------------------------------------------------------------


def _join(context: _Context, bridge: _Bridge, who: _Container) -> Endpoint:
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
            _leave(context, who.id, endpoint)
            if isinstance(error, FileExistsError):
                hint = "sampan ps shows which container publishes what"
                raise Conflict("a published port leads to another container already", hint=hint) from None
            raise
        return endpoint


def _describe(bridge: _Bridge, address: bytes, who: _Container, device: str, *, internal: bool) -> Endpoint:
    return Endpoint(
        socket.inet_ntoa(address),
        bridge.prefix,
        socket.inet_ntoa(bridge.gateway),
        who.wish.mac or _hardware_address(address).hex(":"),
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
    with netlink.inside(namespace):
        _set("net/ipv6/conf/default/disable_ipv6", "1")
        return Socket()


def _lay_cable(context: _Context, bridge: _Bridge, who: _Container) -> bytes:
    """Leads a cable from the bridge into a namespace, and gives the address that it stands for.

    The kernel lets one interface have a name, so nobody else in this machine has the address. It is chosen at random:
    the neighbours will seldom remember somebody else who had it.
    """
    mac = bytes.fromhex(who.wish.mac.replace(":", ""))
    for address in _candidates(context.network, bridge, who.wish.address):
        names = _interface(address), who.wish.interface
        try:
            context.route.perform(
                netlink.new_veth(*names, bridge.link, mac or _hardware_address(address), who.namespace)
            )
        except FileExistsError:
            continue
        return address
    if who.wish.address:
        raise Conflict(f"the address {who.wish.address} is in use in network {context.network.name}")
    raise Unavailable("the network has no address left", hint="remove containers, or make it wider")


def _candidates(network: Network, bridge: _Bridge, wanted: str) -> Iterator[bytes]:
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


def _hardware_address(address: bytes) -> bytes:
    return b"\x02\x42" + address


def _configure(context: _Context, inner: Socket, bridge: _Bridge, endpoint: Endpoint, name: str) -> None:
    route = context.route
    outside, inside = netlink.find_link(route, endpoint.interface), netlink.find_link(inner, name)
    if not outside or not inside:
        raise FileNotFoundError(errno.ENODEV, "its interface is gone as soon as it is made")
    _ignore_ipv6(endpoint.interface)
    # A packet that br_netfilter redirects to the container that it comes from leaves by the port that it came in by.
    hairpin = [netlink.set_hairpin(outside.ifindex)] if _get("net/bridge/bridge-nf-call-iptables") == "1" else []
    leads_out = not context.network.internal and not any(
        not entry.prefix and entry.gateway for entry in netlink.routes(inner)
    )
    inner.perform(
        netlink.set_up(1),
        netlink.new_address(inside.ifindex, socket.inet_aton(endpoint.address), endpoint.prefix),
        netlink.set_up(inside.ifindex),
        *([netlink.new_route(inside.ifindex, bridge.gateway)] if leads_out else []),
    )
    route.perform(*hairpin, netlink.set_up(outside.ifindex))


def _leave(context: _Context, container_id: str, endpoint: Endpoint) -> None:
    address = socket.inet_aton(endpoint.address)
    firewall.withdraw(context.filters, context.device, firewall.elements(address, endpoint.ports))
    if endpoint.is_alive():
        _cut(context.route, endpoint)
    context.files.remove(container_id)


def _cut(route: Socket, endpoint: Endpoint) -> None:
    """Takes 20 ms; the kernel does it by itself, and holds up nobody, when a namespace goes with its last process."""
    try:
        route.perform(netlink.delete_link(endpoint.interface))
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise


# -- the network itself ---------------------------------------------------------------------------------------------


def _find(context: _Context) -> _Bridge | None:
    """The bridge, if it and its rules are as they should be."""
    bridge = _find_device(context)
    if bridge and firewall.is_complete(context.filters, _bridged(context, bridge)):
        return bridge
    return None


def _find_device(context: _Context) -> _Bridge | None:
    link = netlink.find_link(context.route, context.device)
    if not link or not link.flags & netlink.IFF_UP:
        return None
    for found in netlink.addresses(context.route):
        if found.ifindex == link.ifindex:
            return _Bridge(link, found.address, found.prefix)
    return None


def _bridged(context: _Context, bridge: _Bridge) -> firewall.Bridged:
    return firewall.Bridged(context.device, bridge.network, bridge.prefix, context.network.internal)


def _put_in_order(context: _Context) -> None:
    """Makes what is missing of the network and takes away what dead containers left; the lock is held."""
    context.files.make()
    bridge = _find_device(context)
    living = _reclaim(context)
    if bridge:
        firewall.install(context.filters, _bridged(context, bridge), living)
        return
    bridge = _make_device(context)
    firewall.install(context.filters, _bridged(context, bridge), living)
    _open(context, bridge)


def _reclaim(context: _Context) -> list[firewall.Element]:
    """Takes away what dead containers left, and gives what the living ones publish; the lock is held."""
    living = []
    for container_id, endpoint in context.files.all():
        if endpoint.is_alive():
            living += firewall.elements(socket.inet_aton(endpoint.address), endpoint.ports)
        else:
            _leave(context, container_id, endpoint)
    return living


def _make_device(context: _Context) -> _Bridge:
    """A bridge that is down."""
    from sampan.networks import subnets

    device, route = context.device, context.route
    if netlink.find_link(route, device):
        route.perform(netlink.delete_link(device))  # half made
    network, prefix = subnets.choose(route, context.network.subnet)
    gateway = (int.from_bytes(network, "big") + 1).to_bytes(4, "big")
    if context.network.gateway:
        gateway = socket.inet_aton(context.network.gateway)
    route.perform(netlink.new_bridge(device, _hardware_address(gateway), subnets.mtu(route)))
    link = netlink.find_link(route, device)
    if not link:
        raise FileNotFoundError(errno.ENODEV, f"bridge {device} is gone as soon as it is made")
    return _Bridge(link, gateway, prefix)


def _open(context: _Context, bridge: _Bridge) -> None:
    """Lets packets through a bridge that is new, after its rules: they guard what the first setting opens."""
    _ignore_ipv6(context.device)
    _set(f"net/ipv4/conf/{context.device}/route_localnet", "1")
    _set("net/ipv4/ip_forward", "1")
    index = bridge.link.ifindex
    context.route.perform(netlink.new_address(index, bridge.gateway, bridge.prefix), netlink.set_up(index))


def _ignore_ipv6(device: str) -> None:
    """A container's router advertisements must not reroute the host (CVE-2020-13401)."""
    _set(f"net/ipv6/conf/{device}/accept_ra", "0")
    _set(f"net/ipv6/conf/{device}/disable_ipv6", "1")


def _get(name: str) -> str:
    try:
        with open(f"/proc/sys/{name}") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""  # a kernel without IPv6, or without br_netfilter


def _set(name: str, value: str) -> None:
    if _get(name) not in ("", value):
        with open(f"/proc/sys/{name}", "w") as file:
            file.write(value)
