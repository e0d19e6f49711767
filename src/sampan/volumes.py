"""Volumes: directories that outlive containers. A named one is made on first use; an anonymous one has 64 hexadecimal
digits for a name and goes with its container when that is removed with ``--rm`` or ``rm -v``."""

import os

from sampan.errors import Conflict, NotFound

_HEX = frozenset("0123456789abcdef")


class Volumes:
    """The volumes below one directory: ``ROOT/NAME/_data``, as Docker lays them out."""

    __slots__ = ("root",)

    def __init__(self, root: str) -> None:
        self.root = root

    def path(self, name: str) -> str:
        """The directory that containers see. ``name`` was checked when it came in."""
        return f"{self.root}/{name}/_data"

    def create(self, name: str) -> bool:
        """Makes a volume; False if it was there already."""
        os.makedirs(f"{self.root}/{name}", mode=0o700, exist_ok=True)
        try:
            os.mkdir(self.path(name))
        except FileExistsError:
            return False
        os.chmod(self.path(name), 0o755)
        return True

    def all(self) -> list[str]:
        """The names of all volumes."""
        return sorted(os.listdir(self.root)) if os.path.isdir(self.root) else []

    def remove(self, name: str, in_use: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        """Removes a volume and what is in it. Raises NotFound, and Conflict if it is among those ``in_use``."""
        from sampan.store.trees import remove_tree

        if name in in_use:
            raise Conflict(f"volume {name} is in use")
        if not os.path.isdir(f"{self.root}/{name}"):
            raise NotFound(f"no such volume: {name}")
        remove_tree(f"{self.root}/{name}")


def is_anonymous(name: str) -> bool:
    """Whether a volume was made for one container alone."""
    return len(name) == 64 and _HEX.issuperset(name)


def anonymous_name() -> str:
    """A name for a new anonymous volume."""
    return os.urandom(32).hex()
