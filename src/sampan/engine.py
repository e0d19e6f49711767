"""Opens the stores of one root directory and hands them over. It holds no verbs: those are functions that take the
stores they use."""

from __future__ import annotations

import os

from sampan import paths as locations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from functools import cached_property

    from sampan.containers.lifecycle import Stores
    from sampan.containers.record import Containers
    from sampan.networks.record import Networks
    from sampan.snapshots.overlay import Overlay
    from sampan.store.blobs import Blobs
    from sampan.store.images import Images
    from sampan.volumes import Volumes
else:
    from sampan.values import cached_property


_LITTLE_ROOM = 64 << 20


class Engine:
    """The stores below ``paths.root``, each opened on first use; close it, or use it in a ``with`` block.

    ``rootless`` is whether the process lacks root's power over the machine: it runs as an ordinary user, or as the root
    of a user namespace that an ordinary user made.
    """

    def __init__(self, paths: locations.Paths, *, rootless: bool) -> None:
        self.paths = paths
        self.rootless = rootless

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *rest: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the database, if it was opened."""
        if "database" in self.__dict__:
            self.database.close()
            del self.__dict__["database"]

    @cached_property
    def database(self) -> sqlite3.Connection:
        from sampan.store import database

        return database.connect(self.paths.database)

    @cached_property
    def blobs(self) -> Blobs:
        from sampan.store.blobs import Blobs

        return Blobs(self.paths.blobs)

    @cached_property
    def images(self) -> Images:
        from sampan.store.images import Images

        return Images(self.database)

    @cached_property
    def snapshots(self) -> Overlay:
        from sampan.snapshots.overlay import Overlay

        kind = self._storage()
        return Overlay(
            self.paths.snapshots,
            self.database,
            userxattr=self.rootless,
            copies=kind == "copies",
            fused=kind == "fuse-overlayfs",
        )

    def _storage(self) -> str:
        """How snapshots are mounted: "overlay", or else "fuse-overlayfs", or else "copies"; tried once for each kernel.
        The variable SAMPAN_STORAGE is for tests."""
        forced = os.environ.get("SAMPAN_STORAGE")
        if forced or not os.path.isdir(self.paths.root):
            return forced or "overlay"
        kernel = f"{os.uname().release} {os.uname().version}"
        try:
            with open(self.paths.storage) as file:
                kind, _, known = file.read().partition(" ")
            if known == kernel:
                return kind
        except FileNotFoundError:
            pass
        from sampan.linux import ids

        if not ids.is_root():
            return "overlay"  # nothing can be tried, nor mounted
        kind = self._try_storage()
        with open(self.paths.storage, "w") as file:
            file.write(f"{kind} {kernel}")
        return kind

    def _try_storage(self) -> str:
        from sampan.snapshots import copies, fused

        if copies.overlay_works(self.paths.snapshots, userxattr=self.rootless):
            return "overlay"
        # As the machine's root it would mount among the machine's own.
        return "fuse-overlayfs" if self.rootless and fused.works(self.paths.snapshots) else "copies"

    @cached_property
    def volumes(self) -> Volumes:
        from sampan.volumes import Volumes

        return Volumes(self.paths.volumes)

    @cached_property
    def networks(self) -> Networks:
        from sampan.networks.record import Networks

        return Networks(self.database)

    @cached_property
    def records(self) -> Containers:
        """The table of containers: enough for verbs that neither make nor remove one."""
        from sampan.containers.record import Containers

        return Containers(self.database, self.paths.containers)

    @cached_property
    def containers(self) -> Stores:
        """All that the verbs of containers need."""
        from sampan.containers.lifecycle import Stores

        return Stores(self.paths, self.records, self.snapshots, self.volumes, self.rootless, self.networks)

    def collect(self, *, half_done: bool = False) -> int | None:
        """Frees what nothing keeps any more (``store.collect``)."""
        from sampan.store.collect import collect

        return collect(self.paths, self.database, self.blobs, self.snapshots, half_done=half_done)

    def storing(self) -> Storing:
        """For the length of a ``with`` block that stores something: the collector is kept away.

        When the operation fails, what it stored without giving it a name goes at once; and so goes, either way, what
        one that was killed left half done.
        """
        return Storing(self)


class Storing:
    """See ``Engine.storing``."""

    __slots__ = ("_engine", "_lease")

    def __init__(self, engine: Engine) -> None:
        from sampan.store.leases import lease

        self._engine = engine
        self._lease = lease(engine.paths)

    def __enter__(self) -> None:
        self._lease.__enter__()
        try:
            self._engine.snapshots.distrust()
        except BaseException:
            self._lease.__exit__()
            raise

    def __exit__(self, kind: object, *rest: object) -> None:
        from sampan.store import sqlite as sqlite3

        self._lease.__exit__()
        engine = self._engine
        if not kind:
            if (
                engine.snapshots.unfinished()
                or _has_entries(engine.blobs.aside)
                or _has_entries(engine.paths.temporary)
            ):
                engine.collect()
            return
        try:
            engine.collect()
        except (OSError, sqlite3.Error):
            pass  # what is told is why the operation failed, not that clearing up after it did too


def _is_full(path: str) -> bool:
    """Whether so little room is left that parts of broken transfers are not worth it."""
    room = os.statvfs(path)
    return room.f_bavail * room.f_frsize < _LITTLE_ROOM


def _has_entries(directory: str) -> bool:
    try:
        return bool(os.listdir(directory))
    except FileNotFoundError:
        return False


def open_engine(root: str | None = None) -> Engine:
    """The engine for ``root`` (default: ``paths.default_root()``). Nothing is made before something is stored."""
    from sampan.linux import ids

    rootless = not (ids.in_initial_user_namespace() and ids.is_root())
    # In his own user namespace an ordinary user is uid 0, and his files are still in his home.
    chosen = os.path.abspath(root) if root else locations.default_root(1 if rootless else 0)
    return Engine(locations.Paths(chosen), rootless=rootless)
