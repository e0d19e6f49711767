"""Device rules on cgroup v2, by effect: a process in the cgroup opens devices."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sampan.runtime.cgroups import choose, devices

pytestmark = [pytest.mark.system, pytest.mark.root]
DENY: dict[str, Any] = {"allow": False, "access": "rwm"}
MEMORY = {"allow": True, "type": "c", "major": 1, "minor": -1, "access": "rw"}
PROBE = """
import os, sys
open(f"{sys.argv[1]}/cgroup.procs", "w").write("0")
for path in ("/dev/null", "/dev/zero", "/dev/full"):
    for flags, word in ((os.O_RDONLY, "r"), (os.O_WRONLY, "w")):
        try:
            os.close(os.open(path, flags))
            print(path.removeprefix("/dev/") + word, end=" ")
        except PermissionError:
            pass
"""


def null(access: str, *, allow: bool = True) -> dict[str, Any]:
    return {"allow": allow, "type": "c", "major": 1, "minor": 3, "access": access}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], "nullr nullw zeror zerow fullr fullw"),
        ([DENY], ""),
        ([DENY, null("rwm")], "nullr nullw"),
        ([DENY, null("r")], "nullr"),
        ([null("rwm"), DENY], ""),
        ([DENY, MEMORY, null("w", allow=False)], "nullr zeror zerow fullr fullw"),
        ([DENY, {"allow": True, "type": "b", "access": "rwm"}], ""),
        ([DENY, {"allow": True, "type": "a"}], "nullr nullw zeror zerow fullr fullw"),
    ],
)  # fmt: skip
def test_what_can_be_opened(rules: list[dict[str, Any]], expected: str) -> None:
    mounts = [each.mount for each in choose.hierarchies() if each.version == 2]
    if not mounts:
        pytest.skip("the machine has no cgroup v2 hierarchy")
    directory = Path(mounts[0]) / f"sampan-test-devices-{os.getpid()}"
    directory.mkdir()
    try:
        devices.attach(str(directory), devices.compile(rules))
        words = [sys.executable, "-c", PROBE, directory]
        found = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
        assert found.split() == expected.split()
    finally:
        directory.rmdir()
