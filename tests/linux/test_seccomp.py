"""The compiler is checked by running its programs: a small BPF machine against a plain reading of the profile, against
libseccomp's program for the same profile, and in the kernel."""

import ctypes
import ctypes.util
import errno
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.errors import Invalid, Unsupported
from sampan.linux import seccomp
from sampan.linux.syscall_table import numbers
from sampan.runtime import profile as default_profile

X86_64, I386, AARCH64, ARM = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028
TABLES = {X86_64: "x86_64", I386: "i386", AARCH64: "aarch64", ARM: "arm"}
LISTED = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
ALLOW, KILL_PROCESS, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
NO_ARGUMENTS = (0,) * 6
DOCKER_CAPABILITIES = ("CAP_CHOWN", "CAP_SYS_CHROOT", "CAP_NET_RAW")


def run(program: bytes, arch: int, number: int, arguments: tuple[int, ...] = NO_ARGUMENTS) -> int:
    """What the kernel's BPF machine returns for this call (Documentation/networking/filter.rst)."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *arguments)
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator = at = 0
    while True:
        op, jt, jf, k = code[at]
        at += 1
        match op:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, k)
            case 0x54:
                accumulator &= k
            case 0x05:
                at += k
            case 0x15:
                at += jt if accumulator == k else jf
            case 0x25:
                at += jt if accumulator > k else jf
            case 0x35:
                at += jt if accumulator >= k else jf
            case 0x45:
                at += jt if accumulator & k else jf
            case 0x06:
                return k
            case _:
                raise AssertionError(f"instruction {op:#x}")


def holds(condition: dict[str, Any], arguments: tuple[int, ...]) -> bool:
    have, value, two = arguments[condition["index"]], condition["value"], condition.get("valueTwo", 0)
    return {
        "SCMP_CMP_EQ": have == value,
        "SCMP_CMP_NE": have != value,
        "SCMP_CMP_LT": have < value,
        "SCMP_CMP_LE": have <= value,
        "SCMP_CMP_GT": have > value,
        "SCMP_CMP_GE": have >= value,
        "SCMP_CMP_MASKED_EQ": have & value == two,
    }[condition["op"]]


def action_of(entry: dict[str, Any], action: str = "action", errno_key: str = "errnoRet") -> int:
    name = entry[action]
    if name == "SCMP_ACT_ERRNO":
        return ERRNO | entry.get(errno_key, errno.EPERM)
    return {"SCMP_ACT_ALLOW": ALLOW, "SCMP_ACT_LOG": 0x7FFC0000, "SCMP_ACT_TRAP": 0x00030000}[name]


def read(profile: dict[str, Any], table: dict[str, int], number: int, arguments: tuple[int, ...]) -> int:
    """What the profile says about a call, read from top to bottom."""
    default = action_of(profile, "defaultAction", "defaultErrnoRet")
    named = [table[name] for entry in profile["syscalls"] for name in entry["names"] if name in table]
    newest = max((each for each in named if each < 0x0F0000), default=-1)
    if number >= 0x40000000 and table == numbers("x86_64"):
        return ERRNO | errno.ENOSYS
    rules = [entry for entry in profile["syscalls"] if number in [table.get(name) for name in entry["names"]]]
    rules = [entry for entry in rules if action_of(entry) != default]
    for entry in rules:
        if not entry.get("args"):
            return action_of(entry)
    for entry in rules:
        indexes = [condition["index"] for condition in entry["args"]]
        quantifier = all if len(set(indexes)) == len(indexes) else any
        if quantifier(holds(condition, arguments) for condition in entry["args"]):
            return action_of(entry)
    if newest >= 0 and number > newest and number not in named and default >> 16 not in (0x7FFF, 0x7FFC):
        return ERRNO | errno.ENOSYS
    return default


def call(name: str, *arguments: int, arch: int = X86_64) -> tuple[int, int, tuple[int, ...]]:
    return arch, numbers(TABLES[arch])[name], (*arguments, *NO_ARGUMENTS)[:6]


def deny_all(*syscalls: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"defaultAction": "SCMP_ACT_ERRNO", "architectures": LISTED, "syscalls": list(syscalls), **more}


def allow(*names: str, args: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", "args": args or []}


# Values around what the comparison of two 32-bit halves could get wrong.
WORDS = st.sampled_from([0, 1, 2, 38, 0x7E020000, 0xFFFFFFFF, 2**32, 2**32 + 1, 2**33 + 38, 2**63, 2**64 - 1])
NAMES = st.sampled_from(["read", "socket", "clone", "clone3", "setxattrat", "umount", "waitpid", "no_such_call"])
CONDITIONS = st.fixed_dictionaries(
    {
        "index": st.integers(0, 2),
        "value": WORDS,
        "valueTwo": WORDS,
        "op": st.sampled_from(["SCMP_CMP_" + op for op in ("EQ", "EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ")]),
    }
)
ACTIONS = st.sampled_from(["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_LOG", "SCMP_ACT_TRAP"])
PROFILES = st.fixed_dictionaries(
    {
        "defaultAction": ACTIONS,
        "architectures": st.just(LISTED),
        "syscalls": st.lists(
            st.fixed_dictionaries(
                {
                    "names": st.lists(NAMES, max_size=3),
                    "action": ACTIONS,
                    "args": st.lists(CONDITIONS, max_size=3),
                }
            ),
            max_size=6,
        ),
    }
)


@settings(max_examples=150, deadline=None)
@given(profile=PROFILES, arguments=st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=4, max_size=4))
def test_a_program_says_what_its_profile_says(profile: dict[str, Any], arguments: list[tuple[int, int, int]]) -> None:
    program = seccomp.compile(profile, "x86_64")
    for arch in (X86_64, I386):
        table = numbers(TABLES[arch])
        interesting = {table[name] for name in ("read", "socket", "clone", "clone3", "setxattrat", "getpid")}
        for number in interesting | {466, 467, 5000, 0x40000001, 0xFFFFFFFF}:
            for given_arguments in arguments:
                full = (*given_arguments, 0, 0, 0)
                assert run(program, arch, number, full) == read(profile, table, number, full), (arch, number)


@pytest.mark.parametrize(("machine", "arches"), [("x86_64", (X86_64, I386)), ("aarch64", (AARCH64, ARM))])
def test_the_default_profile_for_every_number(machine: str, arches: tuple[int, int]) -> None:
    profile = default_profile.seccomp(DOCKER_CAPABILITIES, machine)
    program = seccomp.compile(profile, machine)
    for arch in arches:
        table = numbers(TABLES[arch])
        for number in [*range(500), 983042, 983043, 5000, 0x40000000]:
            for first in (0, 2, 11, 12, 16, 38, 40, 45, 46, 0x20008, 0x10000011, 0xFFFFFFFF, 2**32 + 38):
                arguments = (first, 0, 0, 0, 0, 0)
                assert run(program, arch, number, arguments) == read(profile, table, number, arguments), number


def test_jumps_longer_than_255() -> None:
    table = numbers("x86_64")
    rules = [
        {
            "names": [name],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 1 + number,
            "args": [{"index": 1, "value": number, "op": "SCMP_CMP_EQ"}],
        }
        for name, number in table.items()
    ]
    program = seccomp.compile({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}, "x86_64")
    assert len(program) // 8 > 4 * 255
    for number in table.values():
        assert run(program, X86_64, number, (0, number, 0, 0, 0, 0)) == ERRNO | 1 + number
        assert run(program, X86_64, number, (0, 9999, 0, 0, 0, 0)) == ALLOW


def test_many_values_of_one_argument_are_tested_with_one_load() -> None:
    values = [*range(300), 2**32 + 5, 7777]
    entries = [allow("ioctl", args=[{"index": 1, "value": value, "op": "SCMP_CMP_EQ"}]) for value in values]
    program = seccomp.compile(deny_all(*entries, architectures=[]), "x86_64")
    assert len(program) // 8 < 350
    for value in (*values, 300, 2**32, 2**33 + 5):
        expected = ALLOW if value in values else ERRNO | errno.EPERM
        assert run(program, *call("ioctl", 0, value)) == expected


def test_an_unlisted_or_foreign_architecture_is_killed() -> None:
    program = seccomp.compile(deny_all(allow("read"), architectures=[]), "x86_64")
    assert run(program, *call("read")) == ALLOW
    assert run(program, *call("read", arch=I386)) == KILL_PROCESS
    assert run(program, *call("read", arch=AARCH64)) == KILL_PROCESS


@pytest.mark.parametrize("listed", [["SCMP_ARCH_X86_64"], LISTED])
@pytest.mark.parametrize("default", ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"])
def test_x32_is_not_there(listed: list[str], default: str) -> None:
    profile = {"defaultAction": default, "architectures": listed, "syscalls": [allow("read")]}
    program = seccomp.compile(profile, "x86_64")
    assert run(program, X86_64, 0x40000000) == ERRNO | errno.ENOSYS
    assert run(program, X86_64, 0x40000000 | 520) == ERRNO | errno.ENOSYS


def test_calls_newer_than_the_profile_answer_enosys() -> None:
    program = seccomp.compile(deny_all(allow("read", "openat2")), "x86_64")
    assert run(program, *call("clone3")) == ERRNO | errno.EPERM  # older than openat2
    assert run(program, *call("mseal")) == ERRNO | errno.ENOSYS
    assert run(program, X86_64, 5000) == ERRNO | errno.ENOSYS


@pytest.mark.parametrize("default", ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"])
def test_a_permissive_default_leaves_new_calls_alone(default: str) -> None:
    profile = {"defaultAction": default, "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO"}]}
    program = seccomp.compile(profile, "x86_64")
    assert run(program, X86_64, 5000) == run(program, *call("write")) >= 0x7FF00000


def test_private_calls_of_arm_do_not_count_as_new() -> None:
    program = seccomp.compile(
        {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_ARM"], "syscalls": [allow("read", "set_tls")]},
        "aarch64",
    )
    assert run(program, *call("set_tls", arch=ARM)) == ALLOW
    assert run(program, *call("cacheflush", arch=ARM)) == ERRNO | errno.ENOSYS
    assert run(program, *call("mseal", arch=ARM)) == ERRNO | errno.ENOSYS


@pytest.mark.parametrize(
    ("name", "extra", "expected"),
    [
        ("SCMP_ACT_KILL", {}, 0),
        ("SCMP_ACT_KILL_THREAD", {}, 0),
        ("SCMP_ACT_KILL_PROCESS", {}, 0x80000000),
        ("SCMP_ACT_TRAP", {}, 0x00030000),
        ("SCMP_ACT_ERRNO", {}, 0x00050001),
        ("SCMP_ACT_ERRNO", {"errnoRet": 0}, 0x00050000),
        ("SCMP_ACT_ERRNO", {"errnoRet": 38}, 0x00050026),
        ("SCMP_ACT_TRACE", {"errnoRet": 7}, 0x7FF00007),
        ("SCMP_ACT_LOG", {}, 0x7FFC0000),
        ("SCMP_ACT_ALLOW", {}, 0x7FFF0000),
    ],
)
def test_actions(name: str, extra: dict[str, int], expected: int) -> None:
    default = "SCMP_ACT_LOG" if name == "SCMP_ACT_ALLOW" else "SCMP_ACT_ALLOW"
    profile = {"defaultAction": default, "syscalls": [{"names": ["read"], "action": name, **extra}]}
    assert run(seccomp.compile(profile, "x86_64"), *call("read")) == expected


def entry_with(**argument: Any) -> dict[str, Any]:
    return deny_all(allow("read", args=[{"index": 0, "value": 0, "op": "SCMP_CMP_EQ", **argument}]))


@pytest.mark.parametrize(
    ("profile", "word"),
    [
        ({"defaultAction": "SCMP_ACT_MAYBE"}, "SCMP_ACT_MAYBE"),
        ({}, "None"),
        (deny_all({"names": ["read"], "action": "allow"}), "'allow'"),
        (deny_all({"names": ["read"], "action": "SCMP_ACT_ALLOW", "errnoRet": 5}), "takes no errno"),
        (deny_all(defaultErrnoRet=70000), "70000"),
        (deny_all(defaultErrnoRet="EPERM"), "'EPERM'"),
        (entry_with(op="SCMP_CMP_ALMOST"), "SCMP_CMP_ALMOST"),
        (entry_with(index=6), "argument index 6"),
        (entry_with(value=-1), "value -1"),
        (entry_with(value=2**64), str(2**64)),
        (deny_all(architectures=["amd64"]), "'amd64'"),
        (deny_all({"name": "read", "action": "SCMP_ACT_ALLOW"}), "names None"),
    ],
)
def test_what_is_not_understood_is_refused(profile: dict[str, Any], word: str) -> None:
    with pytest.raises(Invalid, match="seccomp profile") as error:
        seccomp.compile(profile, "x86_64")
    assert word in error.value.message


def test_too_long_a_profile_is_refused() -> None:
    condition = [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 0, "op": "SCMP_CMP_EQ"}]
    with pytest.raises(Invalid, match="4096"):
        seccomp.compile(deny_all(*[allow("read", args=condition)] * 600), "x86_64")


@pytest.mark.parametrize(
    ("profile", "machine"),
    [
        (deny_all({"names": ["read"], "action": "SCMP_ACT_NOTIFY"}), "x86_64"),
        (deny_all(), "vax"),
    ],
)
def test_what_is_not_built_is_unsupported(profile: dict[str, Any], machine: str) -> None:
    with pytest.raises(Unsupported):
        seccomp.compile(profile, machine)


def test_filter_flags() -> None:
    assert seccomp.filter_flags({}) == 4
    assert seccomp.filter_flags({"flags": []}) == 0
    assert seccomp.filter_flags({"flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]}) == 2
    with pytest.raises(Invalid, match="_FAST"):
        seccomp.filter_flags({"flags": ["SECCOMP_FILTER_FLAG_FAST"]})
    waiting = {"flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}
    with pytest.raises(Invalid, match="no call that is notified"):
        seccomp.filter_flags(waiting)
    assert seccomp.filter_flags({**waiting, "syscalls": [{"names": ["read"], "action": "SCMP_ACT_NOTIFY"}]}) == 32


# A second opinion.


class _Comparison(ctypes.Structure):
    """struct scmp_arg_cmp"""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


LIBSECCOMP_OPERATORS = {
    "SCMP_CMP_" + op: n for n, op in enumerate(("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"), 1)
}


def libseccomp_program(library: ctypes.CDLL, profile: dict[str, Any]) -> bytes:
    """The program that libseccomp makes when it is driven as runc drives it."""
    library.seccomp_init.restype = ctypes.c_void_p
    default = action_of(profile, "defaultAction", "defaultErrnoRet")
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))
    assert library.seccomp_arch_add(context, ctypes.c_uint32(I386)) == 0
    for entry in profile["syscalls"]:
        for name in entry["names"]:
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number == -1 or action_of(entry) == default:
                continue
            for comparisons in alternatives(entry):
                array = (_Comparison * len(comparisons))(*comparisons)
                action = ctypes.c_uint32(action_of(entry))
                library.seccomp_rule_add_array(context, action, number, len(comparisons), array)
    with tempfile.TemporaryFile() as file:
        assert library.seccomp_export_bpf(context, file.fileno()) == 0
        library.seccomp_release(context)
        file.seek(0)
        return file.read()


def alternatives(entry: dict[str, Any]) -> Iterator[list[_Comparison]]:
    args = entry.get("args") or []
    comparisons = [
        _Comparison(a["index"], LIBSECCOMP_OPERATORS[a["op"]], a["value"], a.get("valueTwo", 0)) for a in args
    ]
    if len({a["index"] for a in args}) == len(args):
        yield comparisons
    else:
        yield from ([comparison] for comparison in comparisons)


@pytest.mark.interop
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the machine is not x86_64, whose programs are compared")
@pytest.mark.parametrize("capabilities", [DOCKER_CAPABILITIES, ("CAP_SYS_ADMIN", "CAP_BPF", "CAP_SYS_TIME")])
def test_libseccomp_decides_alike(capabilities: tuple[str, ...]) -> None:
    path = ctypes.util.find_library("seccomp")
    if not path:
        pytest.skip("not installed: libseccomp2")
    library = ctypes.CDLL(path)
    profile = default_profile.seccomp(capabilities, "x86_64")
    ours, theirs = seccomp.compile(profile, "x86_64"), libseccomp_program(library, profile)
    compared = 0
    for arch in (X86_64, I386):
        for name, number in numbers(TABLES[arch]).items():
            if library.seccomp_syscall_resolve_name(name.encode()) == -1:
                continue  # newer than this libseccomp
            for first in (0, 2, 11, 12, 16, 38, 40, 45, 46, 0x20008, 0x10000011, 0xFFFFFFFF, 2**32 + 38):
                arguments = (first, 0, 0, 0, 0, 0)
                mine, other = run(ours, arch, number, arguments), run(theirs, arch, number, arguments)
                if number <= 466:
                    assert mine == other, (name, first, hex(mine), hex(other))
                    compared += 1
    assert compared > 8000


# In the kernel.

INSIDE = """
import ctypes, json, mmap, os, socket, sys, threading, subprocess
from sampan.linux import seccomp, syscalls
from sampan.runtime import profile

machine = os.uname().machine
program = seccomp.compile(profile.seccomp(["CAP_CHOWN", "CAP_SYS_CHROOT"], machine), machine)
syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
seccomp.install(program)

def attempt(number, *arguments):
    try:
        return syscalls.call("", number, *arguments) * 0
    except OSError as error:
        return error.errno

from sampan.linux.syscall_table import numbers
table = numbers(machine)
found = {
    "AF_ALG": attempt(table["socket"], 38, 5, 0),
    "AF_ALG with a high bit": attempt(table["socket"], 2**32 + 38, 5, 0),
    "AF_VSOCK": attempt(table["socket"], 40, 1, 0),
    "unshare user": attempt(table["unshare"], syscalls.CLONE_NEWUSER),
    "unshare net": attempt(table["unshare"], syscalls.CLONE_NEWNET),
    "clone user": attempt(table["clone"], syscalls.CLONE_NEWUSER | 17, 0, 0, 0, 0),
    "clone3": attempt(table["clone3"], None, 0),
    "keyctl": attempt(table["keyctl"], 0, -3, 0, 0, 0),
    "add_key": attempt(table["add_key"], 0, 0, 0, 0, 0),
    "bpf": attempt(table["bpf"], 0, None, 0),
    "perf_event_open": attempt(table["perf_event_open"], None, 0, 0, -1, 0),
    "userfaultfd": attempt(table["userfaultfd"], 1),
    "io_uring_setup": attempt(table["io_uring_setup"], 1, None),
    "open_by_handle_at": attempt(table["open_by_handle_at"], -1, None, 0),
    "mount": attempt(table["mount"], None, None, None, 0, None),
    "setns": attempt(table["setns"], -1, 0),
    "personality": attempt(table["personality"], 0x0040000),
    "personality query": attempt(table["personality"], 0xFFFFFFFF),
    "future": attempt(5000),
    "x32 getpid": attempt(0x40000000 + 39),
}
threads = [threading.Thread(target=lambda: None) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
here, there = socket.socketpair()
here.sendall(b"x")
found["work"] = [
    subprocess.run([sys.executable, "-SIc", "print(6 * 7)"], capture_output=True, text=True, check=True).stdout,
    there.recv(1).decode(),
    os.stat("/").st_mode >> 12,
    socket.socket(socket.AF_INET).family,
]
if machine == "x86_64" and "int80" in sys.argv:
    # push rbx; mov eax, edi; mov ebx, esi; mov ecx, edx; xor edx, edx; int 0x80; pop rbx; ret
    code = bytes.fromhex("53 89f8 89f3 89d1 31d2 cd80 5b c3")
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    int80 = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int)(address)
    old = numbers("i386")
    found["i386"] = {
        "getpid": int80(old["getpid"], 0, 0) == os.getpid(),
        "keyctl": int80(old["keyctl"], 0, 0),
        "AF_ALG": int80(old["socket"], 38, 5),
        "AF_UNIX": int80(old["socket"], 1, 1) > 0,
        "unshare": int80(old["unshare"], syscalls.CLONE_NEWUSER, 0),
        "clone3": int80(old["clone3"], 0, 0),
        "future": int80(5000, 0, 0),
    }
print(json.dumps(found))
"""


def execute(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], check=False, capture_output=True, text=True, timeout=60
    )


def inside(*arguments: str) -> dict[str, Any]:
    child = execute(INSIDE, *arguments)
    assert child.returncode == 0, (child.returncode, child.stderr)
    found: dict[str, Any] = json.loads(child.stdout)
    return found


@pytest.mark.system
def test_the_default_filter_in_the_kernel() -> None:
    found = inside()
    assert found.pop("work") == ["42\n", "x", 4, 2]
    assert found.pop("personality query") == 0
    unknown = {"clone3", "future", "x32 getpid"}
    assert {name: found.pop(name) for name in unknown} == dict.fromkeys(unknown, errno.ENOSYS)
    assert found == dict.fromkeys(found, errno.EPERM)


@pytest.mark.system
@pytest.mark.skipif(
    os.uname().machine != "x86_64" or not os.path.exists("/proc/sys/abi/vsyscall32"),
    reason="the kernel has no 32-bit x86 calls",
)
def test_the_default_filter_on_calls_of_32_bit_x86() -> None:
    assert inside("int80")["i386"] == {
        "getpid": True,
        "keyctl": -errno.EPERM,
        "AF_ALG": -errno.EPERM,
        "AF_UNIX": True,
        "unshare": -errno.EPERM,
        "clone3": -errno.ENOSYS,
        "future": -errno.ENOSYS,
    }


@pytest.mark.system
def test_a_program_that_the_kernel_refuses() -> None:
    child = "from sampan.linux import seccomp; seccomp.install(bytes(8))"
    done = execute(child)
    assert done.returncode == 1
    assert "seccomp: " in done.stderr
