"""What a container may read from and write to block devices: the language of the flags, and the runtime spec's."""

from __future__ import annotations

import os
import stat

from sampan.containers.limits import parse_bytes
from sampan.containers.options import Limits
from sampan.errors import Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

THROTTLES = {
    "device-read-bps": "throttleReadBpsDevice",
    "device-write-bps": "throttleWriteBpsDevice",
    "device-read-iops": "throttleReadIOPSDevice",
    "device-write-iops": "throttleWriteIOPSDevice",
}
"""Docker's flags, and what the runtime spec calls them (config-linux.md, "Block IO")."""


def parse_weight(text: str) -> tuple[str, int]:
    """``--blkio-weight-device PATH:WEIGHT``. Raises Invalid and NotFound."""
    path, number = _split(text, "--blkio-weight-device", "WEIGHT, for example /dev/sda:200")
    if not number.isdigit() or not (number == "0" or 10 <= int(number[:5]) <= 1000):
        raise Invalid(f"invalid --blkio-weight-device {text!r}: a weight is a number from 10 to 1000, or 0")
    return path, int(number)


def parse_throttle(flag: str, text: str) -> tuple[str, str, int]:
    """``--device-read-bps PATH:RATE`` and its like; ``flag`` is a key of ``THROTTLES``. Raises Invalid and NotFound."""
    counts_bytes = flag.endswith("bps")
    path, number = _split(text, f"--{flag}", "RATE, for example /dev/sda:" + ("1mb" if counts_bytes else "1000"))
    if counts_bytes:
        return flag, path, parse_bytes(number, f"--{flag}")
    if not number.isascii() or not number.isdigit() or int(number[:20]) >= 1 << 64:
        raise Invalid(f"invalid --{flag} {text!r}: a rate is a number of operations in a second")
    return flag, path, int(number)


def _split(text: str, flag: str, form: str) -> tuple[str, str]:
    path, colon, number = text.rpartition(":")
    if not colon or not path.startswith("/dev/") or not number:
        raise Invalid(f"invalid {flag} {text!r}", hint=f"write it as /dev/NAME:{form}")
    _number(path)
    return path, number


def _number(path: str) -> dict[str, int]:
    try:
        status = os.stat(path)
    except OSError as error:
        raise NotFound(f"there is no device {path}: {error.strerror}") from None
    if not stat.S_ISBLK(status.st_mode):
        raise Invalid(f"{path} is not a block device")
    return {"major": os.major(status.st_rdev), "minor": os.minor(status.st_rdev)}


def resources(limits: Limits) -> dict[str, Any]:
    """The runtime spec's ``linux.resources.blockIO``."""
    found: dict[str, Any] = {"weight": limits.blkio_weight}
    found["weightDevice"] = [{**_number(path), "weight": weight} for path, weight in limits.device_weights if weight]
    for flag, path, rate in limits.throttles:
        found.setdefault(THROTTLES[flag], []).append({**_number(path), "rate": rate})
    return found
