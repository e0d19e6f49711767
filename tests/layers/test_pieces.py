"""Where a stream is cut: nowhere by chance, and behind a change where it was cut before."""

import random

from hypothesis import given
from hypothesis import strategies as st

from sampan.layers.pieces import SIZE, Cutter
from sampan.layers.window import Data


def cut(files: dict[bytes, bytes]) -> list[Data]:
    pieces: list[Data] = []
    cutter = Cutter(pieces.append)
    for name, content in files.items():
        cutter.may_cut(name)
        cutter.write(content)
    assert cutter.offset == sum(map(len, files.values()))
    cutter.cut()
    return pieces


@given(st.lists(st.tuples(st.binary(max_size=4), st.integers(0, 3 * SIZE)), max_size=12))
def test_pieces_are_the_whole_and_never_too_long(files: list[tuple[bytes, int]]) -> None:
    named = {b"%d %b" % (number, name): bytes([number]) * size for number, (name, size) in enumerate(files)}
    pieces = cut(named)
    assert b"".join(pieces) == b"".join(named.values())
    assert all(0 < len(piece) <= SIZE for piece in pieces)


def test_how_the_data_comes_does_not_matter() -> None:
    data = random.Random(1).randbytes(3 * SIZE + 5)
    for step in (1000, SIZE - 1, SIZE, 2 * SIZE + 3, len(data)):
        pieces: list[Data] = []
        cutter = Cutter(pieces.append)
        for begin in range(0, len(data), step):
            cutter.write(memoryview(data)[begin : begin + step])
        cutter.cut()
        cutter.cut()
        assert pieces == [data[begin : begin + SIZE] for begin in range(0, len(data), SIZE)]


def test_most_pieces_outlive_a_change() -> None:
    """Whatever is done to one file, near the beginning: it grows, it goes, another comes."""
    source = random.Random(2)
    files = {b"package/module_%03d.py" % number: source.randbytes(source.randrange(20_000)) for number in range(800)}
    before = cut(files)
    assert 20 < len(before) < 100
    first = next(iter(files))
    for changed in (
        {**files, first: b"longer" * 10_000},
        {name: content for name, content in files.items() if name != first},
        {b"package/a.py": b"new" * 50_000, **files},
    ):
        after = cut(changed)
        assert len(set(before) & set(after)) >= len(before) - 3


def test_runs_of_another_archive_are_not_copied() -> None:
    """What comes from one place in a row stays there, also what is written in between and stands there as well."""
    source = random.Random(3).randbytes(5000)
    pieces: list[Data] = []
    cutter = Cutter(pieces.append)
    cutter.copy(source, 1000, 2000)
    cutter.write(source[2000:2100])
    cutter.copy(source, 2100, 3000)
    cutter.cut()
    (piece,) = pieces
    assert isinstance(piece, memoryview)
    assert piece.obj is source
    assert piece == source[1000:3000]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 90), st.integers(0, 40)), max_size=30), st.integers(1, 9))
def test_whatever_is_copied_from_where(parts: list[tuple[bool, int, int]], kinds: int) -> None:
    source = bytes(number % kinds for number in range(100))
    pieces: list[Data] = []
    cutter = Cutter(pieces.append)
    expected = b""
    for is_copy, begin, size in parts:
        data = source[begin : begin + size]
        expected += data
        if is_copy:
            cutter.copy(source, begin, begin + len(data))
        else:
            cutter.write(data)
        assert cutter.offset == len(expected)
        if size == 7:
            cutter.cut()
    cutter.cut()
    assert b"".join(pieces) == expected


def test_long_runs_are_cut_too() -> None:
    source = random.Random(4).randbytes(3 * SIZE)
    pieces: list[Data] = []
    cutter = Cutter(pieces.append)
    cutter.write(b"head")
    cutter.copy(source, 5, len(source))
    cutter.cut()
    assert [len(piece) for piece in pieces] == [SIZE, SIZE, SIZE - 1]
    assert b"".join(pieces) == b"head" + source[5:]
