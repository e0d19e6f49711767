"""A container's way to the world, made and undone by its monitor: the bridge as root, else a user-mode network."""

from __future__ import annotations

import os

from sampan.errors import Unavailable
from sampan.networks import ports as published
from sampan.networks.ports import Port, Reservation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from sampan.linux.poll import Poll
    from sampan.networks.forward import Forwarder
    from sampan.networks.resolver import Resolver
    from sampan.networks.rootless import Uplink

    Place = tuple[Sequence[Any], str, str, Sequence[str]]
    """A network (the fields of ``bridge.Network``), an address, a MAC address ("" for what is free), names there."""


class Attachment:
    """What a container is connected with. ``warning`` is what the user should know of it."""

    def __init__(self, container_id: str, directory: str) -> None:
        self._container_id = container_id
        self._directory = directory
        self._reservations: list[Reservation] = []
        self._forwarder: Forwarder | None = None
        self._uplink: Uplink | None = None
        self._resolver: Resolver | None = None
        self.is_bridged = False
        self.address = ""
        self.gateway = ""
        self.warning = ""

    @property
    def ports(self) -> tuple[Port, ...]:
        """The published ports with their final numbers."""
        return tuple(reservation.port for reservation in self._reservations)

    def reserve(self, texts: Sequence[str]) -> None:
        """Takes the host's ports that ``-p`` names. Raises Conflict if one is in use."""
        self._reservations = published.reserve_all(published.parse_all(texts))

    def join_bridges(self, pid: int, poll: Poll, places: Sequence[Place]) -> None:
        """Connects the network namespace of ``pid`` with bridges.

        What the packet filter does not redirect, which is IPv6 and everything while its rules are lost, arrives at the
        sockets that hold the ports, and is forwarded from there.
        """
        from sampan.networks import membership
        from sampan.networks.bridge import Network

        self.is_bridged = True
        for number, (settings, address, mac, names) in enumerate(places):
            # Ports lead to the first: it is the one by which answers leave.
            ports = () if number else self.ports
            wish = membership.Wish(address, mac, tuple(names), f"eth{number}")
            network = Network(*settings)
            endpoint = membership.attach(self._directory, self._container_id, pid, ports, network, wish)
            if not number:
                self.address, self.gateway = endpoint.address, endpoint.gateway
        self._forward(pid, poll, [each for each in self._reservations if each.port.protocol in ("tcp", "udp")])

    @property
    def answers_names(self) -> bool:
        return self._resolver is not None

    def has_neighbours(self) -> bool:
        """Whether it is in a network where containers have names."""
        from sampan.networks import endpoints

        return any(each.names for each in endpoints.of_container(self._directory, self._container_id).values())

    def answer_names(self, pid: int, poll: Poll, servers: Sequence[str]) -> None:
        """Has the container told what its neighbours are called; ``servers`` are asked for all else."""
        from sampan.networks.resolver import Resolver

        namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._resolver = Resolver(poll, self._directory, self._container_id, namespace, servers)
        except OSError as error:
            raise Unavailable(f"the container's names cannot be answered: {error.strerror}") from None
        finally:
            os.close(namespace)

    def join_user_mode(self, pid: int, poll: Poll) -> None:
        """Connects it as an ordinary user may: outwards through pasta or slirp4netns, inwards through this process."""
        from sampan.networks import rootless

        try:
            self._uplink = rootless.connect(pid)
        except Unavailable as error:
            self.warning = f"{error.message}; the container cannot reach the network ({error.hint})"
            rootless.raise_loopback(pid)
        self._forward(pid, poll, self._reservations)

    def _forward(self, pid: int, poll: Poll, reservations: Sequence[Reservation]) -> None:
        if not reservations:
            return
        from sampan.networks.forward import Forwarder

        namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._forwarder = Forwarder(poll, reservations, namespace, self.address)
        finally:
            os.close(namespace)

    def close(self) -> None:
        """Undoes everything. May be called again."""
        if self._forwarder:
            self._forwarder.close()
            self._forwarder = None
        if self._resolver:
            self._resolver.close()
            self._resolver = None
        if self._uplink:
            self._uplink.close()
            self._uplink = None
        if self.is_bridged:
            from sampan.networks import membership

            self.is_bridged = False
            membership.detach_all(self._directory, self._container_id)
        for reservation in self._reservations:
            reservation.close()
        self._reservations = []
