"""Cgroups that systemd makes: a transient scope for a container, by D-Bus (org.freedesktop.systemd1(5)).

Root asks the system's manager, an ordinary user his own, if he has a session or lingers (loginctl(1)).
"""

from __future__ import annotations

import os

from sampan.errors import Invalid, Unavailable
from sampan.linux import dbus, ids
from sampan.linux.dbus import Bus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Property = tuple[str, tuple[str, Any]]

_SERVICE, _PATH, _MANAGER = "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"
_SYSTEM_BUS = "/run/dbus/system_bus_socket"
_HIGHEST = 8191
"""The highest number of a processor that Linux is built for (NR_CPUS)."""
_MOST = (1 << 64) - 1
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.")


def connect() -> Bus:
    """The bus of whichever manager is in charge of this process's user. Raises Unavailable."""
    uid = ids.outer_uid()
    if uid == 0:
        return Bus(_address("DBUS_SYSTEM_BUS_ADDRESS") or _SYSTEM_BUS, 0)
    path = _address("DBUS_SESSION_BUS_ADDRESS") or f"{os.environ.get('XDG_RUNTIME_DIR') or f'/run/user/{uid}'}/bus"
    try:
        return Bus(path, uid)
    except Unavailable as error:
        raise Unavailable(error.message, hint="a session with systemd is needed (loginctl enable-linger)") from None


def _address(variable: str) -> str:
    """The first socket in the file system that a D-Bus address names; "" if there is none."""
    for entry in os.environ.get(variable, "").split(";"):
        transport, _, pairs = entry.partition(":")
        keys = dict(pair.partition("=")[::2] for pair in pairs.split(","))
        if transport == "unix" and "path" in keys:
            return keys["path"]
        if transport == "unix" and "abstract" in keys:
            return f"@{keys['abstract']}"
    return ""


def is_there() -> bool:
    """Whether there may be a manager for this process's user: it costs nothing to ask."""
    uid = ids.outer_uid()
    return bool(os.environ.get("DBUS_SESSION_BUS_ADDRESS")) or os.path.exists(f"/run/user/{uid}/bus")


def start_scope(unit: str, slice_: str, pid: int, properties: list[Property], description: str) -> str:
    """Has systemd make a scope with a process of ours in it, and gives its cgroup's path below the mount.

    ``slice_`` may be "": then it is the manager's default. Raises Unavailable with what systemd says.
    """
    wanted: list[Property] = [
        ("Description", ("s", description)),
        ("PIDs", ("au", [pid])),
        ("Delegate", ("b", True)),
        ("DefaultDependencies", ("b", False)),
        *([("Slice", ("s", slice_))] if slice_ else []),
        *properties,
    ]
    with connect() as bus:
        bus.listen(_MANAGER, "JobRemoved")
        _call(bus, "Subscribe")
        try:
            (job,) = _call(bus, "StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "fail", wanted, [])
        except dbus.Refused as error:
            raise Unavailable(f"systemd does not start the scope {unit}: {error.message}") from None
        result = bus.await_signal("JobRemoved", lambda body: bool(body[1] == job))[3]
    if result != "done":
        raise Unavailable(f"systemd did not start the scope {unit}: the job ended as {result!r}")
    return path_of(pid)


def _call(bus: Bus, member: str, signature: str = "", *values: Any) -> tuple[Any, ...]:
    return bus.call(_SERVICE, _PATH, _MANAGER, member, signature, *values)


def path_of(pid: int | str) -> str:
    """The path of a process's cgroup in systemd's hierarchy: v2's, or the named one of v1 (cgroups(7))."""
    with open(f"/proc/{pid}/cgroup") as file:
        lines = [line.rstrip("\n").split(":", 2) for line in file]
    return next((path for _, kind, path in lines if kind == "name=systemd"), "") or next(
        (path for number, _, path in lines if number == "0"), ""
    )


def attach(unit: str, pid: int) -> None:
    """Has systemd move a process of ours into a unit. Raises Unavailable."""
    with connect() as bus:
        _call(bus, "AttachProcessesToUnit", "ssau", unit, "", [pid])


def stop(unit: str) -> None:
    """Forgets a scope, also one that failed; one that is gone is no error."""
    with connect() as bus:
        for member, arguments in (("StopUnit", ("ss", unit, "replace")), ("ResetFailedUnit", ("s", unit))):
            try:
                _call(bus, member, *arguments)
            except dbus.Refused as error:
                if not error.name.endswith("NoSuchUnit"):
                    raise


def change(unit: str, properties: list[Property]) -> None:
    """Sets properties of a running unit until it ends. Raises Unavailable."""
    with connect() as bus:
        _call(bus, "SetUnitProperties", "sba(sv)", unit, True, properties)


def parse(path: str, name: str) -> tuple[str, str]:
    """``linux.cgroupsPath`` in runc's form for systemd, "SLICE:PREFIX:NAME", as unit and slice. Raises Invalid."""
    slice_, prefix, own = "", "sampan", name
    if path:
        parts = path.split(":")
        if len(parts) != 3 or not parts[2]:
            raise Invalid(
                f"cgroupsPath {path!r} is not what systemd takes", hint="with --systemd-cgroup it is SLICE:PREFIX:NAME"
            )
        slice_, prefix, own = parts
    if slice_ and (not slice_.endswith(".slice") or "/" in slice_):
        raise Invalid(f"cgroupsPath {path!r}: {slice_!r} is not the name of a slice", hint="such as system.slice")
    if own.endswith(".slice"):
        raise Invalid(f"cgroupsPath {path!r}: a container is a scope, not a slice")
    return escaped(f"{prefix}-{own}.scope" if prefix else f"{own}.scope"), slice_


def escaped(name: str) -> str:
    """A text as a part of a unit's name (systemd.unit(5), "String escaping")."""
    return "".join(each if each in _PLAIN else f"\\x{ord(each):02x}" for each in name)


def properties(resources: dict[str, Any]) -> list[Property]:
    """runtime-spec ``linux.resources`` as a unit's properties (systemd.resource-control(5)), as far as there are such.

    They say what the cgroup's files will: systemd writes those again whenever it looks over its units.
    """
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    found: list[Property] = []
    if memory.get("limit"):
        found.append(("MemoryMax", ("t", _bytes(memory["limit"]))))
    if memory.get("reservation"):
        found.append(("MemoryLow", ("t", _bytes(memory["reservation"]))))
    if memory.get("swap"):
        swap = memory["swap"] if memory["swap"] < 0 else max(0, memory["swap"] - (memory.get("limit") or 0))
        found.append(("MemorySwapMax", ("t", _bytes(swap))))
    if cpu.get("shares"):
        from sampan.runtime.cgroups import v2

        found.append(("CPUWeight", ("t", v2.weight(cpu["shares"]))))
    if cpu.get("quota") or cpu.get("period"):
        found += _processor(cpu.get("quota") or -1, cpu.get("period") or 100_000)
    for key, name in (("cpus", "AllowedCPUs"), ("mems", "AllowedMemoryNodes")):
        if cpu.get(key):
            found.append((name, ("ay", _mask(cpu[key]))))
    weight = (resources.get("blockIO") or {}).get("weight")
    if weight:
        from sampan.runtime.cgroups import v2

        found.append(("IOWeight", ("t", v2.io_weight(weight))))
    limit = (resources.get("pids") or {}).get("limit")
    if limit:
        found.append(("TasksMax", ("t", _bytes(limit if limit > 0 else -1))))
    return found


def _bytes(value: int) -> int:
    return _MOST if value < 0 else value


def _processor(quota: int, period: int) -> list[Property]:
    """systemd counts in microseconds for each second, and in steps of 10 ms."""
    each = _MOST if quota < 0 else -(-quota * 1_000_000 // period // 10_000) * 10_000
    return [("CPUQuotaPeriodUSec", ("t", period)), ("CPUQuotaPerSecUSec", ("t", each))]


def _mask(text: str) -> bytes:
    """A list of numbers ("0-2,4") as bits, the lowest first."""
    bits = 0
    try:
        for part in text.split(","):
            first, dash, last = part.partition("-")
            end = int(last if dash else first)
            if end > _HIGHEST:
                raise ValueError
            for number in range(int(first), end + 1):
                bits |= 1 << number
    except ValueError:
        raise Invalid(f"{text!r} is not a list of processors or memory nodes") from None
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def annotated(annotations: dict[str, str]) -> list[Property]:
    """The properties that annotations "org.systemd.property.NAME" ask for, in GVariant's text form, as runc takes them.

    Raises Invalid for what is neither a number, a truth value, a text nor a list of texts.
    """
    prefix = "org.systemd.property."
    found = []
    for key, text in annotations.items():
        if key.startswith(prefix):
            name, value = key.removeprefix(prefix), _variant(text.strip(), key)
            # As runc has it: systemd itself has only microseconds.
            if name.endswith("Sec") and not name.endswith("USec") and value[0] in "ixut":
                name, value = f"{name.removesuffix('Sec')}USec", ("t", value[1] * 1_000_000)
            found.append((name, value))
    return found


def _variant(text: str, key: str) -> tuple[str, Any]:
    kind, _, number = text.rpartition(" ")
    codes = {"": "i", "int32": "i", "uint32": "u", "int64": "x", "uint64": "t"}
    if text in ("true", "false"):
        return "b", text == "true"
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return "s", text[1:-1]
    if text.startswith("[") and text.endswith("]"):
        words = [word.strip() for word in text[1:-1].split(",") if word.strip()]
        if all(len(word) > 1 and word[0] == word[-1] == "'" for word in words):
            return "as", [word[1:-1] for word in words]
    if kind in codes and number.lstrip("-").isdigit():
        return codes[kind], int(number)
    raise Invalid(f"annotation {key}: {text!r} is not understood", hint="such as 5, uint64 5, true, 'text' or ['text']")
