"""What a container uses, in the form of runc's ``events --stats``."""

from __future__ import annotations

from sampan.runtime.cgroups import container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def usage(cgroup: container.Cgroup) -> dict[str, Any]:
    """Processor time in nanoseconds, memory in bytes, and processes, as far as cgroups count them."""
    found: dict[str, Any] = {}
    for hierarchy, directory in cgroup:
        if hierarchy.version == 2:
            found.update(_v2(directory))
        for controller in hierarchy.controllers:
            found.update(_V1[controller](directory) if controller in _V1 else {})
    return found


def _v2(directory: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    cpu = _table(f"{directory}/cpu.stat")
    if cpu:
        times = {"total": "usage_usec", "kernel": "system_usec", "user": "user_usec"}
        found["cpu"] = {"usage": {name: cpu.get(key, 0) * 1000 for name, key in times.items()}}
    memory = _number(f"{directory}/memory.current")
    if memory is not None:
        limit, most = _number(f"{directory}/memory.max"), _number(f"{directory}/memory.peak")
        found["memory"] = {
            "usage": {"usage": memory, "limit": limit or 0, "max": most or 0},
            "raw": _table(f"{directory}/memory.stat"),
        }
    pids = _number(f"{directory}/pids.current")
    if pids is not None:
        found["pids"] = {"current": pids, "limit": _number(f"{directory}/pids.max") or 0}
    return found


def _cpuacct(directory: str) -> dict[str, Any]:
    names = {"total": "cpuacct.usage", "kernel": "cpuacct.usage_sys", "user": "cpuacct.usage_user"}
    return {"cpu": {"usage": {name: _number(f"{directory}/{file}") or 0 for name, file in names.items()}}}


def _memory(directory: str) -> dict[str, Any]:
    names = {
        "usage": "usage_in_bytes",
        "limit": "limit_in_bytes",
        "max": "max_usage_in_bytes",
        "failcnt": "failcnt",
    }
    counts = {name: _number(f"{directory}/memory.{file}") or 0 for name, file in names.items()}
    return {"memory": {"usage": counts, "raw": _table(f"{directory}/memory.stat")}}


def _pids(directory: str) -> dict[str, Any]:
    current, limit = (_number(f"{directory}/pids.{name}") or 0 for name in ("current", "max"))
    return {"pids": {"current": current, "limit": limit}}


_V1 = {"cpuacct": _cpuacct, "memory": _memory, "pids": _pids}


def _number(path: str) -> int | None:
    """What a file says; None for "max", and where there is no such file."""
    try:
        with open(path) as file:
            text = file.read().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _table(path: str) -> dict[str, int]:
    try:
        with open(path) as file:
            return {key: int(value) for key, value in (line.split() for line in file)}
    except (OSError, ValueError):
        return {}
