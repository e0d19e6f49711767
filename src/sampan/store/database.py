"""The metadata of one store: an SQLite file, opened by many processes at once.

The database names things; bytes lie beside it (blobs, snapshots). A row is written in one transaction, after the bytes
that it names are durable, so a crash at any instruction leaves orphaned bytes at worst, never a name without content.
"""

from __future__ import annotations

import os
from _thread import RLock

from sampan import paths
from sampan.errors import Conflict
from sampan.store import sqlite as sqlite3

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Migration = Callable[[sqlite3.Connection], object]

MIGRATIONS: list[Migration] = []
"""Applied in order, each once; ``PRAGMA user_version`` counts how many have been. Only ever append."""

BUSY_SECONDS = 60.0
_HEX = frozenset("0123456789abcdef")
_RESERVE = 256 << 10


def connect(path: str) -> sqlite3.Connection:
    """Opens (and makes or migrates) the database at ``path``.

    The connection is in autocommit mode: several statements that belong together go into ``with transaction(db):``.
    Raises Invalid if a newer sampan made the file.
    """
    directory = os.path.dirname(path)
    try:
        room = os.statvfs(directory)
    except FileNotFoundError:
        paths.make(directory)
    else:
        if room.f_bavail * room.f_frsize < _RESERVE:
            _give_reserve(path)
    db = _open(path)
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version != len(MIGRATIONS):
        _migrate(db, path)
    return db


def find(db: sqlite3.Connection, table: str, columns: str, text: str) -> tuple[Any, ...] | None:
    """The row whose name or id ``text`` is, or of whose id it is the beginning. Raises Conflict if several begin so."""
    row: tuple[Any, ...] | None
    row = db.execute(f"SELECT {columns} FROM {table} WHERE name=? OR id=?", (text, text)).fetchone()
    if row or not text or not _HEX.issuperset(text):
        return row
    rows = db.execute(f"SELECT {columns} FROM {table} WHERE id>=? AND id<? LIMIT 2", (text, text + "g")).fetchall()
    if len(rows) > 1:
        raise Conflict(f"the ids of several {table}s begin with {text}", hint="give more digits")
    return rows[0] if rows else None


def keep_reserve(path: str) -> None:
    """Takes the room that a database needs to be opened, so that what fills the disk can still be removed."""
    try:
        with open(_reserve(path), "xb") as file:
            file.write(bytes(_RESERVE))
    except FileExistsError:
        pass


def _give_reserve(path: str) -> None:
    """The disk is full: without room for its index even reading fails, and without room for its log removing does."""
    try:
        os.unlink(_reserve(path))
    except FileNotFoundError:
        pass


class transaction:
    """A ``with`` block whose statements all take effect, or none. It takes the write lock at the start, so that two
    processes that read and then write wait for each other instead of failing; and so do the threads of one process,
    which share a connection, and with it its one transaction."""

    __slots__ = ("_db",)
    _turn = RLock()

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> sqlite3.Connection:
        self._turn.acquire()
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except BaseException:
            self._turn.release()
            raise
        return self._db

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            self._db.execute("ROLLBACK" if kind else "COMMIT")
        finally:
            self._turn.release()


def _reserve(path: str) -> str:
    return f"{path}-reserve"


def _open(path: str) -> sqlite3.Connection:
    # Threads of one operation share a connection; SQLite itself is compiled to serialize them.
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    # WAL: readers do not wait for a writer. NORMAL: a crash of the machine may lose the last transactions, whole,
    # never tear one; a crash of a process loses nothing.
    # The log is copied into the database every 256 pages (1 MB): the command line leaves it where it is (``cli.main``).
    db.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON; PRAGMA wal_autocheckpoint=256;"
    )
    return db


def _migrate(db: sqlite3.Connection, path: str) -> None:
    with transaction(db):
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            from sampan.errors import Invalid

            raise Invalid(f"{path} was made by a newer sampan", hint="upgrade sampan, or choose another --root")
        for migration in MIGRATIONS[version:]:
            migration(db)
        db.execute(f"PRAGMA user_version={len(MIGRATIONS)}")
    keep_reserve(path)


@MIGRATIONS.append
def m001_images_and_snapshots(db: sqlite3.Connection) -> None:
    """Images by config digest, their names, and the snapshots that layers are unpacked to."""
    for statement in (
        """CREATE TABLE image (
            id TEXT PRIMARY KEY, manifest TEXT NOT NULL, manifest_type TEXT NOT NULL, manifest_size INTEGER NOT NULL,
            chain TEXT, os TEXT NOT NULL, architecture TEXT NOT NULL, variant TEXT NOT NULL,
            created TEXT NOT NULL, size INTEGER NOT NULL)""",
        """CREATE TABLE name (
            reference TEXT PRIMARY KEY, image_id TEXT NOT NULL REFERENCES image(id) ON DELETE CASCADE,
            media_type TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL)""",
        "CREATE INDEX name_image ON name(image_id)",
        # AUTOINCREMENT: a number names a directory, and a directory that is still being removed must not be re-used.
        """CREATE TABLE snapshot (
            number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE, name TEXT UNIQUE,
            parent INTEGER REFERENCES snapshot(number), size INTEGER NOT NULL DEFAULT 0,
            CHECK ((key IS NULL) != (name IS NULL)))""",
        "CREATE INDEX snapshot_parent ON snapshot(parent)",
    ):
        db.execute(statement)


@MIGRATIONS.append
def m002_containers(db: sqlite3.Connection) -> None:
    """What was asked of each container; how it fares is in its own directory, written by its monitor."""
    db.execute(
        """CREATE TABLE container (
            id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, image_id TEXT NOT NULL, image_name TEXT NOT NULL,
            created TEXT NOT NULL, options TEXT NOT NULL)"""
    )


@MIGRATIONS.append
def m003_build_cache(db: sqlite3.Connection) -> None:
    """Results of build steps by key, and digests of context files by what stat(2) says of them."""
    for statement in (
        """CREATE TABLE build_cache (
            key TEXT PRIMARY KEY, diff_id TEXT, digest TEXT, media_type TEXT, blob_size INTEGER, size INTEGER,
            chain TEXT, created TEXT NOT NULL, used TEXT NOT NULL)""",
        """CREATE TABLE file_digest (
            path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ino INTEGER NOT NULL,
            ctime_ns INTEGER NOT NULL, digest TEXT NOT NULL) WITHOUT ROWID""",
    ):
        db.execute(statement)


@MIGRATIONS.append
def m004_build_repeat(db: sqlite3.Connection) -> None:
    """What whole builds led to, by what was asked for; ``facts`` are JSON (``build.repeat``)."""
    db.execute("CREATE TABLE build_repeat (key TEXT PRIMARY KEY, facts BLOB NOT NULL, used INTEGER NOT NULL)")


@MIGRATIONS.append
def m005_conversions(db: sqlite3.Connection) -> None:
    """Blobs that were made of layers by compressing them in another way."""
    db.execute(
        """CREATE TABLE conversion (
            source TEXT NOT NULL, how TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL,
            PRIMARY KEY (source, how)) WITHOUT ROWID"""
    )


@MIGRATIONS.append
def m006_build_cache_explained(db: sqlite3.Connection) -> None:
    """Of what instruction an entry of the build cache is, and what compressed it; and for each step of each project's
    last build what it was made of (``build.reasons``)."""
    for statement in (
        "ALTER TABLE build_cache ADD COLUMN step TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE build_cache ADD COLUMN compressor TEXT NOT NULL DEFAULT ''",
        """CREATE TABLE build_step (
            project TEXT NOT NULL, stage TEXT NOT NULL, number INTEGER NOT NULL, step TEXT NOT NULL, key TEXT NOT NULL,
            made INTEGER NOT NULL, reason TEXT NOT NULL, inputs BLOB NOT NULL, PRIMARY KEY (project, stage, number))""",
    ):
        db.execute(statement)


@MIGRATIONS.append
def m007_download(db: sqlite3.Connection) -> None:
    """Files that builds fetched, by the digest of their URL, and what the server said to tell whether they change."""
    db.execute(
        """CREATE TABLE download (
            url TEXT PRIMARY KEY, digest TEXT NOT NULL, etag TEXT NOT NULL, modified TEXT NOT NULL)"""
    )


@MIGRATIONS.append
def m008_unsettled_snapshots(db: sqlite3.Connection) -> None:
    """In which boot of the machine a snapshot was committed whose files may not be on the disk yet."""
    db.execute("ALTER TABLE snapshot ADD COLUMN boot TEXT")
    db.execute("CREATE INDEX snapshot_boot ON snapshot(boot) WHERE boot IS NOT NULL")


@MIGRATIONS.append
def m009_drafts(db: sqlite3.Connection) -> None:
    """Indexes that are being put together, before they are pushed; ``entries`` are JSON (``store.drafts``)."""
    db.execute("CREATE TABLE draft (reference TEXT PRIMARY KEY, entries BLOB NOT NULL)")


@MIGRATIONS.append
def m010_aside(db: sqlite3.Connection) -> None:
    """Images that builds left for looking at a step that failed; and what prunes files that builds fetched."""
    for statement in (
        "CREATE TABLE aside (image_id TEXT PRIMARY KEY REFERENCES image(id) ON DELETE CASCADE) WITHOUT ROWID",
        "ALTER TABLE download ADD COLUMN size INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE download ADD COLUMN used REAL NOT NULL DEFAULT 0",
    ):
        db.execute(statement)


@MIGRATIONS.append
def m011_networks(db: sqlite3.Connection) -> None:
    """Networks that users made; ``settings`` is JSON (``networks.record``)."""
    db.execute(
        """CREATE TABLE network (
            id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created TEXT NOT NULL, settings TEXT NOT NULL)"""
    )
