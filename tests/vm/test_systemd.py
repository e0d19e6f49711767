"""``sampan-runtime --systemd-cgroup``: the scope that systemd makes, what it knows of it, and that it goes."""

import json
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bundles import OURS, Bundle
from residents import await_, cgroups_named

TOP = Path("/sys/fs/cgroup")
PROGRAM = (*OURS, "--systemd-cgroup")
LIMITS: dict[str, Any] = {
    "memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 16 << 20},
    "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0"},
    "pids": {"limit": 20},
    "blockIO": {"weight": 300},
}


def facts(unit: str, *names: str, user: str = "") -> dict[str, str]:
    """Properties of a unit, as systemctl tells them."""
    words = ["systemctl", "show", unit, f"--property={','.join(names)}"]
    if user:
        words = ["su", "-", user, "-c", " ".join(["systemctl", "--user", *words[1:]])]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Bundle]:
    """A bundle whose containers are gone afterwards, and their scopes with them."""
    made = Bundle(tmp_path)
    yield made
    made.remove_all()
    assert await_(lambda: not cgroups_named("box-"))
    left = subprocess.run(["systemctl", "list-units", "--all", "box-*"], capture_output=True, text=True, check=True)
    assert "0 loaded units listed" in left.stdout


def created(bundle: Bundle, resources: dict[str, Any], slice_: str = "system.slice") -> tuple[str, str, Path]:
    """A container that runs in a scope of these limits: its name, the unit, the cgroup."""
    name = bundle.name()
    bundle.linux["resources"] = resources
    bundle.linux["cgroupsPath"] = f"{slice_}:box:{name}"
    bundle.write("sleep", "1000")
    bundle("create", "--bundle", bundle.path, name, program=PROGRAM)
    bundle("start", name, program=PROGRAM)
    pid = json.loads(bundle("state", name).stdout)["pid"]
    cgroup = TOP / Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::/")
    return name, f"box-{name}.scope", cgroup


def test_the_scope_and_its_properties(bundle: Bundle) -> None:
    _, unit, cgroup = created(bundle, LIMITS)
    assert cgroup == TOP / "system.slice" / unit
    wanted = {
        "MemoryMax": str(64 << 20), "MemorySwapMax": str(32 << 20), "MemoryLow": str(16 << 20), "TasksMax": "20",
        "CPUWeight": "20", "CPUQuotaPerSecUSec": "500ms", "CPUQuotaPeriodUSec": "100ms", "AllowedCPUs": "0",
        "IOWeight": "2930", "Delegate": "yes", "ActiveState": "active", "Slice": "system.slice",
    }  # fmt: skip
    assert facts(unit, *wanted) == wanted
    files = {"memory.max": str(64 << 20), "pids.max": "20", "cpu.max": "50000 100000", "cpuset.cpus": "0"}
    assert {file: (cgroup / file).read_text().strip() for file in files} == files


def test_limits_outlive_what_systemd_does_with_them(bundle: Bundle) -> None:
    _, _, cgroup = created(bundle, LIMITS)
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    assert (cgroup / "memory.max").read_text().strip() == str(64 << 20)
    assert (cgroup / "cpu.max").read_text().strip() == "50000 100000"


def test_slices_below_slices(bundle: Bundle) -> None:
    _, unit, cgroup = created(bundle, {}, "sam-pan.slice")
    assert cgroup == TOP / "sam.slice/sam-pan.slice" / unit


def test_its_end_leaves_nothing(bundle: Bundle) -> None:
    name, unit, cgroup = created(bundle, LIMITS)
    bundle("delete", "--force", name)
    assert not cgroup.exists()
    assert await_(lambda: facts(unit, "LoadState") == {"LoadState": "not-found"})


def test_a_program_more_and_a_change(bundle: Bundle) -> None:
    name, unit, cgroup = created(bundle, {"memory": {"limit": 64 << 20}})
    bundle("exec", "-d", name, "sleep", "1000", program=PROGRAM)
    assert await_(lambda: len((cgroup / "cgroup.procs").read_text().split()) == 2)
    bundle("update", "--memory", "128m", "--pids-limit", "9", name, program=PROGRAM)
    assert facts(unit, "MemoryMax", "TasksMax") == {"MemoryMax": str(128 << 20), "TasksMax": "9"}
    assert (cgroup / "memory.max").read_text().strip() == str(128 << 20)
    bundle("pause", name, program=PROGRAM)
    assert "frozen 1" in (cgroup / "cgroup.events").read_text()
    bundle("resume", name, program=PROGRAM)


def test_devices(bundle: Bundle) -> None:
    bundle.linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    bundle.linux["cgroupsPath"] = "system.slice:box:devices"
    bundle.process["capabilities"]["effective"] = bundle.process["capabilities"]["permitted"] = ["CAP_MKNOD"]
    (bundle.root / "bin/mknod").symlink_to("busybox")
    bundle.mount("/nodes", "tmpfs", source="tmpfs")
    script = (
        "mknod /nodes/fuse c 10 229; (exec 3</nodes/fuse) 2>/dev/null && echo opened; echo > /dev/null && echo null"
    )
    assert bundle.run("sh", "-c", script, program=PROGRAM).stdout == "null\n"


def test_a_memory_hog(bundle: Bundle) -> None:
    """Its scope fails, and is forgotten nevertheless: the name is free again."""
    bundle.linux["resources"] = {"memory": {"limit": 32 << 20, "swap": 32 << 20}}
    bundle.linux["cgroupsPath"] = "system.slice:box:hog"
    for _ in range(2):
        hog = "x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done"
        assert bundle.run("sh", "-c", hog, program=PROGRAM, check=False).returncode == 137


def test_properties_by_annotations(bundle: Bundle) -> None:
    bundle.spec["annotations"] = {
        "org.systemd.property.TimeoutStopUSec": "uint64 5000000",
        "org.systemd.property.CollectMode": "'inactive-or-failed'",
    }
    _, unit, _ = created(bundle, {})
    wanted = {"TimeoutStopUSec": "5s", "CollectMode": "inactive-or-failed"}
    assert facts(unit, *wanted) == wanted


def test_a_private_namespace(bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "cgroup"})
    bundle.linux["cgroupsPath"] = "system.slice:box:private"
    bundle.mount("/sys/fs/cgroup", "cgroup", "ro")
    script = "cat /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.type"
    assert bundle.run("sh", "-c", script, program=PROGRAM).stdout == "0::/\ndomain\n"


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/sampan/x", "is not what systemd takes"),
        ("box:a:b", "is not the name of a slice"),
        ("system.slice:box:x.slice", "a container is a scope"),
    ],
)
def test_paths_that_make_no_sense(bundle: Bundle, path: str, sentence: str) -> None:
    bundle.linux["cgroupsPath"] = path
    done = bundle.run("true", program=PROGRAM, check=False)
    assert done.returncode != 0
    assert sentence in done.stderr


def test_what_systemd_refuses_is_told(bundle: Bundle) -> None:
    bundle.spec["annotations"] = {"org.systemd.property.NoSuchThing": "5"}
    bundle.linux["cgroupsPath"] = "system.slice:box:refused"
    done = bundle.run("true", program=PROGRAM, check=False)
    assert done.returncode != 0
    assert "NoSuchThing" in done.stderr
    assert not list((bundle.path / "state").glob("*"))


def test_an_ordinary_user(tmp_path: Path) -> None:
    """His own systemd makes the scope, and puts in it also what runs later."""
    subprocess.run(["loginctl", "enable-linger", "many"], check=True)
    uid = pwd.getpwnam("many").pw_uid
    assert await_(Path(f"/run/user/{uid}/bus").exists)
    script = """
        set -e
        mkdir -p bundle/rootfs/bin bundle/rootfs/proc bundle/rootfs/dev bundle/rootfs/sys; cd bundle
        cp /bin/busybox rootfs/bin; for n in sh sleep cat; do ln -sf busybox rootfs/bin/$n; done
        rm -f config.json; sampan-runtime spec --rootless
        python3 - <<END
import json
spec = json.load(open("config.json"))
spec["process"].update(terminal=False, args=["sleep", "1000"])
spec["linux"]["resources"] = {"memory": {"limit": 67108864}, "pids": {"limit": 20}}
json.dump(spec, open("config.json", "w"))
END
        sampan-runtime --root ../state --systemd-cgroup create --bundle . first >/dev/null 2>&1 </dev/null
        sampan-runtime --root ../state start first
        sampan-runtime --root ../state --systemd-cgroup exec -d first sleep 1000 >/dev/null 2>&1 </dev/null
        sampan-runtime --root ../state ps first | wc -l
        systemctl --user show sampan-first.scope --property=ControlGroup,MemoryMax,TasksMax,Tasks
        cat /sys/fs/cgroup$(systemctl --user show -P ControlGroup sampan-first.scope)/memory.max
        wc -l < /sys/fs/cgroup$(systemctl --user show -P ControlGroup sampan-first.scope)/cgroup.procs
        sampan-runtime --root ../state delete --force first
        systemctl --user list-units --all 'sampan-first*' | grep -c first || true
    """
    done = subprocess.run(["su", "-", "many", "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done
    lines = done.stdout.split()
    group = next(line for line in lines if line.startswith("ControlGroup="))
    assert group.endswith("/sampan-first.scope")
    assert f"user@{uid}.service" in group
    assert {"MemoryMax=67108864", "TasksMax=20"} <= set(lines)
    assert lines[-3:] == ["67108864", "2", "0"]
