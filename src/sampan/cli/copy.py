"""``sampan copy``: an image from one place to another, its layers as they are."""

import os
import sys

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import NotFound, SampanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from sampan.archives.places import Offer, Place
    from sampan.archives.transports import Where
    from sampan.engine import Engine
    from sampan.events import Report
    from sampan.oci.descriptor import Descriptor
    from sampan.oci.platform import Platform
    from sampan.registry.client import Client
    from sampan.store.blobs import Blobs

COMMAND = Command(
    "[OPTIONS] SOURCE DESTINATION",
    (
        Flag("--platform string", "Copy only the image for this platform (default: all that are there)"),
        Flag("-q, --quiet", "Suppress the progress output"),
    ),
    least=2,
    most=2,
    needs_userns=True,
    runs_nothing=True,
    details="Either is docker://NAME (a registry), oci:DIR[:TAG], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], "
    "dir:DIR, or a name in the store. Layers are not unpacked but for the store.",
    examples=(
        ("sampan copy docker://alpine:3 oci-archive:alpine.tar:alpine:3", "A file that any engine loads"),
        ("sampan copy app:1 docker://localhost:5000/app:1", "As sampan push, under another name"),
        ("sampan copy docker://registry.example/app:1 docker://mirror.example/app:1", "All platforms of it"),
    ),
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.archives import places, transports
    from sampan.cli.progress import Transfers
    from sampan.oci import platform as platforms

    source, destination = (transports.parse(text) for text in arguments.positionals)
    wanted, engine = arguments.text("platform"), context.engine
    platform = platforms.parse(wanted) if wanted else None
    with engine.storing(), Transfers(sys.stderr, quiet=context.quiet) as transfers:
        with _told(source, "read"), _opened(source, engine, platform, transfers) as (place, offer):
            target = places.gather(offer.target, place, engine.blobs, platform)
        with _told(destination, "written"):
            _write(destination, target._replace(platform=None), offer, engine, transfers)
    # What only passed through is not kept; nothing happens while something else is at work.
    engine.collect()
    context.print(target.digest)
    return 0


class _told:
    """Says in front of an error which of the two places it is about."""

    def __init__(self, where: "Where", done: str) -> None:
        self._what = f"{where} cannot be {done}: "

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SampanError):
            error.message = self._what + error.message


def _opened(
    where: "Where", engine: "Engine", platform: "Platform | None", report: "Report"
) -> "AbstractContextManager[tuple[Place, Offer]]":
    """The place, and the image in it that is meant."""
    from contextlib import contextmanager

    @contextmanager
    def opened() -> "Iterator[tuple[Place, Offer]]":
        from sampan.archives import layout, skopeo, stored

        if where.kind == "store":
            yield _Here(engine.blobs), stored.offer(where.name, engine.images, engine.blobs, platform)
        elif where.kind == "docker":
            with _registry(where.name, engine, report) as found:
                yield found
        elif where.kind == "dir":
            root = layout.open_directory(where.path)
            try:
                directory = skopeo.Directory(root, engine.blobs)
                yield directory, directory.offers[0]
            finally:
                os.close(root)
        elif where.kind == "oci":
            with layout.Directory(where.path, engine.blobs) as found_layout:
                yield found_layout, layout.find(found_layout.offers, where.name)
        else:
            from sampan.archives.archive import Archive

            with open(where.path, "rb", buffering=0) as file:
                archive = Archive(file, engine.blobs)
            yield archive, layout.find(archive.offers, where.name)

    return opened()


def _registry(name: str, engine: "Engine", report: "Report") -> "AbstractContextManager[tuple[Place, Offer]]":
    from contextlib import contextmanager

    from sampan import settings as settled
    from sampan.archives.places import Offer
    from sampan.cli import registries
    from sampan.oci import reference as references
    from sampan.oci.descriptor import Descriptor

    @contextmanager
    def opened() -> "Iterator[tuple[Place, Offer]]":
        reference = references.parse(name).tagged()
        with registries.connect(reference.registry, settled.read()) as client:
            received = client.manifest(reference.repository, reference.selector)
            target = Descriptor(received.media_type, received.digest, len(received.data))
            with engine.blobs.writer(target.digest, target.size) as writer:
                writer.write(received.data)
                writer.commit()
            yield _Repository(client, reference.repository, engine.blobs, report), Offer(target)

    return opened()


class _Here:
    """The store itself, as a place to get images from."""

    offers: "Sequence[Offer]" = ()

    def __init__(self, blobs: "Blobs") -> None:
        self._blobs = blobs

    def fetch(self, wanted: "Sequence[Descriptor]") -> None:
        from sampan.archives.places import check

        for blob in wanted:
            check(blob, self._blobs)


class _Repository:
    """A repository of a registry, as a place to get images from."""

    offers: "Sequence[Offer]" = ()

    def __init__(self, client: "Client", repository: str, blobs: "Blobs", report: "Report") -> None:
        from sampan.registry import parallel

        self._client = client
        self._repository = repository
        self._blobs = blobs
        self._report = parallel.in_turn(report)

    def fetch(self, wanted: "Sequence[Descriptor]") -> None:
        from functools import partial

        from sampan.registry import parallel

        parallel.run_all([partial(self._fetch, blob) for blob in wanted], 4, self._client.stop)

    def _fetch(self, blob: "Descriptor") -> None:
        from sampan.events import LayerExists, Transferred, Transferring
        from sampan.oci import media

        if blob.media_type in media.MANIFESTS + media.INDEXES:
            if not self._blobs.has(blob.digest):
                data = self._client.manifest(self._repository, blob.digest).data
                with self._blobs.writer(blob.digest, blob.size) as writer:
                    writer.write(data)
                    writer.commit()
            return
        if self._blobs.has(blob.digest):
            self._report(LayerExists(blob.digest))
            return
        with self._blobs.writer(blob.digest, blob.size) as writer:

            def write(chunk: bytes) -> None:
                writer.write(chunk)
                self._report(Transferring(blob.digest, writer.size, blob.size))

            self._client.blob(self._repository, blob, write)
            writer.commit()
        self._report(Transferred(blob.digest, blob.size, "copied"))


def _write(where: "Where", target: "Descriptor", offer: "Offer", engine: "Engine", report: "Report") -> None:
    from sampan.archives import layout, skopeo
    from sampan.archives.places import Offer
    from sampan.archives.write import write
    from sampan.cli.save import output

    labels = (where.name,) if where.name else offer.labels
    if where.kind == "store":
        _store(where.name, target, engine, report)
    elif where.kind == "docker":
        _push(where.name, target, engine, report)
    elif where.kind in ("oci", "dir"):
        os.makedirs(where.path, exist_ok=True)
        root = layout.open_directory(where.path)
        try:
            if where.kind == "dir":
                skopeo.write(root, target, engine.blobs)
            else:
                layout.write_directory(root, [Offer(target, labels)], engine.blobs)
        finally:
            os.close(root)
    else:
        with output(where.path) as sink:
            write([Offer(target, labels)], engine.blobs, sink, for_docker=where.kind == "docker-archive")


def _store(name: str, target: "Descriptor", engine: "Engine", report: "Report") -> None:
    from sampan.archives import places, stored
    from sampan.cli.load import chosen
    from sampan.snapshots.admit import admit

    reference = stored.parse_tagged(name)
    entries = places.images(target, engine.blobs)
    if not entries:
        raise NotFound("there is no image in it")
    image = admit(chosen(entries), engine.blobs, engine.snapshots, report)
    engine.images.put(image, (reference,), target)


def _push(name: str, target: "Descriptor", engine: "Engine", report: "Report") -> None:
    from sampan import settings as settled
    from sampan.archives import stored
    from sampan.cli import registries
    from sampan.registry.push import likely_sources, push

    reference = stored.parse_tagged(name)
    with registries.connect(reference.registry, settled.read(), push=True) as client:
        sources = likely_sources(engine.images, reference, engine.blobs)
        push(target, reference, client=client, blobs=engine.blobs, report=report, sources=sources)
