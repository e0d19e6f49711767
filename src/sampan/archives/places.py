"""Places that images come from, and how what they offer gets into the store's blobs: nothing is unpacked here."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from sampan.errors import Corrupt, Invalid, NotFound
from sampan.oci import manifest as manifests
from sampan.oci import media
from sampan.oci.descriptor import Descriptor
from sampan.oci.manifest import MAX_BYTES, Index, Manifest
from sampan.oci.platform import Platform
from sampan.store.blobs import Blobs

_DEPTH = 4
"""Indexes in indexes: an image layout's own, one that it lists, and room for oddities."""


class Offer(NamedTuple):
    """A manifest or an index, and what a place calls it: names of images, or mere tags."""

    target: Descriptor
    labels: tuple[str, ...] = ()


class Place(Protocol):
    """Somewhere that images are."""

    @property
    def offers(self) -> Sequence[Offer]:
        """What is there, in the place's own order."""

    def fetch(self, wanted: Sequence[Descriptor]) -> None:
        """Makes sure that the store has these blobs, verified. Raises NotFound for what the place lacks, Corrupt for
        what it has wrong."""


def gather(target: Descriptor, place: Place, blobs: Blobs, platform: Platform | None = None) -> Descriptor:
    """Gets ``target`` and all that it names into the store, and gives what was got.

    Of an index that is all of it that the place has, or with ``platform`` the one manifest for that. Raises what
    ``fetch`` raises, and NotFound if there is nothing for the platform.
    """
    return _gather(target, place, blobs, platform, _DEPTH)


def _gather(target: Descriptor, place: Place, blobs: Blobs, platform: Platform | None, depth: int) -> Descriptor:
    if not depth:
        raise Invalid("the index lists indexes that list indexes")
    if target.size > MAX_BYTES:
        raise Invalid(f"the manifest {target.digest} is larger than {MAX_BYTES >> 20} MiB")
    place.fetch((target,))
    document = manifests.parse(blobs.read(target.digest), target.media_type)
    if isinstance(document, Manifest):
        if document.config.size > MAX_BYTES:
            raise Invalid(f"the image config is larger than {MAX_BYTES >> 20} MiB")
        place.fetch(tuple({blob.digest: blob for blob in (document.config, *document.layers)}.values()))
        return target
    if platform:
        return _gather(manifests.choose(document.manifests, platform), place, blobs, platform, depth - 1)
    found = 0
    for entry in document.manifests:
        if entry.media_type not in media.MANIFESTS + media.INDEXES:
            continue
        try:
            place.fetch((entry,))
        except NotFound:
            continue  # an index also lists what was never fetched: platforms that nobody wanted
        _gather(entry, place, blobs, None, depth - 1)
        found += 1
    if not found:
        raise NotFound(f"none of the images of the index {target.digest.short} are there")
    return target


def closure(target: Descriptor, blobs: Blobs) -> list[Descriptor]:
    """``target`` and everything below it that the store has, each blob once, what names before what is named.

    Raises NotFound when a manifest that is here lacks its config or a layer.
    """
    found: dict[str, Descriptor] = {}
    pending = [target]
    while pending:
        blob = pending.pop()
        if blob.digest in found:
            continue
        found[blob.digest] = blob
        if blob.media_type in media.MANIFESTS + media.INDEXES:
            document = manifests.parse(blobs.read(blob.digest), blob.media_type)
            pending += reversed(_named(document, blobs))
        else:
            check(blob, blobs)
    return list(found.values())


def is_complete(target: Descriptor, blobs: Blobs) -> bool:
    """Whether the store has ``target``, and of an index every manifest that it lists."""
    try:
        document = manifests.parse(blobs.read(target.digest), target.media_type)
    except NotFound:
        return False
    return isinstance(document, Manifest) or all(blobs.has(entry.digest) for entry in document.manifests)


def images(target: Descriptor, blobs: Blobs) -> list[Descriptor]:
    """The manifests of container images that ``target`` is or lists, as far as the store has them."""
    if target.media_type not in media.INDEXES:
        return [target]
    document = manifests.parse(blobs.read(target.digest), target.media_type)
    entries = document.manifests if isinstance(document, Index) else ()
    return [
        entry
        for entry in entries
        if entry.media_type in media.MANIFESTS
        and blobs.has(entry.digest)
        and (entry.platform is None or entry.platform.architecture != "unknown")  # attestations are no images
    ]


def check(wanted: Descriptor, blobs: Blobs) -> None:
    """Raises NotFound unless the store has the blob, and Corrupt if it is of another size than announced."""
    try:
        size = blobs.size(wanted.digest)
    except NotFound:
        raise NotFound(f"the blob {wanted.digest} is missing") from None
    if size != wanted.size:
        raise Corrupt(f"the blob {wanted.digest} has {size} bytes, not the {wanted.size} announced")


def _named(document: Manifest | Index, blobs: Blobs) -> Sequence[Descriptor]:
    if isinstance(document, Manifest):
        return (document.config, *document.layers)
    return [entry for entry in document.manifests if blobs.has(entry.digest)]
