"""Layers that were compressed in another way for a push: done once, and kept as long as the layer they were made of."""

from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest
from sampan.store import sqlite as sqlite3


class Conversions:
    """The table of conversions. ``how`` is as in ``--compression``."""

    __slots__ = ("_db",)

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def find(self, source: Digest, how: str) -> tuple[Digest, int] | None:
        """Digest and size of what ``source`` became, if that was done before; the blob may be gone all the same."""
        query = "SELECT digest, size FROM conversion WHERE source=? AND how=?"
        row = self._db.execute(query, (source, how)).fetchone()
        return (Digest(row[0]), row[1]) if row else None

    def keep(self, source: Digest, how: str, made: Descriptor) -> None:
        """Remembers what ``source`` became. The blob is durable by now."""
        self._db.execute("INSERT OR REPLACE INTO conversion VALUES (?,?,?,?)", (source, how, made.digest, made.size))
