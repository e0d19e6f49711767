"""What builds remember, listed and removed: steps with their layers, directories of cache mounts, fetched files.

A step is told by the chain id that it led to, however many keys lead there. What an image or a container stands on as
well is *shared*: forgetting the step frees nothing.
"""

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from sampan.build import cachemounts
from sampan.store.database import transaction

if TYPE_CHECKING:
    import sqlite3

STEP = "regular"
MOUNT = "exec.cachemount"
"""What BuildKit calls the two."""
FILE = "source.http"
KINDS = (STEP, MOUNT, FILE)


_ASIDE = "SELECT image_id FROM aside EXCEPT SELECT image_id FROM name EXCEPT SELECT image_id FROM container"
"""Images that a build left for looking at a step that failed: no reason to keep that."""


class Remembered(NamedTuple):
    """One thing that the build cache holds."""

    kind: str
    name: str
    """The chain id of a step, the directory of a cache mount, or the digest of a URL, which may hold a secret."""
    about: str
    """The instruction, or the cache's id."""
    size: int
    """Bytes: files and the stored blob of a step."""
    created: str
    """RFC 3339; empty for a cache mount."""
    used: float
    """Seconds since 1970. A step counts as used when one that lies on it was."""
    shared: bool = False
    depth: int = 0
    """How many steps lie below."""

    @property
    def identifier(self) -> str:
        """What people are shown."""
        return self.name.removeprefix("sha256:")[:25]


def remembered(db: "sqlite3.Connection", caches: str) -> list[Remembered]:
    """All that there is, what was used last first."""
    mounts = [Remembered(MOUNT, each.name, each.about, each.size, "", each.used) for each in cachemounts.found(caches)]
    files = (
        Remembered(FILE, url, "a file that ADD fetched", size, "", used)
        for url, size, used in db.execute("SELECT url, size, used FROM download").fetchall()
    )
    return sorted([*_steps(db), *mounts, *files], key=lambda each: (-each.used, each.depth))


def chosen(candidates: Iterable[Remembered], *, shared: bool = False, keep: int = 0) -> list[Remembered]:
    """Which of them to remove: those that are not shared, unless ``shared``.

    No more of them, those used longest ago first, than it takes to leave at most ``keep`` bytes.
    """
    # What lies on a step goes before it: it would be of no use without.
    ordered = sorted(
        (each for each in candidates if shared or not each.shared), key=lambda each: (each.used, -each.depth)
    )
    surplus = sum(each.size for each in ordered) - keep
    found = []
    for each in ordered:
        if keep and surplus <= 0:
            break
        found.append(each)
        surplus -= each.size
    return found


def forget(unwanted: Iterable[Remembered], db: "sqlite3.Connection", caches: str) -> list[Remembered]:
    """Removes them, and gives those that are gone: a cache mount stays while a step uses it.

    The content of steps goes when the store is next collected, and is there for builds that run until these have ended.
    """
    unwanted = list(unwanted)
    chains = [(each.name,) for each in unwanted if each.kind == STEP]
    urls = [(each.name,) for each in unwanted if each.kind == FILE]
    with transaction(db):
        db.executemany("DELETE FROM build_cache WHERE chain=?", chains)
        db.executemany(f"DELETE FROM image WHERE chain=? AND id IN ({_ASIDE})", chains)
        db.executemany("DELETE FROM download WHERE url=?", urls)
    cachemounts.sweep(caches)
    return [each for each in unwanted if each.kind != MOUNT or cachemounts.remove(caches, each.name)]


def forget_files(db: "sqlite3.Connection", *, everything: bool) -> None:
    """Drops what is known of files in build contexts: of those that are gone, or of all, and of past builds too."""
    if everything:
        db.execute("DELETE FROM file_digest")
        db.execute("DELETE FROM build_repeat")
        db.execute("DELETE FROM build_step")
        return
    gone = [(path,) for (path,) in db.execute("SELECT path FROM file_digest") if not os.path.lexists(path)]
    with transaction(db):
        db.executemany("DELETE FROM file_digest WHERE path=?", gone)


def _steps(db: "sqlite3.Connection") -> Iterator[Remembered]:
    rows = db.execute(
        "SELECT chain, max(step), max(size)+max(blob_size), min(created), max(CAST(used AS REAL)) FROM build_cache "
        "WHERE chain IS NOT NULL GROUP BY chain"
    ).fetchall()
    parents = dict(
        db.execute(
            "SELECT s.name, p.name FROM snapshot s LEFT JOIN snapshot p ON p.number=s.parent WHERE s.name IS NOT NULL"
        )
    )
    shared = _ancestry(_needed(db), parents)
    used: dict[str, float] = {}
    for chain, *_, moment in rows:
        for each in _lineage(chain, parents):
            used[each] = max(used.get(each, 0.0), moment)
    for chain, step, size, created, _ in rows:
        depth = sum(1 for _ in _lineage(chain, parents))
        yield Remembered(STEP, chain, step, size, created, used[chain], chain in shared, depth)


def _needed(db: "sqlite3.Connection") -> Iterator[str]:
    """The snapshots that images and containers stand on."""
    for (chain,) in db.execute(f"SELECT chain FROM image WHERE chain IS NOT NULL AND id NOT IN ({_ASIDE})"):
        yield chain
    for (name,) in db.execute(
        "SELECT p.name FROM snapshot s JOIN snapshot p ON p.number=s.parent WHERE s.key IS NOT NULL AND p.name NOT NULL"
    ):
        yield name


def _ancestry(names: Iterable[str], parents: dict[str, str | None]) -> set[str]:
    found: set[str] = set()
    for name in names:
        for each in _lineage(name, parents):
            if each in found:
                break
            found.add(each)
    return found


def _lineage(name: str | None, parents: dict[str, str | None]) -> Iterator[str]:
    """``name`` and what it lies on."""
    while name is not None:
        yield name
        name = parents.get(name)
