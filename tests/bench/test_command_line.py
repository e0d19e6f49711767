"""What can be asked of the benchmark, and where it takes place."""

import argparse

import pytest

from bench import cases, engines
from bench.__main__ import image_size, installed_peers
from bench.contents import Size
from bench.errors import BenchError
from bench.sandbox import mounted_cgroups

_MOUNTS = """\
25 30 0:23 / /proc rw,relatime - proc proc rw
31 30 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
33 31 0:29 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw
34 32 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
"""


def test_cases_are_measured_in_one_order_whatever_order_they_are_asked_for_in() -> None:
    assert [case.name for case in cases.chosen(["pull", "run-none"])] == ["run-none", "pull"]
    assert cases.chosen([]) == list(cases.CASES)


def test_cases_have_names_of_their_own() -> None:
    assert len({case.name for case in cases.CASES}) == len(cases.CASES)


def test_an_unknown_case_is_an_error_that_tells_the_known_ones() -> None:
    with pytest.raises(BenchError, match=r"no case 'fly' .*run-none"):
        cases.chosen(["fly"])


def test_an_unknown_peer_is_an_error() -> None:
    with pytest.raises(BenchError, match="no peer 'rkt'"):
        installed_peers("docker,rkt")


def test_a_peer_without_its_programs_is_left_out_and_said_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engines, "program", lambda name: None if name == "dockerd" else f"/bin/{name}")
    assert installed_peers("docker,crun") == ["crun"]
    assert "docker is left out: dockerd not installed" in capsys.readouterr().err


def test_no_peers_at_all_can_be_asked_for() -> None:
    assert installed_peers("") == []


def test_image_size_has_megabytes_and_files() -> None:
    assert image_size("400:13000") == Size(400, 13_000)
    assert image_size("100") == Size(100, 3_300)


@pytest.mark.parametrize("text", ["", "0", "4:x", "-5", "10:1"])
def test_a_bad_image_size_is_an_error(text: str) -> None:
    with pytest.raises((ValueError, argparse.ArgumentTypeError)):
        image_size(text)


def test_every_cgroup_hierarchy_is_found_once() -> None:
    assert mounted_cgroups(_MOUNTS) == ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"]
