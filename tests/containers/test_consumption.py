"""What a container may use beyond memory and processors: each flag is proved by what the kernel says inside."""

import os
import re
import stat
from pathlib import Path

import pytest

import commands
from commands import Sampan
from residents import IMAGE, assert_clean
from sampan.containers import blocks, limits
from sampan.containers.options import Limits
from sampan.errors import Invalid, SampanError
from sampan.runtime.cgroups import v2

RUN = ("run", "--rm", "--network", "none")


def disk() -> str:
    """A block device of this machine."""
    found = [path for path in sorted(Path("/dev").iterdir()) if stat.S_ISBLK(path.stat().st_mode)]
    if not found:
        pytest.skip("this machine has no block device")
    return str(found[-1])


def numbers(path: str) -> str:
    device = os.stat(path).st_rdev
    return f"{os.major(device)}:{os.minor(device)}"


def v1(controller: str) -> Path:
    path = Path("/sys/fs/cgroup") / controller
    if not path.is_dir():
        pytest.skip(f"there is no {controller} hierarchy of cgroup v1 here")
    return path


@pytest.mark.parametrize("text", ["", "/dev/null:5", "sda:5", "/dev/no-such:5", "5"])
def test_what_is_no_device_with_a_number(text: str) -> None:
    with pytest.raises(SampanError):
        blocks.parse_weight(text)
    with pytest.raises(SampanError):
        blocks.parse_throttle("device-read-bps", text)


def test_a_throttle_s_language() -> None:
    path = disk()
    assert blocks.parse_throttle("device-read-bps", f"{path}:1mb") == ("device-read-bps", path, 1 << 20)
    assert blocks.parse_throttle("device-write-iops", f"{path}:70") == ("device-write-iops", path, 70)
    assert blocks.parse_weight(f"{path}:200") == (path, 200)
    for text in (f"{path}:", f"{path}:1m", f"{path}:-1", f"{path}:{1 << 64}"):
        with pytest.raises(Invalid, match="invalid --device-read-iops"):
            blocks.parse_throttle("device-read-iops", text)
    for text in (f"{path}:9", f"{path}:1001", f"{path}:x"):
        with pytest.raises(Invalid, match="invalid --blkio-weight-device"):
            blocks.parse_weight(text)


@pytest.mark.parametrize(
    "wrong",
    [
        Limits(period=999), Limits(period=1_000_001), Limits(quota=999), Limits(shares=-1), Limits(swappiness=101),
        Limits(swappiness=-2), Limits(realtime_runtime=-1), Limits(realtime_period=5, realtime_runtime=6),
        Limits(cpus="0-99999"), Limits(cpus="0-99999999999"), Limits(mems="4095"), Limits(reservation=5),
    ],
)  # fmt: skip
def test_what_no_kernel_could_keep(wrong: Limits) -> None:
    with pytest.raises(Invalid):
        limits.check(wrong)


def test_what_version_two_has_no_file_for_is_named() -> None:
    wanted = limits.resources(Limits(swappiness=0, oom_kill_disable=True, realtime_runtime=5))
    assert v2.lacking(wanted) == ["memory.swappiness", "memory.oom_control", "cpu.rt_runtime_us"]
    assert v2.lacking(limits.resources(Limits(memory=1 << 30, pids=5))) == []


@pytest.mark.system
@pytest.mark.root
def test_how_fast_a_disk_is_read(root: Sampan) -> None:
    v1("blkio")
    path = disk()
    files = "/sys/fs/cgroup/blkio/blkio.throttle"
    script = f"cat {files}.read_bps_device {files}.write_bps_device {files}.read_iops_device {files}.write_iops_device"
    rates = ("--device-read-bps", "1m"), ("--device-write-bps", "2m"), ("--device-read-iops", "3"), (
        "--device-write-iops", "4"
    )  # fmt: skip
    options = [word for flag, rate in rates for word in (flag, f"{path}:{rate}")]
    found = root(*RUN, *options, IMAGE, "sh", "-c", script).stdout.splitlines()
    assert found == [f"{numbers(path)} {rate}" for rate in (1 << 20, 2 << 20, 3, 4)]


@pytest.mark.system
@pytest.mark.root
def test_swapping_and_weights(root: Sampan) -> None:
    v1("memory")
    script = "cat /sys/fs/cgroup/memory/memory.swappiness"
    assert root(*RUN, "-m", "64m", "--memory-swappiness", "0", IMAGE, "sh", "-c", script).stdout == "0\n"
    assert root(*RUN, "-m", "64m", "--memory-swappiness", "-1", IMAGE, "sh", "-c", script).stdout != "0\n"


@pytest.mark.system
@pytest.mark.root
def test_a_weight_that_no_scheduler_keeps_is_said_and_left_out(root: Sampan) -> None:
    v1("blkio")
    schedulers = [path for path in Path("/sys/block").glob("*/queue/scheduler") if "[bfq]" not in path.read_text()]
    if not schedulers:
        pytest.skip("every disk's scheduler keeps weights")
    path = f"/dev/{schedulers[0].parts[3]}"
    done = root(*RUN, "--blkio-weight-device", f"{path}:200", IMAGE, "echo", "ran")
    assert done.stdout == "ran\n"
    assert re.fullmatch(
        r"WARNING: this machine cannot set blkio\S*weight_device: that limit is left out\n", done.stderr
    )


@pytest.mark.system
@pytest.mark.root
@pytest.mark.needs("chrt")
def test_real_time(root: Sampan) -> None:
    budget = v1("cpu") / "cpu.rt_runtime_us"
    if not budget.exists() or budget.read_text().strip() in ("0", "-1"):
        pytest.skip("this kernel shares out no real-time budget")
    options = ("--cpu-rt-period", "100000", "--cpu-rt-runtime", "5000")
    script = "cat /sys/fs/cgroup/cpu/cpu.rt_period_us /sys/fs/cgroup/cpu/cpu.rt_runtime_us"
    assert root(*RUN, *options, IMAGE, "sh", "-c", script).stdout.split() == ["100000", "5000"]
    # What the command line itself was started with is the container's as far as there is a budget for it.
    policies = []
    for more in ((), options):
        words = root.command(*RUN, *more, IMAGE, "cut", "-d ", "-f41", "/proc/self/stat")
        policies.append(commands.run(["chrt", "-f", "1", *words], check=True).stdout)
    assert policies == [f"{os.SCHED_OTHER}\n", f"{os.SCHED_FIFO}\n"]
    # A neighbour that was removed a moment ago still has its own budget.
    for _ in range(8):
        root(*RUN, *options, IMAGE, "true")


@pytest.mark.system
@pytest.mark.root
@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--isolation=hyperv", "--isolation hyperv: there is none here but default"),
        ("--volume-driver=nfs", "--volume-driver nfs: there is none here but local"),
        ("--link=db", "--link: links are deprecated: containers of one network find each other by name"),
        ("--ip6=fd00::5", "--ip6: containers have no IPv6 addresses here"),
        ("--cpu-count=1", "--cpu-count: it is for containers of Windows"),
        ("--disable-content-trust=false", "signatures of Notary are not verified here"),
        ("--cpuset-cpus=0-9999", "--cpuset-cpus 0-9999: this machine has"),
        ("--cpus=1_0", "invalid --cpus '1_0'"),
        ("--device-cgroup-rule=c 4294967296:1 r", "invalid --device-cgroup-rule"),
        ("--dns=elsewhere", "invalid --dns 'elsewhere'"),
        ("--dns-search=a b", "invalid --dns-search 'a b'"),
        ("--label-file=/no/such", "cannot read the label file /no/such"),
        ("--cidfile=/no/such/directory", "no such file or directory: /no/such/directory"),
        ("--memory-swappiness=101", "--memory-swappiness is a number from 0 to 100"),
    ],
)
def test_what_there_is_not_is_refused_by_name(root: Sampan, option: str, sentence: str) -> None:
    done = root(*RUN, option, IMAGE, "true", check=False)
    assert (done.returncode, sentence in done.stderr) == (125, True), done.stderr
    assert_clean(root)


@pytest.mark.system
@pytest.mark.root
def test_what_is_the_only_choice_is_taken(root: Sampan) -> None:
    options = (
        "--isolation",
        "Default",
        "--volume-driver",
        "local",
        "--cpus",
        "0",
        "--disable-content-trust",
        "--kernel-memory",
        "5m",
    )
    done = root(*RUN, *options, IMAGE, "echo", "ran")
    assert (done.stdout, done.stderr.startswith("WARNING: --kernel-memory sets no limit")) == ("ran\n", True)
