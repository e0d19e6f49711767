"""Entries made into a layer: the tar of an overlay's upper directory, and the blob that a store keeps of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from sampan.layers.changes import NOTHING, Changes, changes
from sampan.layers.compression import COMPRESSOR, Deflate, Hashing
from sampan.layers.pipeline import Behind
from sampan.layers.tarball import Writer
from sampan.layers.window import Source
from sampan.oci import media
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple, Protocol
else:
    from sampan.values import NamedTuple

    Protocol = object

_CHUNK = 1 << 20
_MEDIA_TYPES = {"none": media.OCI_LAYER, "gzip": media.OCI_LAYER_GZIP, "zstd": media.OCI_LAYER_ZSTD}


class BlobWriter(Protocol):
    """Where the bytes of a blob go; ``commit`` publishes it and returns its digest."""

    def write(self, data: bytes, /) -> int: ...
    def commit(self) -> Digest: ...


class BlobStore(Protocol):
    """What ``pack`` needs of a store: leaving the writer without ``commit`` leaves nothing behind."""

    def writer(self) -> AbstractContextManager[BlobWriter]: ...


class Layer(NamedTuple):
    """A layer that is in a store. ``size`` counts bytes of file contents, as ``Applied.size`` does."""

    diff_id: Digest
    descriptor: Descriptor
    size: int


def write(entries: Changes, sink: Callable[[bytes], object]) -> int:
    """Writes ``entries`` as an uncompressed tar; returns the bytes of file contents.

    ``sink`` gets bytes that are its own to keep. Equal entries give equal bytes. Raises what they raise, and Conflict
    when a file shrinks while it is read.
    """
    writer = Writer(sink)
    size = 0
    for entry, content in entries:
        writer.add(entry, content)
        size += entry.size
    writer.finish()
    return size


def pack(
    root_fd: int,
    blobs: BlobStore,
    *,
    userxattr: bool,
    epoch: int | None = None,
    compression: str = "gzip",
    contents: Mapping[bytes, bytes] = NOTHING,
) -> Layer:
    """Stores the changes that the upper directory behind ``root_fd`` stands for as a layer blob.

    With ``epoch`` (seconds) no time in it is later than that; ``contents`` are as for ``changes``. Raises what
    ``changes`` and ``pack_entries`` raise.
    """
    entries = changes(root_fd, userxattr=userxattr, epoch=epoch, contents=contents)
    return pack_entries(entries, blobs, compression)


def pack_entries(entries: Changes, blobs: BlobStore, compression: str = "gzip") -> Layer:
    """Stores ``entries`` as a layer blob, in bounded memory.

    Reading and hashing go on in this thread, compressing in another: the two take about as long. Raises what
    ``write`` raises, and Invalid for a ``compression`` other than "none", "gzip" and "zstd".
    """
    size = 0

    def produce(sink: Callable[[bytes], object]) -> None:
        nonlocal size
        size = write(entries, sink)

    diff_id, descriptor = _store(produce, blobs, compression, None)
    return Layer(diff_id, descriptor, size)


def recompress(
    plain: Source, blobs: BlobStore, compression: str, level: int | None = None
) -> tuple[Digest, Descriptor]:
    """Stores the uncompressed layer tar ``plain`` as a blob; returns its diff id and the blob.

    ``level`` is the method's own: 0 to 9 for gzip, 1 to 22 for zstd. Raises Invalid for one that it has not.
    """

    def produce(sink: Callable[[bytes], object]) -> None:
        while data := plain.read(_CHUNK):
            sink(data)

    return _store(produce, blobs, compression, level)


def _store(
    produce: Callable[[Callable[[bytes], object]], None], blobs: BlobStore, compression: str, level: int | None
) -> tuple[Digest, Descriptor]:
    plain, stored = Hashing(), 0
    with blobs.writer() as blob:

        def keep(data: bytes) -> None:
            nonlocal stored
            stored += len(data)
            blob.write(data)

        deflate = Deflate(keep, compression, level)

        with Behind(deflate.write) as behind:

            def pass_on(data: bytes) -> None:
                plain.update(data)
                behind.put(data)

            produce(pass_on)
        deflate.finish()
        digest = blob.commit()
    annotations = {COMPRESSOR: deflate.implementation} if deflate.implementation else {}
    return plain.digest(), Descriptor(_MEDIA_TYPES[compression], digest, stored, annotations=annotations)
