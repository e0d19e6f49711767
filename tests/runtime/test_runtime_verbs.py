"""The verbs of the OCI runtime command that look at containers and change them, held against those of runc."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bundles import OURS, RUNC, Bundle, Done
from commands import run
from residents import await_

pytestmark = [pytest.mark.system, pytest.mark.needs("busybox")]
needs_runc = pytest.mark.needs("runc")


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Bundle]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    made = Bundle(tmp_path / "bundle")
    yield made
    made.remove_all()


def test_everyone_in_a_container_is_listed_and_hears_a_signal(anyones_bundle: Bundle) -> None:
    """Also where a container has no cgroup that would know its processes."""
    bundle = anyones_bundle
    name = bundle.create("sh", "-c", "trap : TERM; sleep 1000 & sleep 1000 & wait; wait; exec sleep 1000")
    bundle("start", name)
    assert await_(lambda: len(json.loads(bundle("ps", "-f", "json", name).stdout)) == 3)
    bundle("kill", "--all", name, "TERM")
    assert await_(lambda: len(json.loads(bundle("ps", "-f", "json", name).stdout)) == 1)
    bundle("kill", "-a", name, "9")
    assert await_(lambda: bundle.status(name) == "stopped")
    assert json.loads(bundle("ps", "-f", "json", name).stdout) == []


def test_a_run_that_is_killed_takes_its_container_along(anyones_bundle: Bundle) -> None:
    bundle = anyones_bundle
    bundle.write("sleep", "1000")
    name = bundle.name()
    with bundle.started("run", "--keep", "--bundle", bundle.path, name) as running:
        assert await_(lambda: bundle("state", name, check=False).stdout and bundle.status(name) == "running")
        running.kill()
    assert running.returncode == -signal.SIGKILL
    assert await_(lambda: bundle.status(name) == "stopped")
    bundle("delete", name)


# -- the same as runc ---------------------------------------------------------------------------------------------


@pytest.fixture(params=[OURS, RUNC], ids=["ours", "runc"])
def program(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Each test of what is said holds for runc as well, or it would be of no use to who knows runc."""
    words: tuple[str, ...] = request.param
    return words


@pytest.fixture
def running(bundle: Bundle, program: tuple[str, ...]) -> Iterator[Callable[..., Done]]:
    """A command for a container that runs ``sleep`` and has limits; its name comes after the words."""
    bundle.linux["resources"] = {"pids": {"limit": 50}, "memory": {"limit": 80 << 20}}
    bundle.write("sleep", "1000")

    name = bundle.name()

    def act(verb: str, *words: str | Path, after: tuple[str, ...] = (), check: bool = True, **options: Any) -> Done:
        return bundle(verb, *words, name, *after, program=program, check=check, **options)

    act("run", "--detach", "--bundle", bundle.path)
    yield act
    act("delete", "--force")


@needs_runc
def test_list(running: Callable[..., Done], bundle: Bundle, program: tuple[str, ...]) -> None:
    head, line = bundle("list", program=program).stdout.splitlines()
    state = json.loads(running("state").stdout)
    name, pid = state["id"], state["pid"]
    assert head.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert [line[head.index(word) :].split()[0] for word in ("ID", "PID", "STATUS", "BUNDLE", "OWNER")] == [
        name, str(pid), "running", str(bundle.path), "root",
    ]  # fmt: skip
    assert head.index("PID") == max(12, len(name) + 3)
    (entry,) = json.loads(bundle("list", "--format", "json", program=program).stdout)
    wanted = {"id": name, "pid": pid, "status": "running", "bundle": str(bundle.path), "rootfs": str(bundle.root)}
    assert {key: entry[key] for key in wanted} == wanted
    assert (entry["owner"], entry["ociVersion"][:2]) == ("root", "1.")
    assert bundle("list", "-q", program=program).stdout == f"{name}\n"
    running("pause")
    assert "paused" in bundle("list", program=program).stdout
    running("resume")
    running("kill", after=("KILL",))
    assert await_(lambda: "stopped" in bundle("list", program=program).stdout)
    running("delete")
    assert bundle("list", "-q", program=program).stdout == ""
    assert json.loads(bundle("list", "-f", "json", program=program).stdout) in ([], None)
    verbs = ("state", "ps", "pause", "resume", "events", "update --pids-limit 9", "kill", "start", "delete")
    for words in verbs:
        done = running(*words.split(), check=False)
        assert (done.returncode, "does not exist" in done.stderr) == (1, True), done.stderr


@needs_runc
def test_ps(running: Callable[..., Done]) -> None:
    pid = json.loads(running("state").stdout)["pid"]
    assert json.loads(running("ps", "--format", "json").stdout) == [pid]
    head, line = running("ps").stdout.splitlines()
    assert (head.split()[0], line.split()[1], line.split()[-2:]) == ("UID", str(pid), ["sleep", "1000"])
    head, line = running("ps", after=("-o", "pid,comm")).stdout.splitlines()
    assert line.split() == [str(pid), "sleep"]
    assert running("ps", after=("-o", "comm"), check=False).returncode == 1
    running("kill", after=("KILL",))
    assert await_(lambda: json.loads(running("state").stdout)["status"] == "stopped")
    assert len(running("ps").stdout.splitlines()) == 1


@needs_runc
def test_stats(running: Callable[..., Done]) -> None:
    message = json.loads(running("events", "--stats").stdout)
    data = message["data"]
    assert message["type"] == "stats"
    assert data["cpu"]["usage"]["total"] > 0
    assert "throttling" in data["cpu"]
    assert data["pids"]["limit"] == 50
    assert data["pids"]["current"] >= 1
    assert data["memory"]["usage"]["limit"] == 80 << 20
    assert 0 < data["memory"]["usage"]["usage"] <= 80 << 20
    assert data["memory"]["raw"]["pgfault"] > 0
    assert {"cpuset", "blkio", "hugetlb", "intel_rdt"} <= data.keys()
    assert os.cpu_count() in (None, len(data["cpuset"].get("cpus") or range(os.cpu_count() or 0)))
    running("kill", after=("KILL",))
    assert await_(lambda: json.loads(running("state").stdout)["status"] == "stopped")
    done = running("events", "--stats", check=False)
    assert (done.returncode, "is not running" in done.stderr) == (1, True)


@needs_runc
def test_update(running: Callable[..., Done], tmp_path: Path) -> None:
    def limits() -> tuple[int, int]:
        data = json.loads(running("events", "--stats").stdout)["data"]
        return data["memory"]["usage"]["limit"], data["pids"]["limit"]

    running("update", "--memory", "41943040", "--pids-limit", "20")
    assert limits() == (40 << 20, 20)
    (tmp_path / "resources.json").write_text(json.dumps({"memory": {"limit": 50 << 20}, "cpu": {"quota": 20_000}}))
    running("update", "--resources", tmp_path / "resources.json")
    assert limits() == (50 << 20, 20)
    with (tmp_path / "resources.json").open() as file:
        running("update", "--resources", "-", stdin=file)
    running("update", "--cpu-quota", "30000", "--cpu-period", "60000", "--cpu-share", "300")
    name = json.loads(running("state").stdout)["id"]
    quota = [path.read_text() for path in Path("/sys/fs/cgroup/cpu").glob(f"**/{name}/cpu.cfs_quota_us")]
    assert quota in ([], ["30000\n"])
    assert running("update", "--memory", "many", check=False).returncode != 0
    assert running("update", "--resources", "/nonexistent", check=False).returncode == 1


def test_events_tell_of_a_lack_of_memory_and_end_with_the_container(bundle: Bundle) -> None:
    bundle.linux["resources"] = {"memory": {"limit": 20 << 20, "swap": 20 << 20}}
    (bundle.root / "bin/tail").symlink_to("busybox")
    name = bundle.create("sh", "-c", "while [ ! -e /go ]; do sleep 0.1; done; tail /dev/zero; sleep 1; exit 0")
    bundle("start", name)
    with bundle.started("events", "--interval", "50ms", name) as events:
        assert events.stdout
        assert json.loads(events.stdout.readline())["type"] == "stats"
        (bundle.root / "go").touch()
        kinds = [json.loads(line)["type"] for line in events.stdout]
    assert {"stats", "oom"} == set(kinds)


@needs_runc
@pytest.mark.parametrize("writer", [OURS, RUNC], ids=["ours", "runc"])
@pytest.mark.parametrize("reader", [OURS, RUNC], ids=["ours", "runc"])
def test_what_one_writes_the_other_runs(bundle: Bundle, writer: tuple[str, ...], reader: tuple[str, ...]) -> None:
    bundle("spec", "--bundle", bundle.path, program=writer)
    bundle.spec = json.loads((bundle.path / "config.json").read_text())
    bundle.process.update(terminal=False)
    # Of old runc's own spec a hybrid of cgroup v1 and v2 is no place for.
    done = bundle.run(
        "sh", "-c", "grep -E 'Cap|NoNew' /proc/self/status; ulimit -n; touch /x", program=reader, check=False
    )
    words = done.stdout.split()
    few = f"{1 << 29 | 1 << 5 | 1 << 10:016x}"
    assert words == [
        "CapInh:",
        "0" * 16,
        "CapPrm:",
        few,
        "CapEff:",
        few,
        "CapBnd:",
        few,
        "CapAmb:",
        "0" * 16,
        "NoNewPrivs:",
        "1",
        "1024",
    ]
    assert "Read-only" in done.stderr


@needs_runc
@pytest.mark.parametrize(
    "verb", "create delete events exec kill list pause ps resume run spec start state update".split()
)
def test_every_flag_of_runcs_is_there(verb: str) -> None:
    """But for Intel's resource director, which is refused by name elsewhere."""
    ours, others = (run([*program, verb, "--help"], check=True).stdout for program in (OURS, RUNC))
    assert f"sampan runtime {verb}" in ours
    assert set(re.findall("--[a-z][a-z0-9-]+", others)) - set(re.findall("--[a-z][a-z0-9-]+", ours)) <= {
        "--help", "--l3-cache-schema", "--mem-bw-schema", "--root",
    }  # fmt: skip


@needs_runc
def test_features_are_those_of_runc_and_more() -> None:
    ours, others = (json.loads(run([*program, "features"], check=True).stdout) for program in (OURS, RUNC))
    assert set(others["hooks"]) <= set(ours["hooks"])
    assert set(others["mountOptions"]) <= set(ours["mountOptions"])
    for key in ("namespaces", "capabilities"):
        assert set(others["linux"][key]) <= set(ours["linux"][key])
    assert set(others["linux"]["seccomp"]["actions"]) <= set(ours["linux"]["seccomp"]["actions"])
    assert set(others["linux"]["seccomp"]["operators"]) <= set(ours["linux"]["seccomp"]["operators"])


@needs_runc
@pytest.mark.parametrize("option", [
    "acl", "async", "atime", "dev", "diratime", "dirsync", "exec", "iversion", "lazytime", "loud", "mand", "noacl",
    "noatime", "nodev", "nodiratime", "noexec", "noiversion", "nolazytime", "nomand", "norelatime", "nostrictatime",
    "nosuid", "nosymfollow", "private", "relatime", "ro", "rw", "silent", "strictatime", "suid", "symfollow", "sync",
    "unbindable",
])  # fmt: skip
def test_mount_options_do_what_they_do_with_runc(bundle: Bundle, option: str) -> None:
    (bundle.path / "shared").mkdir()
    bundle.mount("/new", "tmpfs", option, source="tmpfs")
    bundle.mount("/view", "bind", "rbind", option, source=bundle.path / "shared")
    ours, others = (
        bundle.run("sh", "-c", "grep -E ' /(new|view) ' /proc/self/mountinfo", program=program).stdout.splitlines()
        for program in (OURS, RUNC)
    )
    assert sorted(line.split()[4:] for line in ours) == sorted(line.split()[4:] for line in others)
