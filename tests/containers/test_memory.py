"""What the process costs that stays beside each container: 10 MB of memory at most, half of which nobody shares."""

import compileall
import os
import socket
from pathlib import Path

import pytest

import commands
from commands import Sampan
from residents import IMAGE, await_, command, processes

pytestmark = [pytest.mark.system]

RESIDENT, PRIVATE = 10_000, 5_000
"""Kilobytes."""


@pytest.fixture(autouse=True, scope="module")
def installed() -> None:
    """With the modules compiled, as an installer leaves them; what is compiled in the monitor would count too."""
    if os.access(commands.SOURCE, os.W_OK):
        compileall.compile_dir(commands.SOURCE, quiet=1)


def footprint(sampan: Sampan) -> tuple[int, int]:
    """What the one monitor holds resident, and what of that is its alone (proc(5), smaps_rollup)."""
    (monitor,) = (pid for pid in processes(sampan) if "sampan.containers.monitor" in command(pid))
    lines = [line.split() for line in Path(f"/proc/{monitor}/smaps_rollup").read_text().splitlines()[1:]]
    counts = {words[0]: int(words[1]) for words in lines}
    private = ("Private_Clean:", "Private_Dirty:", "Private_Hugetlb:")
    return counts["Rss:"], sum(counts[name] for name in private)


def assert_small(sampan: Sampan) -> None:
    """It is, once what its start needed has been given back."""
    small = await_(lambda: footprint(sampan)[0] <= RESIDENT and footprint(sampan)[1] <= PRIVATE)
    assert small, footprint(sampan)


@pytest.mark.parametrize("options", [("--network", "none"), ("--network", "host"), (), ("--network", "none", "-t")])
def test_a_monitor_is_small(anyone: Sampan, options: tuple[str, ...]) -> None:
    anyone("run", "-d", "--name", "quiet", *options, IMAGE, "sh", "-c", "sleep 1077")
    assert_small(anyone)
    assert anyone("exec", "quiet", "echo", "still here").stdout == "still here\n"
    assert_small(anyone)
    anyone("stop", "-t", "0", "quiet")


def test_a_monitor_that_forwards_is_small(anyone: Sampan) -> None:
    script = "while :; do echo hello | nc -l -p 80; done"
    anyone("run", "-d", "--name", "quiet", "-p", "127.0.0.1::80", IMAGE, "sh", "-c", script)
    address, _, port = anyone("port", "quiet", "80").stdout.strip().rpartition(":")

    def heard() -> bool:
        with socket.create_connection((address, int(port)), timeout=5) as connection:
            try:
                return connection.recv(64) == b"hello\n"
            except ConnectionError:  # it is not yet listening
                return False

    assert await_(heard)
    assert_small(anyone)
    anyone("rm", "-f", "quiet")
