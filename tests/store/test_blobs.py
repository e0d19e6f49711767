"""Blobs: what can be seen is whole and verified, and what was not committed leaves nothing."""

import os
from pathlib import Path

import pytest

from sampan.errors import Corrupt, NotFound
from sampan.oci.digest import Digest, sha256
from sampan.store.blobs import Blobs


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path / "blobs"))


def aside(blobs: Blobs) -> list[str]:
    return os.listdir(blobs.aside) if os.path.isdir(blobs.aside) else []


def test_put_and_read(blobs: Blobs) -> None:
    digest = blobs.put(b"hello")
    assert digest == sha256(b"hello")
    assert blobs.put(b"hello") == digest  # idempotent
    assert (blobs.read(digest), blobs.size(digest), blobs.has(digest)) == (b"hello", 5, True)
    with blobs.open(digest) as file:
        assert file.read() == b"hello"
    assert blobs.all() == [digest]
    assert os.stat(blobs.path(digest)).st_mode & 0o777 == 0o600
    assert aside(blobs) == []


def test_what_is_not_there(blobs: Blobs) -> None:
    missing = sha256(b"missing")
    assert not blobs.has(missing)
    assert blobs.all() == []
    assert blobs.remove(missing) == 0
    for ask in (blobs.open, blobs.size, blobs.read):
        with pytest.raises(NotFound):
            ask(missing)


def test_remove(blobs: Blobs) -> None:
    digest = blobs.put(b"hello")
    assert blobs.remove(digest) == 5
    assert not blobs.has(digest)


def test_damage_is_seen(blobs: Blobs) -> None:
    digest = blobs.put(b"hello")
    Path(blobs.path(digest)).write_bytes(b"hellO")
    with pytest.raises(Corrupt):
        blobs.read(digest)


def test_limit(blobs: Blobs) -> None:
    digest = blobs.put(b"hello")
    assert blobs.read(digest, 5) == b"hello"
    with pytest.raises(Corrupt, match="larger than 4"):
        blobs.read(digest, 4)


@pytest.mark.parametrize(("data", "size"), [(b"hello!", 5), (b"hell", 5), (b"hellO", 5), (b"", 5), (b"hellO", None)])
def test_a_blob_that_is_not_what_was_announced_is_not_stored(blobs: Blobs, data: bytes, size: int | None) -> None:
    def store() -> None:
        with blobs.writer(sha256(b"hello"), size) as writer:
            writer.write(data)
            writer.commit()

    with pytest.raises(Corrupt):
        store()
    assert blobs.all() == []
    assert aside(blobs) == []


def test_more_than_announced_is_refused_at_once(blobs: Blobs) -> None:
    with blobs.writer(sha256(b"hello"), 5) as writer:
        writer.write(b"hel")
        with pytest.raises(Corrupt, match="more than the 5 bytes"):
            writer.write(b"loo")


def test_what_is_not_committed_leaves_nothing(blobs: Blobs) -> None:
    with blobs.writer() as writer:
        writer.write(memoryview(b"hello"))
    assert blobs.all() == []
    assert aside(blobs) == []


def test_sha512(blobs: Blobs) -> None:
    import hashlib

    digest = Digest("sha512:" + hashlib.sha512(b"hello").hexdigest())
    with blobs.writer(digest, 5) as writer:
        writer.write(b"hello")
        assert writer.commit() == digest
    assert blobs.read(digest) == b"hello"
    assert blobs.all() == [digest]


def test_two_writers_of_one_blob(blobs: Blobs) -> None:
    with blobs.writer() as first, blobs.writer() as second:
        for writer in (first, second):
            writer.write(b"same")
        assert first.commit() == second.commit()
    assert len(blobs.all()) == 1
    assert aside(blobs) == []
