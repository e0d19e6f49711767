"""What a container uses, in the form of runc's ``events --stats`` (opencontainers/runc, types/events.go)."""

from __future__ import annotations

import os

from sampan.runtime.cgroups import container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TICK = 10**9 // os.sysconf("SC_CLK_TCK")
_NO_LIMIT = 2**64 - 1
_THROTTLING = {"periods": "nr_periods", "throttledPeriods": "nr_throttled"}


def usage(cgroup: container.Cgroup) -> dict[str, Any]:
    """Times in nanoseconds, memory in bytes, processes and transfers, as far as cgroups count them."""
    found: dict[str, Any] = {"cpu": {"usage": {"total": 0, "kernel": 0, "user": 0}, "throttling": {}}}
    found |= {"cpuset": {}, "memory": {}, "pids": {}, "blkio": {}, "hugetlb": {}, "intel_rdt": {}}
    for hierarchy, directory in cgroup:
        controllers = ("unified",) if hierarchy.version == 2 else hierarchy.controllers
        for controller in controllers:
            for part, values in _READERS[controller](directory).items() if controller in _READERS else ():
                found[part].update(values)
    return found | {"network_interfaces": None}


def _unified(directory: str) -> dict[str, Any]:
    cpu = _table(f"{directory}/cpu.stat")
    times = {"total": "usage_usec", "kernel": "system_usec", "user": "user_usec"}
    throttling = {name: cpu[key] for name, key in _THROTTLING.items() if cpu.get(key)}
    if cpu.get("throttled_usec"):
        throttling["throttledTime"] = cpu["throttled_usec"] * 1000
    return {
        "cpu": {"usage": {name: cpu.get(key, 0) * 1000 for name, key in times.items()}, "throttling": throttling},
        "memory": {
            "usage": _amounts(directory, "memory.", {"usage": "current", "limit": "max", "max": "peak"}),
            "swap": _amounts(directory, "memory.swap.", {"usage": "current", "limit": "max"}),
            "raw": _table(f"{directory}/memory.stat"),
        },
        "blkio": _transfers_v2(directory),
        **_pids(directory),
        **_cpuset(directory),
    }


def _cpu(directory: str) -> dict[str, Any]:
    cpu = _table(f"{directory}/cpu.stat")
    throttling = {name: cpu[key] for name, key in _THROTTLING.items() if cpu.get(key)}
    if cpu.get("throttled_time"):
        throttling["throttledTime"] = cpu["throttled_time"]
    return {"cpu": {"throttling": throttling}}


def _cpuacct(directory: str) -> dict[str, Any]:
    times = _table(f"{directory}/cpuacct.stat")
    each = [int(word) for word in _text(f"{directory}/cpuacct.usage_percpu").split()]
    used = {"total": _number(f"{directory}/cpuacct.usage"), "percpu": each}
    return {"cpu": {"usage": {**used, "kernel": times.get("system", 0) * _TICK, "user": times.get("user", 0) * _TICK}}}


def _memory(directory: str) -> dict[str, Any]:
    words = {"limit": "limit_in_bytes", "usage": "usage_in_bytes", "max": "max_usage_in_bytes", "failcnt": "failcnt"}
    parts = {"usage": "", "swap": "memsw.", "kernel": "kmem.", "kernelTCP": "kmem.tcp."}
    raw = _table(f"{directory}/memory.stat")
    amounts = {name: _amounts(directory, f"memory.{part}", words) for name, part in parts.items()}
    return {"memory": {"cache": raw.get("cache", 0), **amounts, "raw": raw}}


def _pids(directory: str) -> dict[str, Any]:
    return {"pids": _amounts(directory, "pids.", {"current": "current", "limit": "max"}, unlimited=0)}


def _cpuset(directory: str) -> dict[str, Any]:
    names = {"cpus": ("cpuset.cpus.effective", "cpuset.cpus"), "mems": ("cpuset.mems.effective", "cpuset.mems")}
    texts = {
        name: next((text for text in (_text(f"{directory}/{file}") for file in files) if text), "")
        for name, files in names.items()
    }
    return {"cpuset": {name: _listed(text) for name, text in texts.items() if text}}


def _listed(text: str) -> list[int]:
    """The numbers of a list such as 0-2,5 (cpuset(7), "List format")."""
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def _transfers(directory: str) -> dict[str, Any]:
    """Of each block device (Documentation/admin-guide/cgroup-v1/blkio-controller.rst)."""
    files = {
        "ioServiceBytesRecursive": "blkio.throttle.io_service_bytes_recursive",
        "ioServicedRecursive": "blkio.throttle.io_serviced_recursive",
    }
    found = {}
    for name, file in files.items():
        lines = [line.replace(":", " ").split() for line in _text(f"{directory}/{file}").splitlines()]
        entries = [_entry(*words) for words in lines if len(words) == 4]
        if entries:
            found[name] = entries
    return {"blkio": found}


def _transfers_v2(directory: str) -> dict[str, Any]:
    """Of each block device (Documentation/admin-guide/cgroup-v2.rst, io.stat)."""
    kinds = {
        "ioServiceBytesRecursive": {"Read": "rbytes", "Write": "wbytes"},
        "ioServicedRecursive": {"Read": "rios", "Write": "wios"},
    }
    found: dict[str, Any] = {}
    for line in _text(f"{directory}/io.stat").splitlines():
        device, *pairs = line.split()
        counts = dict(pair.split("=", 1) for pair in pairs)
        major, _, minor = device.partition(":")
        for name, keys in kinds.items():
            entries = [_entry(major, minor, op, counts[key]) for op, key in keys.items() if key in counts]
            found.setdefault(name, []).extend(entries)
    return found


def _entry(major: str, minor: str, op: str, value: str) -> dict[str, Any]:
    return {"major": int(major), "minor": int(minor), "op": op, "value": int(value)}


_READERS = {
    "unified": _unified,
    "cpu": _cpu,
    "cpuacct": _cpuacct,
    "cpuset": _cpuset,
    "memory": _memory,
    "pids": _pids,
    "blkio": _transfers,
}


def _amounts(directory: str, prefix: str, files: dict[str, str], unlimited: int = _NO_LIMIT) -> dict[str, int]:
    """The numbers in files, by their names here, as far as they are there; ``unlimited`` 0 leaves out such a limit."""
    texts = {name: _text(f"{directory}/{prefix}{file}") for name, file in files.items()}
    numbers = {name: unlimited if text == "max" else int(text) for name, text in texts.items() if text}
    return {name: number for name, number in numbers.items() if number or name != "limit" or unlimited}


def _number(path: str) -> int:
    return int(_text(path) or 0)


def _text(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:  # not every kernel has every file
        return ""


def _table(path: str) -> dict[str, int]:
    pairs = (line.split() for line in _text(path).splitlines())
    return {key: int(value) for key, value in pairs}
