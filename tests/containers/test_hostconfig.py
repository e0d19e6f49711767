"""What ``inspect`` says was asked of a container, flag by flag."""

import json

import pytest

from commands import Sampan
from residents import IMAGE

pytestmark = [pytest.mark.system, pytest.mark.root]


@pytest.mark.parametrize(
    ("options", "key", "value"),
    [
        (("--privileged",), "Privileged", True),
        ((), "Privileged", False),
        (("--read-only",), "ReadonlyRootfs", True),
        (("-m", "64m"), "Memory", 64 << 20),
        (("-m", "64m"), "MemorySwap", 128 << 20),
        (("--cpus", "0.5"), "NanoCpus", 500_000_000),
        (("--cpu-period", "50000", "--cpu-quota", "25000"), "CpuQuota", 25000),
        (("--pids-limit", "7"), "PidsLimit", 7),
        (("--cap-add", "NET_ADMIN"), "CapAdd", ["NET_ADMIN"]),
        (("--security-opt", "no-new-privileges"), "SecurityOpt", ["no-new-privileges"]),
        (("--security-opt", "systempaths=unconfined"), "MaskedPaths", []),
        (("--device-cgroup-rule", "c 1:3 r"), "DeviceCgroupRules", ["c 1:3 r"]),
        (("--ulimit", "nofile=5:6"), "Ulimits", [{"Name": "nofile", "Soft": 5, "Hard": 6}]),
        (("--ipc", "shareable"), "IpcMode", "shareable"),
        (("--pid", "host"), "PidMode", "host"),
        (("--cgroup-parent", "x/y"), "CgroupParent", "/x/y"),
        (("--dns", "10.9.9.9"), "Dns", ["10.9.9.9"]),
        (("--add-host", "db:10.1.2.3"), "ExtraHosts", ["db:10.1.2.3"]),
        (("--sysctl", "net.ipv4.ip_forward=1"), "Sysctls", {"net.ipv4.ip_forward": "1"}),
        (("--shm-size", "1m"), "ShmSize", 1 << 20),
        (("--tmpfs", "/run:size=1m"), "Tmpfs", {"/run": "size=1m"}),
        (("--init",), "Init", True),
        (("--annotation", "a=b"), "Annotations", {"a": "b"}),
        (("--network", "bridge", "-p", "127.0.0.1:8080:80"), "PortBindings",
            {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}),
    ],
)  # fmt: skip
def test_what_was_asked(root: Sampan, options: tuple[str, ...], key: str, value: object) -> None:
    root("create", "--name", "hull", *options, IMAGE, "true")
    assert json.loads(root("inspect", "hull").stdout)[0]["HostConfig"][key] == value
