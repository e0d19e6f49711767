"""Limits of containers in control groups v2, proved by what they do."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from commands import Sampan
from residents import IMAGE, await_, cgroups, state

RUN = ("run", "--rm", "--network", "none")
HOG = "x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done"
BURN = "while :; do :; done"


@pytest.fixture
def burning(root: Sampan, request: pytest.FixtureRequest) -> tuple[str, Path]:
    """A container that takes all the processor it gets, run with the flags given; and its cgroup."""
    flags: list[str] = request.param
    name = root("run", "-d", "--network", "none", *flags, IMAGE, "sh", "-c", BURN).stdout.strip()
    return name, cgroups(name)[0]


def stat(cgroup: Path, file: str) -> dict[str, int]:
    """A file of "name number" lines."""
    return {name: int(value) for name, value in (line.split() for line in (cgroup / file).read_text().splitlines())}


def inside(root: Sampan, script: str, *flags: str) -> str:
    """What a script prints in a new container."""
    return root(*RUN, *flags, IMAGE, "sh", "-c", script).stdout


def test_there_is_one_hierarchy_only() -> None:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    assert [words[1] for words in mounts if words[2].startswith("cgroup")] == ["/sys/fs/cgroup"]


def test_a_memory_hog_is_killed_and_that_is_reported(root: Sampan) -> None:
    done = root("run", "--name", "hog", "--network", "none", "-m", "32m", IMAGE, "sh", "-c", HOG, check=False)
    assert done.returncode == 137
    assert (state(root, "hog")["OOMKilled"], state(root, "hog")["ExitCode"]) == (True, 137)
    assert not cgroups(root("ps", "-aq", "--no-trunc").stdout.strip())


def test_memory_with_swap(root: Sampan) -> None:
    script = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory.swap.max /sys/fs/cgroup/memory.low"
    found = inside(root, script, "-m", "64m", "--memory-swap", "96m", "--memory-reservation", "32m")
    assert found.split() == [str(size << 20) for size in (64, 32, 32)]


def test_a_fork_bomb_is_stopped(root: Sampan) -> None:
    script = f"sh -c 'b() {{ b | b & }}; b' & {BURN}"
    name = root("run", "-d", "--network", "none", "--pids-limit", "20", IMAGE, "sh", "-c", script).stdout.strip()
    cgroup = cgroups(name)[0]
    assert await_(lambda: stat(cgroup, "pids.events")["max"] > 10)
    assert int((cgroup / "pids.current").read_text()) <= 20
    assert state(root, name)["Running"]


@pytest.mark.parametrize("burning", [["--cpus", "0.5"]], indirect=True)
def test_half_a_processor(burning: tuple[str, Path]) -> None:
    """It is throttled in every period, and gets half of each: no more, however fast the machine is."""
    _, cgroup = burning
    before = stat(cgroup, "cpu.stat")
    assert await_(lambda: stat(cgroup, "cpu.stat")["nr_periods"] > before["nr_periods"] + 30)
    after = stat(cgroup, "cpu.stat")
    spent, periods, throttled = (after[key] - before[key] for key in ("usage_usec", "nr_periods", "nr_throttled"))
    assert (cgroup / "cpu.max").read_text().split() == ["50000", "100000"]
    assert throttled >= periods // 2
    assert spent < periods * 100_000 * 0.75


@pytest.mark.parametrize("burning", [["--cpuset-cpus", "1"]], indirect=True)
def test_one_processor_of_two(root: Sampan, burning: tuple[str, Path]) -> None:
    name, cgroup = burning
    pid = state(root, name)["Pid"]
    assert "\nCpus_allowed_list:\t1\n" in Path(f"/proc/{pid}/status").read_text()
    assert (cgroup / "cpuset.cpus.effective").read_text().strip() == "1"


def test_weights(root: Sampan) -> None:
    found = inside(
        root, "cat /sys/fs/cgroup/cpu.weight /sys/fs/cgroup/io.weight", "-c", "2048", "--blkio-weight", "500"
    )
    assert found.split()[:3] == ["79", "default", "4950"]


@pytest.mark.parametrize("burning", [["-m", "64m"]], indirect=True)
def test_pause(root: Sampan, burning: tuple[str, Path]) -> None:
    name, cgroup = burning
    root("pause", name)
    assert stat(cgroup, "cgroup.events")["frozen"] == 1
    assert state(root, name)["Status"] == "paused"
    used = stat(cgroup, "cpu.stat")["usage_usec"]
    time.sleep(0.5)  # in which nothing may happen
    assert stat(cgroup, "cpu.stat")["usage_usec"] == used
    root("unpause", name)
    assert await_(lambda: stat(cgroup, "cpu.stat")["usage_usec"] > used)


@pytest.mark.parametrize("burning", [["-m", "64m"]], indirect=True)
def test_update(root: Sampan, burning: tuple[str, Path]) -> None:
    name, cgroup = burning
    flags = ("-m", "96m", "--memory-swap", "128m", "--pids-limit", "9", "--cpus", "0.5", "--cpuset-cpus", "1")
    root("update", *flags, "--blkio-weight", "500", name)
    files = ("memory.max", "memory.swap.max", "pids.max", "cpu.max", "cpuset.cpus", "io.weight")
    wanted = [str(96 << 20), str(32 << 20), "9", "50000 100000", "1", "default 4950"]
    assert [(cgroup / file).read_text().strip() for file in files] == wanted
    before = stat(cgroup, "cpu.stat")["nr_throttled"]
    assert await_(lambda: stat(cgroup, "cpu.stat")["nr_throttled"] > before)


@pytest.mark.parametrize("burning", [["-m", "64m"]], indirect=True)
def test_stats(root: Sampan, burning: tuple[str, Path]) -> None:
    name, _ = burning
    found = json.loads(root("stats", "--no-stream", "--format", "json", name).stdout.splitlines()[0])
    assert found["MemUsage"].endswith(" / 64MiB"), found
    assert float(found["CPUPerc"].rstrip("%")) > 0
    assert found["PIDs"] == "1"
    assert "while" in root("top", name).stdout


@pytest.mark.parametrize("burning", [["-m", "64m"]], indirect=True)
def test_a_second_program_is_in_the_same_cgroup(root: Sampan, burning: tuple[str, Path]) -> None:
    name, cgroup = burning
    assert root("exec", name, "cat", "/proc/self/cgroup").stdout == "0::/\n"
    root("exec", "-d", name, "sleep", "1000")
    assert await_(lambda: len((cgroup / "cgroup.procs").read_text().split()) == 2)
    hog = root("exec", name, "sh", "-c", HOG, check=False)
    assert hog.returncode == 137
    assert state(root, name)["Running"]


def test_a_namespace_of_its_own(root: Sampan) -> None:
    lines = inside(
        root, "cat /proc/self/cgroup; ls -d /sys/fs/cgroup/sampan; mkdir /sys/fs/cgroup/x; true"
    ).splitlines()
    assert lines == ["0::/"]
    assert inside(root, "cat /proc/self/cgroup", "--cgroupns", "host").startswith("0::/sampan/")


def test_systemd_leaves_limits_alone(root: Sampan) -> None:
    """It turns off the controllers that none of its own units needs, whenever it looks over them."""
    run = ("run", "-d", "--network", "none", "-m", "64m", "--pids-limit", "9")
    name = root(*run, IMAGE, "sleep", "1000").stdout.strip()
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    subprocess.run(["systemd-run", "--wait", "-p", "MemoryMax=1G", "true"], check=True)
    assert (cgroups(name)[0] / "memory.max").read_text().strip() == str(64 << 20)
    assert (cgroups(name)[0] / "pids.max").read_text().strip() == "9"


def test_devices_of_containers(root: Sampan) -> None:
    """A node of the host's memory can be made, and not be opened, but what is given by name or by rule can."""
    script = "mknod /m c 1 1; mknod /f c 10 229; for n in m f; do (exec 3</$n) 2>/dev/null && echo $n; done; true"
    assert inside(root, script) == ""
    assert inside(root, script, "--device-cgroup-rule", "c 10:229 rwm") == "f\n"
    given = "(exec 3</dev/fuse) && echo read; (exec 3>/dev/fuse) 2>/dev/null && echo written; true"
    assert inside(root, given, "--device", "/dev/fuse") == "read\nwritten\n"
    assert inside(root, given, "--device", "/dev/fuse:r") == "read\n"


def test_block_devices(root: Sampan) -> None:
    numbers = f"{os.major(os.stat('/dev/vda').st_rdev)}:{os.minor(os.stat('/dev/vda').st_rdev)}"
    found = inside(
        root, "cat /sys/fs/cgroup/io.max", "--device-read-bps", "/dev/vda:1mb", "--device-write-iops", "/dev/vda:9"
    )
    assert found == f"{numbers} rbps=1048576 wbps=max riops=max wiops=9\n"
