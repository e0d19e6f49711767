"""Snapshots for overlayfs: one directory for each layer, which the kernel stacks when a container starts.

``ROOT/NUMBER/fs`` holds the changes of a snapshot against its parent in overlayfs' own form, ``ROOT/NUMBER/work`` is
the kernel's working directory while it is written. Short numbers keep the mount options of a deep stack within the one
page that mount(2) takes.

Laws. A *key* names a snapshot that is being written, a *name* (a chain id) a committed one; no snapshot has both. A
committed one never changes. It is on the disk for good before an image stands on it (``settle``): until then its row
says in which boot of the machine it was made, and another boot does not trust it (``distrust``). Removal forgets the
row first and the directory afterwards: a crash between the two leaves an orphaned directory, which ``sweep`` removes.
"""

from __future__ import annotations

import os

from sampan.errors import Conflict, NotFound
from sampan.oci.digest import Digest
from sampan.store import sqlite as sqlite3
from sampan.store.database import transaction
from sampan.store.trees import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple


class Rootfs(NamedTuple):
    """What the runtime mounts as a container's root: absolute directories, the topmost of ``lower`` first."""

    lower: tuple[str, ...]
    upper: str
    work: str
    userxattr: bool
    fused: bool = False
    """Whether fuse-overlayfs is to mount it (``linux.fuse``)."""


class Overlay:
    """All snapshots below one directory. ``userxattr`` is how whiteouts of directories are marked: without privileges
    in the initial user namespace overlayfs reads user.overlay.* instead of trusted.overlay.*. ``copies``: overlayfs
    cannot be mounted here (see ``snapshots.copies``); ``fused``: but fuse-overlayfs can."""

    __slots__ = ("_db", "copies", "fused", "root", "userxattr")

    def __init__(
        self, root: str, db: sqlite3.Connection, *, userxattr: bool, copies: bool = False, fused: bool = False
    ) -> None:
        self.copies = copies
        self.fused = fused
        self.root = root
        self._db = db
        self.userxattr = userxattr

    @property
    def driver(self) -> str:
        """How it is mounted, as ``info`` says it."""
        return "copies" if self.copies else "fuse-overlayfs" if self.fused else "overlay"

    def prepare(self, key: str, parent: Digest | None) -> str:
        """Begins a snapshot on ``parent`` and gives the directory that receives its changes.

        Raises Conflict if the key is in use, NotFound if the parent is not there.
        """
        with transaction(self._db):
            below = None if parent is None else self._number("name", parent)
            try:
                # Not the cursor's lastrowid, which is the connection's: another thread may have put something in.
                statement = "INSERT INTO snapshot (key, parent) VALUES (?,?) RETURNING number"
                (number,) = self._db.execute(statement, (key, below)).fetchone()
            except sqlite3.IntegrityError:
                raise Conflict(f"the snapshot {key} is being written already") from None
            directory = f"{self.root}/{number}"
            try:
                os.makedirs(directory, mode=0o700)
            except FileExistsError:  # of one who was killed just here, so that the number was never taken
                remove_tree(directory)
                os.mkdir(directory, 0o700)
            os.mkdir(f"{directory}/fs")
            os.chmod(f"{directory}/fs", 0o755)
            os.mkdir(f"{directory}/work", 0o700)
        return f"{directory}/fs"

    def directory(self, key: str) -> str:
        """The directory that receives the changes of ``key``. Raises NotFound."""
        return f"{self.root}/{self._number('key', key)}/fs"

    def stack(self, name: Digest | None) -> tuple[str, ...]:
        """The directories of a committed snapshot and its ancestors, topmost first. Raises NotFound."""
        return () if name is None else self._stack(self._number("name", name))

    def rootfs(self, key: str) -> Rootfs:
        """What ``key`` and its parents consist of. Raises NotFound."""
        number = self._number("key", key)
        upper, *lower = self._stack(number)
        found = Rootfs(tuple(lower), upper, f"{self.root}/{number}/work", self.userxattr)
        if self.copies:
            from sampan.snapshots import copies

            copies.harvest(found)
        elif self.fused:
            from sampan.snapshots import fused

            fused.settle(found)
        return found

    def mountable(self, key: str, *, by_kernel: bool = False) -> Rootfs:
        """What to mount to see ``key`` on its parents; ``by_kernel``: without a program's help. Raises NotFound, and
        OSError where that has to be copied."""
        found = self.rootfs(key)
        if self.fused and not by_kernel:
            return found._replace(fused=bool(found.lower))
        if not self.copies and not self.fused:
            return found
        from sampan.snapshots import copies

        return copies.assemble(found)

    def commit(self, key: str, name: Digest, size: int, parent: Digest | None = None) -> None:
        """Makes ``key`` a committed snapshot with ``name``; ``size`` in bytes is what its layer holds.

        ``parent`` puts it upon another snapshot than the one it was prepared on (none). Idempotent: success means
        "``name`` is there". If it was already, the key's directory is dropped.
        """
        superfluous = None
        with transaction(self._db):
            number = self._number("key", key)
            if self.has(name):
                self._db.execute("DELETE FROM snapshot WHERE number=?", (number,))
                superfluous = number
            else:
                below = None if parent is None else self._number("name", parent)
                self._db.execute(
                    "UPDATE snapshot SET key=NULL, name=?, size=?, parent=coalesce(?, parent), boot=? WHERE number=?",
                    (name, size, below, _boot(), number),
                )
        if superfluous is not None:
            remove_tree(f"{self.root}/{superfluous}")
        else:
            remove_tree(f"{self.root}/{number}/work")

    def settle(self) -> None:
        """Has all that was committed survive a crash of the machine from now on. To be called before an image is named
        that stands on it."""
        rows = self._db.execute("SELECT number FROM snapshot WHERE boot IS NOT NULL").fetchall()
        if not rows:
            return
        from sampan.linux import syscalls

        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # One for all files: a sync for each would take the disk minutes for an image.
            syscalls.named("syncfs", fd)
        finally:
            os.close(fd)
        with transaction(self._db):
            self._db.executemany("UPDATE snapshot SET boot=NULL WHERE number=?", rows)

    def distrust(self) -> None:
        """Forgets what was committed, and not settled, before the machine was started anew: files of it may be empty.

        What lies on it goes too: no image does.
        """
        if not self._db.execute("SELECT 1 FROM snapshot WHERE boot IS NOT NULL").fetchone():
            return
        with transaction(self._db):
            self._db.execute("PRAGMA defer_foreign_keys=ON")
            found = self._db.execute(
                "WITH RECURSIVE lost(number) AS (SELECT number FROM snapshot WHERE boot != ? UNION "
                "SELECT s.number FROM snapshot s JOIN lost ON s.parent=lost.number) "
                "DELETE FROM snapshot WHERE number IN lost RETURNING number",
                (_boot(),),
            ).fetchall()
        for (number,) in found:
            remove_tree(f"{self.root}/{number}")

    def remove(self, key: str) -> None:
        """Removes a snapshot that was being written. Nothing happens if there is none."""
        statement = "DELETE FROM snapshot WHERE key=? RETURNING number"
        try:
            row = self._db.execute(statement, (key,)).fetchone()
        except sqlite3.OperationalError:
            # A full disk has no room for the change; what was being written makes it, and nothing committed needs it.
            remove_tree(f"{self.root}/{self._number('key', key)}")
            row = self._db.execute(statement, (key,)).fetchone()
        if row:
            remove_tree(f"{self.root}/{row[0]}")

    def forget(self, name: Digest) -> None:
        """Removes a committed snapshot. Raises Conflict if another lies on it."""
        try:
            row = self._db.execute("DELETE FROM snapshot WHERE name=? RETURNING number", (name,)).fetchone()
        except sqlite3.IntegrityError:
            raise Conflict(f"another snapshot lies on {name}") from None
        if row:
            remove_tree(f"{self.root}/{row[0]}")

    def has(self, name: Digest) -> bool:
        return self._db.execute("SELECT 1 FROM snapshot WHERE name=?", (name,)).fetchone() is not None

    def size(self, name: Digest | None) -> int:
        """The bytes of a committed snapshot and all that it lies on."""
        if name is None:
            return 0
        total: int = self._db.execute(
            _ANCESTRY + "SELECT sum(size) FROM ancestry", (self._number("name", name),)
        ).fetchone()[0]
        return total

    def size_below(self, key: str) -> int:
        """The bytes of the committed snapshots that ``key`` lies on. Raises NotFound."""
        total: int = self._db.execute(
            _ANCESTRY + "SELECT coalesce(sum(size), 0) FROM ancestry WHERE depth > 0", (self._number("key", key),)
        ).fetchone()[0]
        return total

    def unfinished(self) -> bool:
        """Whether a snapshot is being written for another purpose than a container, or was when its writer died."""
        return bool(self._db.execute("SELECT 1 FROM snapshot WHERE key NOT LIKE 'container-%'").fetchone())

    def newest(self) -> int:
        """The highest number that a snapshot ever had; 0 if there was none."""
        # Not the highest that there is: directories outlive their rows if their remover is killed.
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name='snapshot'").fetchone()
        return row[0] if row else 0

    def sweep(self, keep: set[Digest], keep_keys: set[str], upto: int) -> int:
        """Removes every snapshot that neither is kept nor lies below one that is, and directories without a row; gives
        the bytes of the committed ones among them. Of a key with a slash what is before that counts.

        Numbers above ``upto`` came after it was known what is to be kept, and stay. To be called by the only process
        that stores something (``leases.sole``); containers may be made meanwhile.
        """
        with transaction(self._db):
            rows = self._db.execute("SELECT number, key, name, parent, size FROM snapshot").fetchall()
            parents = {number: parent for number, _, _, parent, _ in rows}
            kept: set[int] = set()
            for number, key, name, _, _ in rows:
                kept_key = (key or "").partition("/")[0] in keep_keys
                walker = number if name in keep or kept_key or number > upto else None
                while walker is not None and walker not in kept:
                    kept.add(walker)
                    walker = parents[walker]
            # Layers are unpacked side by side, so a snapshot may have a lower number than its parent.
            self._db.execute("PRAGMA defer_foreign_keys=ON")
            for number in parents.keys() - kept:
                self._db.execute("DELETE FROM snapshot WHERE number=?", (number,))
        for entry in os.listdir(self.root) if os.path.isdir(self.root) else ():
            if not entry.isdigit() or (int(entry) <= upto and int(entry) not in kept):
                remove_tree(f"{self.root}/{entry}")
        return sum(size for number, _, _, _, size in rows if number not in kept)

    def lineage(self) -> dict[Digest, tuple[Digest | None, int]]:
        """Every committed snapshot's parent and its own bytes."""
        rows = self._db.execute(
            "SELECT s.name, p.name, s.size FROM snapshot s LEFT JOIN snapshot p ON p.number=s.parent "
            "WHERE s.name IS NOT NULL"
        )
        return {Digest(name): (Digest(parent) if parent else None, size) for name, parent, size in rows}

    def _number(self, column: str, value: str) -> int:
        row = self._db.execute(f"SELECT number FROM snapshot WHERE {column}=?", (value,)).fetchone()
        if not row:
            raise NotFound(
                f"there is no snapshot {value}", hint="the store may be damaged: pull or build the image again"
            )
        number: int = row[0]
        return number

    def _stack(self, number: int) -> tuple[str, ...]:
        rows = self._db.execute(_ANCESTRY + "SELECT number FROM ancestry ORDER BY depth", (number,))
        return tuple(f"{self.root}/{found}/fs" for (found,) in rows)


def _boot() -> str:
    """What tells one run of the machine's kernel from the next (random(4), boot_id)."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


_ANCESTRY = (
    "WITH RECURSIVE ancestry(number, parent, size, depth) AS ("
    "SELECT number, parent, size, 0 FROM snapshot WHERE number=? UNION ALL "
    "SELECT s.number, s.parent, s.size, depth+1 FROM snapshot s JOIN ancestry a ON s.number=a.parent) "
)
