"""A disk that fills up in the middle of something: a sentence, nothing half done, and all that was there still runs."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import commands
import images
from commands import Sampan
from stores import half_done, problems

pytestmark = [pytest.mark.system, pytest.mark.root, pytest.mark.needs("busybox", "mkfs.ext4")]
MEBIBYTE = 1 << 20


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Sampan]:
    """A store on a file system of its own, of 24 MiB."""
    disk, mounted = tmp_path / "disk", tmp_path / "mounted"
    with disk.open("wb") as file:
        file.truncate(24 * MEBIBYTE)
    commands.run(["mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", disk], check=True)
    mounted.mkdir()
    if subprocess.run(["mount", "-o", "loop", disk, mounted], check=False, capture_output=True).returncode:
        pytest.skip("the kernel has no loop devices to spare")
    try:
        sampan = Sampan(mounted / "root")
        yield sampan
        sampan.remove_containers()
    finally:
        subprocess.run(["umount", mounted], check=True)


def contents(size: int) -> list[bytes]:
    """A busybox and two layers, each of one file that does not shrink."""
    return [images.busybox_layer(), *(images.layer({f"big{number}": os.urandom(size)}) for number in range(2))]


@pytest.mark.parametrize("verb", ["pull", "load", "build", "tag"])
def test_a_full_disk(verb: str, small: Sampan, tmp_path: Path) -> None:
    images.put(small, "kept")
    with images.served(contents(7 * MEBIBYTE)) as address:
        small("copy", f"docker://{address}/big", f"docker-archive:{tmp_path}/big.tar:big")
        (tmp_path / "Dockerfile").write_text("FROM kept\nRUN dd if=/dev/urandom of=/big bs=1M count=100 2>/dev/null\n")
        command: list[str | Path] = {
            "pull": ["pull", f"{address}/big"],
            "load": ["load", "-i", tmp_path / "big.tar"],
            "build": ["build", "--network=none", "-t", "big", tmp_path],
            "tag": ["tag", "kept", "big"],
        }[verb]
        before = shutil.disk_usage(small.root).used
        if verb == "tag":
            fill(small.root / "filling")
        failed = small(*command, check=False)
        (small.root / "filling").unlink(missing_ok=True)
    if verb != "tag":
        assert failed.returncode == 1
        assert "No space left" in failed.stderr or "the disk is full" in failed.stderr or verb == "build"
        assert len(failed.stderr.splitlines()) <= 2 or verb == "build"
    assert problems(small) == []
    assert small("run", "--rm", "--network=none", "kept", "echo", "ok").stdout == "ok\n"
    small("image", "prune", "-f")
    assert half_done(small) == []
    assert shutil.disk_usage(small.root).used - before < MEBIBYTE


def fill(path: Path) -> None:
    """Takes all room that there is."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
