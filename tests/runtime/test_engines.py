"""Podman, and Docker with containerd, run containers by the OCI runtime command in runc's place."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import peers as engines
from commands import Account, new_store, remove_store
from peers import Peers
from residents import await_

pytestmark = [
    pytest.mark.system,
    pytest.mark.root,
    pytest.mark.interop,
    pytest.mark.needs("dockerd", "docker", "podman", "busybox"),
]
Engine = Callable[..., str]


@pytest.fixture(scope="module")
def peers() -> Iterator[Peers]:
    """Both, with an image of busybox alone."""
    root = new_store()
    shared = Path("/var/tmp") / root.name  # /dev/shm is the sandbox's own
    shared.mkdir()
    try:
        with engines.sandboxed(shared, docker=True) as running:
            subprocess.run(["tar", "-C", running.box(), "-cf", shared / "image.tar", "."], check=True)
            for program in ("docker", "podman"):
                running(program, "import", shared / "image.tar", "box")
            yield running
    finally:
        shutil.rmtree(shared)
        remove_store(root)


@pytest.fixture(params=["docker", "podman"])
def engine(request: pytest.FixtureRequest, peers: Peers) -> Iterator[Engine]:
    """Its containers have sampan's runtime and no network."""
    words, options = ["docker"], ["--network=none", "--runtime=sampan"]
    if request.param == "podman":
        words = ["podman", "--cgroup-manager=cgroupfs", "--runtime", str(peers.runtime)]
        options = ["--network=none"]

    def run(verb: str, *arguments: str, check: bool = True) -> str:
        return peers(*words, verb, *(options if verb == "run" else []), *arguments, check=check)

    yield run
    run("rm", "-f", "hull", check=False)


def test_a_run_says_what_it_has_to_and_ends(engine: Engine) -> None:
    assert engine("run", "--rm", "box", "echo", "hello") == "hello\n"
    assert engine("run", "--rm", "-t", "box", "tty").strip() == "/dev/pts/0"
    script = "id -u; echo through > /dev/stdout; touch /x 2>/dev/null || echo read-only"
    assert (
        engine("run", "--rm", "--read-only", "-u", "1000:1000", "box", "sh", "-c", script)
        == "1000\nthrough\nread-only\n"
    )
    engine("run", "--rm", "--privileged", "box", "sh", "-c", "touch /sys/fs && cat /dev/null")


def test_exit_codes_come_through(engine: Engine) -> None:
    for words, code in ((("sh", "-c", "exit 7"), "7"), (("sleep", "0"), "0")):
        engine("run", "--name", "hull", "box", *words, check=False)
        assert engine("inspect", "--format={{.State.ExitCode}}", "hull").strip() == code
        engine("rm", "-f", "hull")
    engine("run", "--name", "hull", "box", "nosuch", check=False)
    assert engine("inspect", "--format={{.State.Running}}", "hull").strip() == "false"


def test_a_container_is_entered_stopped_and_heard(engine: Engine) -> None:
    engine("run", "-d", "--name", "hull", "box", "sh", "-c", "echo started; sleep 1000")
    assert await_(lambda: engine("logs", "hull") == "started\n")
    assert engine("exec", "hull", "sh", "-c", "id -u; hostname").startswith("0\n")
    assert engine("exec", "-t", "-u", "5", "hull", "id", "-u").strip() == "5"
    assert "sleep" in engine("top", "hull")
    engine("pause", "hull")
    assert engine("inspect", "--format={{.State.Status}}", "hull").strip() == "paused"
    engine("unpause", "hull")
    engine("kill", "hull")
    shown = "--format={{.State.Status}} {{.State.ExitCode}}"
    assert await_(lambda: engine("inspect", shown, "hull").strip() == "exited 137")


def test_limits_hold(request: pytest.FixtureRequest, engine: Engine) -> None:
    limits = ("--memory=64m", "--pids-limit=33", "--cpus=0.5", "--oom-score-adj=500")
    script = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us"
    if not Path("/sys/fs/cgroup/memory").exists():
        script = "cd /sys/fs/cgroup; cat memory.max pids.max cpu.max"
    words = engine("run", "--rm", *limits, "box", "sh", "-c", f"{script}; cat /proc/self/oom_score_adj").split()
    assert [*words[:3], words[-1]] == [str(64 << 20), "33", "50000", "500"]
    engine("run", "--name", "hull", "--memory=20m", "--memory-swap=20m", "box", "tail", "/dev/zero", check=False)
    code, killed = engine("inspect", "--format={{.State.ExitCode}} {{.State.OOMKilled}}", "hull").split()
    # Podman's monitor misses on cgroup v1 what ends the whole container, under runc and crun too.
    assert code == "137"
    assert killed == "true" or "podman" in request.node.name


def test_no_more_processes_than_allowed(engine: Engine) -> None:
    script = "for i in 1 2 3 4 5 6 7 8; do sleep 100 & done; echo all"
    assert "all" in engine("run", "--rm", "--pids-limit=20", "box", "sh", "-c", script)
    assert "all" not in engine("run", "--rm", "--pids-limit=5", "box", "sh", "-c", script, check=False)


def test_stopped_and_removed(engine: Engine) -> None:
    script = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done"
    engine("run", "-d", "--name", "hull", "box", "sh", "-c", script)
    assert await_(lambda: "up" in engine("logs", "hull"))
    engine("stop", "hull")
    assert engine("inspect", "--format={{.State.ExitCode}}", "hull").strip() == "3"
    engine("start", "hull")
    assert await_(lambda: engine("logs", "hull") == "up\nbye\nup\n")
    engine("kill", "-s", "TERM", "hull")
    assert engine("wait", "hull").strip() == "3"
    engine("rm", "hull")
    assert not engine("ps", "-aq")


def test_one_that_does_not_listen_is_killed(engine: Engine) -> None:
    engine("run", "-dt", "--name", "hull", "box", "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
    engine("stop", "-t", "0", "hull")
    assert engine("inspect", "--format={{.State.ExitCode}}", "hull").strip() == "137"


def test_an_ordinary_users_podman(peers: Peers, ordinary_user: Account) -> None:
    """It enters a user namespace and calls the runtime as its root."""
    peers.introduce(ordinary_user)
    home, user = ordinary_user.home, ordinary_user
    (home / "run").mkdir(mode=0o700)
    options = "[storage.options.overlay]\nignore_chown_errors = 'true'"
    (home / "storage.conf").write_text(f"[storage]\ndriver = 'overlay'\nrunroot = '{home}/run/c'\n{options}\n")
    settings = home / ".config/containers"
    settings.mkdir(parents=True)
    (settings / "policy.json").write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    for path in home.rglob("*"):
        os.chown(path, user.uid, user.gid)
    runtime = peers.directory / "memory/users-runtime"  # which finds sampan where the user may read it
    exports = "".join(f"export {name}='{value}'\n" for name, value in user.environment.items())
    peers(
        "sh",
        "-c",
        f'printf %s "$1" > {runtime}; chmod 755 {runtime}',
        "sh",
        f'#!/bin/sh\n{exports}exec {peers.runtime} "$@"\n',
    )
    variables = {"HOME": home, "XDG_RUNTIME_DIR": home / "run", "CONTAINERS_STORAGE_CONF": home / "storage.conf"}
    words = ["setpriv", f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups", "env", "--unset=TMPDIR"]
    words += [*(f"{name}={value}" for name, value in variables.items()), "podman", "--cgroup-manager=cgroupfs"]

    def podman(verb: str, *arguments: str | Path, check: bool = True) -> str:
        return peers(*words, "--runtime", runtime, verb, *arguments, check=check)

    podman("import", peers.directory / "image.tar", "box")
    script = "id -u; cat /proc/self/uid_map"
    assert podman("run", "--rm", "--network=none", "box", "sh", "-c", script).split() == ["0", "0", str(user.uid), "1"]
    podman("run", "-d", "--network=none", "--name=hull", "box", "sleep", "1000")
    assert podman("exec", "hull", "hostname").strip()
    podman("rm", "-f", "-t", "0", "hull")


def test_a_user_namespace(peers: Peers) -> None:
    """Docker has one for its whole daemon, if at all."""
    words = ("--rm", "--network=none", "--uidmap=0:100000:1000", "box", "cat", "/proc/self/uid_map")
    shown = peers("podman", "--cgroup-manager=cgroupfs", "--runtime", peers.runtime, "run", *words)
    assert shown.split() == ["0", "100000", "1000"]
