"""What a bundle's configuration looks like (runtime-spec 1.2, config.md and config-linux.md): the types of its values
and the ranges of its numbers. What they mean is looked at by those who use them; a property that is not here is passed
over, as the specification demands."""

from __future__ import annotations

from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Shape = Any

# str: a text without NUL; bool; (low, high): a whole number; [shape]: a list; {key: shape}: an object, where "" stands
# for any key, and "!" after one says that it must be there.
_INT16 = (0, 2**16 - 1)
_INT32 = (0, 2**32 - 1)
_INT64 = (0, 2**64 - 1)
_SIGNED = (-(2**63), 2**63 - 1)
_ID = (0, 2**32 - 2)
"""Not all ones, which tells the kernel to change nothing: the program would stay root (setresuid(2))."""

PROCESS: Shape = {
    "terminal": bool, "consoleSize": {"height": _INT16, "width": _INT16}, "cwd": str, "env": [str], "args": [str],
    "user": {"uid": _ID, "gid": _ID, "additionalGids": [_ID], "umask": (0, 0o777)},
    "capabilities": {"": [str]}, "noNewPrivileges": bool, "oomScoreAdj": (-1000, 1000),
    "rlimits": [{"type!": str, "soft!": (-1, 2**64 - 1), "hard!": (-1, 2**64 - 1)}],
    "scheduler": {
        "policy!": str, "nice": (-20, 19), "priority": (0, 99), "flags": [str], "runtime": _INT64,
        "deadline": _INT64, "period": _INT64,
    },
    "ioPriority": {"class!": str, "priority": (0, 7)}, "execCPUAffinity": {"initial": str, "final": str},
    "apparmorProfile": str, "selinuxLabel": str,
}  # fmt: skip
_DEVICE_LIMIT = [{"major!": _SIGNED, "minor!": _SIGNED, "weight": _INT16, "leafWeight": _INT16, "rate": _INT64}]
RESOURCES: Shape = {
    "memory": {"disableOOMKiller": bool, "useHierarchy": bool, "checkBeforeUpdate": bool, "": _SIGNED},
    "cpu": {
        "shares": _INT64, "quota": _SIGNED, "burst": _INT64, "period": _INT64, "realtimeRuntime": _SIGNED,
        "realtimePeriod": _INT64, "cpus": str, "mems": str, "idle": (0, 1),
    },
    "pids": {"limit": _SIGNED},
    "blockIO": {"weight": _INT16, "leafWeight": _INT16, "": _DEVICE_LIMIT},
    "hugepageLimits": [{"pageSize!": str, "limit!": _INT64}],
    "network": {"classID": _INT32, "priorities": [{"name!": str, "priority!": _INT32}]},
    "rdma": {"": {"hcaHandles": _INT32, "hcaObjects": _INT32}}, "unified": {"": str},
    "devices": [{"allow!": bool, "type": str, "major": _SIGNED, "minor": _SIGNED, "access": str}],
}  # fmt: skip
_MAPPINGS = [{"containerID": _INT32, "hostID": _INT32, "size!": _INT32}]
_RULE = {
    "names!": [str], "action!": str, "errnoRet": _INT32,
    "args": [{"index": (0, 5), "value": _INT64, "valueTwo": _INT64, "op!": str}],
}  # fmt: skip
_LINUX = {
    "namespaces": [{"type!": str, "path": str}], "uidMappings": _MAPPINGS, "gidMappings": _MAPPINGS,
    "devices": [{
        "path!": str, "type!": str, "major": _SIGNED, "minor": _SIGNED, "fileMode": _INT32, "uid": _ID, "gid": _ID,
    }],
    "cgroupsPath": str, "resources": RESOURCES, "rootfsPropagation": str, "sysctl": {"": str}, "maskedPaths": [str],
    "readonlyPaths": [str], "mountLabel": str, "personality": {"domain!": str, "flags": [str]},
    "timeOffsets": {"": {"secs": _SIGNED, "nanosecs": (0, 999_999_999)}},
    "seccomp": {
        "defaultAction!": str, "defaultErrnoRet": _INT32, "architectures": [str], "flags": [str], "listenerPath": str,
        "listenerMetadata": str, "syscalls": [_RULE],
    },
}  # fmt: skip
SPEC: Shape = {
    "ociVersion!": str, "hostname": str, "domainname": str, "annotations": {"": str},
    "root!": {"path!": str, "readonly": bool}, "process": PROCESS, "linux": _LINUX,
    "mounts": [{
        "destination!": str, "type": str, "source": str, "options": [str], "uidMappings": _MAPPINGS,
        "gidMappings": _MAPPINGS,
    }],
    "hooks": {"": [{"path!": str, "args": [str], "env": [str], "timeout": (0, 2**31 // 1000)}]},
}  # fmt: skip
_WORDS = {str: "a text", bool: "true or false", list: "a list", dict: "an object"}


def check(value: object, shape: Shape, where: str) -> None:
    """Raises Invalid naming the value's place (``where`` and below it) if it has not this shape; null is none."""
    if value is None:
        return
    if isinstance(shape, tuple):
        low, high = shape
        # JSON's true is a number to Python.
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise Invalid(f"{where} is {_shown(value)}, and not a number from {low} to {high}")
        return
    kind = shape if isinstance(shape, type) else type(shape)
    if not isinstance(value, kind):
        raise Invalid(f"{where} is {_shown(value)}, and not {_WORDS[kind]}")
    if isinstance(value, str) and "\0" in value:
        raise Invalid(f"{where} has a NUL character in it")
    if isinstance(value, list):
        for number, each in enumerate(value):
            if each is None:
                raise Invalid(f"{where}[{number}] is null")
            check(each, shape[0], f"{where}[{number}]")
    if isinstance(value, dict):
        _check_object(value, shape, where)


def _check_object(value: dict[str, Any], shape: dict[str, Shape], where: str) -> None:
    for key in shape:
        name = key.removesuffix("!")
        if key != name and value.get(name) is None:
            raise Invalid(f"{where + '.' if where else 'the bundle: '}{name} is missing")
    for key, each in value.items():
        below = shape.get(key, shape.get(f"{key}!", shape.get("")))
        if below is not None:
            check(each, below, f"{where}.{key}" if where else key)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"
