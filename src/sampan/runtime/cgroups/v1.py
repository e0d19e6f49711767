"""One container's directory in one cgroup v1 hierarchy (Linux Documentation/admin-guide/cgroup-v1)."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def limits(resources: dict[str, Any], controllers: tuple[str, ...]) -> list[tuple[str, str]]:
    """runtime-spec ``linux.resources`` as (file, text) pairs for these controllers, in the order to write them."""
    writes: list[tuple[str, str]] = []
    for controller in controllers:
        maker = _MAKERS.get(controller)
        if maker:
            writes += maker(resources)
    return writes


def join(directory: str) -> None:
    """Moves the calling process, which must have a single thread, into the cgroup.

    A thread that moves itself through "tasks" spares the kernel a lock over all processes, which costs an RCU grace
    period (some 10 ms); "cgroup.procs" is the same for a process of one thread.
    """
    with open(f"{directory}/tasks", "wb", buffering=0) as file:
        file.write(b"0")


def _memory(resources: dict[str, Any]) -> list[tuple[str, str]]:
    memory = resources.get("memory") or {}
    writes = []
    if memory.get("kernel"):
        writes.append(("memory.kmem.limit_in_bytes", str(memory["kernel"])))
    if memory.get("kernelTCP"):
        writes.append(("memory.kmem.tcp.limit_in_bytes", str(memory["kernelTCP"])))
    if memory.get("swappiness") is not None:
        writes.append(("memory.swappiness", str(memory["swappiness"])))
    if memory.get("limit"):
        writes.append(("memory.limit_in_bytes", str(memory["limit"])))
    if memory.get("swap"):
        writes.append(("memory.memsw.limit_in_bytes", str(memory["swap"])))
    if memory.get("reservation"):
        writes.append(("memory.soft_limit_in_bytes", str(memory["reservation"])))
    if memory.get("disableOOMKiller"):
        writes.append(("memory.oom_control", "1"))
    return writes


def _pids(resources: dict[str, Any]) -> list[tuple[str, str]]:
    limit = (resources.get("pids") or {}).get("limit")
    return [("pids.max", str(limit) if limit > 0 else "max")] if limit else []


def _cpu(resources: dict[str, Any]) -> list[tuple[str, str]]:
    cpu = resources.get("cpu") or {}
    names = (
        ("shares", "cpu.shares"), ("period", "cpu.cfs_period_us"), ("quota", "cpu.cfs_quota_us"),
        ("burst", "cpu.cfs_burst_us"), ("realtimePeriod", "cpu.rt_period_us"), ("realtimeRuntime", "cpu.rt_runtime_us"),
    )  # fmt: skip
    writes = [(file, str(cpu[key])) for key, file in names if cpu.get(key)]
    if cpu.get("idle") is not None:
        writes.append(("cpu.idle", str(cpu["idle"])))
    return writes


def _devices(resources: dict[str, Any]) -> list[tuple[str, str]]:
    writes = []
    for rule in resources.get("devices") or ():
        numbers = ":".join("*" if rule.get(key) in (None, -1) else str(rule[key]) for key in ("major", "minor"))
        file = "devices.allow" if rule.get("allow") else "devices.deny"
        writes.append((file, f"{rule.get('type') or 'a'} {numbers} {rule.get('access') or 'rwm'}"))
    return writes


def _cpuset(resources: dict[str, Any]) -> list[tuple[str, str]]:
    cpu = resources.get("cpu") or {}
    return [(f"cpuset.{key}", cpu[key]) for key in ("cpus", "mems") if cpu.get(key)]


THROTTLES = (
    ("throttleReadBpsDevice", "read_bps_device", "rbps"), ("throttleWriteBpsDevice", "write_bps_device", "wbps"),
    ("throttleReadIOPSDevice", "read_iops_device", "riops"), ("throttleWriteIOPSDevice", "write_iops_device", "wiops"),
)  # fmt: skip
"""The specification's name, the end of v1's file, v2's word."""


def _blkio(resources: dict[str, Any]) -> list[tuple[str, str]]:
    block = resources.get("blockIO") or {}
    writes = [("blkio.bfq.weight", str(block["weight"]))] if block.get("weight") else []
    for device in block.get("weightDevice") or ():
        writes.append(("blkio.bfq.weight_device", f"{device['major']}:{device['minor']} {device['weight']}"))
    for key, file, _ in THROTTLES:
        for device in block.get(key) or ():
            writes.append((f"blkio.throttle.{file}", f"{device['major']}:{device['minor']} {device['rate']}"))
    return writes


def _hugetlb(resources: dict[str, Any]) -> list[tuple[str, str]]:
    limits = resources.get("hugepageLimits") or ()
    return [(f"hugetlb.{each['pageSize']}.limit_in_bytes", str(each["limit"])) for each in limits]


def _rdma(resources: dict[str, Any]) -> list[tuple[str, str]]:
    return [("rdma.max", text) for text in rdma(resources)]


def rdma(resources: dict[str, Any]) -> list[str]:
    """The lines of rdma.max, which v1 and v2 share (Documentation/admin-guide/cgroup-v1/rdma.rst)."""
    lines = []
    for device, limits in (resources.get("rdma") or {}).items():
        words = (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object"))
        lines.append(
            " ".join([device, *(f"{word}={limits[key]}" for key, word in words if limits.get(key) is not None)])
        )
    return lines


def _net_cls(resources: dict[str, Any]) -> list[tuple[str, str]]:
    number = (resources.get("network") or {}).get("classID")
    return [("net_cls.classid", str(number))] if number else []


def _net_prio(resources: dict[str, Any]) -> list[tuple[str, str]]:
    entries = (resources.get("network") or {}).get("priorities") or ()
    return [("net_prio.ifpriomap", f"{each['name']} {each['priority']}") for each in entries]


def inherit_cpuset(mount: str, directory: str) -> None:
    """Gives the new directories below ``mount`` what their parents have: nothing can join one without processors."""
    path = mount
    for part in os.path.relpath(directory, mount).split("/"):
        parent, path = path, f"{path}/{part}"
        for name in ("cpuset.cpus", "cpuset.mems"):
            with open(f"{path}/{name}", "r+") as file:
                if file.read().strip():
                    continue
                with open(f"{parent}/{name}") as above:
                    file.write(above.read())


def budget_realtime(mount: str, directory: str, runtime: int, period: int) -> None:
    """Gives those above ``directory``, up to ``mount``, real-time budget for it to have ``runtime`` in each ``period``
    (microseconds) beside its neighbours: a group is born with none, and those below share what it has
    (Documentation/scheduler/sched-rt-group.rst).

    No more than that: one that was just removed holds on to its own for a moment.
    """
    path = mount
    for part in os.path.relpath(directory, mount).split("/")[:-1]:
        path = f"{path}/{part}"
        try:
            has, each = _realtime(path)
            shared = [_realtime(child.path) for child in os.scandir(path) if child.is_dir()]
            wanted = sum(-(-their * each // theirs) for their, theirs in (*shared, (runtime, period)))
            if 0 <= has < wanted:
                with open(f"{path}/cpu.rt_runtime_us", "w") as file:
                    file.write(str(wanted))
        except OSError:
            return  # what the container asks for tells


def _realtime(directory: str) -> tuple[int, int]:
    """Microseconds in each so many that a group's real-time processes may run."""
    with open(f"{directory}/cpu.rt_runtime_us") as runtime, open(f"{directory}/cpu.rt_period_us") as period:
        return int(runtime.read()), int(period.read())


_MAKERS = {
    "memory": _memory, "pids": _pids, "cpu": _cpu, "devices": _devices, "cpuset": _cpuset, "blkio": _blkio,
    "hugetlb": _hugetlb, "rdma": _rdma, "net_cls": _net_cls, "net_prio": _net_prio,
}  # fmt: skip


def processes(directory: str) -> list[int]:
    """The ids of the processes in the cgroup, as seen from the caller's pid namespace."""
    with open(os.path.join(directory, "cgroup.procs")) as file:
        return [int(line) for line in file]
