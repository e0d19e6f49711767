"""Fields of a bundle's configuration that old runc has not, or that one machine shows in another way than the next: one
is changed, one container is run, and what it says of itself is compared."""

import os
from pathlib import Path
from typing import Any

import pytest

from bundles import Bundle

pytestmark = [pytest.mark.system, pytest.mark.needs("busybox")]

# Field of the process → its value, what is asked inside, and the answer. Other words are wrong values and what is said.
PROCESS: dict[str, tuple[Any, str, str]] = {
    "scheduler": ({"policy": "SCHED_BATCH", "nice": 5}, "cut -d' ' -f19,41 /proc/self/stat", "5 3\n"),
    "scheduler ": ({"policy": "SCHED_IDLE"}, "cut -d' ' -f41 /proc/self/stat", "5\n"),
    "scheduler  ": ({"policy": "SCHED_OTHER", "nice": 19, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
                    "cut -d' ' -f19,41 /proc/1/stat", "19 0\n"),
    "ioPriority": ({"class": "IOPRIO_CLASS_BE", "priority": 3}, "ionice -p 1", "best-effort: prio 3\n"),
    "ioPriority ": ({"class": "IOPRIO_CLASS_IDLE", "priority": 0}, "ionice -p 1", "idle\n"),
    "user": ({"uid": 0, "gid": 0, "umask": 0o137}, "umask", "0137\n"),
    "oomScoreAdj": (555, "cat /proc/self/oom_score_adj", "555\n"),
    "noNewPrivileges": (True, "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1\n"),
    "rlimits": ([{"type": "RLIMIT_NOFILE", "soft": 33, "hard": 44}], "ulimit -n; ulimit -Hn", "33\n44\n"),
    "capabilities": ({"bounding": ["CAP_KILL"], "effective": [], "permitted": []},
                     "grep -E 'Cap(Bnd|Eff|Inh)' /proc/self/status | cut -c9-",
                     "0000000000000000\n0000000000000020\n0000000000000020\n"),
    "cwd": ("/tmp/made", "pwd", "/tmp/made\n"),
    "env": (["PATH=/bin", "A=b", "NOTHING", "=x"], "env | sort", "A=b\nHOME=/\nPATH=/bin\nPWD=/\nSHLVL=1\n"),
    "execCPUAffinity": ({"initial": "0", "final": "0"}, "nproc", f"{len(os.sched_getaffinity(0))}\n"),
}  # fmt: skip


@pytest.fixture
def bundle(anyones_bundle: Bundle) -> Bundle:
    for name in ("cut", "grep", "sort"):
        (anyones_bundle.root / "bin" / name).symlink_to("busybox")
    return anyones_bundle


@pytest.mark.parametrize("field", PROCESS)
def test_fields_of_the_process(bundle: Bundle, field: str) -> None:
    value, script, answer = PROCESS[field]
    bundle.process[field.strip()] = value
    assert bundle.run("sh", "-c", script).stdout == answer


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the machine has one processor")
def test_processors_of_a_further_process(bundle: Bundle) -> None:
    bundle.process["execCPUAffinity"] = {"initial": "0-1", "final": "1"}
    name = bundle.create("sleep", "1000")
    bundle("start", name)
    assert bundle("exec", name, "sh", "-c", "nproc; grep Cpus_allowed_list /proc/self/status").stdout == (
        "1\nCpus_allowed_list:\t1\n"
    )


LINUX: dict[str, tuple[Any, str, str]] = {
    "personality": ({"domain": "LINUX32"}, "uname -m | cut -c1-3; cat /proc/self/personality", "i68\n00000008\n"),
    "sysctl": ({"net.ipv4.ip_forward": "1", "kernel.sem": "32 32000 32 99"},
               "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/sem", "1\n32\t32000\t32\t99\n"),
    "maskedPaths": (["/proc/version", "/proc/tty"], "cat /proc/version; ls /proc/tty", ""),
    "readonlyPaths": (["/tmp"], "touch /tmp/x 2>/dev/null || echo no", "no\n"),
}  # fmt: skip


@pytest.mark.parametrize("field", LINUX)
def test_fields_of_linux(bundle: Bundle, field: str) -> None:
    value, script, answer = LINUX[field]
    if field == "personality":
        answer = answer if os.uname().machine == "x86_64" else answer.replace("i68", "arm")
    bundle.linux[field] = value
    assert bundle.run("sh", "-c", script).stdout == answer


def test_what_is_null_is_not_there(bundle: Bundle) -> None:
    bundle.process["user"] = {"uid": None, "gid": None, "additionalGids": None, "umask": None}
    process, spec, linux = bundle.process, bundle.spec, bundle.linux
    process |= {"rlimits": None, "capabilities": None, "scheduler": None, "oomScoreAdj": None}
    spec |= {"hooks": None, "annotations": None, "domainname": None}
    linux |= {"resources": {"pids": {"limit": None}, "memory": None}, "devices": None, "seccomp": None}
    assert bundle.run("sh", "-c", "id -u; id -g; umask").stdout == "0\n0\n0022\n"


def test_names(bundle: Bundle) -> None:
    bundle.spec["hostname"], bundle.spec["domainname"] = "host", "domain.example"
    assert bundle.run("sh", "-c", "hostname; cat /proc/sys/kernel/domainname").stdout == "host\ndomain.example\n"


ENDS = {
    "SCMP_ACT_KILL": (159, ""), "SCMP_ACT_KILL_PROCESS": (159, ""), "SCMP_ACT_KILL_THREAD": (159, ""),
    "SCMP_ACT_TRAP": (159, ""), "SCMP_ACT_ERRNO": (1, "Operation not permitted"),
    "SCMP_ACT_TRACE": (1, "Function not implemented"), "SCMP_ACT_LOG": (0, ""), "SCMP_ACT_ALLOW": (0, ""),
}  # fmt: skip


@pytest.mark.parametrize("action", ENDS)
def test_actions_of_a_profile(bundle: Bundle, action: str) -> None:
    """A call that comes to nothing, and one with other arguments, which the condition leaves alone."""
    rule = {
        "names": ["kill"],
        "action": action,
        "args": [{"index": 1, "value": 0xFF, "valueTwo": 12, "op": "SCMP_CMP_MASKED_EQ"}],
    }
    default = "SCMP_ACT_LOG" if action == "SCMP_ACT_ALLOW" else "SCMP_ACT_ALLOW"
    bundle.linux["seccomp"] = {"defaultAction": default, "syscalls": [rule]}
    code, message = ENDS[action]
    assert bundle.run("kill", "-CONT", "1").returncode == 0
    done = bundle.run("sh", "-c", "trap '' USR2; kill -USR2 $$", check=False)
    assert done.returncode == code, done
    assert message in done.stderr


def test_a_bind_mount_is_recursively_what_it_is_told(bundle: Bundle) -> None:
    bundle.mount("/all", "bind", "rbind", "rro", "rnosuid", "rnodev", "rnoexec", source=bundle.root)
    bundle.mount("/one", "bind", "bind", "ro", "nosuid", source=bundle.root / "etc")
    lines = bundle.run("cat", "/proc/self/mountinfo").stdout.splitlines()
    options = {line.split()[4]: line.split()[5] for line in lines}
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(options["/all"].split(","))
    assert {"ro", "nosuid"} <= set(options["/one"].split(","))


LIMITS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "memory": ({"memory": {"limit": 64 << 20, "swappiness": 7}}, "memory", "memory.swappiness", "7"),
    "reservation": ({"memory": {"reservation": 32 << 20}}, "memory", "memory.soft_limit_in_bytes", f"{32 << 20}"),
    "pids": ({"pids": {"limit": 17}}, "pids", "pids.max", "17"),
    "shares": ({"cpu": {"shares": 77}}, "cpu", "cpu.shares", "77"),
    "quota": ({"cpu": {"quota": 20000, "period": 50000}}, "cpu", "cpu.cfs_quota_us", "20000"),
    "idle": ({"cpu": {"idle": 1}}, "cpu", "cpu.idle", "1"),
    "cpus": ({"cpu": {"cpus": "0", "mems": "0"}}, "cpuset", "cpuset.cpus", "0"),
}


@pytest.mark.root
@pytest.mark.parametrize("anyones_bundle", ["root"], indirect=True)
@pytest.mark.parametrize("name", LIMITS)
def test_limits_are_in_the_cgroup(bundle: Bundle, name: str) -> None:
    resources, controller, file, expected = LIMITS[name]
    hierarchy = Path("/sys/fs/cgroup") / controller
    if not hierarchy.is_dir():
        pytest.skip("the kernel's cgroups are of version 2")
    bundle.linux["resources"] = resources
    path = f"/test-{os.getpid()}-fields"
    bundle.linux["cgroupsPath"] = path
    made = bundle.create("sleep", "1000")
    try:
        assert (hierarchy / path[1:] / file).read_text().strip() == expected
    finally:
        bundle("delete", "--force", made)


@pytest.mark.root
@pytest.mark.parametrize(
    ("resources", "controller"),
    [
        ({"hugepageLimits": [{"pageSize": "2MB", "limit": 1 << 21}]}, "hugetlb"),
        ({"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}}}, "rdma"),
        ({"network": {"classID": 1048577}}, "net_cls"),
        ({"network": {"priorities": [{"name": "eth0", "priority": 5}]}}, "net_prio"),
        ({"unified": {"memory.high": "1000000"}}, "unified"),
    ],
    ids=str,
)
def test_a_limit_is_never_left_out_in_silence(bundle: Bundle, resources: dict[str, Any], controller: str) -> None:
    """Where the controller is there the file says so; else the command does."""
    bundle.linux["resources"] = resources
    mounts = Path("/proc/mounts").read_text()
    served = f",{controller}" in mounts or f" {controller}" in mounts
    done = bundle.run("true", check=False)
    if not served:
        assert done.returncode == 1
        assert controller in done.stderr or "cannot set the limits" in done.stderr
