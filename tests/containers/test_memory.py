"""What the process costs that stays beside each container: 10 MB of memory at most, half of which nobody shares."""

import socket

import pytest

from commands import Sampan
from residents import IMAGE, assert_small, await_

pytestmark = [pytest.mark.system]


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


def test_a_monitor_that_never_rests_is_small(anyone: Sampan) -> None:
    anyone("run", "-d", "--name", "loud", "--network", "none", "-t", "--log-opt", "max-size=1m", IMAGE, "yes")
    assert_small(anyone)
    anyone("rm", "-f", "loud")
