"""A directory made into a layer: the tar of an overlay's upper directory, and the blob that a store keeps of it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from sampan.layers.changes import changes
from sampan.layers.compression import Deflate, Hashing
from sampan.layers.pipeline import Behind
from sampan.layers.tarball import Writer
from sampan.oci import media
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest

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


def write(root_fd: int, sink: Callable[[bytes], object], *, userxattr: bool, epoch: int | None = None) -> int:
    """Writes the changes that the upper directory behind ``root_fd`` stands for as an uncompressed layer tar.

    ``sink`` gets bytes that are its own to keep. Equal trees give equal bytes; with ``epoch`` (seconds) no time in them
    is later than that. Returns the bytes of file contents. Raises what ``changes`` raises, and Conflict when a file
    shrinks while it is read.
    """
    writer = Writer(sink)
    size = 0
    for entry, fd in changes(root_fd, userxattr=userxattr, epoch=epoch):
        writer.add(entry, fd)
        size += entry.size
    writer.finish()
    return size


def pack(
    root_fd: int, blobs: BlobStore, *, userxattr: bool, epoch: int | None = None, compression: str = "gzip"
) -> Layer:
    """Stores the upper directory behind ``root_fd`` as a layer blob, in bounded memory.

    Reading and hashing go on in this thread, compressing in another: the two take about as long. Raises what
    ``write`` raises, and Invalid for a ``compression`` other than "none", "gzip" and "zstd".
    """
    plain, stored = Hashing(), 0
    with blobs.writer() as blob:

        def keep(data: bytes) -> None:
            nonlocal stored
            stored += len(data)
            blob.write(data)

        deflate = Deflate(keep, compression)

        with Behind(deflate.write) as behind:

            def pass_on(data: bytes) -> None:
                plain.update(data)
                behind.put(data)

            size = write(root_fd, pass_on, userxattr=userxattr, epoch=epoch)
        deflate.finish()
        digest = blob.commit()
    return Layer(plain.digest(), Descriptor(_MEDIA_TYPES[compression], digest, stored), size)
