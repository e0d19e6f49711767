"""Limits, capabilities, namespaces and devices: each is proved by what a container can do then, and not without."""

import json
import os
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest

from commands import Sampan
from residents import IMAGE, PATIENCE, assert_clean

pytestmark = [pytest.mark.system, pytest.mark.root]

RUN = ("run", "--rm", "--network", "none")


def sh(sampan: Sampan, script: str, *options: str, check: bool = True) -> str:
    return sampan(*RUN, *options, IMAGE, "sh", "-c", script, check=check).stdout


def status(sampan: Sampan, field: str, *options: str) -> str:
    return sh(sampan, f"grep {field}: /proc/self/status", *options).split()[1]


# -- limits ---------------------------------------------------------------------------------------------------------


def test_memory_that_is_used_up_ends_the_container(root: Sampan) -> None:
    hog = "x=aaaaaaaa; while :; do x=$x$x; done"
    done = root("run", "--name", "hog", "--network", "none", "-m", "24m", IMAGE, "sh", "-c", hog, check=False)
    state = json.loads(root("inspect", "hog").stdout)[0]["State"]
    assert (done.returncode, state["ExitCode"], state["OOMKilled"]) == (137, 137, True), done.stderr
    root("run", "--name", "modest", "--network", "none", "-m", "24m", IMAGE, "true")
    assert json.loads(root("inspect", "modest").stdout)[0]["State"]["OOMKilled"] is False


def test_a_fork_bomb_meets_its_limit(root: Sampan) -> None:
    script = "i=0; while [ $i -lt 60 ]; do sleep 100 & i=$((i+1)); done; echo all"
    done = root(*RUN, "--pids-limit", "20", IMAGE, "sh", "-c", script, check=False)
    assert done.returncode != 0
    assert "all" not in done.stdout
    assert "can't fork" in done.stderr
    assert "all" in sh(root, script)


def test_half_a_processor_does_half_the_work(root: Sampan) -> None:
    """Measured in processor time that was used of the time that went by, so that other load cannot decide."""
    script = (
        "end=$(($(cut -d. -f1 /proc/uptime)+3)); while [ $(cut -d. -f1 /proc/uptime) -lt $end ]; do :; done;"
        "cat /sys/fs/cgroup/cpu/cpu.stat /sys/fs/cgroup/cpu/cpu.cfs_quota_us"
    )
    lines = sh(root, script, "--cpus", "0.5").splitlines()
    assert lines[-1] == "50000"
    counts = dict(line.split() for line in lines[:-1])
    assert int(counts["nr_throttled"]) > 0
    assert int(dict(line.split() for line in sh(root, script).splitlines()[:-1])["nr_throttled"]) == 0


def test_other_limits_reach_the_kernel(root: Sampan) -> None:
    files = "cpu/cpu.shares cpuset/cpuset.cpus memory/memory.soft_limit_in_bytes memory/memory.limit_in_bytes"
    script = f"cd /sys/fs/cgroup; cat {files}"
    found = sh(root, script, "-c", "99", "--cpuset-cpus", "0", "-m", "64m", "--memory-reservation", "32m").split()
    assert found == ["99", "0", str(32 << 20), str(64 << 20)]


@pytest.mark.parametrize(
    ("options", "file", "text"),
    [
        (("-m", "32m"), "memory/memory.memsw.limit_in_bytes", str(64 << 20)),
        (("-m", "32m", "--memory-swap", "40m"), "memory/memory.memsw.limit_in_bytes", str(40 << 20)),
        (("-m", "32m", "--memory-swap", "-1"), "memory/memory.memsw.limit_in_bytes", "9223372036854771712"),
        (("-m", "32m", "--oom-kill-disable"), "memory/memory.oom_control", "oom_kill_disable 1"),
        (("--cpu-period", "20000", "--cpu-quota", "5000"), "cpu/cpu.cfs_quota_us", "5000"),
        (("--cpu-period", "20000", "--cpu-quota", "5000"), "cpu/cpu.cfs_period_us", "20000"),
        (("--cpuset-cpus", "0-1", "--cpuset-mems", "0"), "cpuset/cpuset.mems", "0"),
        (("--pids-limit", "-1"), "pids/pids.max", "max"),
    ],
)
def test_a_limit_reaches_its_file(root: Sampan, options: tuple[str, ...], file: str, text: str) -> None:
    if not Path("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists():
        pytest.skip("the kernel has control groups v2 alone")
    assert sh(root, f"cat /sys/fs/cgroup/{file}", *options).splitlines()[0] == text


def test_processors_and_the_killer_s_choice(root: Sampan) -> None:
    script = (
        "grep Cpus_allowed_list /proc/self/status | cut -f2; cat /proc/self/oom_score_adj; cat /proc/1/oom_score_adj"
    )
    own = Path("/proc/self/oom_score_adj").read_text().strip()
    assert sh(root, script, "--cpuset-cpus", "0", "--oom-score-adj", "500").split() == ["0", "500", "500"]
    assert sh(root, script).split()[1:] == [own, own]


def test_resource_limits(root: Sampan) -> None:
    assert sh(root, "ulimit -n; ulimit -Hn", "--ulimit", "nofile=100:200").split() == ["100", "200"]
    assert sh(root, "ulimit -n", "--ulimit", "nofile=6") == "6\n"  # fewer than starting it needs


def test_what_an_ordinary_user_cannot_give_is_lowered_and_said(ordinary: Sampan) -> None:
    """He has all capabilities in his user namespace, and that is not enough (setrlimit(2), proc(5))."""
    asked = ("--ulimit", "nofile=100:2000000000", "--oom-score-adj", "-1000")
    done = ordinary(*RUN, *asked, IMAGE, "sh", "-c", "ulimit -n; cat /proc/self/oom_score_adj")
    own = Path("/proc/self/oom_score_adj").read_text()
    assert done.stdout == f"100\n{own}"
    assert "WARNING: the limit nofile is lowered to 100:" in done.stderr
    assert f"--oom-score-adj is raised to {own.strip()}, the least that this process may give" in done.stderr


def test_what_takes_other_ids_or_namespaces_goes_without_them(ordinary: Sampan) -> None:
    owner = ("--tmpfs", "/t:uid=5,gid=6,size=1m", "--ipc", "host")
    assert sh(ordinary, "stat -c %u:%g /t; ls -d /dev/shm", *owner) == "0:0\n/dev/shm\n"
    done = ordinary(*RUN, "--tmpfs", "/t:uid=x", IMAGE, "true", check=False)
    assert "cannot set up /t in the container" in done.stderr


def test_what_cannot_be_given_is_lowered_and_said(root: Sampan) -> None:
    """As in a service or a container that lacks CAP_SYS_RESOURCE."""
    lowered = ("prlimit", "--nofile=500:500", "setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource")
    words = root.command(*RUN, "--ulimit", "nofile=1000:2000", IMAGE, "sh", "-c", "ulimit -n; ulimit -Hn")
    done = subprocess.run([*lowered, *words], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["500", "500"]
    assert done.stderr == "WARNING: the limit nofile is lowered to 500:500, the most that this process may give\n"
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] > 500


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("-m", "1k"), "6 MB of memory at least"),
        (("-m", "lots"), "invalid --memory 'lots'"),
        (("--memory-swap", "1g"), "needs --memory"),
        (("--cpus", "1000"), "invalid --cpus '1000'"),
        (("--cpus", "1", "--cpu-quota", "5"), "--cpus says the same"),
        (("--cpuset-cpus", "0;1"), "invalid --cpuset-cpus"),
        (("--stop-signal", "FOO"), "'FOO' is not a signal"),
        (("--ulimit", "nofile"), "invalid --ulimit 'nofile'"),
        (("--ulimit", "nofile=5:1"), "the soft limit is above the hard one"),
        (("--ulimit", "files=5"), "'files' is not a limit"),
        (("--cap-add", "FLY"), "'FLY' is not a capability"),
        (("--security-opt", "magic"), "invalid --security-opt 'magic'"),
        (("--security-opt", "seccomp=/no/such"), "cannot read the seccomp profile /no/such"),
        (("--device", "/dev/no-such"), "there is no device /dev/no-such"),
        (("--device", "/etc/passwd"), "/etc/passwd is not a device"),
        (("--sysctl", "kernel.panic=1"), "kernel.panic is not one that a container may change"),
        (("--tmpfs", "/proc/x"), "cannot be a volume"),
        (("--tmpfs", "/x:magic"), "unknown option 'magic'"),
        (("--mount", "type=bind,source=/no/such,target=/x"), "there is no /no/such"),
        (("--mount", "type=magic,target=/x"), "'magic' is not a type"),
        (("--mount", "type=volume,target=/x,magic=1"), "'magic' is not a field"),
        (("--pid", "container:nobody"), "no such container: nobody"),
        (("--pid", "elsewhere"), "invalid --pid 'elsewhere'"),
        (("--umask", "9"), "invalid --umask '9'"),
        (("--add-host", "name"), "invalid --add-host 'name'"),
        (("--group-add", "nobodies"), "unable to find group nobodies"),
    ],
)
def test_what_makes_no_sense_is_said(root: Sampan, options: tuple[str, ...], sentence: str) -> None:
    done = root(*RUN, *options, IMAGE, "true", check=False)
    assert done.returncode == 125
    assert sentence in done.stderr
    assert_clean(root)


# -- capabilities and filters ---------------------------------------------------------------------------------------


def test_capabilities(root: Sampan) -> None:
    default = int(status(root, "CapEff"), 16)
    assert int(status(root, "CapEff", "--cap-drop", "all"), 16) == 0
    assert int(status(root, "CapEff", "--cap-drop", "ALL", "--cap-add", "chown"), 16) == 1
    assert (
        int(status(root, "CapEff", "--cap-add", "CAP_NET_ADMIN", "--cap-drop", "CHOWN"), 16) == default & ~1 | 1 << 12
    )
    assert int(status(root, "CapEff", "--cap-add", "NET_ADMIN", "-u", "7"), 16) == 0
    assert int(status(root, "CapBnd", "--cap-add", "NET_ADMIN", "-u", "7"), 16) == default | 1 << 12


def test_privileged(root: Sampan) -> None:
    script = "mkdir /m; mount -t tmpfs none /m && echo mounted; test -b /dev/loop0 && echo disk"
    assert sh(root, script, "--privileged").split() == ["mounted", "disk"]
    assert status(root, "Seccomp", "--privileged") == "0"
    assert sh(root, script, check=False) == ""


def test_seccomp(root: Sampan, tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    rules = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
        "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
            {"names": ["rmdir"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["unlink", "unlinkat"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_CHOWN"]}},
        ],
    }
    profile.write_text(json.dumps(rules))
    script = "mkdir /tmp/x 2>&1; touch /tmp/y; rm /tmp/y && echo removed"
    option = ("--security-opt", f"seccomp={profile}")
    assert sh(root, script, *option).splitlines()[1:] == ["removed"]
    assert "No space left" in sh(root, script, *option)
    assert "removed" not in sh(root, script, *option, "--cap-drop", "CHOWN", check=False)
    assert status(root, "Seccomp", "--security-opt", "seccomp=unconfined") == "0"
    assert status(root, "NoNewPrivs", "--security-opt", "no-new-privileges") == "1"
    assert (
        sh(root, "cat /proc/timer_list | head -c1 | wc -c", "--security-opt", "systempaths=unconfined").strip() == "1"
    )


def test_docker_s_own_profile(root: Sampan) -> None:
    """Podman's copy of it, in Docker's form."""
    profile = "/usr/share/containers/seccomp.json"
    if not os.path.exists(profile):
        pytest.skip("golang-github-containers-common is not installed")
    option = ("--security-opt", f"seccomp={profile}")
    assert status(root, "Seccomp", *option) == "2"
    assert sh(root, "unshare -m true && echo made", *option, "--cap-add", "SYS_ADMIN") == "made\n"


def test_devices(root: Sampan) -> None:
    assert sh(root, "test -c /dev/other && echo there", "--device", "/dev/fuse:/dev/other") == "there\n"
    assert sh(root, "test -e /dev/fuse || echo none") == "none\n"


# -- files ----------------------------------------------------------------------------------------------------------


def test_a_read_only_root_and_memory(root: Sampan) -> None:
    script = "touch /x; touch /run/x && echo made; df -k /run | tail -1; stat -c %a /run"
    done = root(*RUN, "--read-only", "--tmpfs", "/run:size=2m,mode=700", IMAGE, "sh", "-c", script)
    assert "Read-only file system" in done.stderr
    made, size, mode = done.stdout.splitlines()
    assert (made, size.split()[1], mode) == ("made", "2048", "700")


def test_mount(root: Sampan, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    bind = f"type=bind,src={tmp_path},dst=/a,readonly"
    script = "cat /a/file; touch /a/x || echo refused; df -k /b | tail -1 | awk '{print $2}'; touch /c/kept"
    options = ("--mount", bind, "--mount", "type=tmpfs,dst=/b,tmpfs-size=1m", "--mount", "src=keep,dst=/c")
    assert sh(root, script, *options) == "hererefused\n1024\n"
    assert sh(root, "ls /c", "-v", "keep:/c") == "kept\n"


def test_names_and_the_like(root: Sampan, tmp_path: Path) -> None:
    script = (
        "cat /etc/hosts /etc/resolv.conf /proc/sys/kernel/domainname; umask; id -G; cat /proc/sys/net/ipv4/ip_forward"
    )
    options = ("--add-host", "db:10.1.2.3", "--dns", "10.9.9.9", "--dns-search", "lan", "--domainname", "house")
    options += ("--umask", "027", "--group-add", "44", "--sysctl", "net.ipv4.ip_forward=1", "--shm-size", "1m")
    found = sh(root, script, *options)
    for line in ("10.1.2.3\tdb\n", "nameserver 10.9.9.9\n", "search lan\n", "house\n", "0027\n", "0 44\n"):
        assert line in found
    assert found.endswith("\n1\n")
    root("run", "-d", "--network", "none", "--cidfile", str(tmp_path / "id"), "--name", "hull", IMAGE, "sleep", "1000")
    assert (tmp_path / "id").read_text() == root("ps", "-q", "--no-trunc").stdout.strip()


# -- namespaces -----------------------------------------------------------------------------------------------------


def test_the_host_s_processes_and_nothing_left_of_own_ones(root: Sampan) -> None:
    script = f"test -d /proc/{os.getpid()} && echo seen; sleep 1077 & echo $!"
    seen, pid = sh(root, script, "--pid", "host").split()
    assert seen == "seen"
    assert not Path(f"/proc/{pid}").exists()
    assert sh(root, f"test -d /proc/{os.getpid()} || echo unseen") == "unseen\n"


def test_another_container_s_namespaces(root: Sampan) -> None:
    root("run", "-d", "--name", "first", "--network", "none", IMAGE, "sleep", "1077")
    assert "sleep 1077" in sh(root, "ps", "--pid", "container:first")
    own = root("exec", "first", "readlink", "/proc/self/ns/net").stdout
    words = ("run", "--rm", "--network", "container:first", IMAGE, "readlink", "/proc/self/ns/net")
    assert root(*words).stdout == own
    name = root("exec", "first", "hostname").stdout
    assert root(*words[:-2], "sh", "-c", "hostname; cat /etc/hostname").stdout == 2 * name
    done = root("run", "--hostname=x", *words[1:], check=False)
    assert (done.returncode, "--hostname is not for a container that shares" in done.stderr) == (125, True)
    root("stop", "-t", "0", "first")
    done = root(*words, check=False)
    assert (
        done.returncode,
        "container first, whose network namespace is to be joined, is not running" in done.stderr,
    ) == (
        125,
        True,
    )


def test_the_host_s_names_and_memory(root: Sampan) -> None:
    links = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in ("uts", "ipc")}
    for kind, link in links.items():
        script = f"readlink /proc/self/ns/{kind}; hostname"
        assert sh(root, script, f"--{kind}", "host").splitlines()[0] == link
        assert sh(root, script).splitlines()[0] != link


# -- the first process ----------------------------------------------------------------------------------------------


def test_init_buries_passes_signals_on_and_ends_as_the_program(root: Sampan) -> None:
    assert sh(root, "cat /proc/1/comm; echo $$", "--init").split()[0] == "sampan-init"
    orphan = "(sleep 0.01 &) ; sleep 0.3; ps -o stat | grep -c Z"
    assert sh(root, orphan, "--init", check=False).strip() == "0"
    assert root(*RUN, "--init", IMAGE, "sh", "-c", "exit 7", check=False).returncode == 7
    assert root(*RUN, "--init", IMAGE, "sh", "-c", "kill -9 $$", check=False).returncode == 137
    assert root(*RUN, "--init", IMAGE, "nothing", check=False).returncode == 127
    root("run", "-d", "--init", "--name", "sleeper", "--network", "none", IMAGE, "sleep", "1077")
    root("kill", "-s", "TERM", "sleeper")
    limit = time.monotonic() + PATIENCE
    while json.loads(root("inspect", "sleeper").stdout)[0]["State"]["Running"]:
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert json.loads(root("inspect", "sleeper").stdout)[0]["State"]["ExitCode"] == 128 + signal.SIGTERM
