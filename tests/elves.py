"""Small ELF files, written by the book (System V gABI): a header, program headers, a dynamic section, and no code."""

import struct
from collections.abc import Sequence
from pathlib import Path

X86_64, AARCH64 = 62, 183
_BASE = 0x400000


def elf(
    *,
    needed: Sequence[str] = (),
    interpreter: str = "",
    soname: str = "",
    rpath: str = "",
    runpath: str = "",
    bits: int = 64,
    order: str = "<",
    machine: int = X86_64,
) -> bytes:
    """The file's bytes. Its only loaded segment is the whole file, at an address that is not its offset."""
    word, wide = ("Q", bits == 64) if bits == 64 else ("I", False)
    strings, tags = bytearray(b"\0"), []

    def text(value: str) -> int:
        offset = len(strings)
        strings.extend(value.encode() + b"\0")
        return offset

    tags += [(1, text(name)) for name in needed]
    tags += [(tag, text(value)) for tag, value in ((14, soname), (15, rpath), (29, runpath)) if value]
    header_size, segment_size = (64, 56) if wide else (52, 32)
    segments = 3 if interpreter else 2
    strings_at = header_size + segments * segment_size
    interpreter_at = strings_at + len(strings)
    dynamic_at = interpreter_at + len(interpreter) + 1
    dynamic = b"".join(
        struct.pack(f"{order}{word}{word}", tag, value)
        for tag, value in [*tags, (5, _BASE + strings_at), (10, len(strings)), (0, 0)]
    )
    total = dynamic_at + len(dynamic)

    def segment(kind: int, offset: int, size: int) -> bytes:
        if wide:
            return struct.pack(f"{order}IIQQQQQQ", kind, 4, offset, _BASE + offset, 0, size, size, 1)
        return struct.pack(f"{order}IIIIIIII", kind, offset, _BASE + offset, 0, size, size, 4, 1)

    table = segment(1, 0, total) + segment(2, dynamic_at, len(dynamic))
    if interpreter:
        table += segment(3, interpreter_at, len(interpreter) + 1)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    header = ident + struct.pack(
        f"{order}HHI{word}{word}{word}IHHHHHH",
        3, machine, 1, 0, header_size, 0, 0, header_size, segment_size, segments, 0, 0, 0,
    )  # fmt: skip
    return header + table + bytes(strings) + interpreter.encode() + b"\0" + dynamic


def put(path: Path, data: bytes) -> str:
    """Writes a file with its directories, and gives its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)
