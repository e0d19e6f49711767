"""Images that a container has mounted (``--mount type=image``): each is a snapshot of its own on the image's layers,
which keeps them, takes what the container changes there, and goes with the container."""

from __future__ import annotations

from sampan.containers.record import Container
from sampan.oci.digest import Digest
from sampan.snapshots.overlay import Overlay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def prepare(container: Container, snapshots: Overlay) -> None:
    """Makes the snapshots. Raises NotFound for an image that is gone."""
    for key, mount in zip(_keys(container), container.options.images, strict=True):
        snapshots.prepare(key, Digest(mount.chain) if mount.chain else None)


def fill(container: Container, spec: dict[str, Any], snapshots: Overlay) -> None:
    """Says in a runtime spec which directories are mounted."""
    entries = [mount for mount in spec["mounts"] if mount["type"] == "layers"]
    keys = {mount.target: key for key, mount in zip(_keys(container), container.options.images, strict=True)}
    for entry in entries:
        entry["layers"] = snapshots.mountable(keys[entry["destination"]], by_kernel=True)[:4]


def remove(container: Container, snapshots: Overlay) -> None:
    """Removes the snapshots, however many were made."""
    for key in _keys(container):
        snapshots.remove(key)


def _keys(container: Container) -> list[str]:
    return [f"{container.snapshot}/{number}" for number in range(len(container.options.images))]
