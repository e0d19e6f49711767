"""Indexes made of manifests that are in registries already, their layers moved by the registry itself where it can."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from sampan.errors import Invalid
from sampan.events import Report
from sampan.oci import config as configs
from sampan.oci import digest as digests
from sampan.oci import manifest as manifests
from sampan.oci import media
from sampan.oci.descriptor import Descriptor
from sampan.oci.manifest import MAX_BYTES, Index, Manifest
from sampan.oci.reference import Reference
from sampan.registry.client import Client, Received
from sampan.registry.push import send_blob
from sampan.store.blobs import Blobs
from sampan.store.drafts import Entry

Connect = Callable[[str], Client]
"""The client for a registry; the same one each time."""


def look(reference: Reference, client: Client) -> tuple[Received, list[Entry]]:
    """What a name means in its registry, and the manifests that this is or lists, each with its platform if that can be
    told. Raises what ``Client.manifest`` raises."""
    received = client.manifest(reference.repository, reference.tagged().selector)
    document = manifests.parse(received.data, received.media_type)
    if isinstance(document, Index):
        return received, [Entry(_at(reference, entry), entry) for entry in document.manifests]
    entry = Descriptor(document.media_type, received.digest, len(received.data))
    if document.config.media_type in (media.OCI_CONFIG, media.DOCKER_CONFIG):
        platform = configs.parse(_small(document.config, reference.repository, client)).platform
        entry = entry._replace(platform=platform)
    return received, [Entry(_at(reference, entry), entry)]


def index(entries: Iterable[Entry], annotations: Mapping[str, str] = {}) -> Index:
    """The index that lists ``entries``: Docker's kind if all of them are, and nothing says more than that can."""
    listed = tuple(entry.descriptor for entry in entries)
    docker = bool(listed) and all(each.media_type == media.DOCKER_MANIFEST for each in listed)
    plain = docker and not annotations and not any(each.annotations for each in listed)
    return Index(media.DOCKER_LIST if plain else media.OCI_INDEX, listed, annotations)


def publish(
    data: bytes, entries: Sequence[Entry], target: Reference, connect: Connect, blobs: Blobs, report: Report
) -> digests.Digest:
    """Names ``data``, an index of ``entries`` or the one manifest among them, in a registry that has all of it then.

    What another registry has goes through ``blobs``, where nothing keeps it. Gives the digest.
    """
    client = connect(target.registry)
    for entry in entries:
        _move(entry, target, connect(entry.source.registry), client, blobs, report)
    document = manifests.parse(data)
    client.put_manifest(target.repository, target.tagged().selector, document.media_type, data)
    return digests.sha256(data)


def _move(entry: Entry, target: Reference, origin: Client, client: Client, blobs: Blobs, report: Report) -> None:
    """Makes sure that the repository of ``target`` has the manifest of an entry, and all that it names."""
    source, described = entry.source, entry.descriptor
    if (source.registry, source.repository) == (target.registry, target.repository):
        return
    received = origin.manifest(source.repository, described.digest)
    document = manifests.parse(received.data, described.media_type)
    if not isinstance(document, Manifest):
        raise Invalid(f"{described.digest} is an index within an index")
    mountable = source.repository if source.registry == target.registry else None
    for blob in {each.digest: each for each in (document.config, *document.layers)}.values():
        send_blob(
            blob,
            target.repository,
            client,
            blobs,
            report,
            mountable,
            lambda wanted: _fetch(wanted, source.repository, origin, blobs),
        )
    client.put_manifest(target.repository, described.digest, document.media_type, received.data)


def _fetch(wanted: Descriptor, repository: str, client: Client, blobs: Blobs) -> None:
    if not blobs.has(wanted.digest):
        with blobs.writer(wanted.digest, wanted.size) as writer:
            client.blob(repository, wanted, writer.write)
            writer.commit()


def _small(wanted: Descriptor, repository: str, client: Client) -> bytes:
    if wanted.size > MAX_BYTES:
        raise Invalid(f"the image config is larger than {MAX_BYTES >> 20} MiB")
    data = bytearray()

    def take(chunk: bytes) -> None:
        data.extend(chunk)
        if len(data) > wanted.size:
            raise Invalid("the image config is larger than announced")

    client.blob(repository, wanted, take)
    return digests.verify(bytes(data), wanted.digest, "the image config")


def _at(reference: Reference, entry: Descriptor) -> Reference:
    return Reference(reference.registry, reference.repository, None, entry.digest)
