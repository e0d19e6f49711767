"""What builds remember: the layer that a step made, by the step's key, and digests of files of the user's.

An entry counts only while its blob is there; if its snapshot is not, as after ``sampan cache import``, the blob is
unpacked again, and must come to the diff id and the chain id that the entry says. Entries come from builds of this
store and from where the user points (``Elsewhere``), never from an image that was pulled and claims the same history.
The garbage collector keeps what the table names (``store.collect``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence

from sampan.errors import Corrupt, SampanError
from sampan.events import quiet
from sampan.layers.compression import COMPRESSOR
from sampan.layers.write import Layer
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest, chain_ids
from sampan.store.database import transaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection
    from typing import Any, NamedTuple, Protocol

    from sampan.snapshots.lookup import View
    from sampan.snapshots.overlay import Overlay
    from sampan.store.blobs import Blobs
else:
    from sampan.values import NamedTuple

    Protocol = object

_USE_COUNTS_AFTER = 3600
"""Seconds: a more recent use is not written down again, so that a build without changes writes nothing."""
_ONE_BY_ONE = 16
_AT_ONCE = 50_000
"""Digests: so many are asked for singly, and then so many (15 MB) fetched together, for half the price of each."""
_SETTLED = 100_000_000
"""Nanoseconds after which a change shows in a file's times: more than a tick of any kernel's clock."""


_FACTS = "size, mtime_ns, ino, ctime_ns, digest"
_Facts = tuple[int, int, int, int, str]


class Built(NamedTuple):
    """What a step made: a layer, the chain id that its snapshot has, and when (RFC 3339)."""

    layer: Layer
    chain: Digest
    created: str


class Entry(NamedTuple):
    """What was made for a key; ``step`` is the instruction, for people."""

    key: str
    built: Built
    step: str = ""


class Elsewhere(Protocol):
    """Caches of other machines that the user named (--cache-from)."""

    def find(self, key: str) -> Entry | None:
        """What was made for ``key`` there, its blob in the store by then; None too if it cannot be had."""

    def peek(self, key: str) -> Entry | None:
        """The same, nothing fetched."""


class Cache:
    """Results of steps. ``fresh`` finds nothing, and still remembers (--no-cache). ``warn`` is told of entries that
    turn out not to be what they claim."""

    __slots__ = ("_blobs", "_db", "_elsewhere", "_fresh", "_snapshots", "_warn", "elsewhere_first")

    def __init__(
        self,
        db: sqlite3.Connection,
        blobs: Blobs,
        snapshots: Overlay,
        *,
        fresh: bool = False,
        elsewhere: Elsewhere | None = None,
        warn: Callable[[str], object] = lambda message: None,
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._snapshots = snapshots
        self._fresh = fresh
        self._elsewhere = elsewhere
        self._warn = warn
        self.elsewhere_first = False
        """Whether what is elsewhere is taken also where this store has something for the key."""

    def get(self, key: str, below: Sequence[Layer] = ()) -> Built | None:
        """What was made for ``key``, if it is still there or can be had from elsewhere, unpacked upon ``below``."""
        if self._fresh:
            return None
        if self.elsewhere_first and (fetched := self._fetched(key, below)):
            return fetched
        row = self._db.execute(_SELECT, (key,)).fetchone()
        entry = _entry(row) if row else None
        if entry is None or not self._blobs.has(entry.built.layer.descriptor.digest):
            return self._fetched(key, below) if self._elsewhere else None
        if not self._is_unpacked(entry, below):
            self._db.execute("DELETE FROM build_cache WHERE key=?", (key,))
            return None
        if float(row[-1]) < time.time() - _USE_COUNTS_AFTER:
            self._db.execute("UPDATE build_cache SET used=? WHERE key=?", (_now(), key))
        return entry.built

    def peek(self, key: str, *, elsewhere: bool) -> Built | None:
        """What ``get`` would find, as far as that shows without fetching and unpacking; what is ``elsewhere`` first?"""
        row = self._db.execute(_SELECT, (key,)).fetchone()
        here = _entry(row) if row else None
        if here and not self._blobs.has(here.built.layer.descriptor.digest):
            here = None
        there = self._elsewhere.peek(key) if self._elsewhere else None
        entry = (there or here) if elsewhere else (here or there)
        return entry.built if entry else None

    def former(self, key: str) -> Built | None:
        """What was made for ``key``, if blob and snapshot are there, for the sake of some of its files."""
        row = None if self._fresh else self._db.execute(_SELECT, (key,)).fetchone()
        built = _entry(row).built if row else None
        is_there = built and self._blobs.has(built.layer.descriptor.digest) and self._snapshots.has(built.chain)
        return built if is_there else None

    def put(self, key: str, built: Built, step: str = "") -> None:
        """Remembers what was made for ``key``; the blob and the snapshot are stored already."""
        self._db.execute(
            f"INSERT OR REPLACE INTO build_cache ({_COLUMNS}, used) VALUES ({_MARKS})", _row(Entry(key, built, step))
        )

    def adopt(self, entries: Iterable[Entry]) -> int:
        """Remembers entries of another machine whose blobs are stored, but for keys that are known, and counts them."""
        rows = [_row(entry) for entry in entries]
        with transaction(self._db):
            statement = f"INSERT OR IGNORE INTO build_cache ({_COLUMNS}, used) VALUES ({_MARKS})"
            return self._db.executemany(statement, rows).rowcount

    def entries(self, chains: Collection[Digest] | None = None) -> list[Entry]:
        """All entries that are whole, or those that led to ``chains``; in an order that depends on them alone."""
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM build_cache WHERE digest IS NOT NULL ORDER BY key")
        found = (_entry(row) for row in rows)
        return [
            entry
            for entry in found
            if (chains is None or entry.built.chain in chains) and self._blobs.has(entry.built.layer.descriptor.digest)
        ]

    def _fetched(self, key: str, below: Sequence[Layer]) -> Built | None:
        assert self._elsewhere is not None
        entry = self._elsewhere.find(key)
        if entry is None or not self._is_unpacked(entry, below):
            return None
        self.put(key, entry.built, entry.step)
        return entry.built

    def _is_unpacked(self, entry: Entry, below: Sequence[Layer]) -> bool:
        """Whether the snapshot is there, now at the latest."""
        if self._snapshots.has(entry.built.chain):
            return True
        try:
            self._unpack(entry.built, below)
        except SampanError as error:
            self._warn(f"what the build cache has for {entry.step or entry.key} is not used: {error.message}")
            return False
        return True

    def _unpack(self, built: Built, below: Sequence[Layer]) -> None:
        """Raises Corrupt if the blob does not come to the diff id, or that not to the chain id."""
        from sampan.oci import media
        from sampan.oci import platform as platforms
        from sampan.oci.config import ImageConfig
        from sampan.oci.manifest import Manifest
        from sampan.snapshots import unpack

        stack = [*below, built.layer]
        diff_ids = tuple(layer.diff_id for layer in stack)
        if chain_ids(diff_ids)[-1] != built.chain:
            raise Corrupt(f"layer {built.layer.diff_id.short} does not lead to {built.chain.short}")
        # An image that never was: unpacking asks no more of one than its layers.
        manifest = Manifest(media.OCI_MANIFEST, built.layer.descriptor, tuple(layer.descriptor for layer in stack))
        config = ImageConfig(platforms.host(), diff_ids=diff_ids)
        with unpack.begin(manifest, config, self._blobs, self._snapshots, quiet) as unpacking:
            unpacking.finish()


class FileDigests:
    """Digests of the files below one directory of the user's, remembered by what stat(2) says of each.

    A file is read again when its size, modification or change time or inode differs, and one that changed a moment ago
    is not remembered at all: a further change might leave the same times.
    """

    __slots__ = ("_asked", "_db", "_known", "_new", "_root")

    def __init__(self, db: sqlite3.Connection, root: str) -> None:
        self._db = db
        self._root = os.fsencode(root.rstrip("/")) + b"/"
        self._new: list[tuple[bytes, int, int, int, int, str]] = []
        self._asked = 0
        self._known: Callable[[bytes], _Facts | None] = self._ask

    def __call__(self, view: View, path: bytes, status: os.stat_result) -> str:
        """The digest of the regular file ``path`` (a Digester)."""
        name = self._root + path
        facts = status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns
        row = self._known(name)
        if row and row[:4] == facts:
            return row[4]
        from sampan.build.source import read_digest

        digest = read_digest(view, path, status)
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED:
            self._new.append((name, *facts, digest))
        return digest

    def _ask(self, name: bytes) -> _Facts | None:
        self._asked += 1
        if self._asked == _ONE_BY_ONE:
            # Paths below the root are those from "root/" to "root0", the character after the slash.
            bounds = (self._root, self._root[:-1] + b"0", _AT_ONCE)
            rows = self._db.execute(f"SELECT path, {_FACTS} FROM file_digest WHERE path>? AND path<? LIMIT ?", bounds)
            fetched: dict[bytes, _Facts] = {row[0]: row[1:] for row in rows}
            if len(fetched) < _AT_ONCE:
                self._known = fetched.get
            else:
                self._known = lambda name: fetched.get(name) or self._row(name)
            return self._known(name)
        return self._row(name)

    def _row(self, name: bytes) -> _Facts | None:
        row: _Facts | None = self._db.execute(f"SELECT {_FACTS} FROM file_digest WHERE path=?", (name,)).fetchone()
        return row

    def save(self) -> None:
        """Writes down what was read since the last time."""
        if self._new:
            with transaction(self._db):
                self._db.executemany("INSERT OR REPLACE INTO file_digest VALUES (?,?,?,?,?,?)", self._new)
            self._new = []


_COLUMNS = "key, diff_id, digest, media_type, blob_size, size, chain, created, step, compressor"
_SELECT = f"SELECT {_COLUMNS}, used FROM build_cache WHERE key=?"
_MARKS = "?,?,?,?,?,?,?,?,?,?,?"


def _row(entry: Entry) -> tuple[object, ...]:
    layer, descriptor = entry.built.layer, entry.built.layer.descriptor
    blob = (descriptor.digest, descriptor.media_type, descriptor.size)
    made = (entry.built.chain, entry.built.created, entry.step, descriptor.annotations.get(COMPRESSOR, ""))
    return (entry.key, layer.diff_id, *blob, layer.size, *made, _now())


def _entry(row: Sequence[Any]) -> Entry:
    key, diff_id, digest, media_type, blob_size, size, chain, created, step, compressor = row[:10]
    annotations = {COMPRESSOR: compressor} if compressor else {}
    layer = Layer(Digest(diff_id), Descriptor(media_type, Digest(digest), blob_size, annotations=annotations), size)
    return Entry(key, Built(layer, Digest(chain), created), step)


def _now() -> str:
    return str(int(time.time()))
