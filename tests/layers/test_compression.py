"""Streams packed and unpacked, and what happens to damaged ones."""

import gzip
import hashlib
import io
import random
import threading
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.errors import Corrupt, Invalid
from sampan.layers.compression import Deflate, Hashing, inflate
from sampan.layers.pipeline import Ahead, Behind

TEXT = b"".join(b"line %d of some text\n" % number for number in range(30_000))


def packed(data, how, step=100_000):
    out = []
    deflate = Deflate(out.append, how)
    for start in range(0, len(data), step):
        deflate.write(data[start : start + step])
    deflate.finish()
    return b"".join(out)


def drained(source, size=70_001):
    return b"".join(iter(lambda: source.read(size), b""))


class Dripping:
    """A source that gives less than it is asked for."""

    def __init__(self, data, step=777):
        self._stream = io.BytesIO(data)
        self._step = step

    def read(self, size):
        return self._stream.read(min(size, self._step))


@pytest.mark.parametrize("how", ["none", "gzip", "zstd"])
@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=5000), st.integers(1, 2000), st.integers(1, 3000))
def test_round_trips(how, data, step, size):
    stored = packed(data, how, step)
    assert drained(inflate(Dripping(stored, step), how), size) == data
    if how != "none":
        assert drained(inflate(Dripping(stored, step), "auto"), size) == data


def test_others_read_what_we_pack():
    assert gzip.decompress(packed(TEXT, "gzip")) == TEXT
    assert zstandard.ZstdDecompressor().decompressobj().decompress(packed(TEXT, "zstd")) == TEXT


def test_packing_is_deterministic():
    """No time and no name in the header, and nothing depends on how the input came."""
    for how in ("gzip", "zstd"):
        assert len({packed(TEXT * 4, how, step) for step in (4 * len(TEXT), 1_999_999, 99_999, 65_536)}) == 1
    assert packed(b"", "gzip")[4:8] == bytes(4)
    assert packed(b"", "gzip")[3] == 0


@pytest.mark.parametrize("level", range(10))
def test_gzip_of_every_level_is_one_member(level):
    """Some programs read the first member and believe that it is all."""
    out = []
    deflate = Deflate(out.append, "gzip", level)
    for piece in (TEXT, b"", TEXT[:1], TEXT * 3):
        deflate.write(piece)
    deflate.finish()
    member = zlib.decompressobj(wbits=31)
    assert member.decompress(b"".join(out)) == TEXT + TEXT[:1] + TEXT * 3
    assert member.eof
    assert not member.unused_data


def deflated(pieces, known=None):
    out = []
    deflate = Deflate(out.append, "gzip", known=known)
    for piece in pieces:
        deflate.add(piece)
    deflate.finish()
    return out, deflate


def test_what_a_piece_was_compressed_to_can_be_taken_anywhere():
    pieces = [TEXT, TEXT[:5000], b"x", TEXT[7:]]
    made = {}
    for piece in pieces:
        (_, packed, _), deflate = deflated([piece])
        assert deflate.pieces == [(len(piece), len(packed))]
        made[piece, deflate.implementation] = packed
    anew, _ = deflated(pieces)
    asked = []

    def known(piece, implementation):
        asked.append(piece)
        return made[piece, implementation]

    assert deflated(pieces, known)[0] == anew
    assert asked == pieces
    assert gzip.decompress(b"".join(anew)) == b"".join(pieces)
    assert deflated(pieces, lambda piece, implementation: None)[0] == anew


def test_members_and_frames_in_a_row():
    """As eStargz, zstd:chunked and parallel compressors write them; gzip may be padded with zeros."""
    half = len(TEXT) // 2
    parts = gzip.compress(TEXT[:half]) + gzip.compress(b"") + bytes(100) + gzip.compress(TEXT[half:]) + bytes(3000)
    assert drained(inflate(Dripping(parts), "gzip")) == TEXT
    pack = zstandard.ZstdCompressor().compress
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"12345"
    frames = pack(TEXT[:half]) + skippable + pack(TEXT[half:])
    assert drained(inflate(Dripping(frames), "zstd")) == TEXT


def test_what_is_not_compressed_is_recognised():
    for data in (b"", b"\x1f", b"\x1f\x8c rest", b"plain text"):
        assert drained(inflate(Dripping(data, 1), "auto")) == data


@pytest.mark.parametrize("cut", [1, 4, 8, 9, 100, 5000])
def test_gzip_that_is_cut_short(cut):
    with pytest.raises(Corrupt, match="cut short"):
        drained(inflate(Dripping(gzip.compress(TEXT)[:-cut]), "gzip"))


def test_damage_is_corrupt_or_harmless():
    """Whatever bit is wrong: the same data, or Corrupt; nothing else, and no hang."""
    chance = random.Random(2)
    for how in ("gzip", "zstd"):
        stored = packed(TEXT[:50_000], how)
        caught = 0
        for _ in range(400):
            damaged = bytearray(stored)
            damaged[chance.randrange(len(stored))] ^= 1 << chance.randrange(8)
            try:
                assert drained(inflate(Dripping(bytes(damaged)), how)) == TEXT[:50_000]
            except Corrupt:
                caught += 1
        assert caught > 390


@pytest.mark.parametrize("how", ["gzip", "zstd"])
@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=5, max_size=300))
def test_noise_is_corrupt(how, noise):
    if not noise.strip(b"\0"):
        return
    with pytest.raises(Corrupt):
        drained(inflate(Dripping(noise), how))


def test_garbage_after_gzip_is_corrupt():
    with pytest.raises(Corrupt):
        drained(inflate(Dripping(gzip.compress(TEXT) + b"garbage"), "gzip"))


def test_large_zstd_windows_are_refused():
    """They are memory that the other side makes us take."""
    parameters = zstandard.ZstdCompressionParameters(window_log=29, enable_ldm=True)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(Corrupt):
        drained(inflate(Dripping(compressor.compress(TEXT * 10) + compressor.flush()), "zstd"))


def test_unknown_compression():
    for how in ("xz", "", "GZIP"):
        with pytest.raises(Invalid, match="cannot be compressed"):
            inflate(Dripping(b""), how)
        with pytest.raises(Invalid):
            Deflate(print, how)


def test_hashing():
    plain = Hashing(Dripping(TEXT))
    assert drained(plain) == TEXT
    assert (plain.digest(), plain.size) == ("sha256:" + hashlib.sha256(TEXT).hexdigest(), len(TEXT))


def test_reading_ahead():
    with Ahead(Dripping(TEXT)) as ahead:
        assert drained(ahead, 100) == TEXT
        assert ahead.read(1) == b""


class Failing:
    """Gives ``count`` pieces and then fails."""

    def __init__(self, count):
        self._count = count

    def read(self, size):
        self._count -= 1
        if self._count < 0:
            raise Corrupt("broken")
        return b"x" * 1000


def test_reading_ahead_raises_in_its_place():
    with Ahead(Failing(5)) as ahead:
        assert b"".join(ahead.read(999) + ahead.read(1) for _ in range(5)) == b"x" * 5000
        with pytest.raises(Corrupt, match="broken"):
            ahead.read(1)
        assert ahead.read(1) == b""


def test_threads_end_when_nobody_wants_more():
    before = threading.active_count()
    with Ahead(Failing(1_000_000)) as ahead:
        ahead.read(1)
    with pytest.raises(KeyError), Behind(lambda data: None):
        raise KeyError
    assert threading.active_count() == before


def test_writing_behind():
    got = []
    with Behind(got.append) as behind:
        for number in range(100):
            behind.put(b"%d" % number)
    assert got == [b"%d" % number for number in range(100)]


def test_writing_behind_raises_what_went_wrong():
    def full(data):
        raise OSError(28, "full")

    with pytest.raises(OSError, match="full"), Behind(full) as behind:
        behind.put(b"1")
    with pytest.raises(OSError, match="full"), Behind(full) as behind:
        any(behind.put(b"1") for _ in iter(int, 1))  # without end: noticed while there is more to write


def test_checksums_of_gzip_are_verified():
    data = bytearray(gzip.compress(TEXT))
    data[-8:-4] = (zlib.crc32(TEXT) ^ 1).to_bytes(4, "little")
    with pytest.raises(Corrupt):
        drained(inflate(Dripping(bytes(data)), "gzip"))
