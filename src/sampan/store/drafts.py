"""Indexes that a user puts together here before a registry gets them: ``sampan manifest``."""

import json
from typing import NamedTuple

from sampan.oci import descriptor as descriptors
from sampan.oci import reference as references
from sampan.oci.descriptor import Descriptor
from sampan.oci.reference import Reference
from sampan.store import sqlite as sqlite3


class Entry(NamedTuple):
    """A manifest that an index is to list, and the repository that has it (``source`` is pinned to its digest)."""

    source: Reference
    descriptor: Descriptor


class Drafts:
    """The table of them."""

    __slots__ = ("_db",)

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def find(self, reference: Reference) -> list[Entry] | None:
        """The entries of a draft; None if there is none."""
        row = self._db.execute("SELECT entries FROM draft WHERE reference=?", (reference.canonical(),)).fetchone()
        if row is None:
            return None
        return [Entry(references.parse(source), descriptors.from_json(value)) for source, value in json.loads(row[0])]

    def keep(self, reference: Reference, entries: list[Entry]) -> None:
        """Makes ``entries`` the draft of that name."""
        value = [(entry.source.canonical(), entry.descriptor.to_json()) for entry in entries]
        row = (reference.canonical(), json.dumps(value).encode())
        self._db.execute("INSERT OR REPLACE INTO draft VALUES (?,?)", row)

    def remove(self, reference: Reference) -> bool:
        """Whether there was one."""
        return bool(self._db.execute("DELETE FROM draft WHERE reference=?", (reference.canonical(),)).rowcount)
