"""What a dynamically linked ELF file asks of the loader (System V gABI, chapters 4 and 5; never by running it).

Only headers are read, each with a bound, so a damaged or hostile file costs one clear error.
"""

import os
import struct
from typing import NamedTuple

from sampan.errors import Invalid

PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NULL, DT_NEEDED, DT_STRTAB, DT_SONAME, DT_RPATH, DT_RUNPATH = 0, 1, 5, 14, 15, 29

_MAX_TABLE = 1 << 20
_MAX_TEXT = 4096


class Abi(NamedTuple):
    """Whose machine code it is: two files link with each other only if these agree (e_ident and e_machine)."""

    bits: int
    byte_order: str
    machine: int


class Elf(NamedTuple):
    """``interpreter`` is the program loader's path (PT_INTERP), empty in libraries and static programs."""

    abi: Abi
    interpreter: str
    soname: str
    needed: tuple[str, ...]
    rpath: tuple[str, ...]
    runpath: tuple[str, ...]


class _Layout(NamedTuple):
    header: (
        str  # e_machine (at offset 18), e_version, e_entry, e_phoff, e_shoff, e_flags, e_ehsize, e_phentsize, e_phnum
    )
    segment: str
    segment_fields: tuple[int, int, int, int]  # where p_type, p_offset, p_vaddr and p_filesz stand in it
    dynamic: str


_LAYOUTS = {
    1: _Layout("HIIIIIHHH", "IIIIIIII", (0, 1, 2, 4), "iI"),
    2: _Layout("HIQQQIHHH", "IIQQQQQQ", (0, 2, 3, 5), "qQ"),
}


def read(fd: int) -> Elf | None:
    """What the file behind ``fd`` asks for; None if it is not ELF. Raises Invalid if it is damaged."""
    ident = os.pread(fd, 16, 0)
    if ident[:4] != b"\x7fELF":
        return None
    if len(ident) < 16 or ident[4] not in _LAYOUTS or ident[5] not in (1, 2):
        raise Invalid("an ELF file is neither 32 nor 64 bits")
    layout, order = _LAYOUTS[ident[4]], "<>"[ident[5] - 1]
    header = _unpack(fd, order + layout.header, 18)
    abi = Abi(32 * ident[4], order, header[0])
    loads, dynamic, interpreter = [], b"", ""
    for kind, offset, address, size in _segments(fd, order, layout, header):
        if kind == PT_LOAD:
            loads.append((address, offset, size))
        elif kind == PT_DYNAMIC:
            dynamic = _pread(fd, min(size, _MAX_TABLE), offset)
        elif kind == PT_INTERP:
            interpreter = _text(fd, offset)
    tags = _tags(dynamic, order + layout.dynamic)
    table = _file_offset(next((value for tag, value in tags if tag == DT_STRTAB), 0), loads)

    def texts(wanted: int) -> list[str]:
        return [_text(fd, table + value) for tag, value in tags if tag == wanted]

    return Elf(
        abi,
        interpreter,
        "".join(texts(DT_SONAME)[:1]),
        tuple(texts(DT_NEEDED)),
        _paths(texts(DT_RPATH)),
        _paths(texts(DT_RUNPATH)),
    )


def _segments(fd: int, order: str, layout: _Layout, header: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    start, size, count = header[3], header[7], header[8]
    form = order + layout.segment
    if count and size != struct.calcsize(form):
        raise Invalid(f"an ELF file's program headers have {size} bytes each")
    table = _pread(fd, size * count, start)
    kind, offset, address, length = layout.segment_fields
    return [(row[kind], row[offset], row[address], row[length]) for row in struct.iter_unpack(form, table)]


def _tags(dynamic: bytes, form: str) -> list[tuple[int, int]]:
    width = struct.calcsize(form)
    found: list[tuple[int, int]] = []
    for tag, value in struct.iter_unpack(form, dynamic[: len(dynamic) // width * width]):
        if tag == DT_NULL:
            break
        found.append((tag, value))
    return found


def _file_offset(address: int, loads: list[tuple[int, int, int]]) -> int:
    if not address:
        return 0
    for start, offset, size in loads:
        if start <= address < start + size:
            return address - start + offset
    raise Invalid("an ELF file's string table lies outside of its segments")


def _paths(texts: list[str]) -> tuple[str, ...]:
    return tuple(path for text in texts for path in text.split(":") if path)


def _unpack(fd: int, form: str, offset: int) -> tuple[int, ...]:
    return struct.unpack(form, _pread(fd, struct.calcsize(form), offset))


def _text(fd: int, offset: int) -> str:
    data, end, _ = _bounded(fd, _MAX_TEXT, offset).partition(b"\0")
    if not end:
        raise Invalid("an ELF file has a text without an end")
    return os.fsdecode(data)


def _pread(fd: int, size: int, offset: int) -> bytes:
    data = _bounded(fd, size, offset)
    if len(data) != size:
        raise Invalid("an ELF file ends early")
    return data


def _bounded(fd: int, size: int, offset: int) -> bytes:
    # pread refuses offsets beyond 2**63 - 1 with an OverflowError: they point at nothing.
    return os.pread(fd, size, offset) if offset < 1 << 62 else b""
