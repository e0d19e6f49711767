"""Entries made into a layer: the tar of an overlay's upper directory, and the blob that a store keeps of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from sampan.layers.changes import AS_FOUND, NOTHING, Changes, Contents, Nodes, changes
from sampan.layers.compression import COMPRESSOR, Deflate, Hashing, Known
from sampan.layers.pipeline import Behind
from sampan.layers.tarball import FILE
from sampan.layers.tarwriter import Writer
from sampan.layers.window import Data, Sink
from sampan.oci import media
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple, Protocol
else:
    from sampan.values import NamedTuple

    Protocol = object

_MEDIA_TYPES = {"none": media.OCI_LAYER, "gzip": media.OCI_LAYER_GZIP, "zstd": media.OCI_LAYER_ZSTD}


class BlobWriter(Protocol):
    """Where the bytes of a blob go; ``commit`` publishes it and returns its digest."""

    def write(self, data: Data, /) -> int: ...
    def commit(self) -> Digest: ...


class BlobStore(Protocol):
    """What ``pack`` needs of a store: leaving the writer without ``commit`` leaves nothing behind."""

    def writer(self) -> AbstractContextManager[BlobWriter]: ...


class Layer(NamedTuple):
    """A layer that is in a store. ``size`` counts bytes of file contents, as ``Applied.size`` does."""

    diff_id: Digest
    descriptor: Descriptor
    size: int


class Index:
    """Where things are in a layer: ``files`` says where the member of a regular file begins in the tar, where it ends,
    and how large the file is, by name; ``pieces`` are ``Deflate.pieces``."""

    __slots__ = ("files", "pieces")

    def __init__(self) -> None:
        self.files: dict[bytes, tuple[int, int, int]] = {}
        self.pieces: list[tuple[int, int]] = []


def write(entries: Changes, sink: Sink, index: Index | None = None) -> int:
    """Writes ``entries`` as an uncompressed tar; returns the bytes of file contents. ``index`` receives where the
    files are.

    ``sink`` gets bytes that are its own to keep. Equal entries give equal bytes. Raises what they raise, and Conflict
    when a file shrinks while it is read.
    """
    writer = Writer(sink)
    size = 0
    for entry, content in entries:
        begin = writer.offset
        writer.add(entry, content)
        size += entry.size
        if index is not None and entry.kind == FILE:
            index.files[entry.name] = begin, writer.offset, entry.size
    writer.finish()
    return size


def pack(
    root_fd: int,
    blobs: BlobStore,
    *,
    userxattr: bool,
    epoch: int | None = None,
    compression: str = "gzip",
    contents: Contents = NOTHING,
    nodes: Nodes = AS_FOUND,
    index: Index | None = None,
    known: Known | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> Layer:
    """Stores the changes that the upper directory behind ``root_fd`` stands for as a layer blob.

    With ``epoch`` (seconds) no time in it is later than that; ``contents`` and ``nodes`` are as for ``changes``,
    ``known`` as for ``Deflate``; ``index`` receives where things come to be. Raises what ``changes`` and
    ``pack_entries`` raise.
    """
    entries = changes(root_fd, userxattr=userxattr, epoch=epoch, contents=contents, nodes=nodes)
    return pack_entries(entries, blobs, compression, index, known, meanwhile)


def pack_entries(
    entries: Changes,
    blobs: BlobStore,
    compression: str = "gzip",
    index: Index | None = None,
    known: Known | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> Layer:
    """Stores ``entries`` as a layer blob, in bounded memory.

    Reading goes on in this thread, compressing in another, which takes a little longer: then ``meanwhile`` is called.
    Raises what ``write`` raises, and Invalid for a ``compression`` other than "none", "gzip" and "zstd".
    """
    plain = Hashing()

    def digested(then: Sink) -> Sink:
        def pass_on(piece: Data) -> None:
            plain.update(piece)
            then(piece)

        return pass_on

    with blobs.writer() as blob:
        deflate = Deflate(blob.write, compression, known=known)
        # The digest is the business of whoever has less to do.
        with Behind(digested(deflate.add) if known else deflate.add) as behind:
            size = write(entries, behind.put if known else digested(behind.put), index)
            meanwhile()
        deflate.finish()
        digest = blob.commit()
    if index is not None:
        index.pieces = deflate.pieces
    annotations = {COMPRESSOR: deflate.implementation} if deflate.implementation else {}
    descriptor = Descriptor(_MEDIA_TYPES[compression], digest, deflate.size, annotations=annotations)
    return Layer(plain.digest(), descriptor, size)
