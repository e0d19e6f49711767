"""Garbage: mark what images, containers and the build cache keep, sweep the rest.

The collector is the only one at work while it runs (``leases.sole``); when someone else is, it leaves without doing
anything, and the next operation that collects takes care of it.
"""

import os
import time
from typing import Protocol

from sampan.errors import Invalid, NotFound
from sampan.oci import manifest as manifests
from sampan.oci import media
from sampan.oci.digest import Digest
from sampan.oci.manifest import Index
from sampan.paths import Paths
from sampan.store import leases
from sampan.store import sqlite as sqlite3
from sampan.store.blobs import Blobs
from sampan.store.database import keep_reserve, transaction
from sampan.store.trees import remove_tree

_PARTIAL_SECONDS = 24 * 3600


class Snapshots(Protocol):
    """What the collector wants of the store for snapshots."""

    def newest(self) -> int: ...

    def sweep(self, keep: set[Digest], keep_keys: set[str], upto: int) -> int: ...


def collect(
    paths: Paths, db: sqlite3.Connection, blobs: Blobs, snapshots: Snapshots, *, half_done: bool = False
) -> int | None:
    """Frees what nothing keeps, and gives the bytes of the blobs and layers removed; None if another was at work.

    What a transfer left that broke off is kept for a day, for the next one to go on from; ``half_done`` says not to.
    """
    with leases.sole(paths) as alone:
        if not alone:
            return None
        newest = snapshots.newest()  # asked first: a container has its row before its snapshot
        keep_blobs, keep_chains = roots(db, blobs)
        keep_blobs |= _conversions(db, keep_blobs)
        keys = {f"container-{identifier}" for (identifier,) in db.execute("SELECT id FROM container")}
        freed = snapshots.sweep(keep_chains, keys, newest)
        freed += sum(blobs.remove(digest) for digest in blobs.all() if digest not in keep_blobs)
        _sweep_aside(blobs.aside)
        freed += blobs.forget_partial(time.time() - (0 if half_done else _PARTIAL_SECONDS))
        remove_tree(paths.temporary)
        keep_reserve(paths.database)
        return freed


def roots(db: sqlite3.Connection, blobs: Blobs) -> tuple[set[Digest], set[Digest]]:
    """The blobs and the chain ids that images, containers and the build cache name."""
    keep: set[Digest] = set()
    chains: set[Digest] = set()
    for image_id, manifest, chain in db.execute("SELECT id, manifest, chain FROM image"):
        keep.add(Digest(image_id))
        keep |= _reach(Digest(manifest), blobs)
        if chain:
            chains.add(Digest(chain))
    for (digest,) in db.execute("SELECT digest FROM name"):
        keep |= _reach(Digest(digest), blobs)
    for digest, chain in db.execute("SELECT digest, chain FROM build_cache"):
        if digest:
            keep.add(Digest(digest))
        if chain:
            chains.add(Digest(chain))
    keep |= {Digest(digest) for (digest,) in db.execute("SELECT digest FROM download")}
    return keep, chains


def _conversions(db: sqlite3.Connection, kept: set[Digest]) -> set[Digest]:
    """What was made of blobs that are kept; the rest is forgotten."""
    rows = db.execute("SELECT source, how, digest FROM conversion").fetchall()
    gone = [(source, how) for source, how, _ in rows if source not in kept]
    if gone:
        with transaction(db):
            db.executemany("DELETE FROM conversion WHERE source=? AND how=?", gone)
    return {Digest(digest) for source, _, digest in rows if source in kept}


def _reach(digest: Digest, blobs: Blobs) -> set[Digest]:
    """A manifest or index and all that it names, as far as the store has it."""
    reached = {digest}
    try:
        value = manifests.parse(blobs.read(digest))
    except (NotFound, Invalid):
        return reached
    if isinstance(value, Index):
        for entry in value.manifests:
            if entry.media_type in media.MANIFESTS + media.INDEXES and blobs.has(entry.digest):
                reached |= _reach(entry.digest, blobs)
        return reached
    reached.add(value.config.digest)
    reached.update(layer.digest for layer in value.layers)
    return reached


def _sweep_aside(directory: str) -> None:
    """Removes half-written blobs: nobody else is at work, so their writers are gone."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return
    for name in names:
        os.unlink(f"{directory}/{name}")
