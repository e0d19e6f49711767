"""Which bridge networks a container is in, and taking it into another one or out of one, also while it runs."""

from __future__ import annotations

from sampan import plainjson
from sampan.containers import streams
from sampan.containers.options import Joining
from sampan.containers.record import Container
from sampan.errors import Conflict, NotFound
from sampan.networks import endpoints, membership
from sampan.networks.bridge import DEFAULT, Network
from sampan.networks.membership import Wish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.containers.lifecycle import Stores
    from sampan.networks.record import Networks


def of(container: Container, networks: Networks | None) -> list[tuple[Any, ...]]:
    """The networks, as ``Attachment.join_bridges`` takes them. Raises NotFound for one that is gone."""
    places: list[tuple[Any, ...]] = []
    for joining in _joined(container):
        own = joining.network != "bridge"
        network = networks.find(joining.network).network if own and networks else DEFAULT
        places.append((network, joining.address, joining.mac, _names(container, joining)))
    return places


def members(network: str, stores: Stores) -> list[Container]:
    """The containers that are, or will be when they run, in a network."""
    return [
        each
        for each in stores.containers.all()
        if network in (each.options.network, *(joining.network for joining in each.options.networks))
    ]


def connect(container: Container, joining: Joining, network: Network, stores: Stores) -> None:
    """Takes a container into a network, where it is at once if it runs. Raises Conflict."""
    options = container.options
    if options.network == "host" or options.network.startswith("container:"):
        raise Conflict(f"container {container.name} shares its network with others, and can be in no further one")
    present = _joined(container)
    if any(each.network == joining.network for each in present):
        raise Conflict(f"container {container.name} is in network {joining.network} already")
    state = container.state()
    if state.status == "running":
        directory = stores.paths.networks
        taken = {endpoint.inside for endpoint in endpoints.of_container(directory, container.id).values()}
        interface = next(name for name in (f"eth{number}" for number in range(len(taken) + 1)) if name not in taken)
        wish = Wish(joining.address, joining.mac, _names(container, joining), interface)
        membership.attach(directory, container.id, state.pid, (), network, wish)
    _settle(container, (*present, joining), stores)


def disconnect(container: Container, network: Network, stores: Stores) -> None:
    """Takes a container out of a network. Raises NotFound if it is in no such one."""
    present = _joined(container)
    left = tuple(each for each in present if each.network != network.name)
    if left == present:
        raise NotFound(f"container {container.name} is not connected to network {network.name}")
    state = container.state()
    if state.status == "running":
        membership.detach(stores.paths.networks, container.id, network)
        membership.lead_out(stores.paths.networks, container.id, state.pid)
    _settle(container, left, stores)


def _joined(container: Container) -> tuple[Joining, ...]:
    options = container.options
    return () if options.network == "none" else options.networks or (Joining("bridge"),)


def _names(container: Container, joining: Joining) -> tuple[str, ...]:
    """What it is called in a network that its users made; in the one that everybody is in nobody is called anything."""
    if joining.network == "bridge":
        return ()
    hostname = container.options.hostname
    names = (container.name, container.id[:12], *joining.aliases, *([hostname] if hostname else []))
    return tuple(dict.fromkeys(name.lower() for name in names))


def _settle(container: Container, joined: tuple[Joining, ...], stores: Stores) -> None:
    """Records where a container is from now on, and tells its monitor, for its further lives and its end."""
    first = joined[0].network if joined else "none"
    networks = () if joined in ((), (Joining("bridge"),)) else joined
    container = container._replace(options=container.options._replace(network=first, networks=networks))
    stores.containers.update(container.id, container.options)
    try:
        with streams.connect(container.socket) as end:
            end.send(streams.NETWORK + plainjson.dumps([first, of(container, stores.networks)]).encode())
    except OSError:
        return  # it does not run
