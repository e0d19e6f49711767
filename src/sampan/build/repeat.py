"""A build asked for again: the same words, on files that nobody has touched since, lead to the same image.

That is told by what stat(2) says of the files that the last build looked at, before anything is parsed, selected or
hashed. An outcome counts only while all that it rests on stands: the names of its bases and its own, the image with
its blobs and snapshot, the cached steps, and every entry of every directory that was read. Otherwise the build goes its
usual way, so a forgotten or outdated outcome costs time and nothing else.
"""

from __future__ import annotations

import os
import stat
import time

from sampan import plainjson
from sampan.oci.digest import Digest, sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, NamedTuple

    from sampan.store.blobs import Blobs
else:
    from sampan.values import NamedTuple

_SETTLED = 100_000_000
"""Nanoseconds: what changed more lately than that may change again without another time to show for it."""
_FRESH = 3600
"""Seconds: after that a build goes its usual way again, which also marks the cached steps as used."""
_KEPT = 30 * 86_400
_MOST_DIRECTORIES = 10_000


class Listing(NamedTuple):
    """What was seen of a directory: entries with their lstat(2), and the names of those that .dockerignore hides."""

    entries: Mapping[bytes, os.stat_result]
    hidden: frozenset[bytes]


class Basis(NamedTuple):
    """What an outcome rests on in the store, and in the context."""

    steps: Sequence[str]
    """Keys of the build cache."""
    blobs: Sequence[str]
    chain: str | None
    directories: Mapping[bytes, Listing]


class Outcome(NamedTuple):
    """What a build led to: the image's id, the names that it got (canonical), what its steps were called, and what lint
    found."""

    image: str
    names: Sequence[str]
    labels: Sequence[str]
    findings: str


class Repeat:
    """One thing that may be asked for again: the context ``root``, the ``files`` whose bytes tell what to do (relative
    to it, or absolute; they need not exist), and ``words`` that stand for all else which counts.

    Whoever finds them on the way to the outcome sets ``labels`` and ``findings``, and adds to ``bases`` the canonical
    name of each base image with the id of what it meant.
    """

    __slots__ = (
        "_began",
        "_blobs",
        "_db",
        "_files",
        "_key",
        "_last",
        "_texts",
        "_told",
        "bases",
        "findings",
        "labels",
        "root",
    )

    def __init__(
        self, db: sqlite3.Connection, blobs: Blobs, root: str, words: Iterable[object], files: Iterable[str]
    ) -> None:
        """Raises OSError if there is no such directory, or one of the files is no plain file."""
        self._began = time.time_ns()
        self._db = db
        self._blobs = blobs
        self._key = _digest((root, *words))
        self._files = [os.path.join(root, name) for name in files]
        self._texts = [_read(path) for path in self._files]
        self._told = _digest((os.stat(root).st_mode, *(text for text, _ in self._texts)))
        self.root = root
        self.bases: list[tuple[str, str]] = []
        self.labels: Sequence[str] = ()
        self.findings = ""
        self._last: dict[str, Any] | None = None

    def recall(self) -> Outcome | None:
        """What it led to the last time, if it still does."""
        row = self._db.execute("SELECT facts FROM build_repeat WHERE key=?", (self._key,)).fetchone()
        self._last = facts = plainjson.loads(row[0].decode(errors="surrogatepass")) if row else None
        if (
            facts
            and facts["told"] == self._told
            and 0 <= time.time() - facts["time"] < _FRESH
            and self._stands(facts)
            and _untouched(self.root, facts["directories"])
        ):
            return Outcome(facts["image"], facts["names"], facts["labels"], facts.get("findings", ""))
        return None

    def known_findings(self) -> str | None:
        """What lint found the last time; None if the files were others, or what the ``bases`` (all known now) meant."""
        last = self._last
        if not last or last["told"] != self._told or last["bases"] != list(map(list, self.bases)):
            return None
        findings: str | None = last.get("findings")
        return findings

    def remember(self, image: str, names: Sequence[str], basis: Basis) -> None:
        """Writes down what it led to, unless something changed so lately that the next change might not show."""
        texts = [_read(path) for path in self._files]
        changes = [changed for _, changed in texts] + [_changed(listing) for listing in basis.directories.values()]
        is_settled = texts == self._texts and max(changes, default=0) < self._began - _SETTLED
        if not is_settled or len(basis.directories) > _MOST_DIRECTORIES:
            return
        now = int(time.time())
        facts = {
            "told": self._told,
            "time": now,
            "image": image,
            "names": names,
            "labels": self.labels,
            "findings": self.findings,
            "bases": self.bases,
            **basis._asdict(),
            "directories": [
                (os.fsdecode(path), _digest(_facts(listing)), [os.fsdecode(name) for name in listing.hidden])
                for path, listing in basis.directories.items()
            ],
        }
        row = (self._key, plainjson.dumps(facts).encode(errors="surrogatepass"), now)
        self._db.execute("INSERT OR REPLACE INTO build_repeat VALUES (?,?,?)", row)
        self._db.execute("DELETE FROM build_repeat WHERE used<?", (now - _KEPT,))

    def _stands(self, facts: dict[str, Any]) -> bool:
        """Whether the store still has all of it, under the same names."""
        image = facts["image"]
        names = [*facts["bases"], *((name, image) for name in facts["names"])]
        return (
            all(self._has("name WHERE reference=? AND image_id=?", *name) for name in names)
            and self._has("image WHERE id=?", image)
            and (facts["chain"] is None or self._has("snapshot WHERE name=?", facts["chain"]))
            and all(self._has("build_cache WHERE key=?", key) for key in facts["steps"])
            and all(self._blobs.has(Digest(digest)) for digest in facts["blobs"])
        )

    def _has(self, what: str, *values: str) -> bool:
        return self._db.execute(f"SELECT 1 FROM {what}", values).fetchone() is not None


def _untouched(root: str, directories: Iterable[tuple[str, str, list[str]]]) -> bool:
    """Whether nothing in these directories has changed. It stops at the first that has."""
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return all(_digest(_seen(root_fd, path, frozenset(hidden))) == digest for path, digest, hidden in directories)
    except OSError:
        return False
    finally:
        os.close(root_fd)


def _seen(root_fd: int, path: str, hidden: frozenset[str]) -> list[tuple[object, ...]]:
    """The facts of a directory as it is now. Raises OSError.

    A link in place of a directory on the way would show in the facts of the directory that it lies in, and nothing is
    done with what is read here but to compare it; so no descriptor is opened for each component.
    """
    fd = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root_fd)
    try:
        with os.scandir(fd) as entries:
            return sorted(
                _entry(entry.name, entry.stat(follow_symlinks=False)) for entry in entries if entry.name not in hidden
            )
    finally:
        os.close(fd)


def _facts(listing: Listing) -> list[tuple[object, ...]]:
    return sorted(_entry(os.fsdecode(name), status) for name, status in listing.entries.items())


def _entry(name: str, status: os.stat_result) -> tuple[object, ...]:
    """All that a change of a file shows in; of a directory only its mode, for what is in it has its own facts."""
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        return name, mode
    return name, mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _changed(listing: Listing) -> int:
    """When the youngest file of a directory changed (nanoseconds since 1970)."""
    files = (status for status in listing.entries.values() if not stat.S_ISDIR(status.st_mode))
    return max((max(status.st_mtime_ns, status.st_ctime_ns) for status in files), default=0)


def _read(path: str) -> tuple[bytes | None, int]:
    """A file's bytes, and when it changed; None if it is not there. Raises OSError if it is no plain file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None, 0
    with open(fd, "rb", buffering=0) as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path} is no plain file")
        return file.readall(), status.st_ctime_ns


def _digest(parts: object) -> str:
    # repr() of texts, numbers, bytes and tuples of them is unambiguous: every text is quoted.
    return sha256(repr(parts).encode()).encoded
