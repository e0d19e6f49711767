"""Directories that turn into links, and back, while containers are being made in them: nothing comes to be outside.

SAMPAN_RACE_SECONDS says for how long each test tries; by default it is a few seconds.
"""

import os
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import hostile
import images
from bundles import Bundle
from commands import Sampan
from inside import RUN
from residents import read_until, started

pytestmark = [
    pytest.mark.system,
    pytest.mark.needs("gcc", "busybox"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the machine is no x86_64, for which the attack is made"),
]
SECONDS = float(os.environ.get("SAMPAN_RACE_SECONDS", "4"))


def rounds() -> Iterator[int]:
    """Numbers, as long as it is to be tried, and some at least."""
    end, number = time.monotonic() + SECONDS, 0
    while number < 5 or time.monotonic() < end:
        yield number
        number += 1


def test_mount_targets_of_a_volume_that_move(anyone: Sampan, outside: Path) -> None:
    """CVE-2021-30465, CVE-2024-45310: a container swaps them in a volume that others share. Guard: ``beneath``, whose
    descriptors the mounts, the directories and files that are made for them, and the working directory go by."""
    images.put(anyone, "racing", {"swap": hostile.swapper()})
    prepare = f"mkdir /vol/a && ln -s {outside} /vol/b && exec /swap /vol"
    options = ("-d", "--network", "none", "--name", "hull", "-v", "shared:/vol")
    anyone("run", *options, "racing", "sh", "-c", prepare)
    with started(anyone, "logs", "-f", "hull") as process:
        read_until(process.stdout, "up\n")
    for number in rounds():
        file = ("-v", f"{outside}/canary:/vol/a/file{number}")
        more = ("-v", f"/vol/a/made{number}", "--tmpfs", f"/vol/a/deep/ram{number}", "-w", f"/vol/a/work{number}")
        # One that does not succeed, since what was there a moment ago is gone, does as well.
        anyone(*RUN, "-v", "shared:/vol", *file, *more, "racing", "true", check=False)
        anyone("exec", "-w", "/vol/a", "hull", "touch", f"touched{number}", check=False)
    assert str(outside) not in Path("/proc/self/mountinfo").read_text()
    # The fixture compares what is outside with what was.


def test_mount_targets_of_a_bundle_that_move(anyones_bundle: Bundle) -> None:
    """The same in the root file system of a bundle, by someone who can write there. Guard: ``beneath``."""
    bundle = anyones_bundle
    outside = bundle.path.parent / "outside"
    (bundle.root / "vol/a/pts").mkdir(parents=True)
    (bundle.root / "vol/b").symlink_to(outside)
    (bundle.root / "vol/a/secret").write_text("secret")
    for number in range(4):
        bundle.mount(f"/vol/a/bound{number}", "bind", "bind", source=bundle.root / "etc")
        bundle.mount(f"/vol/a/deep/ram{number}", "tmpfs")
        bundle.mount(f"/vol/a/file{number}", "bind", "bind", source=bundle.root / "bin/busybox")
    bundle.linux["maskedPaths"] += ["/vol/a/secret", "/vol/a/canary"]
    bundle.linux["readonlyPaths"] += ["/vol/a/pts"]
    bundle.process["cwd"] = "/vol/a/work/deep"
    with swapping(bundle, "touch", "touched"):
        for _ in rounds():
            done = bundle("run", "-b", bundle.path, bundle.name(), check=False)
            assert "Traceback" not in done.stderr
    assert str(outside) not in Path("/proc/self/mountinfo").read_text()


@contextmanager
def swapping(bundle: Bundle, *args: str) -> Iterator[None]:
    """A bundle that executes ``args``, and beside it someone who swaps what is in its directory /vol."""
    program = bundle.path / "swap"
    program.write_bytes(hostile.swapper())
    program.chmod(0o755)
    bundle.write(*args)
    words = [str(program), str(bundle.root / "vol")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, **bundle.identity()) as process:
        try:
            read_until(process.stdout, "up\n")
            yield
        finally:
            process.kill()
