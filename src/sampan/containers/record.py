"""Containers: what was asked of each (a row in the database), and how it fares (a file that its monitor writes)."""

from __future__ import annotations

import os

from sampan import plainjson
from sampan.containers.options import Options
from sampan.containers.state import State, read_state
from sampan.errors import Conflict, NotFound
from sampan.linux import locks
from sampan.store import database
from sampan.store import sqlite as sqlite3

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

_COLUMNS = "id, name, image_id, image_name, created, options"


class Container(NamedTuple):
    """A container as recorded. ``directory`` holds its bundle, its log and its monitor's files."""

    id: str
    name: str
    image_id: str
    image_name: str
    created: str
    options: Options
    directory: str

    @property
    def lock(self) -> str:
        """Held by its monitor for as long as it lives."""
        return f"{self.directory}/monitor.lock"

    @property
    def socket(self) -> str:
        """Where its monitor listens."""
        return f"{self.directory}/monitor.sock"

    @property
    def pause_mark(self) -> str:
        """A file that is there while the container is paused."""
        return f"{self.directory}/paused"

    @property
    def log(self) -> str:
        return f"{self.directory}/{self.id}-json.log"

    @property
    def cgroup(self) -> str:
        """Where it belongs below each hierarchy's mount; while it runs, ``State.cgroup`` tells where it is."""
        return f"{self.options.cgroup_parent or '/sampan'}/{self.id}"

    @property
    def snapshot(self) -> str:
        """The key of the snapshot that it writes to."""
        return f"container-{self.id}"

    def state(self) -> State:
        """How it fares now. One that says it is alive and has no monitor any more was killed with it."""
        state = read_state(self.directory)
        if state.alive and not locks.is_held(self.lock):
            state = read_state(self.directory)  # it may have ended just now, in good order
            if state.alive:
                return state._replace(status="exited", pid=0, exit_code=137, error="its monitor was killed")
        return state._replace(paused=state.status == "running" and os.path.exists(self.pause_mark))


class Containers:
    """The table of containers, and the directories below ``root``."""

    __slots__ = ("_db", "root")

    def __init__(self, db: sqlite3.Connection, root: str) -> None:
        self._db = db
        self.root = root

    def add(self, container: Container) -> None:
        """Raises Conflict if another has its name."""
        options = plainjson.dumps(container.options._asdict())
        try:
            self._db.execute("INSERT INTO container VALUES (?,?,?,?,?,?)", (*container[:5], options))
        except sqlite3.IntegrityError:
            raise Conflict(
                f"the container name {container.name} is in use",
                hint=f"remove that container (sampan rm {container.name}), or choose another --name",
            ) from None

    def update(self, identifier: str, options: Options) -> None:
        """Replaces the options of a container."""
        text = plainjson.dumps(options._asdict())
        self._db.execute("UPDATE container SET options=? WHERE id=?", (text, identifier))

    def rename(self, container: Container, name: str) -> None:
        """Gives a container another name. Raises Conflict if it is in use."""
        try:
            self._db.execute("UPDATE container SET name=? WHERE id=?", (name, container.id))
        except sqlite3.IntegrityError:
            raise Conflict(f"the container name {name} is in use") from None

    def find(self, text: str) -> Container:
        """By name, id, or the beginning of an id. Raises NotFound, and Conflict when several ids begin so."""
        row = database.find(self._db, "container", _COLUMNS, text.removeprefix("/"))
        if not row:
            raise NotFound(f"no such container: {text}", hint="sampan ps -a lists all containers")
        return self._container(row)

    def all(self) -> list[Container]:
        """All containers, the newest first."""
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM container ORDER BY created DESC, id")
        return [self._container(row) for row in rows]

    def of_image(self, image_id: str) -> list[Container]:
        """The containers that were made from an image."""
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM container WHERE image_id=?", (image_id,))
        return [self._container(row) for row in rows]

    def names(self) -> set[str]:
        return {name for (name,) in self._db.execute("SELECT name FROM container")}

    def forget(self, container: Container) -> None:
        """Removes the row."""
        self._db.execute("DELETE FROM container WHERE id=?", (container.id,))

    def directory(self, identifier: str) -> str:
        return f"{self.root}/{identifier}"

    def _container(self, row: tuple[str, ...]) -> Container:
        identifier, name, image_id, image_name, created = row[:5]
        options = Options.from_json(plainjson.loads(row[5]))
        return Container(identifier, name, image_id, image_name, created, options, self.directory(identifier))
