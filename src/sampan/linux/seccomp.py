"""Seccomp filters: the runtime specification's ``linux.seccomp`` object made into a classic BPF program.

``compile`` is pure; ``install`` binds the calling thread and everything that it will execute, for good. Layout of a
program: which ABI made the call → a binary search for its number → its action, or tests of its arguments first. Where
the specification is silent the meaning is runc's with libseccomp:

- a rule without conditions beats those with conditions; among equals the first that matches wins;
- two conditions of one rule on the same argument are alternatives, those on different arguments must all hold;
- names that a machine does not know are passed over (profiles are written for many machines);
- where the default refuses, calls newer than every call that the profile knows answer ENOSYS, so that programs use
  the older call instead of giving up.

Calls of an ABI that the profile does not list kill the process. x32 calls always answer ENOSYS, as on the kernels
that leave x32 out.
"""

from __future__ import annotations

import struct
from errno import ENOSYS, EPERM
from itertools import chain

from sampan.errors import Invalid, Unsupported
from sampan.linux import syscalls
from sampan.linux.syscalls import named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

Instruction = tuple[int, int, int, int]  # struct sock_filter: code, jt, jf, k
Code = list[Instruction]  # jumps are relative, so pieces of code can be put together in any order
Condition = tuple[str, int, tuple[int, ...]]  # operator, index of the argument, operands
Clause = tuple[tuple[Condition, ...], int]  # conditions that must all hold, what the filter then returns
Decision = tuple[Clause, ...]  # the first clause that holds counts; only the last one has no conditions
Rule = tuple[list[str], list[Clause]]  # names of system calls, alternatives

# linux/filter.h; BPF_K is 0
_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_AND = 0x54  # BPF_ALU | BPF_AND
_JA, _JEQ, _JGT, _JGE = 0x05, 0x15, 0x25, 0x35
_RETURN = 0x06
_MAX_JUMP = 255
_MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS

# struct seccomp_data
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16

_RET_KILL_PROCESS = 0x80000000
_RET_ERRNO = 0x00050000
_RET_TRACE = 0x7FF00000
_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": _RET_KILL_PROCESS,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": _RET_ERRNO,
    "SCMP_ACT_TRACE": _RET_TRACE,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}

_OPERATORS = frozenset("SCMP_CMP_" + suffix for suffix in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"))

# By machine: the ABIs that its kernel serves, as (specification's name, table of numbers, AUDIT_ARCH_… of
# linux/audit.h), its own first. Both machines are little-endian: _test relies on it.
_ABIS = {
    "x86_64": (("SCMP_ARCH_X86_64", "x86_64", 0xC000003E), ("SCMP_ARCH_X86", "i386", 0x40000003)),
    "aarch64": (("SCMP_ARCH_AARCH64", "aarch64", 0xC00000B7), ("SCMP_ARCH_ARM", "arm", 0x40000028)),
}
_AUDIT_ARCH_X86_64 = 0xC000003E
_X32_BIT = 0x40000000
_ARM_PRIVATE = 0x0F0000  # cacheflush and the like: not part of the numbering that grows with the kernel

_NEW_LISTENER = 8  # SECCOMP_FILTER_FLAG_NEW_LISTENER
_FILTER_FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 0,  # the caller has one thread
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}


def compile(profile: dict[str, Any], machine: str, *, listener: bool = False) -> bytes:
    """The profile as an array of struct sock_filter for a kernel of ``machine`` (os.uname().machine).

    ``listener`` says that whoever installs it answers notifications (``listen``).

    Source: runtime-spec, config-linux.md, "Seccomp". Raises Invalid for a profile with unknown actions, operators or
    architectures or values out of range, Unsupported for notification and for machines without a table of calls.
    """
    from sampan.linux.syscall_table import numbers  # not for who only installs

    if machine not in _ABIS:
        raise Unsupported(f"seccomp filters are not supported on {machine}")
    if not listener and notifies(profile):
        raise Unsupported("SCMP_ACT_NOTIFY in the seccomp profile: nobody answers here", hint="sampan runtime does it")
    default = _action(profile.get("defaultAction"), profile.get("defaultErrnoRet"))
    rules = [_rule(entry) for entry in profile.get("syscalls") or ()]
    code = [(_RETURN, 0, 0, _RET_KILL_PROCESS)]
    for _, table, audit in reversed(_served(profile, machine)):
        decisions, newest = _decide(rules, numbers(table), default)
        edges = _edges(decisions, newest, default)
        if audit == _AUDIT_ARCH_X86_64:
            edges[_X32_BIT] = _always(_RET_ERRNO | ENOSYS)
        code = _branch(_JEQ, audit, [(_LOAD, 0, 0, _NUMBER), *_search(_ranges(edges))], code)
    code = [(_LOAD, 0, 0, _ARCHITECTURE), *code]
    if len(code) > _MAX_INSTRUCTIONS:
        raise Invalid(f"the seccomp profile makes {len(code)} instructions; the kernel takes {_MAX_INSTRUCTIONS}")
    return struct.pack("=" + "HBBI" * len(code), *chain.from_iterable(code))


MACHINES = tuple(_ABIS)


def known() -> dict[str, list[str]]:
    """The words of profiles that ``compile`` understands, by their keys in runtime-spec's features-linux.md."""
    return {
        "actions": sorted(_ACTIONS),
        "operators": sorted(_OPERATORS),
        "archs": [name for abis in _ABIS.values() for name, _, _ in abis],
        "knownFlags": sorted(_FILTER_FLAGS),
        "supportedFlags": sorted(_FILTER_FLAGS),
    }


def notifies(profile: dict[str, Any]) -> bool:
    """Whether the profile has calls that wait for the answer of a program outside."""
    actions = [profile.get("defaultAction"), *(rule.get("action") for rule in profile.get("syscalls") or ())]
    return "SCMP_ACT_NOTIFY" in actions


def filter_flags(profile: dict[str, Any]) -> int:
    """The profile's ``flags`` for ``install``; without any, what runc takes: SPEC_ALLOW."""
    flags = 0
    for name in profile.get("flags", ("SECCOMP_FILTER_FLAG_SPEC_ALLOW",)):
        if name not in _FILTER_FLAGS:
            raise Invalid(f"unknown flag {name!r} in the seccomp profile")
        if name == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" and not notifies(profile):
            raise Invalid(f"{name} in the seccomp profile, which has no call that is notified")
        flags |= _FILTER_FLAGS[name]
    return flags


SPEC_ALLOW = _FILTER_FLAGS["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]


def install(program: bytes, flags: int = SPEC_ALLOW) -> None:
    """seccomp(2) SECCOMP_SET_MODE_FILTER on the calling thread; raises OSError.

    EACCES: needs no_new_privs or CAP_SYS_ADMIN in the thread's user namespace.
    """
    instructions = syscalls.buffer(program)
    fprog = struct.pack("HP", len(program) // 8, syscalls.address(instructions))
    named("seccomp", 1, flags, fprog)


def listen(program: bytes, flags: int = SPEC_ALLOW) -> int:
    """As ``install``, and gives the descriptor on which calls are notified (seccomp_unotify(2)). Raises OSError."""
    instructions = syscalls.buffer(program)
    fprog = struct.pack("HP", len(program) // 8, syscalls.address(instructions))
    return named("seccomp", 1, flags | _NEW_LISTENER, fprog)


def calls(names: Iterable[str], machine: str) -> dict[tuple[int, int], str]:
    """The system calls of these names that a kernel of ``machine`` serves, by AUDIT_ARCH_… and number."""
    from sampan.linux.syscall_table import numbers

    wanted = set(names)
    return {
        (audit, number): name
        for _, table, audit in _ABIS[machine]
        for name, number in numbers(table).items()
        if name in wanted
    }


# From the specification's words to rules.


def _action(name: object, errno: object) -> int:
    if not isinstance(name, str) or name not in _ACTIONS:
        raise Invalid(f"unknown action {name!r} in the seccomp profile")
    action = _ACTIONS[name]
    if action in (_RET_ERRNO, _RET_TRACE):
        return action | _number("errno", EPERM if errno is None else errno, 0xFFFF)
    if errno is not None:
        raise Invalid(f"{name} in the seccomp profile takes no errno")
    return action


def _number(what: str, value: object, limit: int) -> int:
    if not isinstance(value, int) or not 0 <= value <= limit:
        raise Invalid(f"{what} {value!r} in the seccomp profile is not a number from 0 to {limit}")
    return value


def _rule(entry: dict[str, Any]) -> Rule:
    names = entry.get("names")
    if not isinstance(names, list):
        raise Invalid(f"names {names!r} of a rule in the seccomp profile is not a list")
    action = _action(entry.get("action"), entry.get("errnoRet"))
    conditions = tuple(_condition(argument) for argument in entry.get("args") or ())
    if len({index for _, index, _ in conditions}) == len(conditions):
        return names, [(conditions, action)]
    return names, [((condition,), action) for condition in conditions]


def _condition(argument: dict[str, Any]) -> Condition:
    op = argument.get("op")
    if op not in _OPERATORS:
        raise Invalid(f"unknown operator {op!r} in the seccomp profile")
    index = _number("argument index", argument.get("index", 0), 5)
    value = _number("value", argument.get("value", 0), 2**64 - 1)
    if op != "SCMP_CMP_MASKED_EQ":
        return op, index, (value,)
    return op, index, (value, _number("valueTwo", argument.get("valueTwo", 0), 2**64 - 1))


def _served(profile: dict[str, Any], machine: str) -> list[tuple[str, str, int]]:
    """The ABIs that the filter lets through: the machine's own, and its others that the profile lists."""
    listed = profile.get("architectures") or ()
    for name in listed:
        if not name.startswith("SCMP_ARCH_"):
            raise Invalid(f"unknown architecture {name!r} in the seccomp profile")
    own, *others = _ABIS[machine]
    return [own, *(abi for abi in others if abi[0] in listed)]


# From rules to ranges of numbers.


def _always(action: int) -> Decision:
    return (((), action),)


def _decide(rules: list[Rule], table: dict[str, int], default: int) -> tuple[dict[int, Decision], int]:
    """What is decided for each number that a rule names, and the newest of these numbers (-1: there is none)."""
    decisions: dict[int, Decision] = {}
    newest = -1
    for names, clauses in rules:
        for number in [table[name] for name in names if name in table]:
            decisions[number] = _joined(decisions.get(number, _always(default)), clauses, default)
            if newest < number < _ARM_PRIVATE:
                newest = number
    return decisions, newest


def _joined(decision: Decision, clauses: list[Clause], default: int) -> Decision:
    """``decision`` with one more rule for the same call."""
    *joined, (_, otherwise) = decision
    if otherwise != default:
        return decision
    for conditions, action in clauses:
        if action == default:
            continue
        if not conditions:
            return _always(action)
        if joined and (together := _either(joined[-1], (conditions, action))):
            joined[-1] = together
        else:
            joined.append((conditions, action))
    return (*joined, ((), default))


def _either(one: Clause, other: Clause) -> Clause | None:
    """Two clauses that compare an argument for equality as one clause, so that it is loaded once for all values."""
    if one[1] != other[1] or len(one[0]) != 1 or len(other[0]) != 1:
        return None
    (op, index, values), (other_op, other_index, more) = one[0][0], other[0][0]
    same_word = values[0] >> 32 == more[0] >> 32
    if op == other_op == "SCMP_CMP_EQ" and index == other_index and same_word and len(values) < _MAX_JUMP // 2:
        return ((op, index, values + more),), one[1]
    return None


def _edges(decisions: dict[int, Decision], newest: int, default: int) -> dict[int, Decision]:
    """Decisions by the first number that each holds for, up to the next one."""
    known = unknown = _always(default)
    # As runc: a permissive default leaves what is unknown to the tracer or the kernel.
    if newest >= 0 and not _RET_TRACE <= default < _RET_KILL_PROCESS:
        unknown = _always(_RET_ERRNO | ENOSYS)
    after = {number + 1: known if number < newest else unknown for number in decisions}
    return {0: known, **after, **decisions}


def _ranges(edges: dict[int, Decision]) -> list[tuple[int, Decision]]:
    ranges = [(0, edges[0])]
    for start in sorted(edges):
        if edges[start] != ranges[-1][1]:
            ranges.append((start, edges[start]))
    return ranges


# From ranges to instructions.


def _search(ranges: list[tuple[int, Decision]]) -> Code:
    """Finds the range that the accumulator lies in."""
    if len(ranges) == 1:
        return [instruction for clause in ranges[0][1] for instruction in _clause(*clause)]
    middle = len(ranges) // 2
    return _branch(_JGE, ranges[middle][0], _search(ranges[middle:]), _search(ranges[:middle]))


def _branch(jump: int, k: int, taken: Code, otherwise: Code) -> Code:
    """Both pieces must end in a return."""
    if len(otherwise) <= _MAX_JUMP:
        return [(jump, len(otherwise), 0, k), *otherwise, *taken]
    return [(jump, 0, 1, k), (_JA, 0, 0, len(otherwise)), *otherwise, *taken]


def _clause(conditions: tuple[Condition, ...], action: int) -> Code:
    code = [(_RETURN, 0, 0, action)]
    for condition in reversed(conditions):
        code = _test(condition, code)
    return code


def _test(condition: Condition, body: Code) -> Code:
    """Runs ``body``, which ends in a return, if the condition holds; otherwise goes on after it.

    An argument has 64 bits and the accumulator 32, so the high word is compared first.
    """
    op, index, (value, *more) = condition
    low, high = ((_LOAD, 0, 0, _ARGUMENTS + 8 * index + offset) for offset in (0, 4))
    low_word, high_word = value & 0xFFFFFFFF, value >> 32
    end = len(body)
    match op:
        case "SCMP_CMP_EQ":
            others = [(_JEQ, len(more) - at, 0, each & 0xFFFFFFFF) for at, each in enumerate(more)]
            code = [high, (_JEQ, 0, end + len(more) + 2, high_word), low, *others, (_JEQ, 0, end, low_word)]
        case "SCMP_CMP_NE":
            code = [high, (_JEQ, 0, 2, high_word), low, (_JEQ, end, 0, low_word)]
        case "SCMP_CMP_GT" | "SCMP_CMP_GE":
            jump = _JGT if op == "SCMP_CMP_GT" else _JGE
            code = [high, (_JGT, 3, 0, high_word), (_JEQ, 0, end + 2, high_word), low, (jump, 0, end, low_word)]
        case "SCMP_CMP_LT" | "SCMP_CMP_LE":
            jump = _JGE if op == "SCMP_CMP_LT" else _JGT
            code = [high, (_JGT, end + 3, 0, high_word), (_JEQ, 0, 2, high_word), low, (jump, end, 0, low_word)]
        case _:  # MASKED_EQ: the first operand is the mask
            (wanted,) = more
            code = [
                *(high, (_AND, 0, 0, high_word), (_JEQ, 0, end + 3, wanted >> 32)),
                *(low, (_AND, 0, 0, low_word), (_JEQ, 0, end, wanted & 0xFFFFFFFF)),
            ]
    return [*code, *body]
