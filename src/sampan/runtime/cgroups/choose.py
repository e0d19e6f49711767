"""Which cgroup hierarchies this machine has, and which of them a container joins.

Three worlds are met in the field: v2 alone (one hierarchy at /sys/fs/cgroup), v1 (one for each controller or pair of
them), and hybrids of both. A container joins every v1 hierarchy that has a controller of ``WANTED``, or else v2.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple

CONTROLLERS = (
    "cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "freezer", "devices", "hugetlb", "rdma", "net_cls",
    "net_prio",
)  # fmt: skip
WANTED = ("cpu", "cpuacct", "memory", "pids", "freezer")
"""To count and to pause; each hierarchy that is joined costs half a millisecond, so others wait until a limit asks."""
PARENT = "sampan"


class Hierarchy(NamedTuple):
    """A mounted hierarchy. ``name`` is how its mount is called below /sys/fs/cgroup ("cpu,cpuacct"; "" for v2)."""

    name: str
    controllers: tuple[str, ...]
    mount: str
    version: int


def hierarchies(mountinfo: str = "/proc/self/mountinfo") -> list[Hierarchy]:
    """Every cgroup hierarchy mounted here, v1 first (proc(5), mountinfo)."""
    found: list[Hierarchy] = []
    with open(mountinfo) as file:
        for line in file:
            head, _, tail = line.partition(" - ")
            fstype = tail[: tail.find(" ")]
            if fstype == "cgroup2":
                mount = head.split()[4]
                found.append(Hierarchy("", (), mount, 2))
            elif fstype == "cgroup":
                mount = head.split()[4]
                options = tail.split()[2].split(",")
                controllers = tuple(option for option in options if option in CONTROLLERS)
                if controllers:
                    found.append(Hierarchy(mount.rpartition("/")[2], controllers, mount, 1))
    return sorted(dict.fromkeys(found), key=lambda hierarchy: hierarchy.version)


def unserved(found: list[Hierarchy], resources: dict[str, Any]) -> list[str]:
    """Controllers that limits (runtime-spec ``linux.resources``) need and none of these hierarchies has, by their names
    in v1; "unified" where v1 alone is joined. What v2 has is told by its files."""
    served = {name for entry in found for name in entry.controllers}
    if any(entry.version == 2 for entry in found):
        served = {*CONTROLLERS, "unified"} - {"net_cls", "net_prio"}
    asked = {name for key, some in _SERVING.items() for name, part in _parts(key, resources, some) if _says(part)}
    return sorted(asked - served)


# The specification's key → the controllers by what they serve of it; "" is all of it.
_SERVING = {
    "memory": {"": "memory"}, "pids": {"": "pids"}, "blockIO": {"": "blkio"}, "hugepageLimits": {"": "hugetlb"},
    "rdma": {"": "rdma"}, "unified": {"": "unified"}, "network": {"classID": "net_cls", "priorities": "net_prio"},
    "cpu": {"cpus": "cpuset", "mems": "cpuset", "shares": "cpu", "quota": "cpu", "realtimeRuntime": "cpu"},
}  # fmt: skip


def _parts(key: str, resources: dict[str, Any], some: dict[str, str]) -> list[tuple[str, Any]]:
    value = resources.get(key) or {}
    return [(controller, value.get(part) if part else value) for part, controller in some.items()]


def _says(value: Any) -> bool:
    """Whether there is a limit in it: engines write down empty ones, and -1 for none."""
    if isinstance(value, dict):
        return any(map(_says, value.values()))
    return bool(value) and value != -1


def mounts(mountinfo: str = "/proc/self/mountinfo") -> list[str]:
    """Where control groups are mounted, those without controllers too: other runtimes join every hierarchy."""
    found = []
    with open(mountinfo) as file:
        for line in file:
            head, _, tail = line.partition(" - ")
            if tail.startswith(("cgroup ", "cgroup2 ")):
                found.append(head.split()[4])
    return found


def joined(found: list[Hierarchy], asked: tuple[str, ...] = ()) -> list[Hierarchy]:
    """Those that a container joins: v1 hierarchies if they hold the memory or pids controller, else v2 alone.

    ``asked`` are controllers beside ``WANTED`` that its limits need.
    """
    wanted = (*WANTED, *asked)
    first = [entry for entry in found if entry.version == 1 and any(name in wanted for name in entry.controllers)]
    if any("memory" in entry.controllers or "pids" in entry.controllers for entry in first):
        return first
    return [entry for entry in found if entry.version == 2][:1]
