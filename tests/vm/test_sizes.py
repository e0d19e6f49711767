"""``--storage-opt size``: a file system with project quotas, which the kernel outside need not have."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import Sampan
from residents import IMAGE, state

FILL = "dd if=/dev/zero of=/x bs=64k 2>&1 | grep -o 'Disk quota exceeded\\|No space left on device'"
SIZE = 8 << 20


@pytest.fixture
def limited(root: Sampan, tmp_path: Path) -> Iterator[Sampan]:
    """A store on an ext4 of 128 MB that is mounted with prjquota."""
    image, place = tmp_path / "image", tmp_path / "place"
    place.mkdir()
    image.touch()
    os.truncate(image, 128 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "quota,project", "-E", "quotatype=prjquota", image], check=True)
    subprocess.run(["mount", "-o", "loop,prjquota", image, place], check=True)
    try:
        shutil.copytree(root.root, place / "store", symlinks=True)
        sampan = Sampan(place / "store")
        yield sampan
        sampan.remove_containers()
    finally:
        subprocess.run(["umount", place], check=True)


def written(sampan: Sampan, name: str) -> int:
    return int(sampan("exec", name, "stat", "-c", "%s", "/x").stdout)


def test_a_disk_bomb_meets_its_size(limited: Sampan) -> None:
    words = ("run", "-d", "--network", "none", "--name", "bomb", "--storage-opt", "size=8m")
    limited(*words, IMAGE, "sh", "-c", f"{FILL}; echo full; sleep 1077")
    said = ""
    while "full" not in said:
        said = limited("logs", "bomb").stdout
        assert state(limited, "bomb")["Running"], said
    assert said.split("\n")[0] in ("Disk quota exceeded", "No space left on device")
    assert SIZE // 2 < written(limited, "bomb") <= SIZE
    # The others have all the room there is.
    fill = ("sh", "-c", "dd if=/dev/zero of=/x bs=1M count=20 2>/dev/null && stat -c %s /x")
    assert limited("run", "--rm", "--network", "none", IMAGE, *fill).stdout == f"{20 << 20}\n"
    # What is removed is free, also for its own container and for moves over what the image has.
    script = "rm /x && dd if=/dev/zero of=/y bs=1M count=4 2>/dev/null && mv /y /data/seed && stat -c %s /data/seed"
    assert limited("exec", "bomb", "sh", "-c", script).stdout == f"{4 << 20}\n"
    limited("rm", "-f", "bomb")


def test_two_have_their_own_sizes_and_nothing_stays(limited: Sampan) -> None:
    for name, size in (("small", "2m"), ("large", "16m")):
        limited("run", "--network", "none", "--name", name, "--storage-opt", f"size={size}", IMAGE, "sh", "-c", FILL)
    sizes = {}
    for name in ("small", "large"):
        limited("cp", f"{name}:/x", str(limited.root.parent / name))
        sizes[name] = (limited.root.parent / name).stat().st_size
    assert 1 << 20 < sizes["small"] <= 2 << 20
    assert 8 << 20 < sizes["large"] <= 16 << 20
    limited("rm", "small", "large")


def test_a_second_life_has_the_size_of_the_first(limited: Sampan) -> None:
    script = "dd if=/dev/zero of=/x$(ls / | grep -c ^x) bs=1M count=5 2>/dev/null; ls / | grep -c ^x"
    words = ("run", "--network", "none", "--name", "hull", "--storage-opt", "size=8m", IMAGE, "sh", "-c", script)
    assert limited(*words).stdout == "1\n"
    assert limited("start", "-a", "hull").stdout == "2\n"
    used = limited("ps", "-as", "--format", "{{.Size}}").stdout
    assert float(used.split("MB")[0]) < 8.5, used
