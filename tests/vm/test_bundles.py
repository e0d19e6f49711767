"""The OCI runtime command in control groups v2: devices by BPF, the map of raw settings, changes."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bundles import OURS, Bundle
from residents import cgroups_named

TOP = Path("/sys/fs/cgroup")
DISK = os.stat("/dev/vda").st_rdev if os.path.exists("/dev/vda") else 0
MAJOR, MINOR = os.major(DISK), os.minor(DISK)
NODES = {"loops": "c 10 237", "fuse": "c 10 229", "disk": f"b {MAJOR} {MINOR}"}


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Bundle]:
    """A bundle whose containers are gone afterwards, and their cgroups with them."""
    made = Bundle(tmp_path)
    (made.root / "bin/mknod").symlink_to("busybox")
    (made.root / "bin/dd").symlink_to("busybox")
    yield made
    made.remove_all()
    assert not cgroups_named("test-")


def running(bundle: Bundle, resources: dict[str, Any]) -> tuple[str, Path]:
    """A container with these limits that sleeps, and its cgroup."""
    bundle.linux["resources"] = resources
    name = bundle.create("sleep", "1000")
    bundle("start", name)
    return name, TOP / name


def shown(cgroup: Path, *files: str) -> list[str]:
    return [(cgroup / file).read_text().strip() for file in files]


def opened(bundle: Bundle, rules: list[dict[str, Any]]) -> list[str]:
    """Which of some device nodes a container with these rules can open for reading, and for writing."""
    bundle.linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}, *rules]}
    bundle.process["capabilities"]["effective"] = bundle.process["capabilities"]["permitted"] = ["CAP_MKNOD"]
    bundle.mount("/nodes", "tmpfs", source="tmpfs")
    making = "".join(f"mknod /nodes/{name} {numbers}; " for name, numbers in NODES.items())
    script = (
        f"{making} cd /nodes; exec 2>/dev/null; "
        "for n in *; do (exec 3<$n) && echo $n read; (exec 3>>$n) && echo $n written; done; true"
    )
    return bundle.run("sh", "-c", script).stdout.splitlines()


def test_devices_that_are_not_allowed_cannot_be_opened(bundle: Bundle) -> None:
    assert opened(bundle, []) == []


def test_devices_that_are_allowed_can_be_opened(bundle: Bundle) -> None:
    rules = [
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "r"},
        {"allow": True, "type": "b", "major": MAJOR, "minor": -1, "access": "rw"},
    ]
    assert opened(bundle, rules) == ["disk read", "disk written", "fuse read"]


def test_a_later_rule_takes_back_what_an_earlier_one_gave(bundle: Bundle) -> None:
    rules = [
        {"allow": True, "access": "rwm"},
        {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "w"},
    ]
    assert opened(bundle, rules) == ["disk read", "disk written", "fuse read", "loops read", "loops written"]


def test_settings_by_the_names_of_files(bundle: Bundle) -> None:
    _, cgroup = running(bundle, {"unified": {"memory.high": "50331648", "pids.max": "33", "cpu.weight": "77"}})
    assert shown(cgroup, "memory.high", "pids.max", "cpu.weight") == ["50331648", "33", "77"]


@pytest.mark.parametrize("name", ["memory.none", "../cgroup.procs", ""])
def test_settings_that_there_are_not(bundle: Bundle, name: str) -> None:
    bundle.linux["resources"] = {"unified": {name: "1"}}
    bundle.write("true")
    done = bundle("run", "--bundle", bundle.path, bundle.name(), check=False)
    assert done.returncode != 0
    assert "memory.none" in done.stderr or "is no file of a cgroup" in done.stderr


def test_all_kinds_of_limits(bundle: Bundle) -> None:
    resources = {
        "memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 16 << 20},
        "cpu": {"shares": 512, "quota": 50000, "period": 100000, "burst": 1000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 20},
        "blockIO": {
            "weight": 300,
            "throttleReadBpsDevice": [{"major": MAJOR, "minor": MINOR, "rate": 1048576}],
            "throttleWriteIOPSDevice": [{"major": MAJOR, "minor": MINOR, "rate": 100}],
        },
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}],
    }
    _, cgroup = running(bundle, resources)
    files = ("memory.max", "memory.swap.max", "memory.low", "cpu.weight", "cpu.max", "cpu.max.burst", "cpuset.cpus")
    wanted = [str(64 << 20), str(32 << 20), str(16 << 20), "20", "50000 100000", "1000", "0"]
    assert shown(cgroup, *files) == wanted
    assert shown(cgroup, "cpuset.mems", "pids.max", "io.weight") == ["0", "20", "default 2930"]
    assert shown(cgroup, "io.max", "hugetlb.2MB.max") == [
        f"{MAJOR}:{MINOR} rbps=1048576 wbps=max riops=max wiops=100",
        "4194304",
    ]


def test_a_change(bundle: Bundle) -> None:
    name, cgroup = running(bundle, {"memory": {"limit": 64 << 20, "swap": 64 << 20}, "pids": {"limit": 20}})
    bundle("update", "--memory", "128m", "--memory-swap", "256m", "--pids-limit", "9", "--cpu-quota", "20000", name)
    assert shown(cgroup, "memory.max", "memory.swap.max", "pids.max") == [str(128 << 20), str(128 << 20), "9"]
    assert shown(cgroup, "cpu.max") == ["20000 100000"]
    stats = json.loads(bundle("events", "--stats", name).stdout)["data"]
    assert (stats["memory"]["usage"]["limit"], stats["pids"]["limit"]) == (128 << 20, 9)


def test_a_pause(bundle: Bundle) -> None:
    name, cgroup = running(bundle, {})
    bundle("pause", name)
    assert "frozen 1" in (cgroup / "cgroup.events").read_text()
    assert bundle.status(name) == "paused"
    bundle("resume", name)
    assert bundle.status(name) == "running"


def test_a_cgroup_of_its_own_can_be_written_to(bundle: Bundle) -> None:
    """With a namespace and a writable mount, as systemd wants it in a container."""
    bundle.linux["namespaces"].append({"type": "cgroup"})
    bundle.mount("/sys/fs/cgroup", "cgroup", "nosuid", "noexec", "nodev")
    script = "mkdir /sys/fs/cgroup/below && echo $$ > /sys/fs/cgroup/below/cgroup.procs && cat /proc/self/cgroup"
    assert bundle.run("sh", "-c", script).stdout == "0::/below\n"


def test_all_that_a_container_left_is_ended(bundle: Bundle) -> None:
    bundle.linux["namespaces"] = [each for each in bundle.linux["namespaces"] if each["type"] != "pid"]
    name, cgroup = running(bundle, {})
    bundle("exec", "-d", name, "sleep", "1000")
    bundle("kill", "--all", name, "KILL")
    bundle("delete", "--force", name)
    assert not cgroup.exists()


def test_features_tell_of_it() -> None:
    done = subprocess.run([*OURS, "features"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["linux"]["cgroup"]["v2"] is True
