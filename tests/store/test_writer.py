"""Transfers that break off and go on, and readers that follow them."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sampan.errors import Corrupt, Unavailable
from sampan.oci.digest import sha256
from sampan.store.blobs import Blobs

DATA = os.urandom(3 << 20)
DIGEST = sha256(DATA)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path / "blobs"))


def kept(blobs: Blobs) -> list[int]:
    """The sizes of the parts that are kept."""
    return [path.stat().st_size for path in Path(blobs.partial).iterdir()]


def break_off(blobs: Blobs, data: bytes, error: BaseException | None = None) -> None:
    writer = blobs.resume(DIGEST, len(DATA))
    writer.write(data)
    error = error or Unavailable("cut")
    writer.__exit__(type(error), error, None)


@pytest.mark.parametrize("error", [Unavailable("cut"), KeyboardInterrupt()])
def test_what_broke_off_goes_on(blobs: Blobs, error: BaseException) -> None:
    break_off(blobs, DATA[: 2 << 20], error)
    assert blobs.all() == []
    assert kept(blobs) == [2 << 20]
    with blobs.resume(DIGEST, len(DATA)) as writer:
        assert writer.size == 2 << 20
        writer.write(DATA[writer.size :])
        assert writer.commit() == DIGEST
    assert blobs.read(DIGEST) == DATA
    assert kept(blobs) == []


def test_a_killed_process_leaves_what_it_had(blobs: Blobs) -> None:
    script = """
import os, sys
from sampan.oci.digest import Digest
from sampan.store.blobs import Blobs
writer = Blobs(sys.argv[1]).resume(Digest(sys.argv[2]), 3 << 20)
writer.write(sys.stdin.buffer.read(2 << 20))
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", script, blobs.root, DIGEST], input=DATA, check=False)
    assert done.returncode == -9
    with blobs.resume(DIGEST, len(DATA)) as writer:
        assert writer.size == 2 << 20
        writer.write(DATA[writer.size :])
        writer.commit()
    assert blobs.read(DIGEST) == DATA


def test_a_part_that_was_damaged_is_found_out_and_dropped(blobs: Blobs) -> None:
    break_off(blobs, bytes(2 << 20))
    with blobs.resume(DIGEST, len(DATA)) as writer:
        writer.write(DATA[writer.size :])
        with pytest.raises(Corrupt):
            writer.commit()
    assert (blobs.all(), kept(blobs)) == ([], [])


def test_a_part_with_too_much_is_begun_anew(blobs: Blobs) -> None:
    break_off(blobs, DATA)
    with blobs.resume(DIGEST, len(DATA) - 1) as writer:
        assert writer.size == 0


@pytest.mark.parametrize(("size", "error"), [(100, Unavailable("cut")), (2 << 20, OSError(28, "full"))])
def test_what_is_not_worth_keeping(blobs: Blobs, size: int, error: BaseException) -> None:
    break_off(blobs, DATA[:size], error)
    assert kept(blobs) == []


def test_two_at_the_same_blob(blobs: Blobs) -> None:
    with blobs.resume(DIGEST, len(DATA)) as first, blobs.resume(DIGEST, len(DATA)) as second:
        first.write(DATA[: 2 << 20])
        assert second.size == 0
        second.write(DATA)
        first.write(DATA[2 << 20 :])
        assert first.commit() == second.commit()
    assert blobs.read(DIGEST) == DATA
    assert (kept(blobs), os.listdir(blobs.aside)) == ([], [])


def test_parts_are_forgotten_by_their_age(blobs: Blobs) -> None:
    break_off(blobs, DATA[: 2 << 20])
    assert blobs.forget_partial(before=0) == 0
    assert blobs.forget_partial(before=1 << 40) == 2 << 20
    assert kept(blobs) == []


def test_a_follower_reads_what_comes_and_ends_only_with_a_verified_blob(blobs: Blobs) -> None:
    break_off(blobs, DATA[: 1 << 20])
    ended = threading.Event()
    read = bytearray()

    def follow() -> None:
        while data := follower.read(1 << 16):
            read.extend(data)
        ended.set()

    with blobs.resume(DIGEST, len(DATA)) as writer, writer.follow() as follower:
        reader = threading.Thread(target=follow)
        reader.start()
        writer.write(DATA[writer.size :])
        assert not ended.wait(0.1)
        writer.commit()
        reader.join(60)
    assert ended.is_set()
    assert bytes(read) == DATA


def test_a_follower_of_a_transfer_that_breaks_off(blobs: Blobs) -> None:
    writer = blobs.resume(DIGEST, len(DATA))
    with writer.follow() as follower:
        writer.write(DATA[:100])
        assert follower.read(50) == DATA[:50]
        writer.abandon()
        assert os.fstat(follower._fd).st_size == 0  # its room is free though somebody has it open
        with pytest.raises(Unavailable, match="broke off"):
            follower.read(1)
