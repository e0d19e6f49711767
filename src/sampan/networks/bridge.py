"""The bridge network: containers on a private IPv4 network of this host, with address translation to the world.

The kernel's own state is the truth, and no one needs to run for it: a container's address is its own for as long as the
host's end of its cable, which is named after the address, exists; and that goes with the container's namespace. Only
published ports outlive a container whose monitor was killed. ``DIRECTORY/NAME/ID`` tells what to undo then.

A lock of the whole machine is held shared while a container comes or goes (``membership``), and exclusively while the
network itself is made, put in order or removed.
"""

from __future__ import annotations

import _socket as socket  # the part in C: the rest loads enumerations, which take 5 ms and a megabyte
import errno
import os

from sampan.errors import Conflict, Unavailable
from sampan.linux import locks, netlink, nftables
from sampan.linux.netlink import Link, Socket
from sampan.networks import firewall
from sampan.networks.endpoints import Endpoint, Files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

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


DEFAULT = Network()


def remove(directory: str, network: Network = DEFAULT) -> None:
    """Removes the network from this machine, if it is there. Raises Conflict while a container is in it."""
    try:
        with Context(directory, network) as context, locks.held(context.lock):
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
        raise refusal(f"network {network.name} cannot be removed", error) from None


def _is_left(route: Socket, bridge: Link) -> bool:
    """Whether no cable leads to a bridge, in a moment: the kernel buries a namespace after its last process."""
    import time

    for _ in range(_BURIAL):
        if not any(other.master == bridge.ifindex for other in netlink.links(route)):
            return True
        time.sleep(0.02)
    return False


class Context:
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

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *exc: object) -> None:
        self.route.close()
        self.filters.close()


class Bridge(NamedTuple):
    """The device, its own address and the length of the network's prefix."""

    link: Link
    gateway: bytes
    prefix: int

    @property
    def network(self) -> bytes:
        shift = 32 - self.prefix
        return (int.from_bytes(self.gateway, "big") >> shift << shift).to_bytes(4, "big")


def refusal(what: str, error: OSError) -> Unavailable:
    """What the kernel or the host refused, as an error with a hint."""
    hint = "it takes root's CAP_NET_ADMIN and CAP_SYS_ADMIN" if error.errno == errno.EPERM else None
    return Unavailable(f"{what}: {error.strerror or error}", hint=hint)


def find(context: Context) -> Bridge | None:
    """The bridge, if it and its rules are as they should be."""
    bridge = _find_device(context)
    if bridge and firewall.is_complete(context.filters, _bridged(context, bridge)):
        return bridge
    return None


def _find_device(context: Context) -> Bridge | None:
    link = netlink.find_link(context.route, context.device)
    if not link or not link.flags & netlink.IFF_UP:
        return None
    for found in netlink.addresses(context.route):
        if found.ifindex == link.ifindex:
            return Bridge(link, found.address, found.prefix)
    return None


def _bridged(context: Context, bridge: Bridge) -> firewall.Bridged:
    return firewall.Bridged(context.device, bridge.network, bridge.prefix, context.network.internal)


def put_in_order(context: Context) -> None:
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


def _reclaim(context: Context) -> list[firewall.Element]:
    """Takes away what dead containers left, and gives what the living ones publish; the lock is held."""
    living = []
    for container_id, endpoint in context.files.all():
        if endpoint.is_alive():
            living += firewall.elements(socket.inet_aton(endpoint.address), endpoint.ports)
        else:
            withdraw(context, container_id, endpoint)
    return living


def withdraw(context: Context, container_id: str, endpoint: Endpoint) -> None:
    """Takes away what a container has in the network."""
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


def _make_device(context: Context) -> Bridge:
    """A bridge that is down."""
    from sampan.networks import subnets

    device, route = context.device, context.route
    if netlink.find_link(route, device):
        route.perform(netlink.delete_link(device))  # half made
    network, prefix = subnets.choose(route, context.network.subnet)
    gateway = (int.from_bytes(network, "big") + 1).to_bytes(4, "big")
    if context.network.gateway:
        gateway = socket.inet_aton(context.network.gateway)
    route.perform(netlink.new_bridge(device, hardware_address(gateway), subnets.mtu(route)))
    link = netlink.find_link(route, device)
    if not link:
        raise FileNotFoundError(errno.ENODEV, f"bridge {device} is gone as soon as it is made")
    return Bridge(link, gateway, prefix)


def _open(context: Context, bridge: Bridge) -> None:
    """Lets packets through a bridge that is new, after its rules: they guard what the first setting opens."""
    ignore_ipv6(context.device)
    set_sysctl(f"net/ipv4/conf/{context.device}/route_localnet", "1")
    set_sysctl("net/ipv4/ip_forward", "1")
    index = bridge.link.ifindex
    context.route.perform(netlink.new_address(index, bridge.gateway, bridge.prefix), netlink.set_up(index))


def hardware_address(address: bytes) -> bytes:
    """The MAC address that goes with an IPv4 address."""
    return b"\x02\x42" + address


def ignore_ipv6(device: str) -> None:
    """A container's router advertisements must not reroute the host (CVE-2020-13401)."""
    set_sysctl(f"net/ipv6/conf/{device}/accept_ra", "0")
    set_sysctl(f"net/ipv6/conf/{device}/disable_ipv6", "1")


def sysctl(name: str) -> str:
    """A setting of the kernel's in this network namespace; empty if it has none of that name."""
    try:
        with open(f"/proc/sys/{name}") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""  # a kernel without IPv6, or without br_netfilter


def set_sysctl(name: str, value: str) -> None:
    """Changes one, unless it is so, or is not there."""
    if sysctl(name) not in ("", value):
        with open(f"/proc/sys/{name}", "w") as file:
            file.write(value)
