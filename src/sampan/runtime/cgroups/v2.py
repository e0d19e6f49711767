"""One container's directory in the cgroup v2 hierarchy (Linux Documentation/admin-guide/cgroup-v2.rst)."""

from __future__ import annotations

from sampan.errors import Invalid
from sampan.runtime.cgroups.v1 import THROTTLES, rdma

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def limits(resources: dict[str, Any]) -> list[tuple[str, str]]:
    """runtime-spec ``linux.resources`` as (file, text) pairs, in the order to write them."""
    writes: list[tuple[str, str]] = []
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    if memory.get("limit"):
        writes.append(("memory.max", _bytes(memory["limit"])))
    if memory.get("swap"):
        # v1 and the specification count memory and swap together, v2 swap alone.
        swap = memory["swap"]
        writes.append(("memory.swap.max", "max" if swap < 0 else str(max(0, swap - (memory.get("limit") or 0)))))
    if memory.get("reservation"):
        writes.append(("memory.low", _bytes(memory["reservation"])))
    if cpu.get("shares"):
        writes.append(("cpu.weight", str(weight(cpu["shares"]))))
    if cpu.get("quota") or cpu.get("period"):
        quota = cpu.get("quota") or -1
        writes.append(("cpu.max", f"{quota if quota > 0 else 'max'} {cpu.get('period') or 100000}"))
    if cpu.get("burst"):
        writes.append(("cpu.max.burst", str(cpu["burst"])))
    if cpu.get("idle") is not None:
        writes.append(("cpu.idle", str(cpu["idle"])))
    writes += [(f"cpuset.{key}", cpu[key]) for key in ("cpus", "mems") if cpu.get(key)]
    block = (resources.get("blockIO") or {}).get("weight")
    if block:
        writes.append(("io.weight", f"default {io_weight(block)}"))
    for key, _, word in THROTTLES:
        for device in (resources.get("blockIO") or {}).get(key) or ():
            writes.append(("io.max", f"{device['major']}:{device['minor']} {word}={device['rate']}"))
    for each in resources.get("hugepageLimits") or ():
        writes.append((f"hugetlb.{each['pageSize']}.max", str(each["limit"])))
    writes += [("rdma.max", text) for text in rdma(resources)]
    limit = (resources.get("pids") or {}).get("limit")
    if limit:
        writes.append(("pids.max", str(limit) if limit > 0 else "max"))
    for file, text in (resources.get("unified") or {}).items():
        if "/" in file or not file:
            raise Invalid(f"{file!r} is no file of a cgroup")
        writes.append((file, text))
    return writes


def lacking(resources: dict[str, Any]) -> list[str]:
    """What v1 has, and these limits ask for, that v2 has no file for, by v1's names."""
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    block = resources.get("blockIO") or {}
    asked = (
        ("memory.swappiness", memory.get("swappiness") is not None),
        ("memory.oom_control", bool(memory.get("disableOOMKiller"))),
        ("cpu.rt_runtime_us", bool(cpu.get("realtimeRuntime") or cpu.get("realtimePeriod"))),
        ("blkio.weight_device", bool(block.get("weightDevice"))),
    )
    return [name for name, wanted in asked if wanted]


def weight(shares: int) -> int:
    """cpu.weight (1…10,000) for v1's cpu.shares (2…262,144): the conversion that runc and crun use."""
    return max(1, min(10000, 1 + (max(shares, 2) - 2) * 9999 // 262142))


def io_weight(weight: int) -> int:
    """io.weight (1…10,000) for v1's blkio.weight (10…1,000)."""
    return 1 + (weight - 10) * 9999 // 990


def _bytes(value: int) -> str:
    return "max" if value < 0 else str(value)


def join(directory: str) -> None:
    """Moves the calling process into the cgroup."""
    with open(f"{directory}/cgroup.procs", "wb", buffering=0) as file:
        file.write(b"0")
