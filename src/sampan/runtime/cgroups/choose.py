"""Which cgroup hierarchies this machine has, and which of them a container joins.

Three worlds are met in the field: v2 alone (one hierarchy at /sys/fs/cgroup), v1 (one for each controller or pair of
them), and hybrids of both. A container joins every v1 hierarchy that has a controller of ``WANTED``, or else v2.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "freezer", "devices", "hugetlb")
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


def joined(found: list[Hierarchy], asked: tuple[str, ...] = ()) -> list[Hierarchy]:
    """Those that a container joins: v1 hierarchies if they hold the memory or pids controller, else v2 alone.

    ``asked`` are controllers beside ``WANTED`` that its limits need.
    """
    wanted = (*WANTED, *asked)
    first = [entry for entry in found if entry.version == 1 and any(name in wanted for name in entry.controllers)]
    if any("memory" in entry.controllers or "pids" in entry.controllers for entry in first):
        return first
    return [entry for entry in found if entry.version == 2][:1]
