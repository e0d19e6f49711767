"""How much a container may write (``--storage-opt size``)."""

from __future__ import annotations

import os

from sampan.containers.record import Container
from sampan.errors import NotFound, Unsupported
from sampan.linux import quotas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.snapshots.overlay import Overlay


def limit(container: Container, snapshots: Overlay) -> None:
    """Lets what a container writes take so much room and no more. Raises Unsupported."""
    if snapshots.copies:
        raise Unsupported("the size of a container cannot be limited where overlayfs does not work")
    upper = snapshots.directory(container.snapshot)
    place = os.path.dirname(upper)
    # All three: the kernel moves files between the two inner ones, which it only does within one project.
    quotas.limit((place, upper, f"{place}/work"), int(container.id[:7], 16), container.options.storage_bytes)


def forget(container: Container, snapshots: Overlay) -> None:
    """Takes the limit back, before the container's files are removed."""
    try:
        quotas.release(os.path.dirname(snapshots.directory(container.snapshot)))
    except NotFound:
        return  # it had not come so far
