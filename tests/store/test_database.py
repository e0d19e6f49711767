"""The metadata file: transactions, migrations, several processes at once."""

import multiprocessing
import sqlite3
from pathlib import Path

import pytest

from sampan.errors import Invalid
from sampan.store import database
from sampan.store.database import transaction


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "below" / "sampan.db")


def test_a_new_file_has_every_migration(path: str) -> None:
    db = database.connect(path)
    assert db.execute("PRAGMA user_version").fetchone()[0] == len(database.MIGRATIONS)
    again = database.connect(path)
    tables = {name for (name,) in again.execute("SELECT name FROM sqlite_master WHERE type='table'")}
    assert tables >= {"image", "name", "snapshot", "container", "build_cache", "file_digest"}


def test_an_old_file_gets_those_that_it_lacks(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    database.connect(path).close()
    later = [*database.MIGRATIONS, lambda db: db.execute("CREATE TABLE later (x)")]
    monkeypatch.setattr(database, "MIGRATIONS", later)
    db = database.connect(path)
    db.execute("INSERT INTO later VALUES (1)")
    assert db.execute("PRAGMA user_version").fetchone()[0] == len(later)


def test_a_failing_migration_changes_nothing(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    database.connect(path).close()
    before = len(database.MIGRATIONS)

    def broken(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE half (x)")
        raise OSError("the power went")

    monkeypatch.setattr(database, "MIGRATIONS", [*database.MIGRATIONS, broken])
    with pytest.raises(OSError, match="power"):
        database.connect(path)
    monkeypatch.setattr(database, "MIGRATIONS", database.MIGRATIONS[:before])
    db = database.connect(path)
    assert db.execute("SELECT count(*) FROM sqlite_master WHERE name='half'").fetchone() == (0,)


def test_a_file_of_a_newer_sampan_is_refused(path: str) -> None:
    database.connect(path).execute("PRAGMA user_version=999")
    with pytest.raises(Invalid, match="newer sampan"):
        database.connect(path)


def test_a_transaction_takes_effect_whole_or_not_at_all(path: str) -> None:
    db = database.connect(path)
    db.execute("CREATE TABLE t (x)")

    def fail() -> None:
        with transaction(db):
            db.execute("INSERT INTO t VALUES (1)")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    with transaction(db):
        db.execute("INSERT INTO t VALUES (2)")
    assert db.execute("SELECT x FROM t").fetchall() == [(2,)]


def count_up(path: str, times: int) -> None:
    db = database.connect(path)
    for _ in range(times):
        with transaction(db):
            value = db.execute("SELECT x FROM counter").fetchone()[0]
            db.execute("UPDATE counter SET x=?", (value + 1,))


def test_processes_that_read_and_write_wait_for_each_other(path: str) -> None:
    db = database.connect(path)
    db.execute("CREATE TABLE counter (x)")
    db.execute("INSERT INTO counter VALUES (0)")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=count_up, args=(path, 50)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert db.execute("SELECT x FROM counter").fetchone() == (200,)
