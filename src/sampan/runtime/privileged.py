"""A container with all the privileges of whoever starts it (``--privileged``, ``RUN --security=insecure``)."""

from __future__ import annotations

from sampan.linux import capabilities
from sampan.runtime import nodes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


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
    found = (node for node in nodes.below("/dev", "/dev") if node[0].split("/")[2] not in nodes.OWN)
    linux["devices"] = [{"path": target, "source": source} for source, target in found]
    linux["ownNodes"] = True
    for mount in spec["mounts"]:
        if mount["type"] in ("sysfs", "cgroup"):
            mount["options"] = [option for option in mount["options"] if option != "ro"]
