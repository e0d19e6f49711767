"""Where things live, as root and rootless.

Everything lasting lies under one root (``--root DIR``, ``SAMPAN_ROOT``, else ``/var/lib/sampan`` or
``$XDG_DATA_HOME/sampan``), so that removing one directory removes sampan's whole state.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple


class Paths(NamedTuple):
    """Absolute paths of one store. None of them need exist."""

    root: str

    @property
    def database(self) -> str:
        return f"{self.root}/sampan.db"

    @property
    def blobs(self) -> str:
        return f"{self.root}/blobs"

    @property
    def snapshots(self) -> str:
        return f"{self.root}/snapshots"

    @property
    def containers(self) -> str:
        return f"{self.root}/containers"

    @property
    def volumes(self) -> str:
        return f"{self.root}/volumes"

    @property
    def networks(self) -> str:
        return f"{self.root}/networks"

    @property
    def caches(self) -> str:
        """What ``RUN --mount=type=cache`` keeps."""
        return f"{self.root}/caches"

    @property
    def locks(self) -> str:
        return f"{self.root}/locks"

    @property
    def storage(self) -> str:
        """Says whether overlayfs works here (``Engine.snapshots``)."""
        return f"{self.root}/storage"

    @property
    def temporary(self) -> str:
        return f"{self.root}/tmp"


def default_root(uid: int | None = None) -> str:
    """The root directory when nothing else was asked for (XDG Base Directory Specification for ordinary users)."""
    chosen = os.environ.get("SAMPAN_ROOT")
    if chosen:
        return os.path.abspath(chosen)
    if (os.geteuid() if uid is None else uid) == 0:
        return "/var/lib/sampan"
    data = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local/share")
    return os.path.join(data, "sampan")
