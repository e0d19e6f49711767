"""What a container may use: the language of the flags, and what it becomes in the runtime spec."""

from __future__ import annotations

import os
import re
import resource

from sampan.containers.options import Limits
from sampan.errors import Invalid
from sampan.linux import ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_UNITS = {"b": 0, "": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}
_LEAST_MEMORY = 6 << 20
_PERIOD = 100_000
ULIMITS = (
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
)  # fmt: skip


def parse_bytes(text: str, what: str) -> int:
    """``64m``, ``1.5g``, ``512`` as bytes (``RAMInBytes`` of docker/go-units). Raises Invalid naming ``what``."""
    word = text.strip().lower().removesuffix("b").removesuffix("i")
    unit = word[-1:] if word[-1:].isalpha() else ""
    number = word.removesuffix(unit).rstrip()
    if unit not in _UNITS or not number.isascii() or not number.replace(".", "", 1).isdigit():
        raise Invalid(f"invalid {what} {text!r}", hint="a number of bytes, or with a unit: 64m, 1.5g")
    return int(float(number) * (1 << _UNITS[unit]))


def parse_cpus(text: str) -> int:
    """``--cpus`` as microseconds in each period; 0 is no limit. Raises Invalid."""
    value = float(text) if re.fullmatch(r"\d{1,6}(\.\d{0,9})?|\.\d{1,9}", text, re.ASCII) else -1
    if value and not 0.01 <= value <= (os.cpu_count() or 1):
        raise Invalid(
            f"invalid --cpus {text!r}", hint=f"a number from 0.01 to {os.cpu_count()}, which this machine has"
        )
    return round(value * _PERIOD)


def parse_ulimit(text: str) -> tuple[str, int, int]:
    """``NAME=SOFT[:HARD]``. Raises Invalid."""
    name, equals, values = text.partition("=")
    soft, colon, hard = values.partition(":")
    numbers = [value.removeprefix("-") if value == "-1" else value for value in (soft, hard if colon else soft)]
    if not equals or not all(number.isascii() and number.isdigit() for number in numbers):
        raise Invalid(f"invalid --ulimit {text!r}", hint="write it as NAME=SOFT:HARD, for example nofile=1024:2048")
    if name not in ULIMITS:
        raise Invalid(f"--ulimit: {name!r} is not a limit", hint=f"one of {', '.join(ULIMITS)}")
    first, second = int(soft), int(hard if colon else soft)
    if second != -1 and (first > second or first == -1):
        raise Invalid(f"invalid --ulimit {text!r}: the soft limit is above the hard one")
    return name, first, second


def check(limits: Limits) -> Limits:
    """``limits`` with Docker's rules applied: what is implied filled in. Raises Invalid for what makes no sense."""
    _check_memory(limits)
    _check_processors(limits)
    if limits.blkio_weight and not 10 <= limits.blkio_weight <= 1000:
        raise Invalid("--blkio-weight is a number from 10 to 1000")
    if limits.oom_score_adj is not None and not -1000 <= limits.oom_score_adj <= 1000:
        raise Invalid("--oom-score-adj is a number from -1000 to 1000")
    if limits.memory and not limits.swap:
        limits = limits._replace(swap=limits.memory * 2)
    return limits


def _check_memory(limits: Limits) -> None:
    if limits.memory and limits.memory < _LEAST_MEMORY:
        raise Invalid("a container needs 6 MB of memory at least", hint="give --memory a larger value")
    if limits.swap > 0 and not limits.memory:
        raise Invalid("--memory-swap counts memory and swap together, and needs --memory")
    if 0 < limits.swap < limits.memory:
        raise Invalid("--memory-swap counts memory and swap together, and is smaller than --memory")
    if limits.reservation and limits.memory and limits.reservation > limits.memory:
        raise Invalid("--memory-reservation is larger than --memory")
    if 0 < limits.reservation < _LEAST_MEMORY:
        raise Invalid("--memory-reservation is 6 MB at least")
    if limits.swappiness is not None and not 0 <= limits.swappiness <= 100:
        raise Invalid("--memory-swappiness is a number from 0 to 100")


def _check_processors(limits: Limits) -> None:
    if limits.shares < 0:
        raise Invalid("--cpu-shares is not negative")
    if limits.period and not 1000 <= limits.period <= 1_000_000:
        raise Invalid("--cpu-period is a number of microseconds from 1000 to 1000000")
    if 0 < limits.quota < 1000:
        raise Invalid("--cpu-quota is 1000 microseconds at least")
    if limits.realtime_period < 0 or limits.realtime_runtime < 0:
        raise Invalid("--cpu-rt-period and --cpu-rt-runtime are not negative")
    if limits.realtime_period and limits.realtime_runtime > limits.realtime_period:
        raise Invalid("--cpu-rt-runtime is larger than --cpu-rt-period")
    for flag, asked, online in (
        ("--cpuset-cpus", limits.cpus, "/sys/devices/system/cpu/online"),
        ("--cpuset-mems", limits.mems, "/sys/devices/system/node/online"),
    ):
        _check_set(flag, asked, online)


def _check_set(flag: str, asked: str, path: str) -> None:
    if not asked:
        return
    try:
        with open(path) as file:
            online = file.read().strip()
    except FileNotFoundError:  # a kernel without NUMA has the one node
        online = "0"
    missing = _numbers(asked) - _numbers(online)
    if missing:
        raise Invalid(f"{flag} {asked}: this machine has {online}, not {min(missing)}")


def _numbers(text: str) -> set[int]:
    """The numbers of a list such as 0-3,6 (cpuset(7), "List format")."""
    ends = [part.partition("-") for part in text.split(",")]
    if any(len(first) > 6 or len(last) > 6 for first, _, last in ends):
        raise Invalid(f"{text!r} is no list of processors or memory nodes")
    return {number for first, dash, last in ends for number in range(int(first), int(last if dash else first) + 1)}


def clamp(limits: Limits) -> tuple[Limits, list[str]]:
    """``limits`` as far as this process may give them, and a sentence for each that it had to lower."""
    if ids.may_raise_limits():
        return limits, []
    settled, warnings = [], []
    for name, soft, hard in limits.ulimits:
        most = resource.getrlimit(kind(name))[1]
        kept = tuple(most if most != -1 and (value == -1 or value > most) else value for value in (soft, hard))
        settled.append((name, *kept))
        if kept != (soft, hard):
            warnings.append(f"the limit {name} is lowered to {kept[0]}:{kept[1]}, the most that this process may give")
    adjustment = limits.oom_score_adj
    if adjustment is not None:
        with open("/proc/self/oom_score_adj") as file:
            least = int(file.read())
        if adjustment < least:
            warnings.append(f"--oom-score-adj is raised to {least}, the least that this process may give")
            adjustment = least
    return limits._replace(ulimits=tuple(settled), oom_score_adj=adjustment), warnings  # type: ignore[arg-type]


def kind(name: str) -> int:
    """The number of a resource limit (getrlimit(2))."""
    number: int = getattr(resource, f"RLIMIT_{name.upper()}", 10)  # RLIMIT_LOCKS, which Python does not name
    return number


def resources(limits: Limits) -> dict[str, Any]:
    """The runtime spec's ``linux.resources`` (config-linux.md, "Control groups"); empty without any limit."""
    memory = {
        "limit": limits.memory,
        "swap": limits.swap,
        "reservation": limits.reservation,
        "disableOOMKiller": limits.oom_kill_disable,
        "swappiness": limits.swappiness,
    }
    cpu = {
        "shares": limits.shares,
        "period": limits.period,
        "quota": limits.quota,
        "cpus": limits.cpus,
        "mems": limits.mems,
        "realtimePeriod": limits.realtime_period,
        "realtimeRuntime": limits.realtime_runtime,
    }
    groups: dict[str, dict[str, Any]] = {
        "memory": memory,
        "cpu": cpu,
        "blockIO": _blocks(limits),
        "pids": {"limit": limits.pids},
    }
    asked = {
        name: {key: value for key, value in group.items() if value or (value is not None and key == "swappiness")}
        for name, group in groups.items()
    }
    return {name: group for name, group in asked.items() if group}


def _blocks(limits: Limits) -> dict[str, Any]:
    from sampan.containers import blocks

    return blocks.resources(limits)


def apply(limits: Limits, spec: dict[str, Any]) -> None:
    """Puts limits into a runtime spec."""
    spec["linux"]["resources"] |= resources(limits)
    process = spec["process"]
    process["rlimits"] = [
        {"type": f"RLIMIT_{name.upper()}", "soft": soft, "hard": hard} for name, soft, hard in limits.ulimits
    ]
    if limits.oom_score_adj is not None:
        process["oomScoreAdj"] = limits.oom_score_adj
