"""Snapshots: a key is being written, a name is committed, and nothing changes a committed one."""

import os
import threading
from contextlib import closing
from pathlib import Path

import pytest

from sampan.errors import Conflict, NotFound
from sampan.oci.digest import sha256
from sampan.snapshots.overlay import Overlay
from sampan.store import database
from sampan.store.trees import remove_tree

A, B, C = sha256(b"a"), sha256(b"b"), sha256(b"c")


@pytest.fixture
def snapshots(tmp_path: Path) -> Overlay:
    return Overlay(str(tmp_path / "snapshots"), database.connect(str(tmp_path / "sampan.db")), userxattr=True)


def directories(snapshots: Overlay) -> set[str]:
    return set(os.listdir(snapshots.root)) if os.path.isdir(snapshots.root) else set()


def test_a_stack(snapshots: Overlay) -> None:
    first = snapshots.prepare("one", None)
    Path(first, "file").write_text("1")
    snapshots.commit("one", A, 1)
    second = snapshots.prepare("two", A)
    assert snapshots.directory("two") == second
    assert snapshots.rootfs("two") == ((first,), second, second.removesuffix("fs") + "work", True, False)
    snapshots.commit("two", B, 2)
    assert snapshots.stack(B) == (second, first)
    assert snapshots.stack(None) == ()
    assert (snapshots.size(B), snapshots.size(A), snapshots.size(None)) == (3, 1, 0)
    assert not os.path.exists(second.removesuffix("fs") + "work")


def test_a_key_is_used_once_and_a_parent_must_be_there(snapshots: Overlay) -> None:
    snapshots.prepare("one", None)
    with pytest.raises(Conflict):
        snapshots.prepare("one", None)
    with pytest.raises(NotFound):
        snapshots.prepare("two", A)
    for ask in (snapshots.directory, snapshots.rootfs):
        with pytest.raises(NotFound):
            ask("two")
    assert len(directories(snapshots)) == 1


def test_commit_is_idempotent(snapshots: Overlay) -> None:
    kept = snapshots.prepare("one", None)
    snapshots.prepare("two", None)
    snapshots.commit("one", A, 1)
    snapshots.commit("two", A, 1)  # someone else was faster
    assert snapshots.stack(A) == (kept,)
    assert directories(snapshots) == {Path(kept).parent.name}


def test_commit_upon_another_parent(snapshots: Overlay) -> None:
    low = snapshots.prepare("low", None)
    high = snapshots.prepare("high", None)
    snapshots.commit("low", A, 1)
    snapshots.commit("high", B, 1, A)
    assert snapshots.stack(B) == (high, low)


def test_removal(snapshots: Overlay) -> None:
    snapshots.prepare("one", None)
    snapshots.remove("one")
    snapshots.remove("one")
    assert directories(snapshots) == set()


def test_what_others_lie_on_stays(snapshots: Overlay) -> None:
    for key, name, parent in (("one", A, None), ("two", B, A)):
        snapshots.prepare(key, parent)
        snapshots.commit(key, name, 1)
    with pytest.raises(Conflict):
        snapshots.forget(A)
    snapshots.forget(B)
    snapshots.forget(A)
    assert directories(snapshots) == set()


def test_numbers_are_not_used_again(snapshots: Overlay) -> None:
    first = snapshots.prepare("one", None)
    snapshots.remove("one")
    assert snapshots.prepare("two", None) != first


def test_what_a_killed_writer_left_is_in_nobody_s_way(snapshots: Overlay) -> None:
    """It made the directory, and died before its number was taken."""
    Path(f"{snapshots.root}/1/fs/left").mkdir(parents=True)
    directory = Path(snapshots.prepare("one", None))
    assert directory == Path(f"{snapshots.root}/1/fs")
    assert list(directory.iterdir()) == []


def test_what_a_crash_of_the_machine_may_have_torn_is_forgotten(snapshots: Overlay, tmp_path: Path) -> None:
    for key, name, parent in (("one", A, None), ("two", B, None), ("three", C, B)):
        snapshots.prepare(key, None)
        snapshots.commit(key, name, 1, parent)
        if name == A:
            snapshots.settle()
    snapshots.prepare("container-x", C)
    snapshots.distrust()
    assert snapshots.has(C)  # it is still the same boot
    torn = [*snapshots.stack(C), snapshots.directory("container-x")]
    with closing(database.connect(str(tmp_path / "sampan.db"))) as db:
        db.execute("UPDATE snapshot SET boot='another' WHERE boot IS NOT NULL")
    snapshots.distrust()
    assert [snapshots.has(name) for name in (A, B, C)] == [True, False, False]
    assert not any(map(os.path.exists, torn))
    assert os.path.isdir(snapshots.stack(A)[0])


def test_remove_tree_follows_no_link_and_minds_no_mode(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "file").write_text("here")
    tree = tmp_path / "tree"
    (tree / "closed" / "deep").mkdir(parents=True)
    (tree / "closed" / "deep" / "file").write_text("x")
    (tree / "link").symlink_to(canary)
    (tree / "closed").chmod(0)
    remove_tree(str(tree))
    remove_tree(str(tree))
    assert not tree.exists()
    assert (canary / "file").read_text() == "here"


def test_threads_that_put_in_rows_do_not_confuse_numbers(snapshots: Overlay) -> None:
    """One connection serves all threads of an operation, and knows but one last row."""
    db = snapshots._db
    db.execute("CREATE TABLE other (number INTEGER PRIMARY KEY)")
    stop = threading.Event()

    def put_in() -> None:
        while not stop.is_set():
            db.execute("INSERT INTO other VALUES (NULL)")

    threads = [threading.Thread(target=put_in) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(200):
            made = Path(snapshots.prepare(f"key-{number}", None))
            assert made == Path(snapshots.directory(f"key-{number}"))
            assert made.is_dir()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
