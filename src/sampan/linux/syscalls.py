"""System calls that Python's os module lacks, with the kernel's names.

``call(name, number, *arguments)`` is the one way down; every wrapper raises OSError with the call's errno. The module
is imported by the runtime's init, so it imports only what it needs of ctypes, os and sys.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from ctypes import Array, c_char, c_long

    Argument = int | bytes | Array[c_char] | None
    _syscall = ctypes.CDLL(None)["syscall"]
else:
    try:
        # ctypes' part in C: the rest of it takes 2 ms to load, twice at every container's start.
        import _ctypes as ctypes

        class c_long(ctypes._SimpleCData):
            _type_ = "l"

        class c_char(ctypes._SimpleCData):
            _type_ = "c"

        class _Function(ctypes.CFuncPtr):
            _flags_ = ctypes.FUNCFLAG_CDECL | ctypes.FUNCFLAG_USE_ERRNO
            _restype_ = c_long

        _syscall = _Function(ctypes.dlsym(ctypes.dlopen(None, 0), "syscall"))
    except (ImportError, AttributeError, TypeError):  # another interpreter, or another version's private parts
        import ctypes
        from ctypes import c_char, c_long

        _syscall = ctypes.CDLL(None, use_errno=True)["syscall"]
        _syscall.restype = c_long

# Numbers that are the same on every architecture since Linux 5.1 (the unified table) ...
SYS_OPEN_TREE = 428
SYS_MOVE_MOUNT = 429
SYS_FSOPEN = 430
SYS_FSCONFIG = 431
SYS_FSMOUNT = 432
SYS_PIDFD_OPEN = 434
SYS_CLONE3 = 435
SYS_CLOSE_RANGE = 436
SYS_OPENAT2 = 437
SYS_MOUNT_SETATTR = 442
# ... and older ones that differ.
_MACHINE = os.uname().machine
_X86_64 = {
    "pivot_root": 155, "mount": 165, "umount2": 166, "unshare": 272, "setns": 308, "seccomp": 317, "capget": 125,
    "capset": 126, "prctl": 157, "keyctl": 250, "bpf": 321, "setgroups": 116, "setresuid": 117, "setresgid": 119,
    "sethostname": 170, "setdomainname": 171, "personality": 135, "mknodat": 259, "pidfd_send_signal": 424,
    "pidfd_getfd": 438, "statfs": 137, "fstatfs": 138, "syncfs": 306, "memfd_create": 319,
    "madvise": 28, "clone": 56, "sched_setattr": 314, "ioprio_set": 251,
}  # fmt: skip
_GENERIC = {  # arm64, riscv64, loongarch64 (include/uapi/asm-generic/unistd.h)
    "pivot_root": 41, "mount": 40, "umount2": 39, "unshare": 97, "setns": 268, "seccomp": 277, "capget": 90,
    "capset": 91, "prctl": 167, "keyctl": 219, "bpf": 280, "setgroups": 159, "setresuid": 147, "setresgid": 149,
    "sethostname": 161, "setdomainname": 162, "personality": 92, "mknodat": 33, "pidfd_send_signal": 424,
    "pidfd_getfd": 438, "statfs": 43, "fstatfs": 44, "syncfs": 267, "memfd_create": 279,
    "madvise": 233, "clone": 220, "sched_setattr": 274, "ioprio_set": 30,
}  # fmt: skip
NUMBERS = _X86_64 if _MACHINE == "x86_64" else _GENERIC

CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
PR_CAP_AMBIENT_RAISE = 2

CLOSE_RANGE_CLOEXEC = 4

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10


def call(name: str, number: int, *arguments: Argument) -> int:
    """Performs system call ``number``; raises OSError (message ``name``) when the kernel says no."""
    converted = [c_long(item) if isinstance(item, int) else item for item in arguments]
    result: int = _syscall(c_long(number), *converted)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def named(name: str, *arguments: Argument) -> int:
    """Performs a system call by a name of ``NUMBERS``."""
    return call(name, NUMBERS[name], *arguments)


def buffer(content: bytes | int) -> Array[c_char]:
    """Memory that the kernel may write to, with this content or of so many zero bytes; ``raw`` is what is in it."""
    size = content if isinstance(content, int) else len(content)
    made: Array[c_char] = (c_char * size)()
    if isinstance(content, bytes):
        made.raw = content
    return made


def address(memory: Array[c_char]) -> int:
    """Where a ``buffer`` is. It must be kept as long as the kernel may look there."""
    return ctypes.addressof(memory)


def unshare(flags: int) -> None:
    """unshare(2)."""
    named("unshare", flags)


def setns(fd: int, kind: int) -> None:
    """setns(2): joins the namespace behind ``fd``; ``kind`` is its CLONE_NEW… flag, or 0 for any."""
    named("setns", fd, kind)


def prctl(option: int, a: int = 0, b: int = 0, c: int = 0, d: int = 0) -> int:
    """prctl(2) with plain numbers."""
    return named("prctl", option, a, b, c, d)


def pivot_root(new: bytes, old: bytes) -> None:
    """pivot_root(2)."""
    named("pivot_root", new, old)


def openat2(dir_fd: int, path: bytes, flags: int, resolve: int, mode: int = 0) -> int:
    """openat2(2): opens ``path`` below ``dir_fd`` under RESOLVE_… rules; the descriptor is close-on-exec."""
    how = b"".join(value.to_bytes(8, sys.byteorder) for value in (flags | os.O_CLOEXEC, mode, resolve))
    while True:
        try:
            return call("openat2", SYS_OPENAT2, dir_fd, path, how, len(how))
        except (InterruptedError, BlockingIOError):
            continue  # EAGAIN: a rename raced with ".." resolution; the manual page says to try again


def close_range(first: int, last: int = 0xFFFFFFFF, flags: int = 0) -> None:
    """close_range(2), or the same through /proc/self/fd on kernels before 5.9."""
    try:
        call("close_range", SYS_CLOSE_RANGE, first, last, flags)
    except OSError:
        for name in os.listdir("/proc/self/fd"):
            if first <= int(name) <= last:
                try:
                    if flags & CLOSE_RANGE_CLOEXEC:
                        os.set_inheritable(int(name), False)
                    else:
                        os.close(int(name))
                except OSError:
                    continue  # the descriptor of the listing itself


def pidfd_open(pid: int) -> int:
    """pidfd_open(2)."""
    return call("pidfd_open", SYS_PIDFD_OPEN, pid, 0)


def set_command_line(text: bytes) -> None:
    """Has /proc/PID/cmdline say ``text`` in place of this process's arguments (proc(5)). /proc must be the kernel's."""
    with open("/proc/self/stat", "rb", buffering=0) as file:
        fields = file.read(4096).rpartition(b")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end
    size = end - start
    if size <= len(text) + 1:
        return
    # A last byte that is not zero tells the kernel that one text took the arguments' place, and ends at its first zero.
    (c_char * size).from_address(start).raw = text.ljust(size - 1, b"\0") + b"\1"


def set_process_name(name: str) -> None:
    """Sets what ps and /proc/PID/comm show (at most 15 bytes)."""
    text = buffer(name.encode()[:15] + b"\0")
    named("prctl", PR_SET_NAME, address(text), 0, 0, 0)
