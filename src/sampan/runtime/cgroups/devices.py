"""Which devices a container in a cgroup v2 may use: a BPF program, as v2 has no file for it (bpf(2);
Documentation/admin-guide/cgroup-v2.rst, "Device controller")."""

from __future__ import annotations

import os
import struct

from sampan.linux import syscalls
from sampan.linux.syscalls import named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PROG_LOAD, _PROG_ATTACH = 5, 8
_TYPE_CGROUP_DEVICE, _ATTACH_DEVICE, _ALLOW_MULTI = 15, 6, 2
_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}
_ALL = 7

# linux/bpf.h: the operations that are used, by what they do to registers
_LOAD, _COPY, _SHIFT, _AND, _SET, _EXIT = 0x61, 0xBF, 0x77, 0x57, 0xB7, 0x95
_JUMP_UNEQUAL, _JUMP_EQUAL, _JUMP_UNEQUAL_REGISTER = 0x55, 0x15, 0x5D
_RESULT, _CONTEXT, _TYPE, _WANTED, _MAJOR, _MINOR = 0, 1, 2, 3, 4, 5
_SPARE = _CONTEXT  # once all is read


def compile(rules: list[dict[str, Any]]) -> bytes:
    """The program for runtime-spec ``linux.resources.devices``: of the rules that match, the last one counts."""
    code = [
        _instruction(_LOAD, _TYPE, _CONTEXT, 0),
        _instruction(_LOAD, _MAJOR, _CONTEXT, 4),
        _instruction(_LOAD, _MINOR, _CONTEXT, 8),
        _instruction(_COPY, _WANTED, _TYPE),
        _instruction(_SHIFT, _WANTED, immediate=16),
        _instruction(_AND, _TYPE, immediate=0xFFFF),
    ]
    for rule in reversed(rules):
        code += _rule(rule)
        if _holds_for_all(rule):
            return b"".join(code)  # the kernel refuses a program with steps that are never reached
    return b"".join([*code, *_return(1)])


def _holds_for_all(rule: dict[str, Any]) -> bool:
    return (
        rule.get("type") not in _TYPES
        and set(rule.get("access") or "rwm") == set("rwm")
        and all(rule.get(key) in (None, -1) for key in ("major", "minor"))
    )


def _rule(rule: dict[str, Any]) -> list[bytes]:
    allow = bool(rule.get("allow"))
    access = sum(_ACCESS[letter] for letter in set(rule.get("access") or "rwm"))
    tests: list[tuple[int, int, int, int] | bytes] = []
    if rule.get("type") in _TYPES:
        tests.append((_JUMP_UNEQUAL, _TYPE, 0, _TYPES[rule["type"]]))
    if access != _ALL:
        tests += [_instruction(_COPY, _SPARE, _WANTED), _instruction(_AND, _SPARE, immediate=access)]
        # All that is wanted must be allowed; it is refused as soon as some of it is.
        tests.append((_JUMP_UNEQUAL_REGISTER, _SPARE, _WANTED, 0) if allow else (_JUMP_EQUAL, _SPARE, 0, 0))
    for key, register in (("major", _MAJOR), ("minor", _MINOR)):
        if rule.get(key) not in (None, -1):
            tests.append((_JUMP_UNEQUAL, register, 0, rule[key]))
    body = _return(int(allow))
    code: list[bytes] = []
    for number, test in enumerate(tests):
        over = len(tests) - number - 1 + len(body)
        code.append(test if isinstance(test, bytes) else _instruction(*test[:3], over, test[3]))
    return [*code, *body]


def _return(value: int) -> list[bytes]:
    return [_instruction(_SET, _RESULT, immediate=value), _instruction(_EXIT)]


def _instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("=BBhi", code, target | source << 4, offset, immediate)


def attach(directory: str, program: bytes) -> None:
    """Holds all processes of the cgroup to a program, for as long as the cgroup exists. Raises OSError."""
    code, license_ = syscalls.buffer(program), syscalls.buffer(b"Apache-2.0\0")
    loading = struct.pack(
        "=IIQQIIQII", _TYPE_CGROUP_DEVICE, len(program) // 8, syscalls.address(code), syscalls.address(license_),
        0, 0, 0, 0, 0,
    )  # fmt: skip
    loaded = named("bpf", _PROG_LOAD, loading, len(loading))
    try:
        cgroup = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            attaching = struct.pack("=IIII", cgroup, loaded, _ATTACH_DEVICE, _ALLOW_MULTI)
            named("bpf", _PROG_ATTACH, attaching, len(attaching))
        finally:
            os.close(cgroup)
    finally:
        os.close(loaded)
