"""A root directory on a file system that is too small: a sentence, and the room is back."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sampan.linux import mounts

pytestmark = [pytest.mark.system, pytest.mark.root]

Sampan = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounts.mount(b"none", os.fsencode(disk), b"tmpfs", 0, b"size=200m")
    yield disk
    mounts.umount(os.fsencode(disk))


@pytest.fixture
def sampan(disk: Path) -> Sampan:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sampan", "--root", str(disk / "root"), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    return run


def fill_up(disk: Path) -> None:
    with open(disk / "fill", "wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def used(disk: Path) -> int:
    status = os.statvfs(disk)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def test_an_image_that_does_not_fit_leaves_nothing(disk: Path, sampan: Sampan) -> None:
    (disk / "other").write_bytes(bytes(130 << 20))
    before = used(disk)
    made = sampan("base", "host")
    assert made.returncode == 1
    assert "No space left" in made.stderr or "the disk is full" in made.stderr
    assert made.stderr.count("\n") == 2
    assert used(disk) - before < 1 << 20
    assert sampan("images", "-q").stdout == ""


def test_what_fills_the_disk_can_be_removed(disk: Path, sampan: Sampan, tmp_path: Path) -> None:
    assert sampan("base", "host").returncode == 0
    before = used(disk)
    fill = ("localhost/python:host", "sh", "-c", "dd if=/dev/zero of=/x bs=1M; exit 7")
    assert sampan("run", "--rm", "--network=none", *fill).returncode == 7
    assert used(disk) - before < 1 << 20
    assert sampan("run", "--name=full", "--network=none", *fill).returncode == 7
    assert sampan("rm", "full").returncode == 0
    assert used(disk) - before < 1 << 20

    (tmp_path / "Dockerfile").write_text("FROM localhost/python:host\nRUN dd if=/dev/zero of=/x bs=1M\n")
    built = sampan("build", "--network=none", str(tmp_path))
    assert (built.returncode, "failed with exit code 1" in built.stderr) == (1, True)
    assert used(disk) - before < 1 << 20


def test_the_last_byte_is_not_needed(disk: Path, sampan: Sampan) -> None:
    assert sampan("base", "host").returncode == 0
    assert sampan("run", "-d", "--name=one", "--network=none", "localhost/python:host", "cat").returncode == 0
    fill_up(disk)
    assert "one" in sampan("ps", "-a").stdout
    assert sampan("rm", "one").returncode == 0
    assert sampan("rmi", "localhost/python:host").returncode == 0
    assert sampan("images", "-q").stdout == ""
