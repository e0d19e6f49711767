"""What takes the disk, and what of it could be freed: images, containers and volumes."""

from __future__ import annotations

from sampan.containers import describe
from sampan.errors import NotFound
from sampan.oci import manifest as manifests
from sampan.oci.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import NamedTuple

    from sampan.containers.record import Container, Containers
    from sampan.containers.state import State
    from sampan.snapshots.overlay import Overlay
    from sampan.store.blobs import Blobs
    from sampan.store.images import Image, Images, Name
    from sampan.volumes import Volumes

    Lineage = Mapping[Digest, tuple[Digest | None, int]]
else:
    from sampan.values import NamedTuple


class ImageUse(NamedTuple):
    """``shared`` bytes are in other images, too, ``unique`` ones in this alone; both count layers as they are unpacked
    and as they are stored."""

    image: Image
    names: tuple[Name, ...]
    shared: int
    unique: int
    containers: int


class ContainerUse(NamedTuple):
    container: Container
    state: State
    size: int


class VolumeUse(NamedTuple):
    name: str
    size: int
    links: int


class Total(NamedTuple):
    """A line of the summary: things, those of them in use, bytes, and bytes that pruning would free."""

    kind: str
    number: int
    active: int
    size: int
    reclaimable: int


class Usage(NamedTuple):
    images: tuple[ImageUse, ...]
    containers: tuple[ContainerUse, ...]
    volumes: tuple[VolumeUse, ...]
    totals: tuple[Total, ...]


def measure(images: Images, blobs: Blobs, snapshots: Overlay, table: Containers, volumes: Volumes) -> Usage:
    """Looks at all there is; walks the directories of containers and volumes."""
    known, lineage = table.all(), snapshots.lineage()
    of_images, total = _images(images, blobs, lineage, [container.image_id for container in known])
    of_containers = tuple(
        ContainerUse(container, container.state(), describe.sizes(container, snapshots)[0]) for container in known
    )
    links = [mount.source for container in known for mount in container.options.mounts]
    of_volumes = tuple(VolumeUse(name, volumes.size(name), links.count(name)) for name in volumes.all())
    running = [use for use in of_containers if use.state.status in ("running", "restarting")]
    totals = (
        total,
        Total(
            "Containers",
            len(of_containers),
            len(running),
            sum(use.size for use in of_containers),
            sum(use.size for use in of_containers if use not in running),
        ),
        Total(
            "Local Volumes",
            len(of_volumes),
            sum(use.links > 0 for use in of_volumes),
            sum(use.size for use in of_volumes),
            sum(use.size for use in of_volumes if not use.links),
        ),
    )
    return Usage(of_images, of_containers, of_volumes, totals)


def _images(images: Images, blobs: Blobs, lineage: Lineage, used: list[str]) -> tuple[tuple[ImageUse, ...], Total]:
    everything = images.all()
    parts = {image.id: _parts(image, blobs, lineage) for image in everything}
    owners: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for of_image in parts.values():
        for name, size in of_image.items():
            owners[name] = owners.get(name, 0) + 1
            sizes[name] = size
    uses = []
    for image in everything:
        unique = sum(size for name, size in parts[image.id].items() if owners[name] == 1)
        shared = sum(parts[image.id].values()) - unique
        uses.append(ImageUse(image, tuple(images.names(image.id)), shared, unique, used.count(image.id)))
    needed = {name for use in uses if use.containers for name in parts[use.image.id]}
    free = sum(size for name, size in sizes.items() if name not in needed)
    active = sum(use.containers > 0 for use in uses)
    return tuple(uses), Total("Images", len(uses), active, sum(sizes.values()), free)


def _parts(image: Image, blobs: Blobs, lineage: Lineage) -> dict[str, int]:
    """The snapshots (by "layer" and chain id) and blobs of an image, with their bytes."""
    found: dict[str, int] = {}
    chain = image.chain
    while chain is not None and chain in lineage:
        found[f"layer {chain}"] = lineage[chain][1]
        chain = lineage[chain][0]
    for digest in _blobs_of(image, blobs):
        try:
            found[digest] = blobs.size(digest)
        except NotFound:
            continue
    return found


def _blobs_of(image: Image, blobs: Blobs) -> Iterable[Digest]:
    yield image.id
    yield image.manifest.digest
    try:
        content = manifests.parse(blobs.read(image.manifest.digest))
    except NotFound:
        return
    if isinstance(content, manifests.Manifest):
        yield from (layer.digest for layer in content.layers)
