"""The files that images are made of: the same bytes on every machine, from a seed.

Sizes are log-normal, as in real images: most files have a few kilobytes, and some files most of the bytes. By bytes,
60 % are like text (lines drawn from a stock of sentences over a vocabulary with Zipf's frequencies), 33 % like programs
(32-byte records from a stock, most of them sparse), and 7 % are random, as archives and pictures are. gzip -6 makes
such an image about 0.4 times as large, as it makes the images of Python applications.
"""

import hashlib
import io
import itertools
import json
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

MANY = "bench/many"
"""The repository of the images of ``write_images``."""
_MTIME = 1_600_000_000
_KINDS = ("text", "program", "random")
_SHARES = (0.6, 0.33, 0.07)
_WORD_COUNT, _LINE_COUNT, _RECORD_COUNT, _RECORD_SIZE = 4_000, 16_384, 16_384, 32
_DIRECTORY_SIZE = 24
"""Files in a directory."""


class File(NamedTuple):
    """``path`` is relative, ``size`` in bytes."""

    path: str
    kind: str
    size: int


class Stock(NamedTuple):
    """What contents are drawn from."""

    lines: Sequence[bytes]
    records: Sequence[bytes]


def stock(seed: int = 1) -> Stock:
    """The stock of lines and records."""
    random = Random(seed)
    letters = "etaoinsrhldcumfpgwybvkxjqz_"
    rarity = [1 / rank for rank in range(1, len(letters) + 1)]
    words = ["".join(random.choices(letters, rarity, k=random.randint(2, 11))) for _ in range(_WORD_COUNT)]
    frequencies = list(itertools.accumulate(1 / rank for rank in range(1, _WORD_COUNT + 1)))
    lines = [
        ("    " * random.randint(0, 3) + " ".join(random.choices(words, cum_weights=frequencies, k=8)) + "\n").encode()
        for _ in range(_LINE_COUNT)
    ]
    return Stock(lines, [_record(random) for _ in range(_RECORD_COUNT)])


def _record(random: Random) -> bytes:
    filled = random.choice((4, 8, 12, 24))
    return random.randbytes(filled).ljust(_RECORD_SIZE, b"\0")


def plan(name: str, count: int, total: int) -> list[File]:
    """``count`` files below the directory ``name``, of ``total`` bytes in all, give or take one for each file."""
    random = Random(name)
    weights = [random.lognormvariate(0, 1.9) for _ in range(count)]
    scale = total / sum(weights)
    kinds = random.choices(_KINDS, _SHARES, k=count)
    return [
        File(f"{name}/{_directory(number)}/{number:05}.{kind}", kind, int(weight * scale))
        for number, (weight, kind) in enumerate(zip(weights, kinds, strict=True))
    ]


def _directory(number: int) -> str:
    group = number // _DIRECTORY_SIZE
    return f"part{group % 17}/group{group}"


def content(file: File, stock: Stock) -> bytes:
    """The bytes of a file; its path is the seed."""
    random = Random(file.path)
    if file.kind == "random":
        return random.randbytes(file.size)
    if file.kind == "program":
        return b"".join(random.choices(stock.records, k=file.size // _RECORD_SIZE + 1))[: file.size]
    lines = b"".join(random.choices(stock.lines, k=file.size // 40 + 1))
    return lines[: file.size]


def write(directory: Path, files: Sequence[File], stock: Stock) -> None:
    """Writes files with fixed modes and times, and the directories that they lie in."""
    for parent in dict.fromkeys(os.path.dirname(file.path) for file in files):
        (directory / parent).mkdir(parents=True, exist_ok=True)
    for file in files:
        path = directory / file.path
        path.write_bytes(content(file, stock))
        os.utime(path, (_MTIME, _MTIME))


class Size(NamedTuple):
    """Of the large image: megabytes and files of its two layers together."""

    megabytes: int
    files: int

    def layers(self) -> Iterator[tuple[str, int, int]]:
        """A name, a number of files and a number of bytes for each layer: a base, and an application on it."""
        base_files, base_bytes = self.files * 7 // 10, self.megabytes * 750_000
        yield "base", base_files, base_bytes
        yield "application", self.files - base_files, self.megabytes * 1_000_000 - base_bytes


def write_tiny(directory: Path, busybox: str) -> None:
    """The context of an image with a shell and core tools, and nothing else."""
    (directory / "bin").mkdir(parents=True)
    shutil.copy(busybox, directory / "bin/busybox")
    for tool in ("sh", "true", "echo", "cat", "sleep", "ip", "find", "wc"):
        (directory / "bin" / tool).symlink_to("busybox")
    (directory / "Dockerfile").write_text('FROM scratch\nCOPY bin /bin/\nENV PATH=/bin\nCMD ["sh"]\n')


def write_large(directory: Path, base: str, size: Size, stock: Stock) -> None:
    """The context of the large image: two layers on the image ``base``."""
    directory.mkdir()
    lines = [f"FROM {base}"]
    for name, count, total in size.layers():
        write(directory, plan(name, count, total), stock)
        lines.append(f"COPY {name} /{name}/")
    (directory / "Dockerfile").write_text("\n".join(lines) + "\n")


def write_project(directory: Path, base: str, stock: Stock, count: int = 2_000) -> None:
    """A project of ``count`` small files, with a Dockerfile that copies what changes last."""
    directory.mkdir()
    files = plan("source", count - 2, count * 4_000)
    write(directory, [file._replace(kind="text") for file in files], stock)
    (directory / "requirements.txt").write_text("flask\n")
    (directory / "app.py").write_text("print(0)\n")
    (directory / "Dockerfile").write_text(
        f"FROM {base}\nWORKDIR /app\nCOPY requirements.txt .\nRUN cat requirements.txt >installed\nCOPY . .\n"
        'CMD ["cat", "app.py"]\n'
    )


def write_many(directory: Path, base: str, stock: Stock, count: int = 20_000, total: int = 500_000_000) -> None:
    """The context of an image that is mostly one COPY of many files."""
    directory.mkdir()
    write(directory, plan("tree", count, total), stock)
    (directory / "Dockerfile").write_text(f"FROM {base}\nCOPY tree /tree/\n")


def write_stages(directory: Path, base: str, count: int = 10) -> None:
    """The context of an image that stages make which do not need each other."""
    directory.mkdir()
    stages = [f"FROM {base} AS stage{number}\nRUN echo {number} >/result{number}\n" for number in range(count)]
    copies = [f"COPY --from=stage{number} /result{number} /results/\n" for number in range(count)]
    (directory / "Dockerfile").write_text("".join((*stages, f"FROM {base}\n", *copies)))


def write_file(directory: Path, base: str, stock: Stock, size: int = 2_000_000_000) -> None:
    """The context of an image with one very large file."""
    directory.mkdir()
    piece = b"".join(content(file, stock) for file in plan("piece", 1_000, 10_000_000))
    with (directory / "file").open("wb") as file:
        for _ in range(size // len(piece)):
            file.write(piece)
    (directory / "Dockerfile").write_text(f"FROM {base}\nCOPY file /\n")


def write_images(path: Path, count: int) -> None:
    """An archive as ``docker save`` writes it: images that differ in a label, and share their only layer."""
    layer = _tar({"file": b"content\n"})
    diff_id = hashlib.sha256(layer).hexdigest()
    files = {f"{diff_id}/layer.tar": layer}
    listed = []
    for number in range(count):
        value = {
            "architecture": "amd64",
            "os": "linux",
            "created": f"2024-01-01T00:00:{number % 60:02}Z",
            "config": {"Labels": {"number": str(number)}, "Cmd": ["true"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
            "history": [{"created_by": "bench"}],
        }
        config = json.dumps(value).encode()
        name = f"{hashlib.sha256(config).hexdigest()}.json"
        files[name] = config
        listed.append({"Config": name, "RepoTags": [f"{MANY}:{number}"], "Layers": [f"{diff_id}/layer.tar"]})
    path.write_bytes(_tar({**files, "manifest.json": json.dumps(listed).encode()}))


def _tar(files: Mapping[str, bytes]) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return output.getvalue()
