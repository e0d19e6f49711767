"""The OCI runtime command: a base spec, one thing changed, one container run, and what it says is held against runc."""

import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bundles import OURS, RUNC, Bundle
from residents import await_

pytestmark = [pytest.mark.system, pytest.mark.root, pytest.mark.needs("busybox")]


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Bundle]:
    made = Bundle(tmp_path / "bundle")
    yield made
    made.remove_all()
    left = list(Path("/sys/fs/cgroup").glob(f"*/test-{os.getpid()}-*"))
    assert left == []


# -- the same as runc ---------------------------------------------------------------------------------------------

STATUS = "grep -E 'Cap|NoNew|Seccomp:|Groups|[UG]id|Umask' /proc/self/status"
Change = Callable[[Bundle], None]
FULL = ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_NET_RAW"]


def user(bundle: Bundle) -> None:
    bundle.process["user"] = {"uid": 5, "gid": 6, "additionalGids": [7, 8], "umask": 0o27}
    bundle.process["capabilities"] = {}


def capabilities(bundle: Bundle) -> None:
    bundle.process["capabilities"] = {
        "bounding": FULL, "effective": FULL[:2], "permitted": FULL[:3], "inheritable": FULL[:3], "ambient": FULL[:1],
    }  # fmt: skip


def ambient(bundle: Bundle) -> None:
    capabilities(bundle)
    bundle.process["user"] = {"uid": 5, "gid": 6}


def no_new_privileges(bundle: Bundle) -> None:
    bundle.process["noNewPrivileges"] = True


def limits(bundle: Bundle) -> None:
    bundle.process["rlimits"] = [
        {"type": "RLIMIT_NOFILE", "soft": 99, "hard": 100},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_FSIZE", "soft": 1 << 30, "hard": 1 << 31},
    ]


def seccomp(bundle: Bundle) -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}


def mounts(bundle: Bundle) -> None:
    shared = bundle.path / "shared"
    (shared / "below").mkdir(parents=True)
    bundle.mount("/ram", "tmpfs", "nosuid", "noexec", "noatime", "size=1m", "mode=700", source="tmpfs")
    bundle.mount("/read", "bind", "bind", "ro", "nosuid", source=shared)
    bundle.mount("/deep", "bind", "rbind", "rprivate", source=shared)
    bundle.mount("/file", "bind", "bind", "ro", source=bundle.path / "config.json")


def devices(bundle: Bundle) -> None:
    bundle.linux["devices"] = [
        {"path": "/dev/extra", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 3, "gid": 4},
        {"path": "/dev/deep/disk", "type": "b", "major": 7, "minor": 9, "fileMode": 0o600, "uid": 0, "gid": 0},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o622, "uid": 0, "gid": 0},
    ]


def hidden(bundle: Bundle) -> None:
    (bundle.root / "secret").write_text("x")
    (bundle.root / "secrets").mkdir()
    (bundle.root / "secrets/file").write_text("x")
    bundle.linux["maskedPaths"] = ["/secret", "/secrets", "/not/there"]
    bundle.linux["readonlyPaths"] = ["/etc", "/not/there"]


def settings(bundle: Bundle) -> None:
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.msgmax": "4444", "kernel.domainname": "dom"}


def read_only(bundle: Bundle) -> None:
    bundle.spec["root"]["readonly"] = True


def names(bundle: Bundle) -> None:
    bundle.spec["hostname"] = "other"


def score(bundle: Bundle) -> None:
    bundle.process["oomScoreAdj"] = 321


def own_ids(bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "user"})
    mapping = [{"containerID": 0, "hostID": 100000, "size": 1000}]
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = mapping
    for path in (bundle.root, *bundle.root.rglob("*")):
        os.chown(path, 100000, 100000, follow_symlinks=False)


def directory(bundle: Bundle) -> None:
    bundle.process["cwd"] = "/made/here"
    bundle.process["env"] = ["PATH=/bin", "A=1", "B=two words", "EMPTY="]


SAME: dict[str, tuple[Change, str]] = {
    "nothing": (
        lambda bundle: None,
        "id; hostname; pwd; env | sort; ls /dev /proc/self/fd | grep -v -e pts -e core; stat -c %a /dev",
    ),
    "user": (user, STATUS),
    "capabilities": (capabilities, STATUS),
    "ambient capabilities": (ambient, STATUS),
    "no new privileges": (no_new_privileges, STATUS),
    "limits": (limits, "grep -E 'open files|core|file size' /proc/self/limits"),
    "seccomp": (seccomp, "mkdir /tmp/x 2>&1; touch /tmp/y && ls /tmp; " + STATUS),
    "mounts": (
        mounts,
        "for m in ram read deep file; do grep \" /$m \" /proc/mounts; done | cut -d' ' -f2-",
    ),
    "devices": (devices, "ls -ln /dev/extra /dev/deep/disk /dev/pipe | cut -c1-40"),
    "hidden paths": (hidden, "cat /secret; ls /secrets; touch /etc/x 2>&1; touch /secrets/x 2>&1; echo"),
    "settings": (settings, "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/sys/kernel/domainname"),
    "read-only root": (read_only, "touch /x 2>&1; touch /dev/x && echo fine"),
    "names": (names, "hostname"),
    "score": (score, "cat /proc/self/oom_score_adj"),
    "ids of its own": (
        own_ids,
        "cat /proc/self/uid_map /proc/self/gid_map; id; stat -c '%u %g' /bin /proc/self; ls /dev | grep -v core",
    ),
    "directory and environment": (directory, "pwd; env | sort"),
}


@pytest.mark.needs("runc")
@pytest.mark.parametrize("name", SAME)
def test_what_a_container_sees_is_as_with_runc(bundle: Bundle, name: str) -> None:
    change, script = SAME[name]
    bundle.path.chmod(0o755)
    for parent in bundle.path.parents:
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)  # mapped ids must reach the root file system
    (bundle.root / "bin/grep").symlink_to("busybox")
    (bundle.root / "bin/sort").symlink_to("busybox")
    (bundle.root / "bin/cut").symlink_to("busybox")
    change(bundle)
    ours = bundle.run("sh", "-c", script)
    theirs = bundle.run("sh", "-c", script, program=RUNC)
    assert ours.stdout
    assert ours.stdout == theirs.stdout


# -- what old runc does not do, or in another way -----------------------------------------------------------------


def test_exit_codes(bundle: Bundle) -> None:
    assert bundle.run("sh", "-c", "exit 3", check=False).returncode == 3
    missing = bundle.run("nosuch", check=False)
    assert (missing.returncode, missing.stdout) == (127, "")
    assert 'exec: "nosuch": executable file not found in $PATH' in missing.stderr
    assert bundle("list", "-q").stdout == ""


def test_a_life_in_steps(bundle: Bundle) -> None:
    pid_file = bundle.path / "pid"
    bundle.write("sh", "-c", "touch /started; sleep 1000")
    bundle("create", "-b", bundle.path, "--pid-file", pid_file, name := bundle.name())
    state = json.loads(bundle("state", name).stdout)
    assert (state["status"], state["bundle"], state["id"]) == ("created", str(bundle.path), name)
    assert state["pid"] == int(pid_file.read_text())
    assert not (bundle.root / "started").exists()
    assert "exists already" in bundle("create", "-b", bundle.path, name, check=False).stderr
    bundle("start", name)
    await_((bundle.root / "started").exists)
    assert bundle.status(name) == "running"
    assert bundle("start", name, check=False).returncode == 1
    assert "not stopped" in bundle("delete", name, check=False).stderr
    bundle("pause", name)
    assert bundle.status(name) == "paused"
    assert bundle("exec", name, "true", check=False).returncode == 1
    bundle("resume", name)
    assert bundle("exec", name, "sh", "-c", "id; exit 7", check=False).returncode == 7
    assert json.loads(bundle("ps", "-f", "json", name).stdout)[0] == state["pid"]
    assert bundle("list", "-q").stdout.split() == [name]
    bundle("kill", name, "KILL")
    await_(lambda: bundle.status(name) == "stopped")
    assert "container not running" in bundle("kill", name, check=False).stderr
    bundle("delete", name)
    assert "does not exist" in bundle("state", name, check=False).stderr
    bundle("delete", "--force", name)
    assert list(bundle.state.iterdir()) == []


def test_a_created_container_can_be_deleted(bundle: Bundle) -> None:
    name = bundle.create("sleep", "1000")
    pid = json.loads(bundle("state", name).stdout)["pid"]
    bundle("delete", name)
    await_(lambda: not Path(f"/proc/{pid}/exe").exists())


def test_start_says_why_a_program_does_not_run(bundle: Bundle) -> None:
    (bundle.root / "garbage").write_bytes(b"\x7fELF and nothing more")
    (bundle.root / "garbage").chmod(0o755)
    name = bundle.create("/garbage")
    log = bundle.path / "log"
    done = bundle("--log", log, "--log-format", "json", "start", name, check=False)
    assert (done.returncode, json.loads(log.read_text())["level"]) == (126, "error")
    assert "exec format error" in json.loads(log.read_text())["msg"]
    assert bundle.status(name) == "stopped"
    bundle("delete", name)


def test_a_start_that_is_broken_off_is_no_start(bundle: Bundle) -> None:
    name = bundle.create("sleep", "1000")
    place = os.open(bundle.state / name, os.O_PATH)
    for _ in range(2):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as caller:
            caller.connect(f"/proc/self/fd/{place}/gate")
    os.close(place)
    assert bundle.status(name) == "created"
    bundle("start", name)
    assert bundle.status(name) == "running"


def test_no_other_user_comes_to_the_gate(bundle: Bundle) -> None:
    name = bundle.create("sleep", "1000")
    assert stat.S_IMODE((bundle.state / name).stat().st_mode) == 0o700
    assert stat.S_IMODE(bundle.state.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a b", "a\nb", "ä", "a" * 256, "a\0b"])
def test_ids_that_are_none(bundle: Bundle, name: str) -> None:
    from sampan.errors import Invalid
    from sampan.runtime import state

    with pytest.raises(Invalid):
        state.check_id(name)
    if "\0" not in name:
        bundle.write("true")
        for words in (("run", "-b", bundle.path), ("delete", "--force"), ("state",), ("kill",)):
            assert bundle(*words, name, check=False).returncode == 1
    assert not bundle.state.exists() or list(bundle.state.iterdir()) == []


def unknown_limit(spec: dict[str, Any]) -> None:
    spec["process"]["rlimits"] = [{"type": "RLIMIT_NONE", "soft": 1, "hard": 1}]


WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "ociVersion '2.0.0'": lambda spec: spec.update(ociVersion="2.0.0"),
    "linux.intelRdt is not supported": lambda spec: spec["linux"].update(intelRdt={"closID": "x"}),
    "'windows' settings": lambda spec: spec.update(windows={"layerFolders": []} | {"x": 1}),
    "process.args": lambda spec: spec["process"].update(args=[]),
    "process.cwd 'tmp' is not absolute": lambda spec: spec["process"].update(cwd="tmp"),
    "unknown resource limit RLIMIT_NONE": unknown_limit,
    "unknown scheduling policy: SCHED_NONE": lambda spec: spec["process"].update(scheduler={"policy": "SCHED_NONE"}),
    "unknown I/O priority class: X": lambda spec: spec["process"].update(ioPriority={"class": "X", "priority": 1}),
    "unknown personality: OS2": lambda spec: spec["linux"].update(personality={"domain": "OS2"}),
    "unknown rootfsPropagation 'odd'": lambda spec: spec["linux"].update(rootfsPropagation="odd"),
    "unknown kind of namespace: space": lambda spec: spec["linux"]["namespaces"].append({"type": "space"}),
    "the pid namespace is given twice": lambda spec: spec["linux"]["namespaces"].append({"type": "pid"}),
    "uidMappings and linux.gidMappings": lambda spec: spec["linux"]["namespaces"].append({"type": "user"}),
    "the setting kernel.core_pattern": lambda spec: spec["linux"].update(sysctl={"kernel.core_pattern": "|/x"}),
    "no network namespace of its own": lambda spec: spec["linux"].update(
        sysctl={"net.ipv4.ip_forward": "1"}, namespaces=[{"type": "mount"}, {"type": "uts"}]
    ),
    "the hostname would be the host's": lambda spec: spec["linux"].update(namespaces=[{"type": "mount"}]),
    "container without a mount namespace": lambda spec: spec["linux"].update(
        namespaces=[{"type": "uts"}, {"type": "mount", "path": "/proc/self/ns/mnt"}]
    ),
    "without a mount namespace": lambda spec: spec["linux"].update(namespaces=[{"type": "uts"}]),
    "timeOffsets need a time namespace": lambda spec: spec["linux"].update(timeOffsets={"boottime": {"secs": 1}}),
    "unknown option 'nonsense' of the bind mount": lambda spec: spec["mounts"].append(
        {"destination": "/x", "type": "bind", "source": "/tmp", "options": ["rbind", "nonsense"]}
    ),
    "not absolute: 'x'": lambda spec: spec["mounts"].append({"destination": "x", "type": "tmpfs", "source": "tmpfs"}),
    "cannot mount /nonexistent": lambda spec: spec["mounts"].append(
        {"destination": "/x", "type": "bind", "source": "/nonexistent", "options": ["bind"]}
    ),
    "the path of a prestart hook is not absolute": lambda spec: spec.update(hooks={"prestart": [{"path": "x"}]}),
    "SCMP_ACT_NOTIFY cannot be the default": lambda spec: spec["linux"].update(
        seccomp={"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/x"}
    ),
    "needs a listenerPath": lambda spec: spec["linux"].update(
        seccomp={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}
    ),
    "cannot hand the seccomp listener to /nonexistent": lambda spec: spec["linux"].update(
        seccomp={
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
            "listenerPath": "/nonexistent",
        }
    ),
    "listenerMetadata, and no listenerPath": lambda spec: spec["linux"].update(
        seccomp={"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}
    ),
    "has no AppArmor": lambda spec: spec["process"].update(apparmorProfile="docker-default"),
    "no cgroup controller unified": lambda spec: spec["linux"].update(resources={"unified": {"memory.high": "1"}}),
    "a device needs a path and a type": lambda spec: spec["linux"].update(devices=[{"path": "/dev/x", "type": "q"}]),
    "is not a directory": lambda spec: spec["root"].update(path="nosuch"),
}


@pytest.mark.parametrize("sentence", WRONG)
def test_specs_that_cannot_be_carried_out(bundle: Bundle, sentence: str) -> None:
    if sentence == "has no AppArmor" and Path("/sys/module/apparmor").exists():
        pytest.skip("the kernel has AppArmor")
    WRONG[sentence](bundle.spec)
    (bundle.path / "config.json").write_text(json.dumps(bundle.spec))
    done = bundle("run", "-b", bundle.path, bundle.name(), check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert bundle("list", "-q").stdout == ""


@pytest.mark.parametrize("text", ["", "{", "[]", '"text"', "{}", '{"ociVersion": 1}', "\xff"])
def test_configurations_that_are_none(bundle: Bundle, text: str) -> None:
    (bundle.path / "config.json").write_text(text, encoding="latin-1")
    done = bundle("run", "-b", bundle.path, "x", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("sampan: ")
    assert "Traceback" not in done.stderr


# -- hooks --------------------------------------------------------------------------------------------------------

NOTE = 'echo "$0 $(cat)" >> {log}'


def note(kind: str, log: str) -> dict[str, Any]:
    return {"path": "/bin/sh", "args": ["sh", "-c", NOTE.format(log=log).replace("$0", kind)], "env": ["PATH=/bin"]}


def test_hooks_run_in_their_order_with_the_state(bundle: Bundle) -> None:
    log = bundle.path / "log"
    outside = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    bundle.spec["hooks"] = {kind: [note(kind, str(log))] for kind in outside}
    bundle.spec["hooks"]["startContainer"] = [note("startContainer", "/log")]
    bundle.spec["annotations"] = {"key": "a value"}
    name = bundle.create("sleep", "1000")
    bundle("start", name)
    bundle("delete", "--force", name)
    lines = [line.split(" ", 1) for line in log.read_text().splitlines()]
    assert [kind for kind, _ in lines] == list(outside)
    states = [json.loads(text) for _, text in lines]
    assert [state["status"] for state in states] == ["creating", "creating", "creating", "running", "stopped"]
    assert {(state["id"], state["bundle"], state["annotations"]["key"]) for state in states} == {
        (name, str(bundle.path), "a value")
    }
    assert states[0]["pid"] == states[1]["pid"] == states[3]["pid"] > 1
    kind, text = (bundle.root / "log").read_text().split(" ", 1)
    assert (kind, json.loads(text)["status"]) == ("startContainer", "created")


def test_where_hooks_run(bundle: Bundle) -> None:
    """createRuntime on the host, where the mounts are not; createContainer beside them, before the pivot."""
    (bundle.root / "ram").mkdir()
    bundle.mount("/ram", "tmpfs", source="tmpfs")
    for kind in ("createRuntime", "createContainer"):
        script = f"grep -c {bundle.root}/ram /proc/self/mountinfo > {bundle.path}/{kind}; true"
        hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}
        bundle.spec.setdefault("hooks", {})[kind] = [hook]
    bundle.run("true")
    assert (bundle.path / "createRuntime").read_text() == "0\n"
    assert (bundle.path / "createContainer").read_text() == "1\n"


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer", "startContainer"])
@pytest.mark.parametrize(
    ("hook", "sentence"),
    [
        ({"path": "/bin/sh", "args": ["sh", "-c", "exit 9"]}, "failed: exit code 9"),
        ({"path": "/bin/nosuch"}, "cannot be executed"),
        ({"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}, "did not end within 1 seconds"),
    ],
)
def test_a_hook_that_fails_ends_the_container(bundle: Bundle, kind: str, hook: dict[str, Any], sentence: str) -> None:
    bundle.spec["hooks"] = {kind: [hook]}
    done = bundle.run("echo", "ran", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"the {kind} hook {hook['path']} {sentence}" in done.stderr
    assert bundle("list", "-q").stdout == ""


@pytest.mark.parametrize("kind", ["poststart", "poststop"])
def test_a_hook_that_fails_afterwards_is_only_mentioned(bundle: Bundle, kind: str) -> None:
    bundle.spec["hooks"] = {kind: [{"path": "/bin/false"}, note(kind, str(bundle.path / "second"))]}
    bundle.write("echo", "ran")
    log = bundle.path / "log"
    assert bundle("--log", log, "run", "-b", bundle.path, bundle.name()).stdout == "ran\n"
    assert f"the {kind} hook /bin/false failed" in log.read_text()
    assert (bundle.path / "second").exists()


# -- namespaces, mounts, descriptors ------------------------------------------------------------------------------


def test_namespaces_by_path(bundle: Bundle) -> None:
    words = ["unshare", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "sh", "-c", "echo; sleep 1000"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout
            holder.stdout.readline()
            child = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()[0]
            kinds = {"network": "net", "uts": "uts", "ipc": "ipc", "pid": "pid"}
            given = [{"type": kind, "path": f"/proc/{child}/ns/{name}"} for kind, name in kinds.items()]
            bundle.linux["namespaces"] = [{"type": "mount"}, *given]
            script = "; ".join(f"readlink /proc/self/ns/{name}" for name in kinds.values())
            found = bundle.run("sh", "-c", script).stdout.split()
            assert found == [os.readlink(f"/proc/{child}/ns/{name}") for name in kinds.values()]
        finally:
            holder.kill()


def test_time_is_another(bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 1000000000}, "monotonic": {"secs": 5, "nanosecs": 6}}
    assert float(bundle.run("cat", "/proc/uptime").stdout.split()[0]) > 1000000000


def test_a_copy_of_what_was_below(bundle: Bundle) -> None:
    (bundle.root / "etc/deep").mkdir()
    (bundle.root / "etc/deep/file").write_text("content\n")
    (bundle.root / "etc/deep/file").chmod(0o640)
    os.chown(bundle.root / "etc/deep/file", 3, 4)
    (bundle.root / "etc/link").symlink_to("/outside")
    bundle.mount("/etc", "tmpfs", "tmpcopyup", source="tmpfs")
    script = "cat /etc/deep/file; stat -c '%a %u %g' /etc/deep/file; readlink /etc/link; touch /etc/new"
    assert bundle.run("sh", "-c", script).stdout == "content\n640 3 4\n/outside\n"
    assert not (bundle.root / "etc/new").exists()


def test_read_only_all_the_way_down(bundle: Bundle) -> None:
    shared = bundle.path / "shared"
    (shared / "below").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", shared / "below"], check=True)
    try:
        bundle.mount("/one", "bind", "rbind", "ro", source=shared)
        bundle.mount("/all", "bind", "rbind", "rro", source="shared")  # a path in the bundle
        script = "for d in one all; do touch /$d/x /$d/below/$d 2>/dev/null; done; ls /one /one/below /all/below"
        assert bundle.run("sh", "-c", script).stdout.split() == [
            "/all/below:",
            "one",
            "/one:",
            "below",
            "/one/below:",
            "one",
        ]
    finally:
        subprocess.run(["umount", shared / "below"], check=True)


def test_owners_are_mapped(bundle: Bundle) -> None:
    shared = bundle.path / "shared"
    shared.mkdir()
    mapping = [{"containerID": 0, "hostID": 7000, "size": 100}]
    bundle.mount("/plain", "bind", "bind", source=shared)
    bundle.mount("/mapped", "bind", "bind", "idmap", source=shared, uidMappings=mapping, gidMappings=mapping)
    done = bundle.run("stat", "-c", "%u %g", "/plain", "/mapped", check=False)
    if "mount_setattr" in done.stderr:
        pytest.skip("the kernel does not map owners on this file system")
    assert done.stdout == "0 0\n7000 7000\n"


def test_a_mount_that_follows_the_hosts(bundle: Bundle) -> None:
    shared = bundle.path / "shared"
    (shared / "late").mkdir(parents=True)
    subprocess.run(["mount", "--bind", shared, shared], check=True)
    subprocess.run(["mount", "--make-shared", shared], check=True)
    try:
        for words in ("rslave", "rprivate"):
            bundle.mount(f"/{words}", "bind", "rbind", words, source=shared)
        name = bundle.create("sleep", "1000")
        bundle("start", name)
        subprocess.run(["mount", "-t", "tmpfs", "late", shared / "late"], check=True)
        seen = bundle("exec", name, "sh", "-c", "cat /proc/mounts").stdout
        assert "late /rslave/late tmpfs" in seen
        assert "/rprivate/late" not in seen
    finally:
        subprocess.run(["umount", "-R", shared], check=False)
        bundle.remove_all()
        subprocess.run(["umount", "-R", shared], check=False, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize(("word", "field"), [("shared", "shared:"), ("private", ""), ("unbindable", "unbindable")])
def test_propagation_of_the_root(bundle: Bundle, word: str, field: str) -> None:
    bundle.linux["rootfsPropagation"] = word
    lines = bundle.run("cat", "/proc/self/mountinfo").stdout.splitlines()
    optional = next(line.split(" - ")[0].split()[6:] for line in lines if line.split()[4] == "/")
    assert bool(optional) == bool(field)
    assert not optional or optional[0].startswith(field)


def test_descriptors_that_are_passed_on(bundle: Bundle) -> None:
    (bundle.path / "passed").write_text("passed\n")
    script = f'exec 3<{bundle.path}/passed 4</dev/null; exec "$@"'
    command = ["sh", "-c", script, "sh", *OURS, "--root", str(bundle.state), "run", "-b", str(bundle.path)]
    for count, expected in (("0", "0 1 2 3\n"), ("1", "passed\n0 1 2 3 4\n")):
        bundle.write("sh", "-c", "[ -e /proc/self/fd/3 ] && cat <&3; echo $(ls /proc/self/fd)")
        words = [*command, "--preserve-fds", count, bundle.name()]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout == expected
    done = bundle("run", "-b", bundle.path, "--preserve-fds", "9", bundle.name(), check=False)
    assert "is not open" in done.stderr


def test_a_terminal_is_sent_to_the_console_socket(bundle: Bundle) -> None:
    path = bundle.path / "console"
    bundle.process["terminal"] = True
    bundle.process["consoleSize"] = {"height": 33, "width": 77}
    bundle.write("sh", "-c", "test -t 0 && stty size && echo done")
    (bundle.root / "bin/stty").symlink_to("busybox")
    refused = bundle("create", "-b", bundle.path, "x", check=False)
    assert "--console-socket" in refused.stderr
    received: list[int] = []

    def receive() -> None:
        connection, _ = listener.accept()
        with connection:
            received.extend(socket.recv_fds(connection, 100, 1)[1])

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=receive)
        thread.start()
        name = bundle.name()
        bundle("create", "-b", bundle.path, "--console-socket", path, name)
        thread.join(60)
    (master,) = received
    bundle("start", name)
    text = b""
    while b"done" not in text:
        text += os.read(master, 100)
    os.close(master)
    assert text.startswith(b"33 77\r\n")


# -- processes ----------------------------------------------------------------------------------------------------


def test_what_exec_changes(bundle: Bundle) -> None:
    name = bundle.create("sleep", "1000")
    bundle("start", name)
    done = bundle(
        "exec", "-u", "5:6", "-g", "9", "--cwd", "/tmp", "-e", "A=b", name, "sh", "-c", "id -G; id -u; pwd; echo $A"
    )
    assert done.stdout == "6 9\n5\n/tmp\nb\n"
    process = {"args": ["cat", "/proc/self/status"], "cwd": "/", "env": ["PATH=/bin"], "noNewPrivileges": True}
    (bundle.path / "process.json").write_text(json.dumps(process))
    shown = bundle("exec", "-p", bundle.path / "process.json", name).stdout
    assert "NoNewPrivs:\t1" in shown
    assert "CapEff:\t0000000000000000" in shown
    assert "Seccomp:\t2" in shown
    pid_file = bundle.path / "pid"
    bundle("exec", "-d", "--pid-file", pid_file, name, "sleep", "1000")
    assert Path(f"/proc/{pid_file.read_text()}/comm").read_text() == "sleep\n"
    assert bundle("exec", name, "nosuch", check=False).returncode == 127
    assert "numbers are wanted" in bundle("exec", "-u", "root", name, "true", check=False).stderr


def test_everyone_hears_a_signal(bundle: Bundle) -> None:
    bundle.linux["namespaces"] = [each for each in bundle.linux["namespaces"] if each["type"] != "pid"]
    name = bundle.create("sh", "-c", "sleep 1000 & sleep 1000 & wait")
    bundle("start", name)
    await_(lambda: len(json.loads(bundle("ps", "-f", "json", name).stdout)) == 3)
    bundle("kill", "--all", name, "KILL")
    await_(lambda: json.loads(bundle("ps", "-f", "json", name).stdout) == [])
    assert "is no signal" in bundle("kill", name, "NOSUCH", check=False).stderr


def test_deleting_ends_what_outlives_the_first_process(bundle: Bundle) -> None:
    bundle.linux["namespaces"] = [each for each in bundle.linux["namespaces"] if each["type"] != "pid"]
    name = bundle.create("sh", "-c", "sleep 1000 & echo $! > /pid; sleep 1000")
    bundle("start", name)
    await_(lambda: (bundle.root / "pid").exists() and (bundle.root / "pid").read_text().strip())
    other = (bundle.root / "pid").read_text().strip()
    bundle("kill", name, "KILL")
    await_(lambda: bundle.status(name) == "stopped")
    assert Path(f"/proc/{other}/exe").exists()
    bundle("delete", name)
    await_(lambda: not Path(f"/proc/{other}/exe").exists())


def test_a_making_that_is_killed_leaves_nothing_that_runs(bundle: Bundle) -> None:
    """The command dies while a hook keeps it busy: the first process ends, and delete forgets the rest."""
    started = bundle.path / "started"
    script = f"touch {started}; exec sleep 1000"
    bundle.spec["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}]}
    bundle.write("sleep", "1000")
    name = bundle.name()
    words = [*OURS, "--root", str(bundle.state), "create", "-b", str(bundle.path), name]
    with subprocess.Popen(words, start_new_session=True) as making:
        await_(started.exists)
        hook = Path(f"/proc/{making.pid}/task/{making.pid}/children").read_text().split()
        making.kill()
    for pid in hook:
        if Path(f"/proc/{pid}/comm").read_text() == "sleep\n":
            os.kill(int(pid), 9)
    await_(lambda: not [pid for pid in hook if Path(f"/proc/{pid}/exe").exists()])
    bundle("delete", "--force", name)
    for path in Path("/sys/fs/cgroup").rglob(name):
        await_(lambda path=path: not (path / "cgroup.procs").read_text())
        path.rmdir()


def test_limits_hold_and_change(bundle: Bundle) -> None:
    bundle.linux["resources"] = {
        "pids": {"limit": 20},
        "memory": {"limit": 64 << 20},
        "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0"},
    }
    name = bundle.create("sh", "-c", "sleep 1000")
    bundle("start", name)
    shown = json.loads(bundle("events", "--stats", name).stdout)["data"]
    assert shown["pids"]["limit"] == 20
    assert shown["memory"]["usage"]["limit"] == 64 << 20
    assert bundle("exec", name, "nproc").stdout == "1\n"
    bundle("update", "--pids-limit", "30", "--memory", "80m", name)
    (bundle.path / "resources").write_text('{"cpu": {"shares": 256}}')
    bundle("update", "-r", bundle.path / "resources", name)
    shown = json.loads(bundle("events", "--stats", name).stdout)["data"]
    assert (shown["pids"]["limit"], shown["memory"]["usage"]["limit"]) == (30, 80 << 20)


def test_devices_are_only_those_that_are_allowed(bundle: Bundle) -> None:
    """A node of the host's memory can be made, and not be opened."""
    bundle.linux["resources"] = {
        "devices": [
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "r"},
        ]
    }
    (bundle.root / "bin/mknod").symlink_to("busybox")
    bundle.process["capabilities"]["effective"] = bundle.process["capabilities"]["permitted"] = ["CAP_MKNOD"]
    bundle.mount("/nodes", "tmpfs", source="tmpfs")
    script = (
        "mknod /nodes/mem c 1 1; mknod /nodes/fuse c 10 229; mknod /nodes/disk b 7 0; cd /nodes; exec 2>/dev/null;"
        "for n in mem fuse disk; do (exec 3<$n) && echo $n read; (exec 3>>$n) && echo $n written; done;"
        "echo x > /dev/null && echo null"
    )
    assert bundle.run("sh", "-c", script).stdout.split("\n")[:-1] == ["fuse read", "null"]


def test_features_say_what_there_is() -> None:
    words = [*OURS, "features"]
    features = json.loads(subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout)
    assert features["ociVersionMax"] == "1.2.0"
    assert {"rro", "idmap", "tmpcopyup", "rslave"} <= set(features["mountOptions"])
    assert features["linux"]["cgroup"]["systemd"] is True
    assert features["linux"]["seccomp"]["enabled"] in (True, False)


def test_a_spec_to_begin_with(bundle: Bundle) -> None:
    bundle("spec", "-b", bundle.path)
    assert bundle("spec", "-b", bundle.path, check=False).returncode == 1
    spec = json.loads((bundle.path / "config.json").read_text())
    spec["process"].update(terminal=False, args=["echo", "begun"])
    bundle.spec = spec
    assert bundle.run().stdout == "begun\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "a command is missing"),
        (("creat", "x"), "did you mean create?"),
        (("--log-format", "xml", "list"), "text or json"),
        (("list", "-f", "xml"), "table or json"),
        (("run", "--no-pivot", "x"), "--no-pivot is not supported"),
        (("state",), "requires 1 argument"),
        (("run", "-b", "/nonexistent", "x"), "cannot read the bundle's /nonexistent/config.json"),
    ],
)
def test_command_lines_that_make_no_sense(bundle: Bundle, words: tuple[str, ...], sentence: str) -> None:
    done = bundle(*words, check=False)
    assert done.returncode != 0
    assert sentence in done.stderr


def test_the_script_is_that_command(bundle: Bundle) -> None:
    script = Path(__file__).parents[2] / "scripts/bin/sampan-runtime"
    done = subprocess.run([sys.executable, script, "--version"], capture_output=True, text=True, check=True, timeout=60)
    assert "spec: 1.2.0" in done.stdout
