"""What builds remember, and when it stops to count."""

import os
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

import trees
from sampan.build.cache import Built, Cache, FileDigests
from sampan.build.source import ContextFiles, content_key, select
from sampan.layers.write import Layer
from sampan.oci import media
from sampan.oci.descriptor import Descriptor
from sampan.snapshots.lookup import View
from sampan.snapshots.overlay import Overlay
from sampan.store import database
from sampan.store.blobs import Blobs
from trees import File, Link, PlainContext


class Store:
    def __init__(self, root: Path) -> None:
        self.db = database.connect(str(root / "db"))
        self.blobs = Blobs(str(root / "blobs"))
        self.snapshots = Overlay(str(root / "snapshots"), self.db, userxattr=True)

    def cache(self, *, fresh: bool = False) -> Cache:
        return Cache(self.db, self.blobs, self.snapshots, fresh=fresh)

    def built(self, content: bytes = b"layer") -> Built:
        """Something that a step may have made, stored."""
        digest = self.blobs.put(content)
        self.snapshots.prepare("key", None)
        self.snapshots.commit("key", digest, 5)
        layer = Layer(digest, Descriptor(media.OCI_LAYER, digest, len(content)), 5)
        return Built(layer, digest, "2024-01-01T00:00:00Z")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.db.close()


def test_what_was_put_is_got(store: Store) -> None:
    built = store.built()
    store.cache().put("k", built)
    assert store.cache().get("k") == built
    assert store.cache().get("other") is None


def test_an_entry_without_its_blob_or_snapshot_does_not_count(store: Store) -> None:
    first, second = store.built(b"one"), store.built(b"two")
    store.cache().put("first", first)
    store.cache().put("second", second)
    store.blobs.remove(first.layer.descriptor.digest)
    store.snapshots.forget(second.chain)
    assert store.cache().get("first") is None
    assert store.cache().get("second") is None


def test_a_fresh_build_finds_nothing_and_remembers(store: Store) -> None:
    old, new = store.built(b"old"), store.built(b"new")
    store.cache().put("k", old)
    assert store.cache(fresh=True).get("k") is None
    store.cache(fresh=True).put("k", new)
    assert store.cache().get("k") == new


def test_the_collector_keeps_what_the_cache_names(store: Store, tmp_path: Path) -> None:
    from sampan.paths import Paths
    from sampan.store.collect import collect

    kept, lost = store.built(b"kept"), store.built(b"lost")
    store.cache().put("k", kept)
    collect(Paths(str(tmp_path)), store.db, store.blobs, store.snapshots)
    assert store.cache().get("k") == kept
    assert not store.blobs.has(lost.layer.descriptor.digest)


class Reads:
    """Digests of files, and which of them were read."""

    def __init__(self, db: sqlite3.Connection, context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from sampan.build import source

        self.paths: list[bytes] = []
        self._db, self._context, read = db, context, source.read_digest

        def counted(view: View, path: bytes, status: os.stat_result) -> str:
            self.paths.append(path)
            return read(view, path, status)

        monkeypatch.setattr(source, "read_digest", counted)

    def key(self) -> str:
        self.paths.clear()
        digests = FileDigests(self._db, str(self._context))
        with ContextFiles(PlainContext(self._context)) as files:
            key = content_key(files, select(files, "."), digests, attributes=False)
        digests.save()
        return key


def settle(context: Path) -> None:
    """Waits until the kernel's clock has left the files' times behind."""
    import time

    newest = max(path.lstat().st_ctime_ns for path in context.rglob("*"))
    while time.time_ns() - newest < 200_000_000:
        time.sleep(0.02)


def test_files_are_read_once(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = tmp_path / "context"
    trees.make(context, {"a": "a", "d/b": "b"})
    settle(context)
    reads = Reads(store.db, context, monkeypatch)
    key = reads.key()
    assert reads.paths == [b"a", b"d/b"]
    assert reads.key() == key
    assert reads.paths == []
    (context / "a").write_text("A")
    assert reads.key() != key
    assert reads.paths == [b"a"]


def test_times_alone_change_no_key(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = tmp_path / "context"
    trees.make(context, {"a": "a", "d/b": "b", "l": Link("a")})
    reads = Reads(store.db, context, monkeypatch)
    key = reads.key()
    for name in ("a", "d/b", "d"):
        os.utime(context / name, (1, 1))
    assert reads.key() == key
    assert reads.paths == [b"a", b"d/b"]


def test_sockets_come_and_go(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No layer can hold one; a server of a developer's may have one among the files."""
    context = tmp_path / "context"
    trees.make(context, {"d/a": "a"})
    reads = Reads(store.db, context, monkeypatch)
    key = reads.key()
    monkeypatch.chdir(context)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("d/socket")
        assert reads.key() == key


def test_the_same_size_and_time_do_not_hide_a_change(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = tmp_path / "context"
    trees.make(context, {"a": "1"})
    settle(context)
    reads = Reads(store.db, context, monkeypatch)
    key = reads.key()
    (context / "a").write_text("2")
    os.utime(context / "a", (trees.MTIME, trees.MTIME))  # ctime cannot be set back
    assert reads.key() != key


BASE: dict[str, trees.Node] = {"a": "a", "d/b": "b", "d/l": Link("b")}


@pytest.mark.parametrize(
    "changed",
    [
        {**BASE, "a": "A"},
        {**BASE, "a": File("a", 0o600)},
        {**BASE, "d/l": Link("../a")},
        {**BASE, "d/c": ""},
        {"a": "a", "d/b": "b", "l": Link("b")},
        {"a": "a", "d/b/l": Link("b")},
        {"a": "b", "d/b": "a", "d/l": Link("b")},
        {"a": "ad/b", "d/l": Link("b")},
    ],
)
def test_everything_else_changes_the_key(tmp_path: Path, changed: dict[str, trees.Node]) -> None:
    keys = set()
    for name, nodes in (("one", BASE), ("same", BASE), ("other", changed)):
        trees.make(tmp_path / name, nodes)
        with ContextFiles(PlainContext(tmp_path / name)) as files:
            keys.add(content_key(files, select(files, "."), _read, attributes=False))
    assert len(keys) == 2


def _read(view: View, path: bytes, status: os.stat_result) -> str:
    with open(view.open(path)) as file:
        return file.read()


@pytest.mark.root
def test_owners_and_attributes_count_only_where_they_are_kept(tmp_path: Path) -> None:
    trees.make(tmp_path, BASE)

    def key(attributes: bool) -> str:
        with ContextFiles(PlainContext(tmp_path)) as files:
            return content_key(files, select(files, "."), _read, attributes=attributes)

    plain, kept = [key(False)], [key(True)]
    os.chown(tmp_path / "a", 5, 6)
    plain.append(key(False))
    kept.append(key(True))
    os.setxattr(tmp_path / "a", "user.kept", b"1")
    plain.append(key(False))
    kept.append(key(True))
    assert len(set(plain)) == 1
    assert len(set(kept)) == 3
