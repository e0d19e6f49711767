import os
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

import elves
from sampan.bases import elf
from sampan.errors import Invalid

WHOLE = elves.elf(
    needed=["libc.so.6", "libm.so.6"],
    interpreter="/lib/ld.so",
    soname="libx.so.1",
    rpath="/a:/b",
    runpath="$ORIGIN/../lib",
)


def read(data: bytes) -> elf.Elf | None:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return elf.read(file.fileno())


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_all_that_the_loader_is_asked_for(bits: int, order: str) -> None:
    data = elves.elf(
        needed=["libc.so.6", "libm.so.6"],
        interpreter="/lib/ld.so.1",
        soname="libx.so.1",
        rpath="/a:/b",
        runpath="$ORIGIN/../lib",
        bits=bits,
        order=order,
        machine=elves.AARCH64,
    )
    assert read(data) == elf.Elf(
        elf.Abi(bits, order, elves.AARCH64),
        "/lib/ld.so.1",
        "libx.so.1",
        ("libc.so.6", "libm.so.6"),
        ("/a", "/b"),
        ("$ORIGIN/../lib",),
    )


def test_a_program_that_needs_nothing() -> None:
    assert read(elves.elf()) == elf.Elf(elf.Abi(64, "<", elves.X86_64), "", "", (), (), ())


@pytest.mark.parametrize("data", [b"", b"\x7fEL", b"#!/bin/sh\n", b"MZ" + bytes(100)])
def test_other_files_are_not_elf(data: bytes) -> None:
    assert read(data) is None


@pytest.mark.parametrize("length", [4, 16, 40, 63, 64, 100, 200, len(WHOLE) - 1])
def test_a_file_that_ends_early(length: int) -> None:
    with pytest.raises(Invalid):
        read(WHOLE[:length])


@pytest.mark.parametrize("offset", [1 << 40, (1 << 62) - 1, (1 << 64) - 1])
def test_offsets_that_point_far_away(offset: int) -> None:
    with pytest.raises(Invalid):
        read(WHOLE[:32] + offset.to_bytes(8, "little") + WHOLE[40:])


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_damaged_file_gives_a_value_or_one_kind_of_error(changes: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE)
    for position, value in changes:
        data[position] = value
    try:
        read(bytes(data))
    except Invalid:
        return


def test_this_interpreter() -> None:
    fd = os.open("/proc/self/exe", os.O_RDONLY)
    try:
        found = elf.read(fd)
    finally:
        os.close(fd)
    assert found
    assert os.path.exists(found.interpreter)
    assert any(name.startswith(("libc.", "libpython")) for name in found.needed)
