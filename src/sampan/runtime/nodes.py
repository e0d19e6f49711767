"""Device nodes: those that every container has, which others the kernel lets it use, and what there is on the host."""

from __future__ import annotations

import os
import stat

from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STANDARD = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
"""Names in /dev, with major and minor number (runtime-spec, config-linux.md, "Default Devices")."""
OWN = (
    "pts", "shm", "mqueue", "console", "fd", "stdin", "stdout", "stderr", "ptmx", *(name for name, _, _ in STANDARD)
)  # fmt: skip
"""What each container has of its own in /dev."""
# Every container may make nodes of any device, but use only these: its own terminals, and what /dev must have.
_ALLOWED = (
    ("c", -1, -1, "m"), ("b", -1, -1, "m"), *(("c", major, minor, "rwm") for _, major, minor in STANDARD),
    ("c", 5, 1, "rwm"), ("c", 5, 2, "rwm"), ("c", 136, -1, "rwm"),
)  # fmt: skip


def allowed() -> list[dict[str, Any]]:
    """The rules of the devices controller (config-linux.md, "Allowed Device list") for what every container may use."""
    return [
        {"allow": True, "type": kind, "major": major, "minor": minor, "access": access}
        for kind, major, minor, access in _ALLOWED
    ]


def rule(path: str, access: str) -> dict[str, Any]:
    """The rule that allows ``access`` ("rwm") to the device that the node at ``path`` stands for."""
    node = described(path)
    return {"allow": True, **{key: node[key] for key in ("type", "major", "minor")}, "access": access}


def described(path: str) -> dict[str, Any]:
    """The node at ``path`` as the specification describes one (config-linux.md, "Devices"), but for its own path."""
    status = os.stat(path)
    return {
        "type": "b" if stat.S_ISBLK(status.st_mode) else "c",
        "major": os.major(status.st_rdev), "minor": os.minor(status.st_rdev),
        "fileMode": stat.S_IMODE(status.st_mode), "uid": status.st_uid, "gid": status.st_gid,
    }  # fmt: skip


def below(source: str, target: str) -> list[tuple[str, str]]:
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
            directories[:] = [name for name in directories if name not in OWN]
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
