"""Volumes: directories that outlive containers. A named one is made on first use; an anonymous one has 64 hexadecimal
digits for a name and goes with its container when that is removed with ``--rm`` or ``rm -v``."""

import os

from sampan import plainjson
from sampan.errors import Conflict, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_HEX = frozenset("0123456789abcdef")


class Volumes:
    """The volumes below one directory: ``ROOT/NAME/_data``, as Docker lays them out."""

    __slots__ = ("root",)

    def __init__(self, root: str) -> None:
        self.root = root

    def path(self, name: str) -> str:
        """The directory that containers see. ``name`` was checked when it came in."""
        return f"{self.root}/{name}/_data"

    def create(self, name: str, labels: "Mapping[str, str] | None" = None) -> bool:
        """Makes a volume; False if it was there already, and then it stays as it was."""
        os.makedirs(f"{self.root}/{name}", mode=0o700, exist_ok=True)
        if labels and not os.path.exists(self.path(name)):
            with open(f"{self.root}/{name}/labels.json", "w", encoding="utf-8") as file:
                file.write(plainjson.dumps(dict(labels)))
        try:
            os.mkdir(self.path(name))
        except FileExistsError:
            return False
        os.chmod(self.path(name), 0o755)
        return True

    def all(self) -> list[str]:
        """The names of all volumes."""
        return sorted(os.listdir(self.root)) if os.path.isdir(self.root) else []

    def has(self, name: str) -> bool:
        return "/" not in name and name not in ("", ".", "..") and os.path.isdir(self.path(name))

    def labels(self, name: str) -> dict[str, str]:
        """What it was labelled with when it was made."""
        try:
            with open(f"{self.root}/{name}/labels.json", encoding="utf-8") as file:
                found: dict[str, str] = plainjson.loads(file.read())
        except FileNotFoundError:
            return {}
        return found

    def created(self, name: str) -> float:
        """When it was made, in seconds since the epoch. Raises NotFound."""
        try:
            return os.stat(f"{self.root}/{name}").st_ctime
        except FileNotFoundError:
            raise NotFound(f"no such volume: {name}") from None

    def inspect(self, name: str) -> "dict[str, Any]":
        """A volume as the Docker Engine API describes it (API 1.43, Volume). Raises NotFound."""
        import time

        if not self.has(name):
            raise NotFound(f"no such volume: {name}", hint="sampan volume ls lists all volumes")
        return {
            "CreatedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.created(name))),
            "Driver": "local",
            "Labels": self.labels(name) or None,
            "Mountpoint": self.path(name),
            "Name": name,
            "Options": None,
            "Scope": "local",
        }

    def size(self, name: str) -> int:
        """The bytes of its files."""
        from sampan.store.trees import tree_size

        return tree_size(self.path(name))

    def remove(self, name: str, in_use: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        """Removes a volume and what is in it. Raises NotFound, and Conflict if it is among those ``in_use``."""
        from sampan.store.trees import remove_tree

        if name in in_use:
            raise Conflict(f"volume {name} is in use", hint="sampan ps -a --filter volume=" + name)
        if "/" in name or name in ("", ".", "..") or not os.path.isdir(f"{self.root}/{name}"):
            raise NotFound(f"no such volume: {name}")
        remove_tree(f"{self.root}/{name}")


def is_anonymous(name: str) -> bool:
    """Whether a volume was made for one container alone."""
    return len(name) == 64 and _HEX.issuperset(name)


def anonymous_name() -> str:
    """A name for a new anonymous volume."""
    return os.urandom(32).hex()
