"""Signals, and processes that are killed: nothing of a container outlives what it should not."""

import os
import signal

import pytest

from commands import Sampan
from residents import IMAGE, assert_clean, await_, cgroups, command, processes, read_until, started, state

pytestmark = [pytest.mark.system]

RUN = ("run", "--rm", "--network", "none")
# What has left its parent, its session and its group still belongs to the container.
BROOD = "(setsid sh -c 'sleep 1000 & sleep 1000' &) ; sleep 1000 & echo up; while :; do sleep 0.05; done"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT])
def test_signals_are_passed_on(anyone: Sampan, number: signal.Signals) -> None:
    script = f"trap 'echo got; exit 42' {number.name.removeprefix('SIG')}; echo up; while :; do sleep 0.05; done"
    with started(anyone, *RUN, IMAGE, "sh", "-c", script) as process:
        read_until(process.stdout, "up\n")
        process.send_signal(number)
        assert read_until(process.stdout, "got\n") == "got\n"
        assert process.wait(30) == 42
        assert process.stderr
        assert process.stderr.read() == b""
    assert_clean(anyone)


def test_the_third_interrupt_kills(anyone: Sampan) -> None:
    script = "trap 'echo heard' INT; echo up; while :; do sleep 0.05; done"
    with started(anyone, *RUN, IMAGE, "sh", "-c", script) as process:
        read_until(process.stdout, "up\n")
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            read_until(process.stdout, "heard\n")
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 137
    assert_clean(anyone)


def test_all_end_with_the_first_process(anyone: Sampan) -> None:
    identifier = anyone("run", "-d", "--network", "none", "--name", "hull", IMAGE, "sh", "-c", BROOD).stdout.strip()
    with started(anyone, "logs", "-f", "hull") as process:
        read_until(process.stdout, "up\n")
    assert len(processes(anyone)) >= 5
    anyone("kill", "hull")
    assert await_(lambda: not processes(anyone)), [command(pid) for pid in processes(anyone)]
    assert cgroups(identifier) == []
    assert state(anyone, "hull")["ExitCode"] == 137


def test_a_detached_container_does_not_need_its_command_line(anyone: Sampan) -> None:
    """The one that started it is killed with its whole group; --rm is done nevertheless."""
    script = "echo up; while [ ! -e /tmp/end ]; do sleep 0.05; done"
    arguments = (
        "run",
        "-d",
        "--rm",
        "--network",
        "none",
        "--name",
        "hull",
        "-v",
        "/scratch",
        IMAGE,
        "sh",
        "-c",
        script,
    )
    with started(anyone, *arguments, process_group=0) as process:
        assert process.stdout
        identifier = process.stdout.readline().decode().strip()
        process.kill()
    anyone("exec", "hull", "touch", "/tmp/end")
    assert_clean(anyone)
    assert cgroups(identifier) == []
    assert list((anyone.root / "volumes").iterdir()) == []


def test_an_attached_container_goes_on_when_its_command_line_is_killed(anyone: Sampan) -> None:
    script = "echo up; while [ ! -e /tmp/end ]; do echo more; sleep 0.02; done"
    with started(anyone, *RUN, "--name", "hull", IMAGE, "sh", "-c", script) as process:
        read_until(process.stdout, "up\n")
        process.kill()
        process.wait(30)
    anyone("exec", "hull", "touch", "/tmp/end")
    assert_clean(anyone)


def monitors(sampan: Sampan) -> list[int]:
    return [pid for pid in processes(sampan) if "sampan.containers.monitor" in command(pid)]


def test_a_container_dies_with_its_monitor(anyone: Sampan) -> None:
    identifier = anyone("run", "-d", "--network", "none", "--name", "hull", IMAGE, "sh", "-c", BROOD).stdout.strip()
    with started(anyone, "logs", "-f", "hull") as process:
        read_until(process.stdout, "up\n")
    kill_monitor(anyone)
    assert await_(lambda: not processes(anyone)), [command(pid) for pid in processes(anyone)]
    assert state(anyone, "hull")["Status"] == "exited"
    assert "Exited (137)" in anyone("ps", "-a").stdout
    assert anyone("ps", "-q").stdout == ""
    for verb in ("kill", "exec"):
        refused = anyone(verb, "hull", *(["true"] if verb == "exec" else []), check=False)
        assert (refused.returncode, "is not running" in refused.stderr) == (1, True)
    anyone("stop", "hull")
    assert anyone("logs", "hull").stdout == "up\n"
    anyone("rm", "hull")
    assert_clean(anyone)
    assert cgroups(identifier) == []


def kill_monitor(sampan: Sampan) -> None:
    (monitor,) = monitors(sampan)
    os.kill(monitor, signal.SIGKILL)


def test_a_session_ends_with_the_monitor(anyone: Sampan) -> None:
    with started(anyone, *RUN, "--name", "hull", IMAGE, "sh", "-c", BROOD) as process:
        read_until(process.stdout, "up\n")
        kill_monitor(anyone)
        assert process.wait(30) == 125
        assert process.stderr
        assert process.stderr.read() == b"sampan: the container's monitor is gone; the container was ended with it\n"
    assert await_(lambda: not processes(anyone))
    anyone("rm", "-f", "hull")


def test_followers_end_with_the_monitor(anyone: Sampan) -> None:
    anyone("run", "-d", "--network", "none", "--name", "hull", IMAGE, "sh", "-c", BROOD)
    further = ("exec", "hull", "sh", "-c", "echo too; sleep 1000")
    with started(anyone, "logs", "-f", "hull") as logs, started(anyone, *further) as other:
        read_until(logs.stdout, "up\n")
        read_until(other.stdout, "too\n")
        kill_monitor(anyone)
        assert logs.wait(30) == 0
        assert other.wait(30) == 137
    anyone("rm", "hull")
