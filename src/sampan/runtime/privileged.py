"""A container with all the privileges of whoever starts it (``--privileged``, ``RUN --security=insecure``)."""

from __future__ import annotations

import os
import stat

from sampan.errors import Invalid
from sampan.linux import capabilities
from sampan.runtime.defaults import DEVICES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_OWN = ("pts", "shm", "mqueue", "console", "fd", "stdin", "stdout", "stderr", "ptmx", *DEVICES)


def known() -> list[str]:
    """The capabilities that this process can give at most."""
    bits = capabilities.bounding()
    return [name for number, name in enumerate(capabilities.NAMES) if bits >> number & 1]


def open_up(spec: dict[str, Any]) -> None:
    """Opens a runtime spec: all capabilities and devices, no filter of system calls, no masked or read-only paths."""
    process, linux = spec["process"], spec["linux"]
    names = known()
    effective = names if process["user"]["uid"] == 0 else []
    process["capabilities"] |= {"bounding": names, "effective": effective, "permitted": effective}
    linux["seccomp"] = None
    linux["maskedPaths"], linux["readonlyPaths"] = [], []
    nodes = (node for node in nodes_below("/dev", "/dev") if node[0].split("/")[2] not in _OWN)
    linux["devices"] = [{"path": target, "source": source} for source, target in nodes]
    for mount in spec["mounts"]:
        if mount["type"] in ("sysfs", "cgroup"):
            mount["options"] = [option for option in mount["options"] if option != "ro"]


def nodes_below(source: str, target: str) -> list[tuple[str, str]]:
    """The devices below ``source`` (itself, if it is no directory) with their paths inside, links resolved.

    Raises Invalid if it is neither.
    """
    source = os.path.realpath(source)
    if not os.path.isdir(source):
        if not _is_device(os.stat(source).st_mode):
            raise Invalid(f"{source} is not a device")
        return [(source, target)]
    found = []
    for directory, directories, names in os.walk(source):
        if directory == "/dev":  # file systems of their own, which a container has too
            directories[:] = [name for name in directories if name not in _OWN]
        for path in (os.path.join(directory, name) for name in sorted(names)):
            try:
                mode = os.lstat(path).st_mode
            except FileNotFoundError:
                continue
            if _is_device(mode):
                found.append((path, target + path[len(source) :]))
    return found


def _is_device(mode: int) -> bool:
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
