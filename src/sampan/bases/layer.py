"""From planned contents to an image in the store: one layer, a config, a manifest."""

import os
from collections.abc import Callable
from typing import NamedTuple

from sampan.bases.contents import Contents, Entry
from sampan.layers import tarball
from sampan.layers.compression import CHUNK, Deflate, Hashing
from sampan.layers.pipeline import Behind
from sampan.layers.tarwriter import Writer
from sampan.layers.window import Data, Sink, Source
from sampan.layers.write import Layer
from sampan.oci import media, platform
from sampan.oci.config import ContainerConfig, ImageConfig
from sampan.oci.descriptor import Descriptor
from sampan.oci.manifest import Manifest
from sampan.store.blobs import Blobs

_SECOND = 1_000_000_000


class Built(NamedTuple):
    """An image whose blobs are stored, and that no table knows yet; ``target`` is its manifest's descriptor."""

    manifest: Manifest
    config: ImageConfig
    target: Descriptor


def write(contents: Contents, blobs: Blobs) -> Layer:
    """Stores the contents as a layer. Equal contents give equal bytes: times are the files' own, in whole seconds.

    Entries without a time get that of the newest file. SOURCE_DATE_EPOCH in the environment is the latest time of all
    (reproducible-builds.org).
    """
    newest = stamp(contents)

    def produce(sink: Sink) -> None:
        archive = Writer(sink)
        for entry in contents:
            _add(archive, entry, newest)
        archive.finish()

    return _store(produce, blobs)


def stamp(contents: Contents) -> int:
    """The time of the newest file, in seconds since 1970, or the source date if that is earlier."""
    newest = max((entry.mtime for entry in contents if entry.mtime is not None), default=0)
    latest = source_date()
    return newest if latest is None else min(newest, latest)


def source_date() -> int | None:
    """SOURCE_DATE_EPOCH of the environment, if it is there: the latest time that anything may have."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    return int(text) if text.isascii() and text.isdigit() else None


def import_archive(source: Source, blobs: Blobs) -> Layer:
    """Stores an uncompressed tar archive, as it is, as a layer."""

    def produce(sink: Sink) -> None:
        while data := source.read(CHUNK):
            sink(data)

    return _store(produce, blobs)


def image(layer: Layer, config: ContainerConfig, created: int, command: str, blobs: Blobs) -> Built:
    """Stores config and manifest of an image of one layer; ``command`` is what its history says it was made by."""
    import time

    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(created))
    history = ({"created": when, "created_by": command},)
    whole = ImageConfig(platform.host(), config, (layer.diff_id,), history, when)
    encoded = whole.encode()
    described = Descriptor(media.OCI_CONFIG, blobs.put(encoded), len(encoded))
    manifest = Manifest(media.OCI_MANIFEST, described, (layer.descriptor,))
    data = manifest.encode()
    return Built(manifest, whole, Descriptor(media.OCI_MANIFEST, blobs.put(data), len(data)))


def _store(produce: Callable[[Sink], None], blobs: Blobs) -> Layer:
    """Stores the archive that ``produce`` gives to its sink; hashing and compressing go on in another thread."""
    plain = Hashing()
    with blobs.writer() as blob:
        deflate = Deflate(blob.write, "gzip")

        def squeeze(data: Data) -> None:
            plain.update(data)
            deflate.write(data)

        with Behind(squeeze) as behind:
            produce(behind.put)
        deflate.finish()
        size = blob.size
        return Layer(plain.digest(), Descriptor(media.OCI_LAYER_GZIP, blob.commit(), size), plain.size)


def _add(archive: Writer, entry: Entry, newest: int) -> None:
    name = os.fsencode(entry.name)
    mtime = (newest if entry.mtime is None else min(entry.mtime, newest)) * _SECOND
    if entry.source is not None:
        fd = os.open(entry.source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            archive.add(tarball.Entry(name, mode=entry.mode, size=os.fstat(fd).st_size, mtime=mtime), fd)
        finally:
            os.close(fd)
    elif entry.data is not None:
        archive.add(tarball.Entry(name, mode=entry.mode, size=len(entry.data), mtime=mtime), entry.data)
    elif entry.target is not None:
        target = os.fsencode(entry.target)
        archive.add(tarball.Entry(name, tarball.SYMLINK, entry.mode, mtime=mtime, link=target))
    else:
        archive.add(tarball.Entry(name, tarball.DIRECTORY, entry.mode, mtime=mtime))
