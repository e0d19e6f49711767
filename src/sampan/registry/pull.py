"""Pull: from a name in a registry to an image in the store, unpacked.

Each layer goes straight through: what comes from the network is hashed and put aside, and unpacked meanwhile. Neither
the blob nor what was unpacked of it can be seen before its digest and its diff id hold.
"""

from collections.abc import Callable
from typing import Protocol

from sampan.errors import Corrupt, Invalid, Unsupported
from sampan.events import LayerExists, Report, Resolved, Transferred, Transferring
from sampan.oci import config as configs
from sampan.oci import manifest as manifests
from sampan.oci import media
from sampan.oci.config import ImageConfig
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest
from sampan.oci.manifest import MAX_BYTES, Index, Manifest
from sampan.oci.platform import Platform
from sampan.oci.reference import Reference
from sampan.registry import parallel
from sampan.registry.client import Client
from sampan.store.blobs import Blobs
from sampan.store.images import Image, Images
from sampan.store.writer import Writer


class Bytes(Protocol):
    """What a layer is read from while it comes; it ends where the layer does, and was verified."""

    def read(self, size: int, /) -> bytes: ...


class Unpacking(Protocol):
    """What turns layers into a snapshot (``snapshots.unpack``); leaving its ``with`` block drops what is unfinished."""

    def __enter__(self) -> "Unpacking": ...
    def __exit__(self, *rest: object) -> None: ...
    def arrived(self, index: int, source: "Bytes | None" = None) -> None: ...
    def finish(self) -> Digest | None: ...


Unpack = Callable[[Manifest, ImageConfig], Unpacking]
"""Refuses unknown kinds of layers before any is fetched; foreign ones are among them, whose URLs are never read."""


def pull(
    reference: Reference,
    *,
    client: Client,
    blobs: Blobs,
    images: Images,
    unpack: Unpack,
    measure: Callable[[Digest | None], int],
    platform: Platform,
    report: Report,
    jobs: int = 4,
) -> Image:
    """Fetches the image for ``platform``, unpacks it and gives it its name. Blobs that are here are not fetched.

    ``measure`` gives the bytes of an unpacked layer stack. Nothing that was not verified is stored, and the name
    changes last. Raises NotFound, Denied, Unavailable, Corrupt, Invalid, Unsupported.
    """
    reference, report = reference.tagged(), parallel.in_turn(report)
    target, entry, manifest = _resolve(reference, platform, client, blobs)
    report(Resolved(reference.familiar(), target.digest))
    source = _Source(client, reference.repository, blobs, report)
    if manifest.config.media_type not in (media.OCI_CONFIG, media.DOCKER_CONFIG):
        raise Unsupported(f"{reference} is not a container image but an artifact: {manifest.config.media_type}")
    config = configs.parse(source.small(manifest.config, "the image config"))
    with unpack(manifest, config) as unpacking:
        _fetch_layers(manifest, source, unpacking, jobs)
        chain = unpacking.finish()
    image = Image(manifest.config.digest, entry, chain, config.platform, config.created, measure(chain))
    images.put(image, (reference,), target)
    return image


def _resolve(
    reference: Reference, platform: Platform, client: Client, blobs: Blobs
) -> tuple[Descriptor, Descriptor, Manifest]:
    """What the name points at, the manifest for ``platform`` (the same, without an index), and that manifest read."""
    target, document = _manifest(client, blobs, reference, reference.selector)
    if isinstance(document, Manifest):
        return target, target, document
    chosen = manifests.choose(document.manifests, platform)
    entry, document = _manifest(client, blobs, reference, chosen.digest)
    if isinstance(document, Index):
        raise Invalid(f"{reference} is an index of indexes")
    return target, entry, document


def _manifest(client: Client, blobs: Blobs, reference: Reference, selector: str) -> tuple[Descriptor, Manifest | Index]:
    received = client.manifest(reference.repository, selector)
    document = manifests.parse(received.data, received.media_type)
    with blobs.writer(received.digest, len(received.data)) as writer:
        writer.write(received.data)
        writer.commit()
    return Descriptor(document.media_type, received.digest, len(received.data)), document


def _fetch_layers(manifest: Manifest, source: "_Source", unpacking: Unpacking, jobs: int) -> None:
    places: dict[Digest, list[int]] = {}
    for index, layer in enumerate(manifest.layers):
        places.setdefault(layer.digest, []).append(index)

    def task(indexes: list[int]) -> Callable[[], None]:
        def fetch_and_unpack() -> None:
            source.layer(manifest.layers[indexes[0]], lambda data: unpacking.arrived(indexes[0], data))
            for index in indexes[1:]:
                unpacking.arrived(index)

        return fetch_and_unpack

    parallel.run_all([task(indexes) for indexes in places.values()], jobs, source.client.stop)


class _Source:
    """One repository, and the store that its blobs go to."""

    __slots__ = ("_blobs", "_report", "_repository", "client")

    def __init__(self, client: Client, repository: str, blobs: Blobs, report: Report) -> None:
        self.client = client
        self._repository = repository
        self._blobs = blobs
        self._report = report

    def layer(self, wanted: Descriptor, arrived: Callable[[Bytes | None], object]) -> None:
        """Makes sure that the layer is in the store, and hands it on: as it comes, or None if it is there."""
        if self._blobs.has(wanted.digest):
            self._report(LayerExists(wanted.digest))
            arrived(None)
            return
        while not self._receive(wanted, arrived):
            pass

    def _receive(self, wanted: Descriptor, arrived: Callable[[Bytes | None], object]) -> bool:
        """Whether the layer came; if not, what was here of it from before was wrong, and is gone now."""
        writer = self._blobs.resume(wanted.digest, wanted.size)
        begun = writer.size
        try:
            with writer.follow() as follower, parallel.Beside(lambda: arrived(follower)) as unpacking, writer:
                self.client.blob(self._repository, wanted, self._taking(wanted, writer, unpacking), start=begun)
                writer.commit()
                self._report(Transferred(wanted.digest, wanted.size, "pulled"))
        except Corrupt:
            if not begun or self._blobs.has(wanted.digest):
                raise
            return False
        return True

    def _taking(self, wanted: Descriptor, writer: Writer, unpacking: parallel.Beside) -> Callable[[bytes], object]:
        def write(chunk: bytes) -> None:
            # What is wrong with a layer may be that it is not the one: its digest tells. A full disk will stay full.
            if unpacking.error and not isinstance(unpacking.error, Corrupt | Invalid):
                raise unpacking.error
            writer.write(chunk)
            self._report(Transferring(wanted.digest, writer.size, wanted.size))

        return write

    def small(self, wanted: Descriptor, what: str) -> bytes:
        """The bytes of a blob that is read whole; nothing about it is reported."""
        if not self._blobs.has(wanted.digest):
            if wanted.size > MAX_BYTES:
                raise Invalid(f"{what} is larger than {MAX_BYTES >> 20} MiB")
            with self._blobs.writer(wanted.digest, wanted.size) as writer:
                self.client.blob(self._repository, wanted, writer.write)
                writer.commit()
        return self._blobs.read(wanted.digest)
