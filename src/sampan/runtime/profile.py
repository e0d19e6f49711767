"""The default seccomp profile: what a container may ask of the kernel.

The policy is the current one of moby/profiles (seccomp/default_linux.go), as an allow-list by subject. A call that is
in no table is refused with EPERM; one newer than every call here with ENOSYS (see linux.seccomp), so that programs
fall back. Deliberately absent: keyrings (not namespaced), io_uring, userfaultfd, kexec, swapon, pivot_root.
"""

from __future__ import annotations

import os
from errno import ENOSYS, EPERM

from sampan.errors import Invalid, Unsupported
from sampan.linux.syscalls import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def seccomp(capabilities: Iterable[str], machine: str) -> dict[str, Any]:
    """The runtime-spec ``linux.seccomp`` object for a container with ``capabilities`` ("CAP_…", its bounding set).

    ``machine`` is os.uname().machine. Raises Unsupported where there is no table of its system calls.
    """
    if machine not in _ARCHITECTURES:
        raise Unsupported(
            f"there is no default seccomp profile for {machine}",
            hint="run with --security-opt seccomp=unconfined, or name a profile",
        )
    held = set(capabilities)
    names = [*_ALLOWED.split(), *_BY_MACHINE[machine].split()]
    for capability, granted in _BY_CAPABILITY.items():
        if capability in held:
            names += granted.split()
    rules = [
        {"names": names, "action": "SCMP_ACT_ALLOW"},
        _allow("socket", "SCMP_CMP_LT", _FIRST_REFUSED_FAMILY),
        *(_allow("socket", "SCMP_CMP_EQ", family) for family in _FAMILIES),
        *(_allow("personality", "SCMP_CMP_EQ", persona) for persona in _PERSONAS),
    ]
    if "CAP_SYS_ADMIN" not in held:
        rules.append(_allow("clone", "SCMP_CMP_MASKED_EQ", _NAMESPACE_FLAGS))
        # clone3 has its flags behind a pointer, out of a filter's sight: ENOSYS sends the C library back to clone.
        rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS})
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": EPERM,
        "architectures": _ARCHITECTURES[machine].split(),
        "syscalls": rules,
    }


def resolve(profile: Any, capabilities: Iterable[str], machine: str) -> dict[str, Any]:
    """A profile in Docker's form (moby/profiles, seccomp/seccomp.go), for one container, in the runtime spec's.

    One that has the runtime spec's form already is left as it is. Raises Invalid for what is neither.
    """
    if not isinstance(profile, dict) or not isinstance(profile.get("syscalls", []), list):
        raise Invalid("the seccomp profile is not an object with a list of system calls")
    held = set(capabilities)
    entries = [_resolved(entry) for entry in profile.get("syscalls") or () if _applies(entry, held, machine)]
    architectures = profile.get("architectures") or []
    for each in profile.get("archMap") or ():
        if _MACHINE_NAMES.get(machine) == each.get("architecture"):
            architectures = [each["architecture"], *(each.get("subArchitectures") or ())]
    keys = ("defaultAction", "defaultErrnoRet", "flags", "listenerPath")
    kept: dict[str, Any] = {key: profile[key] for key in keys if key in profile}
    return {**kept, "architectures": architectures, "syscalls": entries}


_MACHINE_NAMES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
_SHORT_NAMES = {"x86_64": ("amd64", "x32", "x86"), "aarch64": ("arm64", "arm")}


def _resolved(entry: dict[str, Any]) -> dict[str, Any]:
    kept = {key: entry[key] for key in ("names", "action", "errnoRet", "args") if entry.get(key) is not None}
    return {**kept, "names": entry["names"]} if "names" in entry else {**kept, "names": [entry["name"]]}


def _applies(entry: object, held: set[str], machine: str) -> bool:
    if not isinstance(entry, dict) or not (entry.get("names") or entry.get("name")):
        raise Invalid("the seccomp profile has an entry without names of system calls")
    includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
    architectures = _SHORT_NAMES.get(machine, ())
    if any(architectures[:1] == (name,) for name in excludes.get("arches") or ()):
        return False
    if includes.get("arches") and not set(architectures) & set(includes["arches"]):
        return False
    if set(excludes.get("caps") or ()) & held or not set(includes.get("caps") or ()) <= held:
        return False
    return not includes.get("minKernel") or _kernel() >= _version(includes["minKernel"])


def _kernel() -> tuple[int, int]:
    return _version(os.uname().release)


def _version(text: str) -> tuple[int, int]:
    major, _, rest = text.partition(".")
    minor = "".join(letter for letter in rest.partition(".")[0] if letter.isdigit())
    return int(major), int(minor or 0)


def _allow(name: str, op: str, value: int) -> dict[str, Any]:
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": value, "op": op}]}


_ARCHITECTURES = {
    "x86_64": "SCMP_ARCH_X86_64 SCMP_ARCH_X86 SCMP_ARCH_X32",
    "aarch64": "SCMP_ARCH_AARCH64 SCMP_ARCH_ARM",
}
_BY_MACHINE = {
    "x86_64": "arch_prctl modify_ldt",
    "aarch64": "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
}

# With CLONE_NEWTIME missing, as in moby: clone cannot take it, its bit is part of the exit signal there.
_NAMESPACE_FLAGS = (
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET
)

# PER_LINUX and PER_LINUX32, each also with UNAME26; 0xffffffff only asks which one is set. Others, such as
# ADDR_NO_RANDOMIZE and READ_IMPLIES_EXEC, weaken the program's own defences.
_PERSONAS = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)

# Address families of <linux/socket.h>. An allow-list: the kernel cuts the family to 32 bits after the filter has seen
# all 64, so "not 38" would let 38 + 2**32 through. Refused are AF_ALG (38: the kernel's cryptography, a rich source of
# holes), AF_VSOCK (40: reaches the hypervisor, whatever the network namespace) and those that the kernel no longer has
# (12 DECnet, 19 ECONET, 20 ATMSVC, 23 IRDA, 25 WANPIPE, 34 ISDN, 37 CAIF). What socketcall(2) of 32-bit x86 asks for
# is behind a pointer and escapes this table; refusing that call would take the network from every i386 image.
_FIRST_REFUSED_FAMILY = 12
_FAMILIES = (
    13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44, 45,
)  # fmt: skip

_BY_CAPABILITY = {
    "CAP_BPF": "bpf",
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYSLOG": "syslog",
    "CAP_SYS_ADMIN": """
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr
        lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl
        quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare""",
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module finit_module init_module",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise",
    "CAP_SYS_RAWIO": "ioperm iopl",
    "CAP_SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
    "CAP_SYS_TTY_CONFIG": "vhangup",
}

_FILES = """
    access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2
    fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl
    fcntl64 fdatasync flock fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd
    getdents getdents64 inotify_add_watch inotify_init inotify_init1 inotify_rm_watch ioctl lchown lchown32 link
    linkat listmount _llseek lseek lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open
    openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat
    readv rename renameat renameat2 rmdir sendfile sendfile64 splice stat stat64 statfs statfs64 statmount statx
    symlink symlinkat sync sync_file_range syncfs tee truncate truncate64 umask unlink unlinkat utime utimensat
    utimensat_time64 utimes vmsplice write writev
"""
_XATTRS = """
    fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat llistxattr
    lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat
"""
_MEMORY = """
    brk cachestat get_thread_area madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2
    mlockall mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect
    remap_file_pages set_thread_area
"""
# ptrace and process_vm_* reach only what the container's own processes may: since Linux 4.8 a tracer cannot change a
# call after the filter has seen it.
_PROCESSES = """
    execve execveat exit exit_group fork getcpu getpgid getpgrp getpid getppid getpriority getrlimit getrusage getsid
    gettid ioprio_get ioprio_set kill pidfd_open pidfd_send_signal prctl prlimit64 process_mrelease process_vm_readv
    process_vm_writev ptrace riscv_hwprobe set_tid_address setpgid setpriority setrlimit setsid sysinfo tgkill tkill
    ugetrlimit uname uretprobe vfork wait4 waitid waitpid
"""
_SCHEDULING = """
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
    sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
    sched_setscheduler sched_yield
"""
_SIGNALS = """
    pause restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
    rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack signalfd signalfd4 sigprocmask sigreturn
"""
_TIME = """
    adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
    clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create timer_delete
    timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime
    timerfd_gettime64 timerfd_settime timerfd_settime64 times
"""
_WAITING = """
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
    eventfd2 io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit _newselect poll
    ppoll ppoll_time64 pselect6 pselect6_time64 select
"""
_LOCKING = """
    futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake get_robust_list rseq set_robust_list
"""
_SOCKETS = """
    accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64
    recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair
"""
_MESSAGES = """
    ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
    mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget
"""
_IDENTITY = """
    capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32
    getresuid getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups
    setgroups32 setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32
"""
_ISOLATION = "getrandom landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp"

_ALLOWED = " ".join(
    (
        _FILES, _XATTRS, _MEMORY, _PROCESSES, _SCHEDULING, _SIGNALS, _TIME, _WAITING, _LOCKING, _SOCKETS, _MESSAGES,
        _IDENTITY, _ISOLATION,
    )
)  # fmt: skip
