"""Push: from an image in the store to a name in a registry."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from sampan.errors import Invalid
from sampan.events import LayerExists, Report, Transferred, Transferring, quiet
from sampan.oci import digest as digests
from sampan.oci import manifest as manifests
from sampan.oci import media
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest
from sampan.oci.manifest import Index, Manifest
from sampan.oci.reference import Reference
from sampan.registry import parallel, recompress
from sampan.registry.client import Client
from sampan.registry.http import CHUNK
from sampan.store.blobs import Blobs
from sampan.store.images import Images

Convert = Callable[[Descriptor], Descriptor]
"""Gives the layer that is sent in place of one; it is in the store."""


class Final(NamedTuple):
    """A manifest or index as it is published."""

    descriptor: Descriptor
    data: bytes


def push(
    target: Descriptor,
    reference: Reference,
    *,
    client: Client,
    blobs: Blobs,
    report: Report,
    sources: Mapping[Digest, str] = {},
    jobs: int = 4,
    convert: Convert | None = None,
) -> Descriptor:
    """Sends what the registry lacks of the image or index ``target``, then its manifests; returns what was named.

    Manifests are sent byte for byte as they are stored, unless ``convert`` gives other layers in place of theirs.
    ``sources`` says for blobs in which other repository of the registry they may be (``likely_sources``). Manifests
    come last, so that whoever can see one can pull it. Only layers are reported. Raises Denied, Unavailable, and
    NotFound if the store lacks a blob.
    """
    document = _read(target, blobs)
    entries = document.manifests if isinstance(document, Index) else (target,)
    images = [_image(entry, blobs) for entry in entries]
    report = parallel.in_turn(report)
    sent: dict[Digest, Descriptor] = {}

    def task(blob: Descriptor, report: Report, convert: Convert | None = None) -> Callable[[], None]:
        def send() -> None:
            sent[blob.digest] = converted = convert(blob) if convert else blob
            send_blob(converted, reference.repository, client, blobs, report, sources.get(converted.digest))

        return send

    configs = {image.config.digest: image.config for image in images}.values()
    layers = {layer.digest: layer for image in images for layer in image.layers}.values()
    tasks = [task(config, quiet) for config in configs] + [task(layer, report, convert) for layer in layers]
    parallel.run_all(tasks, jobs, client.stop)
    made = [_final(entry, image, sent, blobs) for entry, image in zip(entries, images, strict=True)]
    if isinstance(document, Index):
        for each in made:
            client.put_manifest(reference.repository, each.descriptor.digest, each.descriptor.media_type, each.data)
        named = _final_index(target, document, [each.descriptor for each in made], blobs)
    else:
        (named,) = made
    client.put_manifest(reference.repository, reference.tagged().selector, named.descriptor.media_type, named.data)
    return named.descriptor


def likely_sources(images: Images, reference: Reference, blobs: Blobs) -> dict[Digest, str]:
    """For each blob of the store's images that are named after other repositories of ``reference``'s registry, one."""
    found: dict[Digest, str] = {}
    for name in images.names():
        if name.reference.registry == reference.registry and name.reference.repository != reference.repository:
            document = _read(images.get(name.image_id).manifest, blobs)
            if isinstance(document, Manifest):
                found |= {layer.digest: name.reference.repository for layer in document.layers}
    return found


def missing(target: Descriptor, blobs: Blobs) -> list[Descriptor]:
    """The manifests of an index of which the store lacks something. Raises NotFound if it lacks ``target`` itself."""
    document = _read(target, blobs)
    entries = document.manifests if isinstance(document, Index) else (target,)
    return [entry for entry in entries if not _is_whole(entry, blobs)]


def _is_whole(entry: Descriptor, blobs: Blobs) -> bool:
    if not blobs.has(entry.digest):
        return False
    document = _read(entry, blobs)
    return isinstance(document, Manifest) and all(
        blobs.has(part.digest) for part in (document.config, *document.layers)
    )


def _read(target: Descriptor, blobs: Blobs) -> Manifest | Index:
    return manifests.parse(blobs.read(target.digest), target.media_type)


def _image(entry: Descriptor, blobs: Blobs) -> Manifest:
    document = _read(entry, blobs)
    if isinstance(document, Index):
        raise Invalid(f"{entry.digest} is an index within an index")
    return document


def _final(entry: Descriptor, image: Manifest, sent: Mapping[Digest, Descriptor], blobs: Blobs) -> Final:
    """A manifest as it is published: with the layers that were sent."""
    layers = tuple(sent[layer.digest] for layer in image.layers)
    if [layer.digest for layer in layers] == [layer.digest for layer in image.layers]:
        return Final(entry, blobs.read(entry.digest))
    rewritten = recompress.rewrite(image, layers)
    data = rewritten.encode()
    return Final(entry._replace(media_type=rewritten.media_type, digest=digests.sha256(data), size=len(data)), data)


def _final_index(target: Descriptor, index: Index, entries: list[Descriptor], blobs: Blobs) -> Final:
    if entries == list(index.manifests):
        return Final(target, blobs.read(target.digest))
    kind = media.OCI_INDEX if any(entry.media_type == media.OCI_MANIFEST for entry in entries) else index.media_type
    data = index._replace(media_type=kind, manifests=tuple(entries)).encode()
    return Final(Descriptor(kind, digests.sha256(data), len(data)), data)


def send_blob(
    blob: Descriptor,
    repository: str,
    client: Client,
    blobs: Blobs,
    report: Report,
    source: str | None,
    fetch: Callable[[Descriptor], object] = lambda blob: None,
) -> None:
    """Makes sure that a repository has a blob of the store, which ``fetch`` puts there when it comes to sending it.

    ``source`` is another repository of the registry that may have it.
    """
    if client.has_blob(repository, blob.digest):
        report(LayerExists(blob.digest))
        return

    def body(start: int, count: int) -> Iterator[memoryview]:
        fetch(blob)
        return _pieces(blob, blobs, report, start, count)

    mounted = client.upload(repository, blob.digest, blob.size, body, source)
    report(Transferred(blob.digest, blob.size, "mounted" if mounted else "pushed"))


def _pieces(blob: Descriptor, blobs: Blobs, report: Report, start: int, count: int) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(min(CHUNK, count)))
    done, end = start, start + count
    with blobs.open(blob.digest) as file:
        file.seek(start)
        while size := file.readinto(buffer[: end - done]):  # type: ignore[attr-defined]
            yield buffer[:size]
            done += size
            report(Transferring(blob.digest, done, blob.size))
