"""Push: from an image in the store to a name in a registry."""

from collections.abc import Callable, Iterator, Mapping

from sampan.errors import Invalid
from sampan.events import LayerExists, Report, Transferred, Transferring, quiet
from sampan.oci import manifest as manifests
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest
from sampan.oci.manifest import Manifest
from sampan.oci.reference import Reference
from sampan.registry import parallel
from sampan.registry.client import Client
from sampan.registry.http import CHUNK
from sampan.store.blobs import Blobs
from sampan.store.images import Image, Images


def push(
    image: Image,
    reference: Reference,
    *,
    client: Client,
    blobs: Blobs,
    report: Report,
    sources: Mapping[Digest, str] = {},
    jobs: int = 4,
) -> Descriptor:
    """Sends what the registry lacks of ``image``, then the manifest, byte for byte as it is stored; returns that.

    ``sources`` says for blobs in which other repository of the registry they may be (``likely_sources``). The manifest
    comes last, so that whoever can see it can pull it. Only layers are reported. Raises Denied, Unavailable, and
    NotFound if the store lacks a blob.
    """
    data = blobs.read(image.manifest.digest)
    manifest = manifests.parse(data, image.manifest.media_type)
    if not isinstance(manifest, Manifest):
        raise Invalid(f"{reference} is not a manifest but an index")
    report = parallel.in_turn(report)
    layers = {layer.digest: layer for layer in manifest.layers}.values()

    def task(blob: Descriptor, report: Report) -> Callable[[], None]:
        return lambda: _send(blob, reference.repository, client, blobs, report, sources.get(blob.digest))

    tasks = [task(manifest.config, quiet), *(task(layer, report) for layer in layers)]
    parallel.run_all(tasks, jobs, client.stop)
    client.put_manifest(reference.repository, reference.tagged().selector, manifest.media_type, data)
    return Descriptor(manifest.media_type, image.manifest.digest, len(data))


def likely_sources(images: Images, reference: Reference, blobs: Blobs) -> dict[Digest, str]:
    """For each blob of the store's images that are named after other repositories of ``reference``'s registry, one."""
    found: dict[Digest, str] = {}
    for name in images.names():
        if name.reference.registry == reference.registry and name.reference.repository != reference.repository:
            manifest = images.get(name.image_id).manifest
            document = manifests.parse(blobs.read(manifest.digest), manifest.media_type)
            if isinstance(document, Manifest):
                found |= {layer.digest: name.reference.repository for layer in document.layers}
    return found


def _send(blob: Descriptor, repository: str, client: Client, blobs: Blobs, report: Report, source: str | None) -> None:
    if client.has_blob(repository, blob.digest):
        report(LayerExists(blob.digest))
        return
    mounted = client.upload(repository, blob.digest, blob.size, lambda: _chunks(blob, blobs, report), source)
    report(Transferred(blob.digest, blob.size, "mounted" if mounted else "pushed"))


def _chunks(blob: Descriptor, blobs: Blobs, report: Report) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(min(CHUNK, blob.size)))
    done = 0
    with blobs.open(blob.digest) as file:
        while count := file.readinto(buffer):  # type: ignore[attr-defined]
            yield buffer[:count]
            done += count
            report(Transferring(blob.digest, done, blob.size))
