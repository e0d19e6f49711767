"""What builds remember: the layer that a step made, by the step's key, and digests of files of the user's.

An entry counts only while its blob and its snapshot are there. Entries come from builds of this store alone, never from
an image that was pulled and claims the same history. The garbage collector keeps what the table names
(``store.collect``).
"""

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from sampan.layers.write import Layer
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest
from sampan.store.database import transaction

if TYPE_CHECKING:
    import sqlite3

    from sampan.snapshots.lookup import View
    from sampan.snapshots.overlay import Overlay
    from sampan.store.blobs import Blobs

_USE_COUNTS_AFTER = 3600
"""Seconds: a more recent use is not written down again, so that a build without changes writes nothing."""
_SETTLED = 100_000_000
"""Nanoseconds after which a change shows in a file's times: more than a tick of any kernel's clock."""


class Built(NamedTuple):
    """What a step made: a layer, the chain id that its snapshot has, and when (RFC 3339)."""

    layer: Layer
    chain: Digest
    created: str


class Cache:
    """Results of steps. ``fresh`` finds nothing, and still remembers (--no-cache)."""

    __slots__ = ("_blobs", "_db", "_fresh", "_snapshots")

    def __init__(self, db: "sqlite3.Connection", blobs: "Blobs", snapshots: "Overlay", *, fresh: bool = False) -> None:
        self._db = db
        self._blobs = blobs
        self._snapshots = snapshots
        self._fresh = fresh

    def get(self, key: str) -> Built | None:
        """What was made for ``key``, if all of it is still there."""
        if self._fresh:
            return None
        row = self._db.execute(
            "SELECT diff_id, digest, media_type, blob_size, size, chain, created, used FROM build_cache WHERE key=?",
            (key,),
        ).fetchone()
        if row is None:
            return None
        diff_id, digest, media_type, blob_size, size, chain, created, used = row
        layer = Layer(Digest(diff_id), Descriptor(media_type, Digest(digest), blob_size), size)
        built = Built(layer, Digest(chain), created)
        if not (self._blobs.has(layer.descriptor.digest) and self._snapshots.has(built.chain)):
            return None
        if float(used) < time.time() - _USE_COUNTS_AFTER:
            self._db.execute("UPDATE build_cache SET used=? WHERE key=?", (_now(), key))
        return built

    def put(self, key: str, built: Built) -> None:
        """Remembers what was made for ``key``; the blob and the snapshot are stored already."""
        layer, descriptor = built.layer, built.layer.descriptor
        self._db.execute(
            "INSERT OR REPLACE INTO build_cache VALUES (?,?,?,?,?,?,?,?,?)",
            (
                key,
                layer.diff_id,
                descriptor.digest,
                descriptor.media_type,
                descriptor.size,
                layer.size,
                built.chain,
                built.created,
                _now(),
            ),
        )


class FileDigests:
    """Digests of the files below one directory of the user's, remembered by what stat(2) says of each.

    A file is read again when its size, modification or change time or inode differs, and one that changed a moment ago
    is not remembered at all: a further change might leave the same times.
    """

    __slots__ = ("_db", "_new", "_root")

    def __init__(self, db: "sqlite3.Connection", root: str) -> None:
        self._db = db
        self._root = os.fsencode(root.rstrip("/")) + b"/"
        self._new: list[tuple[bytes, int, int, int, int, str]] = []

    def __call__(self, view: "View", path: bytes, status: os.stat_result) -> str:
        """The digest of the regular file ``path`` (a Digester)."""
        from sampan.build.source import read_digest

        name, facts = self._root + path, _facts(status)
        row = self._db.execute(
            "SELECT size, mtime_ns, ino, ctime_ns, digest FROM file_digest WHERE path=?", (name,)
        ).fetchone()
        if row and row[:4] == facts:
            digest: str = row[4]
            return digest
        digest = read_digest(view, path, status)
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED:
            self._new.append((name, *facts, digest))
        return digest

    def save(self) -> None:
        """Writes down what was read since the last time."""
        if self._new:
            with transaction(self._db):
                self._db.executemany("INSERT OR REPLACE INTO file_digest VALUES (?,?,?,?,?,?)", self._new)
            self._new = []


def _facts(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns


def _now() -> str:
    return str(int(time.time()))
