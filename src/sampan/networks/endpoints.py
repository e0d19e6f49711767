"""Containers' places in networks, as files: what to undo when a monitor was killed, and who is called what.

``DIRECTORY/NETWORK/ID`` has an Endpoint as JSON, from before the place is made until after it is gone.
"""

from __future__ import annotations

import os

from sampan import plainjson
from sampan.networks.ports import Port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple


class Endpoint(NamedTuple):
    """A container's place in a network.

    ``interface`` is the host's end of its cable, ``inside`` the container's, ``namespace`` the inode of the network
    namespace of process ``pid``, ``device`` the bridge. Others in the network know it by ``names``.
    """

    address: str
    prefix: int
    gateway: str
    mac: str
    interface: str
    ports: tuple[Port, ...]
    pid: int
    namespace: int
    device: str = "sampan0"
    names: tuple[str, ...] = ()
    inside: str = "eth0"
    internal: bool = False

    def is_alive(self) -> bool:
        """Whether the container still has its namespace."""
        try:
            return os.stat(f"/proc/{self.pid}/ns/net").st_ino == self.namespace
        except OSError:
            return False


def of_container(directory: str, container_id: str) -> dict[str, Endpoint]:
    """A container's places, by the names of their networks."""
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return {}
    found = ((name, Files(directory, name).read(container_id)) for name in names)
    return {name: endpoint for name, endpoint in found if endpoint}


def changes(directory: str) -> dict[str, float]:
    """When somebody last came into each network, or left it (seconds since the epoch)."""
    try:
        with os.scandir(directory) as entries:
            return {entry.name: entry.stat().st_mtime for entry in entries}
    except FileNotFoundError:
        return {}


def rename(directory: str, container_id: str, old: str, new: str) -> None:
    """Has the neighbours know a container by another name."""
    for network, endpoint in of_container(directory, container_id).items():
        names = tuple(new.lower() if name == old.lower() else name for name in endpoint.names)
        Files(directory, network).write(container_id, endpoint._replace(names=names))


class Files:
    """One file for each container in a network."""

    __slots__ = ("_root",)

    def __init__(self, directory: str, network: str) -> None:
        self._root = f"{directory}/{network}"

    def make(self) -> None:
        os.makedirs(self._root, mode=0o700, exist_ok=True)

    def forget(self) -> None:
        """Removes the directory, if it is empty."""
        try:
            os.rmdir(self._root)
        except OSError:
            return

    def read(self, container_id: str) -> Endpoint | None:
        try:
            with open(f"{self._root}/{container_id}") as file:
                endpoint = Endpoint(*plainjson.loads(file.read()))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return endpoint._replace(ports=tuple(Port(*port) for port in endpoint.ports), names=tuple(endpoint.names))

    def write(self, container_id: str, endpoint: Endpoint) -> None:
        self.make()
        aside = f"{self._root}/{container_id}.new"
        with open(aside, "w") as file:
            file.write(plainjson.dumps(endpoint))
        os.rename(aside, f"{self._root}/{container_id}")

    def all(self) -> Iterator[tuple[str, Endpoint]]:
        try:
            names = os.listdir(self._root)
        except FileNotFoundError:
            return
        for name in names:
            endpoint = None if name.endswith(".new") else self.read(name)
            if endpoint:
                yield name, endpoint

    def remove(self, container_id: str) -> None:
        try:
            os.unlink(f"{self._root}/{container_id}")
        except FileNotFoundError:
            return
