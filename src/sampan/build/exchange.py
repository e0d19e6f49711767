"""Build caches that other machines made, or are to use: ``--cache-from`` and ``--cache-to`` of a build, and ``sampan
cache export`` and ``import``.

Nothing is taken but from where the user points. What a source lists is read once, small; a layer is fetched when a step
asks for it, and verified like any other blob. A source that is not there, or is damaged, costs time and no build.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from sampan.archives import layout
from sampan.archives.places import Offer, Place, check
from sampan.build import portable
from sampan.build.cache import Entry
from sampan.build.endpoints import Endpoint
from sampan.build.portable import Contents
from sampan.errors import Invalid, SampanError
from sampan.events import Report, Warned, quiet
from sampan.oci import config as configs
from sampan.oci import manifest as manifests
from sampan.oci import media
from sampan.oci import platform as platforms
from sampan.oci import reference as references
from sampan.oci.descriptor import Descriptor
from sampan.oci.manifest import Index, Manifest

if TYPE_CHECKING:
    from sampan.oci.reference import Reference
    from sampan.registry.client import Client
    from sampan.store.blobs import Blobs


class Source(NamedTuple):
    """What a place has to offer as a cache."""

    contents: Contents
    place: Place


class Sources:
    """Caches that a build may use (``cache.Elsewhere``); a context manager. The first that knows a step counts."""

    def __init__(self, endpoints: Sequence[Endpoint], blobs: "Blobs", report: Report) -> None:
        self._endpoints = endpoints
        self._blobs = blobs
        self._report = report
        self._opened = ExitStack()
        self._known: dict[str, tuple[Entry, Endpoint, Place]] = {}

    def __enter__(self) -> "Sources":
        for endpoint in self._endpoints:
            try:
                contents, place = self._opened.enter_context(opened(endpoint, self._blobs))
            except SampanError as error:
                self._report(Warned(f"the cache {endpoint} is not used: {error.message}"))
                continue
            for entry in contents.entries:
                self._known.setdefault(entry.key, (entry, endpoint, place))
        return self

    def __exit__(self, *rest: object) -> None:
        self._opened.close()

    def peek(self, key: str) -> Entry | None:
        """See ``cache.Elsewhere``."""
        return self._known[key][0] if key in self._known else None

    def find(self, key: str) -> Entry | None:
        """See ``cache.Elsewhere``."""
        entry, endpoint, place = self._known.get(key, (None, None, None))
        if entry is None or place is None:
            return None
        try:
            place.fetch((entry.built.layer.descriptor,))
        except SampanError as error:
            self._report(Warned(f"the cache {endpoint} does not give {entry.step or key}: {error.message}"))
            return None
        return entry


def opened(endpoint: Endpoint, blobs: "Blobs") -> AbstractContextManager[Source]:
    """What is at ``endpoint``, to be fetched from for the length of a ``with`` block. Raises SampanError."""
    return _opened_layout(endpoint, blobs) if endpoint.kind == "local" else _opened_registry(endpoint, blobs)


def contents_of(place: Place, blobs: "Blobs", tag: str = "") -> Contents:
    """The build cache in an image layout or an archive. Raises NotFound, and Invalid if it is something else."""
    offer = layout.find(place.offers, tag)
    place.fetch((offer.target,))
    document = manifests.parse(blobs.read(offer.target.digest), offer.target.media_type)
    if not isinstance(document, Manifest):
        raise Invalid("it is no build cache but an index")
    return _read(document, place, blobs)


def send(contents: Contents, endpoint: Endpoint, blobs: "Blobs") -> None:
    """Makes ``contents`` what is at ``endpoint``; what is there already is not sent again.

    Raises SampanError and OSError.
    """
    target = put(contents, blobs)
    if endpoint.kind == "local":
        write_directory(target, endpoint, blobs)
    else:
        _push(target, references.parse(endpoint.place).tagged(), blobs)


def put(contents: Contents, blobs: "Blobs") -> Descriptor:
    """Stores the artifact, all but its layers, which are stored already. Nothing but a lease keeps it."""
    config, manifest = portable.encode(contents)
    if len(manifest) > manifests.MAX_BYTES:
        hint = "sampan cache prune makes it smaller"
        raise Invalid(f"the build cache has more layers than a manifest of {manifests.MAX_BYTES >> 20} MiB", hint=hint)
    blobs.put(config)
    return Descriptor(media.OCI_MANIFEST, blobs.put(manifest), len(manifest))


def write_directory(target: Descriptor, endpoint: Endpoint, blobs: "Blobs") -> None:
    """Writes an image layout with the artifact; blobs that no longer belong to anything in it are removed."""
    os.makedirs(endpoint.place, exist_ok=True)
    root = layout.open_directory(endpoint.place)
    try:
        offer = Offer(target, (endpoint.tag,))
        layout.write_directory(root, [offer], blobs)
        _sweep(root)
    finally:
        os.close(root)


def _sweep(root: int) -> None:
    """Removes what nothing in an image layout names any more: each build would leave a little more of it."""
    kept: set[str] = set()
    for offer in layout.offers(layout.read_small(root, "index.json")):
        document = manifests.parse(layout.read_small(root, layout.path(offer.target)), offer.target.media_type)
        if isinstance(document, Index):
            return  # somebody else's, of which not everything need be here
        kept |= {layout.path(each) for each in (offer.target, document.config, *document.layers)}
    fd = os.open("blobs/sha256", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
    try:
        for name in os.listdir(fd):
            if portable.KEY.fullmatch(name) and f"blobs/sha256/{name}" not in kept:
                os.unlink(name, dir_fd=fd)
    finally:
        os.close(fd)


def _read(manifest: Manifest, place: Place, blobs: "Blobs") -> Contents:
    """The cache that a manifest is of, or has inside. Raises Invalid if there is none."""
    kind = manifest.config.media_type
    if kind == portable.CONFIG:
        place.fetch((manifest.config,))
        return portable.decode(manifest, blobs.read(manifest.config.digest, portable.MAX_CONFIG))
    if kind in (media.OCI_CONFIG, media.DOCKER_CONFIG) and portable.INLINE in manifest.annotations:
        place.fetch((manifest.config,))
        return portable.from_image(manifest, configs.parse(blobs.read(manifest.config.digest)))
    if kind in (media.OCI_CONFIG, media.DOCKER_CONFIG):
        raise Invalid("the image has no build cache in it", hint="build it with --cache-to type=inline")
    raise Invalid(f"it is no build cache of sampan's but {kind}")


@contextmanager
def _opened_layout(endpoint: Endpoint, blobs: "Blobs") -> Iterator[Source]:
    with layout.Directory(endpoint.place, blobs) as place:
        yield Source(contents_of(place, blobs, endpoint.tag), place)


@contextmanager
def _opened_registry(endpoint: Endpoint, blobs: "Blobs") -> Iterator[Source]:
    reference = references.parse(endpoint.place).tagged()
    with _connected(reference, push=False) as client:
        place = _Repository(client, reference, blobs)
        yield Source(_read(place.manifest(), place, blobs), place)


def _connected(reference: "Reference", *, push: bool) -> "Client":
    from sampan.registry import credentials
    from sampan.registry.client import connect

    return connect(reference.registry, lambda: credentials.lookup(reference.registry), push=push)


class _Repository:
    """A repository of a registry as a place (``places.Place``)."""

    offers: Sequence[Offer] = ()

    def __init__(self, client: "Client", reference: "Reference", blobs: "Blobs") -> None:
        self._client = client
        self._reference = reference
        self._blobs = blobs

    def manifest(self) -> Manifest:
        """What the reference names; of an index the manifest for this machine."""
        document = self._manifest(self._reference.selector)
        if isinstance(document, Index):
            document = self._manifest(manifests.choose(document.manifests, platforms.host()).digest)
        if isinstance(document, Index):
            raise Invalid(f"{self._reference} is an index of indexes")
        return document

    def fetch(self, wanted: Sequence[Descriptor]) -> None:
        for blob in wanted:
            if self._blobs.has(blob.digest):
                check(blob, self._blobs)
                continue
            with self._blobs.writer(blob.digest, blob.size) as writer:
                self._client.blob(self._reference.repository, blob, writer.write)
                writer.commit()

    def _manifest(self, selector: str) -> Manifest | Index:
        received = self._client.manifest(self._reference.repository, selector)
        return manifests.parse(received.data, received.media_type)


def _push(target: Descriptor, reference: "Reference", blobs: "Blobs") -> None:
    from sampan.registry.push import push

    with _connected(reference, push=True) as client:
        push(target, reference, client=client, blobs=blobs, report=quiet)
