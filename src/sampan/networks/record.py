"""Networks that users made, as recorded; the network ``bridge`` is there without being made."""

from __future__ import annotations

import os

from sampan import plainjson
from sampan.errors import Conflict, Invalid, NotFound
from sampan.networks.bridge import Network
from sampan.store import database

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple

_COLUMNS = "id, name, created, settings"
BUILT_IN = ("bridge", "host", "none")
DEVICE_OPTION = "com.docker.network.bridge.name"
_LONGEST_DEVICE = 15


class Made(NamedTuple):
    """A network as recorded: when it was made (RFC 3339), what it is like, and what was said about it."""

    id: str
    name: str
    created: str
    network: Network
    labels: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    attachable: bool = False


class Networks:
    """The table of networks."""

    __slots__ = ("_db",)

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, made: Made) -> None:
        """Raises Conflict if another has its name."""
        settings = {"network": list(made.network), "labels": made.labels, "options": made.options}
        text = plainjson.dumps({**settings, "attachable": made.attachable})
        cursor = self._db.execute("INSERT OR IGNORE INTO network VALUES (?,?,?,?)", (*made[:3], text))
        if not cursor.rowcount:
            raise Conflict(f"network with name {made.name} already exists", hint="sampan network ls lists all networks")

    def find(self, text: str) -> Made:
        """By name, id, or the beginning of an id. Raises NotFound, and Conflict when several ids begin so."""
        row = database.find(self._db, "network", _COLUMNS, text)
        if not row:
            raise NotFound(f"network {text} not found", hint=f"sampan network create {text} makes it")
        return _made(row)

    def all(self) -> list[Made]:
        """All that users made, by name."""
        return [_made(row) for row in self._db.execute(f"SELECT {_COLUMNS} FROM network ORDER BY name")]

    def forget(self, made: Made) -> None:
        self._db.execute("DELETE FROM network WHERE id=?", (made.id,))


def _made(row: tuple[str, ...]) -> Made:
    value: dict[str, Any] = plainjson.loads(row[3])
    labels, options = (tuple((key, text) for key, text in value[name]) for name in ("labels", "options"))
    return Made(row[0], row[1], row[2], Network(*value["network"]), labels, options, value["attachable"])


def check_name(name: str) -> str:
    """Docker's rule for names of networks, and those that mean something else. Raises Invalid."""
    allowed = name[:1].isalnum() and all(letter.isalnum() or letter in "_.-" for letter in name)
    if not name.isascii() or not allowed:
        raise Invalid(f"{name!r} is not a network's name", hint="letters, digits, _ . and -, not at first")
    if name in (*BUILT_IN, "default"):
        raise Invalid(f"the network {name} is there already", hint="it cannot be made, nor removed")
    return name


def new_id() -> str:
    return os.urandom(32).hex()


def device(identifier: str, options: dict[str, str]) -> str:
    """The name of a network's bridge device. Raises Invalid."""
    name = options.get(DEVICE_OPTION) or f"sp-{identifier[:12]}"
    if len(name) > _LONGEST_DEVICE or "/" in name or name in (".", "..") or any(letter.isspace() for letter in name):
        raise Invalid(f"{name!r} is not a name of a network device", hint="at most 15 letters, digits, - and _")
    return name
