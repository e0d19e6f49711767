"""The files of remote sources, as a build copies them: what names their content, and a view of them once they are here.

Each source is fetched once in a build, however many steps use it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import ExitStack

from sampan.build.cancellation import Cancellation
from sampan.build.context import Directory
from sampan.build.download import Downloaded, Downloads, Output, Turns, silent
from sampan.build.ignore import Ignore
from sampan.build.mounts import Secret
from sampan.build.remote import Remote, Repository, Url
from sampan.build.source import ContextFiles, Selected
from sampan.errors import Invalid, NotFound
from sampan.snapshots.lookup import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from typing import NamedTuple

    from sampan.build.git import Access, Resolved
    from sampan.store.blobs import Blobs
else:
    from sampan.values import NamedTuple


class Arrived(NamedTuple):
    """A remote source that is here: one match, and the view that it is read through."""

    view: View
    match: Selected


class Checkout(NamedTuple):
    """Where a repository's files are, and when they were committed (seconds since 1970)."""

    directory: str
    committed: int


class Remotes:
    """The remote sources of one build; a context manager. ``temporary`` is the directory that checkouts are made in."""

    def __init__(
        self,
        db: sqlite3.Connection,
        blobs: Blobs,
        temporary: str,
        secrets: Mapping[str, Secret],
        agents: Mapping[str, str],
        cancellation: Cancellation,
    ) -> None:
        self._downloads = Downloads(db, blobs, secrets, cancellation)
        self._blobs = blobs
        self._temporary = temporary
        self._access = (secrets, agents, cancellation)
        self._resolved: dict[Repository, Resolved] = {}
        self._checkouts: dict[Repository, Checkout] = {}
        self._turns = Turns()
        self._opened = ExitStack()

    def __enter__(self) -> Remotes:
        return self

    def __exit__(self, *rest: object) -> None:
        self._opened.close()

    def identity(self, source: Remote) -> tuple[object, ...] | None:
        """What names the content, for a step's key; None if the source has to be fetched first. May ask its server."""
        if isinstance(source, Url):
            digest = self._downloads.identity(source)
            return ("url", digest, source.name) if digest else None
        resolved = self._resolve(source)
        kept = (resolved.name, source.remote) if source.keep_git_dir else ()
        dated = ("commit",) if source.dated else ()
        return ("git", resolved.commit, source.subdir, source.submodules, kept, *dated)

    def fetch(self, source: Remote, output: Output = silent) -> Arrived:
        """The source's files, fetched if need be. Raises SampanError."""
        if isinstance(source, Repository):
            return self._directory_of(source)
        found = self._downloads.fetch(source, output)
        file = _File(self._blobs.path(found.digest), found.mtime)
        return Arrived(file, Selected(os.fsencode(source.name), b"file", file.status))

    def download(self, url: Url) -> Downloaded:
        """Puts the file into the store, unless it is there and has not changed."""
        self._downloads.identity(url)
        return self._downloads.fetch(url)

    def checkout(self, repository: Repository) -> Checkout:
        """A checkout of the whole repository, which is there as long as this object is open."""
        from sampan.build import git
        from sampan.store.trees import remove_tree

        keeps = repository.keep_git_dir and not repository.subdir
        repository = repository._replace(subdir="", keep_git_dir=keeps)
        resolved = self._resolve(repository)
        with self._turns.of(repository):
            if repository not in self._checkouts:
                os.makedirs(self._temporary, mode=0o700, exist_ok=True)
                directory = f"{self._temporary}/git-{os.getpid()}-{os.urandom(8).hex()}"
                os.mkdir(directory, 0o755)
                self._opened.callback(remove_tree, directory)
                committed = git.checkout(repository, resolved, directory, self._git_access())
                self._checkouts[repository] = Checkout(directory, committed)
            return self._checkouts[repository]

    def _resolve(self, repository: Repository) -> Resolved:
        from sampan.build import git

        # Asked once: whoever pushes meanwhile must not get other files under the key of these.
        asked = repository._replace(subdir="", keep_git_dir=False, submodules=True, dated=False)
        with self._turns.of(asked.remote):
            if asked not in self._resolved:
                self._resolved[asked] = git.resolve(asked, self._git_access())
            return self._resolved[asked]

    def _git_access(self) -> Access:
        from sampan.build.git import Access

        return Access(*self._access)

    def _directory_of(self, repository: Repository) -> Arrived:
        files = self._opened.enter_context(ContextFiles(Directory(self.checkout(repository).directory, Ignore())))
        return Arrived(files, find_directory(files, repository))


def find_directory(files: View, repository: Repository) -> Selected:
    """The directory that the address of a repository names. No link in the repository leads there (CVE-2026-33748)."""
    parts = [part for part in repository.subdir.split("/") if part not in ("", ".")]
    for count in range(len(parts) + 1):
        status = None if ".." in parts else files.stat(os.fsencode("/".join(parts[:count])))
        if status is None:
            raise NotFound(f"the git repository {repository.shown} has no directory {repository.subdir}")
        if not stat.S_ISDIR(status.st_mode):
            raise Invalid(f"{repository.subdir} in the git repository {repository.shown} is not a directory")
    assert status is not None
    return Selected(b"", os.fsencode("/".join(parts)), status)


class _File:
    """The view of a single file that was downloaded: as BuildKit makes it, root's and 0600."""

    __slots__ = ("_path", "status")

    def __init__(self, path: str, mtime: int) -> None:
        stored = os.stat(path)
        self._path = path
        times = {"st_atime_ns": mtime * 1_000_000_000, "st_mtime_ns": mtime * 1_000_000_000}
        fields = (stat.S_IFREG | 0o600, stored.st_ino, stored.st_dev, 1, 0, 0, stored.st_size, mtime, mtime, mtime)
        self.status = os.stat_result(fields, times)

    def stat(self, path: bytes) -> os.stat_result | None:
        return self.status

    def children(self, path: bytes) -> Mapping[bytes, os.stat_result]:
        return {}

    def open(self, path: bytes, flags: int = os.O_RDONLY) -> int:
        return os.open(self._path, flags | os.O_CLOEXEC)

    def readlink(self, path: bytes) -> bytes:
        raise OSError(f"{os.fsdecode(path)} is no link")
