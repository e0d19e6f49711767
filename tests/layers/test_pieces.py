"""Where a stream is cut: nowhere by chance, and behind a change where it was cut before."""

import random

from hypothesis import given
from hypothesis import strategies as st

from sampan.layers.pieces import SIZE, Cutter


def cut(files: dict[bytes, bytes]) -> list[bytes]:
    pieces: list[bytes] = []
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
        pieces: list[bytes] = []
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
