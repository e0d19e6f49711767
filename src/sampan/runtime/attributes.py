"""What a process has besides its namespaces: priorities, its place in the memory killer's list, personality, labels.

Part of the first process; nothing is imported late.
"""

from __future__ import annotations

import os
import resource
import stat
import struct

from sampan.errors import Invalid, SampanError, Unsupported
from sampan.linux import capabilities, ids
from sampan.linux.syscalls import named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# linux/sched.h
_POLICIES = {
    "SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_ISO": 4, "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}  # fmt: skip
_SCHED_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01, "SCHED_FLAG_RECLAIM": 0x02, "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08, "SCHED_FLAG_KEEP_PARAMS": 0x10, "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}  # fmt: skip
_IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
_PERSONALITIES = {"LINUX": 0x0000, "LINUX32": 0x0008}
_CLOCKS = ("monotonic", "boottime")


def check(process: dict[str, Any], linux: dict[str, Any]) -> None:
    """Raises Invalid for what is no value, Unsupported for what this kernel does not have."""
    _known("scheduling policy", (process.get("scheduler") or {}).get("policy"), _POLICIES)
    for flag in (process.get("scheduler") or {}).get("flags") or ():
        _known("scheduling flag", flag, _SCHED_FLAGS)
    _known("I/O priority class", (process.get("ioPriority") or {}).get("class"), _IO_CLASSES)
    _known("personality", (linux.get("personality") or {}).get("domain"), _PERSONALITIES)
    if (linux.get("personality") or {}).get("flags"):
        raise Unsupported("flags of a personality are not supported")
    for clock in linux.get("timeOffsets") or {}:
        _known("clock with an offset", clock, _CLOCKS)
    for limit in process.get("rlimits") or ():
        _kind(limit["type"])
    if process.get("apparmorProfile") and not _enabled("/sys/module/apparmor/parameters/enabled", "Y"):
        raise Unsupported(f"the profile {process['apparmorProfile']} cannot be applied: this kernel has no AppArmor")
    if process.get("selinuxLabel") and not os.path.isdir("/sys/fs/selinux/class"):
        raise Unsupported(f"the label {process['selinuxLabel']} cannot be applied: this kernel has no SELinux")
    if linux.get("mountLabel"):
        raise Unsupported(f"the mount label {linux['mountLabel']}: labels of mounts are not supported")


def _known(what: str, value: object, values: dict[str, int] | tuple[str, ...]) -> None:
    if value is not None and value not in values:
        raise Invalid(f"unknown {what}: {value}")


def _enabled(path: str, text: str) -> bool:
    try:
        with open(path) as file:
            return file.read().strip() == text
    except OSError:
        return False


def set_early(process: dict[str, Any], *, namespace: bool) -> None:
    """What takes privileges on the host. ``namespace``: a user namespace follows, in which no limit can be raised."""
    adjustment = process.get("oomScoreAdj")
    if adjustment is not None:
        try:
            with open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
                file.write(b"%d" % adjustment)
        except PermissionError:
            raise SampanError(
                f"cannot set oomScoreAdj to {adjustment}", hint="lowering it takes CAP_SYS_RESOURCE"
            ) from None
    for limit in (process.get("rlimits") or ()) if namespace else ():
        kind = _kind(limit["type"])
        soft, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY and (limit["hard"] > hard or limit["hard"] < 0):
            _limit(limit["type"], kind, soft, limit["hard"])


def clamped(process: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The process with limits that this one may set and capabilities that there are, and a sentence for each that had
    to be lowered or left out.

    Raising a limit takes CAP_SYS_RESOURCE, which root of a container host often lacks, and engines ask for a million
    processes as a matter of course.
    """
    limits, sentences = [], []
    may_raise = ids.may_raise_limits()
    for limit in process.get("rlimits") or ():
        most = resource.getrlimit(_kind(limit["type"]))[1]
        if not may_raise and most != resource.RLIM_INFINITY and limit["hard"] > most:
            sentences.append(f"{limit['type']} is {most}, not {limit['hard']}: this process may not raise it")
            limit = {**limit, "hard": most, "soft": min(limit["soft"], most)}
        limits.append(limit)
    process = {**process, "rlimits": limits} if limits else process
    known = {}
    for name, names in (process.get("capabilities") or {}).items():
        known[name] = [each for each in names or () if each in capabilities.NUMBERS]
        sentences += [f"there is no capability {each}" for each in names or () if each not in capabilities.NUMBERS]
    return ({**process, "capabilities": known} if known else process), list(dict.fromkeys(sentences))


def set_limits(process: dict[str, Any]) -> None:
    """The resource limits (setrlimit(2)). Raises Invalid for an unknown one."""
    for limit in process.get("rlimits") or ():
        _limit(limit["type"], _kind(limit["type"]), limit["soft"], limit["hard"])


def _kind(name: str) -> int:
    kind = getattr(resource, name, None)
    if not isinstance(kind, int):
        raise Invalid(f"unknown resource limit {name}")
    return kind


def _limit(name: str, kind: int, soft: int, hard: int) -> None:
    # The specification's numbers have no sign, Python's have: "unlimited" is all ones.
    soft, hard = (value - 2**64 if value >= 2**63 else value for value in (soft, hard))
    try:
        resource.setrlimit(kind, (soft, hard))
    except (ValueError, PermissionError):
        had = resource.getrlimit(kind)[1]
        raise SampanError(
            f"cannot set {name} to {soft}:{hard}: this process may have at most {had}",
            hint="raising a limit needs CAP_SYS_RESOURCE" if 0 <= had < hard else None,
        ) from None


def set_priorities(process: dict[str, Any]) -> None:
    """How the processor (sched_setattr(2)) and disks (ioprio_set(2)) are shared, and on which processors it may run."""
    scheduler = process.get("scheduler")
    if scheduler:
        flags = 0
        for flag in scheduler.get("flags") or ():
            flags |= _SCHED_FLAGS[flag]
        values = [scheduler.get(key) or 0 for key in ("nice", "priority", "runtime", "deadline", "period")]
        attributes = struct.pack("=IIQiIQQQ", 48, _POLICIES[scheduler["policy"]], flags, *values)
        named("sched_setattr", 0, attributes, 0)
    priority = process.get("ioPriority")
    if priority:
        named("ioprio_set", 1, 0, _IO_CLASSES[priority["class"]] << 13 | priority.get("priority", 0))
    personality = process.get("personality")
    if personality:
        named("personality", _PERSONALITIES[personality])
    affinity = process.get("execCPUAffinity") or {}
    processors = affinity.get("final") or affinity.get("initial")
    if processors:
        os.sched_setaffinity(0, _processors(processors))


def _processors(text: str) -> set[int]:
    """A list such as ``0-3,7`` (cpuset(7), "List format")."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not (first.isdigit() and (last or first).isdigit()):
            raise Invalid(f"{text!r} is no list of processors")
        found.update(range(int(first), int(last or first) + 1))
    return found


def offsets(linux: dict[str, Any]) -> bytes:
    """``timeOffsets`` in the form of /proc/PID/timens_offsets (time_namespaces(7))."""
    lines = ""
    for clock, offset in (linux.get("timeOffsets") or {}).items():
        lines += f"{clock} {offset.get('secs') or 0} {offset.get('nanosecs') or 0}\n"
    return lines.encode()


def open_label(process: dict[str, Any]) -> tuple[int, bytes] | None:
    """The file by which this process's next program gets its label, and what to write.

    Opened on the host, before the pivot: the container's /proc may be anything.
    """
    if process.get("apparmorProfile"):
        own = "/proc/self/attr/apparmor/exec"
        path = own if os.path.exists(own) else "/proc/self/attr/exec"
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC), b"exec " + process["apparmorProfile"].encode()
    if process.get("selinuxLabel"):
        return os.open("/proc/self/attr/exec", os.O_WRONLY | os.O_CLOEXEC), process["selinuxLabel"].encode()
    return None


def give_stdio(uid: int) -> None:
    """Gives standard descriptors that are pipes to the program's user, who else cannot open /dev/stdout."""
    for fd in (0, 1, 2):
        status = os.fstat(fd)
        if stat.S_ISFIFO(status.st_mode) and status.st_uid != uid:
            try:
                os.fchown(fd, uid, -1)
            except OSError:
                continue  # it lies elsewhere, or its owner does not exist in the user namespace
