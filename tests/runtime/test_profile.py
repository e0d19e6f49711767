"""The default profile, by name, against the profiles that Debian packages of other engines carry."""

import json
from pathlib import Path
from typing import Any

import pytest

from sampan.errors import Unsupported
from sampan.linux.capabilities import NAMES
from sampan.linux.syscall_table import numbers
from sampan.runtime.profile import seccomp

DOCKER = Path("/usr/share/gocode/src/github.com/docker/docker/profiles/seccomp/default.json")  # 20.10, of 2022
PODMAN = Path("/usr/share/containers/seccomp.json")  # containers/common 0.50, of 2022
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
CAPABILITY_SETS = [(), tuple(NAMES), *((name,) for name in NAMES)]


def allowed(rules: list[dict[str, Any]]) -> set[str]:
    """Names that may be called with at least some arguments."""
    return {name for rule in rules if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}


def resolved(path: Path, capabilities: tuple[str, ...], machine: str) -> list[dict[str, Any]]:
    """The rules of a profile in Docker's format that apply to a container."""
    rules = []
    for rule in json.loads(path.read_text())["syscalls"]:
        includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
        if not set(includes.get("caps", ())) <= set(capabilities):
            continue
        if includes.get("arches") and MACHINES[machine] not in includes["arches"]:
            continue
        if set(excludes.get("caps", ())) & set(capabilities) or MACHINES[machine] in excludes.get("arches", ()):
            continue
        rules.append(rule)
    return rules


# Reason → names, and no name without a reason.
MORE_THAN_DOCKER_20_10 = {
    "newer than 20.10, or allowed by moby since": """
        cachestat fchmodat2 futex_requeue futex_wait futex_wake getxattrat listmount listxattrat map_shadow_stack mseal
        name_to_handle_at pkey_alloc pkey_free pkey_mprotect process_vm_readv process_vm_writev removexattrat
        riscv_hwprobe setxattrat statmount uretprobe""",
    "with CAP_SYS_ADMIN": "lsm_get_self_attr lsm_list_modules lsm_set_self_attr",
    "with CAP_BPF": "bpf",
    "with CAP_PERFMON": "perf_event_open",
    "with CAP_SYS_NICE": "set_mempolicy_home_node",
    "with CAP_SYS_TIME": "clock_settime64",
}
LESS_THAN_DOCKER_20_10 = {"refused by moby since 25.0": "io_uring_enter io_uring_register io_uring_setup"}
MORE_THAN_PODMAN_4 = {
    "newer than its table": """
        cachestat fchmodat2 futex_requeue futex_wait futex_waitv futex_wake getxattrat listmount listxattrat
        map_shadow_stack mseal removexattrat riscv_hwprobe setxattrat statmount uretprobe""",
    "allowed by moby": "io_pgetevents io_pgetevents_time64 vmsplice",
    "with CAP_SYS_ADMIN": "lsm_get_self_attr lsm_list_modules lsm_set_self_attr quotactl_fd",
    "with CAP_BPF": "bpf",
    "with CAP_PERFMON": "perf_event_open",
    "with CAP_SYS_NICE": "set_mempolicy_home_node",
}
LESS_THAN_PODMAN_4 = {
    "needs CAP_SYS_ADMIN here": """
        clone3 fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree setns umount umount2 unshare""",
    "needs another capability here": "get_mempolicy mbind pidfd_getfd reboot set_mempolicy syslog",
    "keyrings have no namespace": "keyctl",
    "only a runtime needs it": "pivot_root",
    "old calls that no C library makes": """
        query_module readdir sigaction signal sigpending sigsuspend syscall timerfd""",
}


@pytest.mark.interop
@pytest.mark.parametrize(
    ("path", "more", "less"),
    [
        (DOCKER, MORE_THAN_DOCKER_20_10, LESS_THAN_DOCKER_20_10),
        (PODMAN, MORE_THAN_PODMAN_4, LESS_THAN_PODMAN_4),
    ],
    ids=["docker", "podman"],
)
def test_every_difference_has_a_reason(path: Path, more: dict[str, str], less: dict[str, str]) -> None:
    if not path.exists():
        pytest.skip(f"not installed: {path}")
    found_more, found_less = set(), set()
    for machine in MACHINES:
        for capabilities in CAPABILITY_SETS:
            ours = allowed(seccomp(capabilities, machine)["syscalls"])
            theirs = allowed(resolved(path, capabilities, machine))
            found_more |= ours - theirs
            found_less |= theirs - ours
    assert found_more == set(" ".join(more.values()).split())
    assert found_less == set(" ".join(less.values()).split())


@pytest.mark.parametrize("machine", MACHINES)
def test_what_each_capability_opens(machine: str) -> None:
    without = allowed(seccomp((), machine)["syscalls"])
    opens = {name: allowed(seccomp([name], machine)["syscalls"]) - without for name in NAMES}
    mounting = {"mount", "umount", "umount2", "mount_setattr", "move_mount", "open_tree", "fsopen", "fsconfig"}
    assert opens["CAP_SYS_ADMIN"] >= mounting | {"unshare", "setns", "clone3", "bpf", "perf_event_open", "syslog"}
    del opens["CAP_SYS_ADMIN"]
    assert {name: calls for name, calls in opens.items() if calls} == {
        "CAP_BPF": {"bpf"},
        "CAP_DAC_READ_SEARCH": {"open_by_handle_at"},
        "CAP_PERFMON": {"perf_event_open"},
        "CAP_SYSLOG": {"syslog"},
        "CAP_SYS_BOOT": {"reboot"},
        "CAP_SYS_CHROOT": {"chroot"},
        "CAP_SYS_MODULE": {"delete_module", "finit_module", "init_module"},
        "CAP_SYS_NICE": {"get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"},
        "CAP_SYS_PACCT": {"acct"},
        "CAP_SYS_PTRACE": {"kcmp", "pidfd_getfd", "process_madvise"},
        "CAP_SYS_RAWIO": {"ioperm", "iopl"},
        "CAP_SYS_TIME": {"clock_settime", "clock_settime64", "settimeofday", "stime"},
        "CAP_SYS_TTY_CONFIG": {"vhangup"},
    }


@pytest.mark.parametrize("machine", MACHINES)
def test_what_no_capability_opens(machine: str) -> None:
    never = {
        "add_key", "io_uring_enter", "io_uring_register", "io_uring_setup", "kexec_file_load", "kexec_load", "keyctl",
        "move_pages", "nfsservctl", "pivot_root", "request_key", "swapoff", "swapon", "userfaultfd", "vm86",
    }  # fmt: skip
    assert not allowed(seccomp(NAMES, machine)["syscalls"]) & never


def test_the_machine_decides_on_its_own_calls() -> None:
    x86_64, aarch64 = (allowed(seccomp((), machine)["syscalls"]) for machine in ("x86_64", "aarch64"))
    assert x86_64 - aarch64 == {"arch_prctl", "modify_ldt"}
    assert "set_tls" in aarch64 - x86_64
    assert seccomp((), "aarch64")["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]


@pytest.mark.parametrize("machine", MACHINES)
def test_names_are_real(machine: str) -> None:
    known = {name for table in ("x86_64", "i386", "aarch64", "arm") for name in numbers(table)}
    of_other_machines = {"riscv_hwprobe", "sync_file_range2"}
    assert allowed(seccomp(NAMES, machine)["syscalls"]) - known <= of_other_machines


def test_namespaces_need_cap_sys_admin_even_in_clone() -> None:
    rules = [rule for rule in seccomp((), "x86_64")["syscalls"] if set(rule["names"]) & {"clone", "clone3"}]
    flags = {"index": 0, "value": 0x7E020000, "op": "SCMP_CMP_MASKED_EQ"}
    assert rules == [
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [flags]},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
    ]


def test_a_machine_without_a_table() -> None:
    with pytest.raises(Unsupported, match="vax"):
        seccomp((), "vax")
