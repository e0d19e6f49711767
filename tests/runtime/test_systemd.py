"""Limits and names in the words of systemd; that it does what they say is proved in tests/vm."""

from typing import Any

import pytest

from sampan.errors import Invalid
from sampan.runtime.cgroups import systemd

INFINITY = (1 << 64) - 1


@pytest.mark.parametrize(
    ("resources", "wanted"),
    [
        ({}, {}),
        (
            {"memory": {"limit": 64, "swap": 96, "reservation": 5}},
            {"MemoryMax": 64, "MemoryLow": 5, "MemorySwapMax": 32},
        ),
        ({"memory": {"limit": -1, "swap": -1}}, {"MemoryMax": INFINITY, "MemorySwapMax": INFINITY}),
        ({"pids": {"limit": 20}}, {"TasksMax": 20}),
        ({"pids": {"limit": -1}}, {"TasksMax": INFINITY}),
        ({"cpu": {"shares": 1024}}, {"CPUWeight": 39}),
        ({"cpu": {"quota": 50000, "period": 100000}}, {"CPUQuotaPeriodUSec": 100000, "CPUQuotaPerSecUSec": 500000}),
        ({"cpu": {"quota": 1001, "period": 100000}}, {"CPUQuotaPeriodUSec": 100000, "CPUQuotaPerSecUSec": 20000}),
        ({"cpu": {"quota": -1}}, {"CPUQuotaPeriodUSec": 100000, "CPUQuotaPerSecUSec": INFINITY}),
        ({"cpu": {"cpus": "0,2-3,9", "mems": "0"}}, {"AllowedCPUs": b"\x0d\x02", "AllowedMemoryNodes": b"\x01"}),
        ({"blockIO": {"weight": 1000}}, {"IOWeight": 10000}),
    ],
)
def test_properties(resources: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert {name: value for name, (_, value) in systemd.properties(resources)} == wanted


@pytest.mark.parametrize("cpus", ["x", "0-", "-1", "0-99999999999", "1;2", ""])
def test_processors_that_are_none(cpus: str) -> None:
    if cpus:
        with pytest.raises(Invalid):
            systemd.properties({"cpu": {"cpus": cpus}})
    else:
        assert systemd.properties({"cpu": {"cpus": cpus}}) == []


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("", ("sampan-box.scope", "")),
        ("system.slice:docker:abc", ("docker-abc.scope", "system.slice")),
        (":docker:abc", ("docker-abc.scope", "")),
        ("user.slice::abc", ("abc.scope", "user.slice")),
        ("a-b.slice:p:x+y z", (r"p-x\x2by\x20z.scope", "a-b.slice")),
    ],
)
def test_names(path: str, wanted: tuple[str, str]) -> None:
    assert systemd.parse(path, "box") == wanted


@pytest.mark.parametrize(
    "path", ["/sampan/x", "a:b", "a.slice:b:", "a:b:c", "a/b.slice:c:d", "a.slice:b:c.slice", "::::"]
)
def test_names_that_are_none(path: str) -> None:
    with pytest.raises(Invalid):
        systemd.parse(path, "box")


def test_properties_by_annotations() -> None:
    annotations = {
        "org.systemd.property.TimeoutStopUSec": "uint64 5000",
        "org.systemd.property.TimeoutStopSec": "uint64 5",
        "org.systemd.property.KillSignal": "15",
        "org.systemd.property.CollectMode": "'inactive-or-failed'",
        "org.systemd.property.SendSIGHUP": "true",
        "org.systemd.property.After": "['a.service', 'b.service']",
        "other": "x",
    }
    assert systemd.annotated(annotations) == [
        ("TimeoutStopUSec", ("t", 5000)),
        ("TimeoutStopUSec", ("t", 5_000_000)),
        ("KillSignal", ("i", 15)),
        ("CollectMode", ("s", "inactive-or-failed")),
        ("SendSIGHUP", ("b", True)),
        ("After", ("as", ["a.service", "b.service"])),
    ]
    with pytest.raises(Invalid, match="is not understood"):
        systemd.annotated({"org.systemd.property.X": "{}"})
