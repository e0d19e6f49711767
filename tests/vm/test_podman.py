"""podman with systemd and ``sampan-runtime``, which it tells to have systemd make the cgroup: root's, and a user's."""

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from residents import await_

TOP = Path("/sys/fs/cgroup")
OPTIONS = ("--runtime", "/usr/local/bin/sampan-runtime", "--cgroup-manager", "systemd")


class Podman:
    """podman as one of two users runs it, with a root file system of busybox for containers."""

    def __init__(self, user: str) -> None:
        self._user = user
        self.tree = Path(f"~{user}").expanduser() / "tree"

    def __call__(self, verb: str, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = shlex.join(["podman", *OPTIONS, verb, *words])
        done = subprocess.run(
            ["su", "-", self._user, "-c", command], capture_output=True, text=True, timeout=200, check=False
        )
        assert not check or done.returncode == 0, done
        return done

    def make_tree(self) -> None:
        for name in ("bin", "proc", "sys", "dev", "etc", "tmp", "run"):
            (self.tree / name).mkdir(parents=True)
        shutil.copy("/bin/busybox", self.tree / "bin")
        for name in ("sh", "cat", "sleep"):
            (self.tree / "bin" / name).symlink_to("busybox")
        subprocess.run(["chown", "-R", self._user, self.tree], check=True)

    def cgroup(self, container: str) -> Path:
        pid = self("inspect", "-f", "{{.State.Pid}}", container).stdout.strip()
        return TOP / Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::/")


@pytest.fixture(scope="module", params=["root", "many"])
def podman(request: pytest.FixtureRequest) -> Iterator[Podman]:
    """podman; its containers are gone afterwards."""
    subprocess.run(["loginctl", "enable-linger", request.param], check=True)
    found = Podman(request.param)
    found.make_tree()
    yield found
    found("rm", "-af", "-t", "0")
    shutil.rmtree(found.tree)


def test_limits_hold(podman: Podman) -> None:
    script = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /proc/self/cgroup"
    limits = ("-m", "64m", "--pids-limit", "9")
    done = podman("run", "--rm", "--network", "none", *limits, "--rootfs", str(podman.tree), "sh", "-c", script)
    assert done.stdout.split() == [str(64 << 20), "9", "0::/"]


def test_a_memory_hog_is_killed(podman: Podman) -> None:
    hog = "x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done"
    limits = ("-m", "32m", "--memory-swap", "32m")
    run = ("run", "--name", "hog", "--network", "none", *limits, "--rootfs", str(podman.tree), "sh", "-c", hog)
    assert podman(*run, check=False).returncode == 137


def test_a_life_in_a_scope(podman: Podman) -> None:
    podman("run", "-d", "--name", "life", "--network", "none", "--rootfs", str(podman.tree), "sleep", "1000")
    cgroup = podman.cgroup("life")
    assert cgroup.name.startswith("libpod-")
    assert cgroup.name.endswith(".scope")
    assert podman("exec", "life", "cat", "/proc/self/cgroup").stdout == "0::/\n"
    assert json.loads(podman("stats", "--no-stream", "--format", "json", "life").stdout)[0]["pids"] == "1"
    podman("pause", "life")
    assert "frozen 1" in (cgroup / "cgroup.events").read_text()
    podman("unpause", "life")
    podman("rm", "-f", "-t", "0", "life")
    assert await_(lambda: not cgroup.exists())
