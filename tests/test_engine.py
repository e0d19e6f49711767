"""What an operation that stores leaves when it fails, and after one that was killed."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.engine import Engine, open_engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with open_engine(str(tmp_path)) as engine:
        yield engine


def store(engine: Engine) -> None:
    """A finished blob, one that is being written, a snapshot, and a file in the directory for temporary ones."""
    with engine.blobs.writer() as writer:
        writer.write(b"content")
        writer.commit()
    leave_half_done(engine)


def leave_half_done(engine: Engine) -> None:
    os.makedirs(engine.blobs.aside, exist_ok=True)
    Path(engine.blobs.aside, "1-0").write_bytes(b"half")
    engine.snapshots.prepare("build-1", None)
    os.makedirs(f"{engine.paths.temporary}/build-1")


def left(engine: Engine) -> list[object]:
    found = [engine.blobs.aside, engine.paths.snapshots, engine.paths.temporary]
    return [*engine.blobs.all(), *(name for path in found if os.path.isdir(path) for name in os.listdir(path))]


@pytest.mark.parametrize("error", [OSError("no"), KeyboardInterrupt()])
def test_an_operation_that_fails_leaves_nothing(engine: Engine, error: BaseException) -> None:
    def fail() -> None:
        with engine.storing():
            store(engine)
            assert len(left(engine)) == 4
            raise error

    with pytest.raises(type(error)) as raised:
        fail()
    assert raised.value is error
    assert left(engine) == []


def test_the_next_operation_clears_up_after_one_that_was_killed(engine: Engine) -> None:
    leave_half_done(engine)
    with engine.storing():
        pass
    assert left(engine) == []


def test_nothing_is_cleared_up_while_another_stores(engine: Engine, tmp_path: Path) -> None:
    with open_engine(str(tmp_path)) as other, other.storing():
        store(other)
        with pytest.raises(OSError, match="no"), engine.storing():
            raise OSError("no")
        assert len(left(engine)) == 4
