"""What the same step made the last time: files that it would make again are linked from there, not copied.

Between two builds of a project one file changes and thousands do not. Beside each snapshot of a COPY from a context
lies a note, ``placed``: which content each file has that was placed, where in the layer's tar its member stands, and
how the tar was cut into pieces to be compressed. A file that is to have the same content, attributes and times gets
another name (link(2)), its member of the new layer is cut out of the old one, and what a piece of equal members was
compressed to is taken over. Committed snapshots never change, and overlayfs copies a file before it is written to;
all that shows of it in a container is the number of links.
"""

from __future__ import annotations

import os
from threading import Thread
from types import TracebackType

from sampan.errors import SampanError
from sampan.layers.compression import COMPRESSOR, GZIP_HEADER, GZIP_TRAILER, Hashing, inflate_whole
from sampan.layers.tarwriter import Member
from sampan.linux import beneath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NamedTuple

    from sampan.build.cache import Cache
    from sampan.layers.compression import Known
    from sampan.layers.window import Data
    from sampan.layers.write import Index, Layer
    from sampan.snapshots.overlay import Overlay
    from sampan.store.blobs import Blobs
else:
    from sampan.values import NamedTuple

_MAX_TAR = 32 << 20
"""Bytes of a layer that is held in memory, of which several are at once; of a larger one the files are linked, and read
for the new layer."""
_BLOCK = 512  # of a tar: a piece mostly begins with the header of a file, which no other one does
_DIRECTORY = os.O_PATH | os.O_DIRECTORY


class Note(NamedTuple):
    """What is known of a snapshot: for which ``epoch`` it was made, and of each file what ``describe`` says, and behind
    that where its member begins and ends in the layer's tar, and its size; and ``Deflate.pieces``."""

    epoch: str
    pieces: Sequence[tuple[int, int]]
    files: Mapping[bytes, bytes]


NOTHING = Note("", (), {})


def describe(digest: str, owner: tuple[int, int], mode: int, mtime: int) -> bytes:
    """A regular file in one line: the digest of its content, owner, mode, and when it changed (nanoseconds)."""
    return b"%b %d:%d %o %d\n" % (digest.encode(), *owner, mode, mtime)


def write_note(upper: str, epoch: int | None, placed: Mapping[bytes, bytes], index: Index) -> None:
    """Notes what the snapshot in ``upper`` has: files that were ``placed``, described, by path."""
    words = [str(epoch).encode(), b" ".join(b"%d %d" % piece for piece in index.pieces)]
    for path, described in placed.items():
        if path in index.files:
            words += (path, b"%b%d %d %d" % (described, *index.files[path]))
    with open(_beside(upper), "wb") as file:
        file.write(b"\0".join(words))


def read_note(upper: str) -> Note:
    """What was noted of a snapshot; nothing if that cannot be read."""
    try:
        with open(_beside(upper), "rb") as file:
            epoch, pieces, *words = file.read().split(b"\0")
        sizes = [int(size) for size in pieces.split()]
        files = zip(words[::2], words[1::2], strict=True)
        return Note(epoch.decode(), tuple(zip(sizes[::2], sizes[1::2], strict=True)), dict(files))
    except (OSError, ValueError):
        return NOTHING


def find(key: str | None, cache: Cache, snapshots: Overlay, blobs: Blobs) -> Former | None:
    """What was made for ``key``; None where nothing of it is of use."""
    built = cache.former(key) if key else None
    if built is None:
        return None
    upper = snapshots.stack(built.chain)[0]
    return Former(upper, built.layer, blobs) if os.path.exists(_beside(upper)) else None


class Former:
    """The snapshot in ``upper`` and its ``layer``, which is inflated from the beginning, in a thread of its own: that
    takes as long as finding out what changed. A context manager from when files are taken from it on.

    ``linked`` are the paths of those files.
    """

    __slots__ = (
        "_above", "_blob", "_compressor", "_note", "_parent", "_pieces", "_root", "_tar", "_thread", "_upper", "linked",
    )  # fmt: skip

    def __init__(self, upper: str, layer: Layer, blobs: Blobs) -> None:
        self.linked: set[bytes] = set()
        self._upper = upper
        self._note = NOTHING
        self._root = self._above = -1
        self._parent = b""
        self._tar = self._blob = b""
        self._pieces: dict[bytes, tuple[int, int, int, int]] = {}
        self._compressor = layer.descriptor.annotations.get(COMPRESSOR)
        self._thread = Thread(target=self._inflate, args=(layer, blobs), daemon=True)
        self._thread.start()

    def __enter__(self) -> Former:
        self._note = read_note(self._upper)
        self._root = beneath.open_root(self._upper)
        self._above = os.dup(self._root)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._thread.join()
        os.close(self._above)
        os.close(self._root)

    def link(self, path: bytes, above: int, described: bytes) -> bool:
        """Makes ``path``, in the directory that ``above`` is open for, if the snapshot has there what is described."""
        if not self._note.files.get(path, b"").startswith(described):
            return False
        parent, _, name = path.rpartition(b"/")
        try:
            if parent != self._parent:
                opened = beneath.open_in(self._root, parent, _DIRECTORY, links=False)
                os.close(self._above)
                self._parent, self._above = parent, opened
            os.link(name, name, src_dir_fd=self._above, dst_dir_fd=above, follow_symlinks=False)
        except OSError:  # it has all the names that it can have (EMLINK), say: then it is copied
            return False
        self.linked.add(path)
        return True

    def members(self, epoch: int | None) -> dict[bytes, Member]:
        """Of the files that were linked, what a tar made for ``epoch`` has of them, by path."""
        self._thread.join()
        if not self._tar or self._note.epoch != str(epoch):
            return {}
        self._find_pieces()
        tar, files = self._tar, self._note.files
        places = ((path, files[path].partition(b"\n")[2].split()) for path in self.linked)
        return {path: Member(tar, *map(int, place)) for path, place in places}

    @property
    def known(self) -> Known | None:
        """Gives what pieces of the layer's tar were compressed to; None if that is of no use."""
        return self._packed if self._pieces else None

    def _packed(self, piece: Data, compressor: str) -> bytes | None:
        begin, end, at, after = self._pieces.get(bytes(piece[:_BLOCK]), (0, 0, 0, 0))
        is_same = end - begin == len(piece) and self._tar.startswith(piece, begin) and compressor == self._compressor
        return self._blob[at:after] if is_same else None

    def _find_pieces(self) -> None:
        """By how they begin, where the pieces are in the tar and in the blob, if it was made of these."""
        pieces, begin, at = {}, 0, len(GZIP_HEADER)
        for size, packed in self._note.pieces:
            pieces[self._tar[begin : begin + _BLOCK]] = begin, begin + size, at, at + packed
            begin, at = begin + size, at + packed
        if begin == len(self._tar) and at + GZIP_TRAILER == len(self._blob):
            self._pieces = pieces

    def _inflate(self, layer: Layer, blobs: Blobs) -> None:
        if layer.size > _MAX_TAR:
            return
        hashing = Hashing()
        try:
            with blobs.open(layer.descriptor.digest) as blob:
                packed = blob.read()
            tar = inflate_whole(packed, _MAX_TAR)
        except (SampanError, OSError):
            return  # the files themselves can be read
        hashing.update(tar)
        if hashing.digest() == layer.diff_id:
            self._tar, self._blob = tar, packed


def _beside(upper: str) -> str:
    return f"{os.path.dirname(upper)}/placed"
