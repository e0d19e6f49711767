"""Restart policies: when a container is started again, what is kept, and what ends that."""

import json
import os
import signal
import socket
from pathlib import Path

import pytest

from commands import Sampan
from residents import IMAGE, assert_clean, assert_small, await_, cgroups, command, processes, started, state
from sampan.containers import restarts, streams
from sampan.containers.options import Restart
from sampan.errors import Invalid

RUN = ("run", "-d", "--network", "none", "--name", "hull")
COUNT = "echo life >> /lives; echo life $(wc -l < /lives); "
MORTAL = COUNT + "exit 3"
UNTIL_ASKED = COUNT + "trap 'exit 7' TERM USR1; while [ ! -e /tmp/end ]; do sleep 0.02; done; rm /tmp/end; exit 3"

# -- when -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("no", Restart()),
        ("always", Restart("always")),
        ("unless-stopped", Restart("unless-stopped")),
        ("on-failure", Restart("on-failure")),
        ("on-failure:0", Restart("on-failure")),
        ("on-failure:5", Restart("on-failure", 5)),
    ],
)
def test_policies(text: str, policy: Restart) -> None:
    assert restarts.parse(text) == policy


@pytest.mark.parametrize(
    "text", ["", "maybe", "always:3", "no:1", "on-failure:", "on-failure:x", "on-failure:-1", "on-failure:٣", "Always"]
)
def test_no_policies(text: str) -> None:
    with pytest.raises(Invalid, match="invalid --restart"):
        restarts.parse(text)


def waits(policy: Restart, *lives: tuple[int, float]) -> list[float | None]:
    record = restarts.Restarts(*policy)
    return [record.wait(code, lived) for code, lived in lives]


def test_waits_grow_and_begin_anew() -> None:
    assert waits(Restart("always"), *[(0, 0.0)] * 4, (1, 10.0), (1, 9.9)) == [0.1, 0.2, 0.4, 0.8, 0.1, 0.2]
    assert waits(Restart("unless-stopped"), *[(1, 0.0)] * 13)[-3:] == [60.0, 60.0, 60.0]


def test_on_failure() -> None:
    assert waits(Restart("on-failure"), (1, 0.0), (137, 0.0), (0, 0.0)) == [0.1, 0.2, None]
    assert waits(Restart("on-failure", 2), (1, 0.0), (1, 20.0), (1, 0.0)) == [0.1, 0.1, None]
    assert waits(Restart(), (1, 0.0)) == [None]


def test_one_that_was_stopped_stays_so() -> None:
    record = restarts.Restarts("always")
    record.stopped = True
    assert record.wait(1, 0.0) is None


# -- containers -----------------------------------------------------------------------------------------------------


def lives(sampan: Sampan) -> list[str]:
    return sampan("logs", "hull").stdout.splitlines()


def monitor(sampan: Sampan) -> int:
    (found,) = (pid for pid in processes(sampan) if "sampan.containers.monitor" in command(pid))
    return found


@pytest.mark.system
def test_a_failure_is_tried_again_so_many_times(anyone: Sampan) -> None:
    identifier = anyone(*RUN, "--restart", "on-failure:3", IMAGE, "sh", "-c", MORTAL).stdout.strip()
    assert anyone("wait", "hull").stdout == "3\n"
    assert lives(anyone) == ["life 1", "life 2", "life 3", "life 4"]
    value = json.loads(anyone("inspect", "hull").stdout)[0]
    assert (value["RestartCount"], value["State"]["Status"], value["State"]["ExitCode"]) == (3, "exited", 3)
    assert value["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    anyone("start", "hull")  # by hand it is counted anew
    assert await_(lambda: len(lives(anyone)) == 8)
    assert anyone("wait", "hull").stdout == "3\n"
    assert cgroups(identifier) == []
    anyone("rm", "hull")
    assert_clean(anyone)


@pytest.mark.system
def test_success_is_no_failure(anyone: Sampan) -> None:
    anyone(*RUN, "--restart", "on-failure", IMAGE, "sh", "-c", COUNT)
    assert anyone("wait", "hull").stdout == "0\n"
    assert lives(anyone) == ["life 1"]


@pytest.mark.system
@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_always_means_until_it_is_stopped(anyone: Sampan, policy: str) -> None:
    anyone(*RUN, "--restart", policy, IMAGE, "sh", "-c", UNTIL_ASKED)
    for count in (1, 2, 3):
        assert await_(lambda count=count: len(lives(anyone)) == count and state(anyone, "hull")["Status"] == "running")
        anyone("exec", "hull", "touch", "/tmp/end")
    assert await_(lambda: len(lives(anyone)) == 4 and state(anyone, "hull")["Status"] == "running")
    anyone("kill", "-s", "USR1", "hull")  # a signal that is not to end it does not end that either
    assert await_(lambda: len(lives(anyone)) == 5 and state(anyone, "hull")["Status"] == "running")
    assert json.loads(anyone("inspect", "hull").stdout)[0]["RestartCount"] == 4
    anyone("stop", "hull")
    ended = state(anyone, "hull")
    assert (ended["Status"], ended["ExitCode"], ended["Restarting"]) == ("exited", 7, False)
    assert len(lives(anyone)) == 5
    anyone("rm", "hull")
    assert_clean(anyone)


@pytest.mark.system
@pytest.mark.parametrize("verb", [("stop",), ("kill",), ("rm", "-f"), ("stop", "-t", "0")])
def test_what_waits_for_its_next_life_can_be_ended(anyone: Sampan, verb: tuple[str, ...]) -> None:
    anyone(*RUN, "--restart", "always", IMAGE, "sh", "-c", MORTAL)
    assert await_(lambda: state(anyone, "hull")["Restarting"] and len(lives(anyone)) > 4)
    assert "Restarting (3)" in anyone("ps").stdout
    now = state(anyone, "hull")
    assert (now["Status"], now["Running"], now["Pid"], now["ExitCode"]) == ("restarting", True, 0, 3)
    refused = anyone("exec", "hull", "true", check=False)
    assert refused.returncode == 1
    assert anyone("rm", "hull", check=False).stderr.startswith("sampan: container hull is ")
    assert anyone("start", "hull").stdout == "hull\n"  # it is as it is asked for
    with started(anyone, "wait", "hull") as waiting:
        anyone(*verb, "hull")
        if verb[0] != "rm":
            assert waiting.wait(30) == 0
            assert (state(anyone, "hull")["Status"], state(anyone, "hull")["ExitCode"]) == ("exited", 3)
            anyone("rm", "hull")
    assert_clean(anyone)


@pytest.mark.system
def test_one_that_waits_is_stopped_after_its_policy_was_changed(anyone: Sampan) -> None:
    anyone(*RUN, "--restart", "always", IMAGE, "sh", "-c", MORTAL)
    assert await_(lambda: state(anyone, "hull")["Restarting"] and len(lives(anyone)) > 5)
    anyone("update", "--restart", "unless-stopped", "hull")
    anyone("stop", "hull")
    ended = state(anyone, "hull")
    assert (ended["Status"], ended["ExitCode"], ended["Pid"]) == ("exited", 3, 0)
    anyone("rm", "hull")


@pytest.mark.system
def test_nothing_is_executed_between_two_lives(anyone: Sampan) -> None:
    """Also when the monitor is asked by somebody who does not look first."""
    anyone(*RUN, "--restart", "always", IMAGE, "sh", "-c", MORTAL)
    assert await_(lambda: state(anyone, "hull")["Restarting"] and len(lives(anyone)) > 5)
    (socket_path,) = (anyone.root / "containers").glob("*/monitor.sock")
    with streams.connect(str(socket_path)) as end, open(os.devnull, "r+b") as null:
        end.send_descriptors(streams.EXECUTE, (null.fileno(),) * 4)
        end.settimeout(30)
        message = end.recv(1 << 16)
    assert message.startswith(b"failed\0Conflict\0the container waits to be started again"), message
    with streams.connect(str(socket_path)) as end:
        end.send(streams.RESIZE + b"24 80")  # of a terminal that it does not have any more
        end.send(streams.SIGNAL + b"15")
    anyone("rm", "-f", "hull")
    assert_clean(anyone)


@pytest.mark.system
def test_each_life_has_the_published_port(anyone: Sampan) -> None:
    script = "echo up; echo $$ | nc -l -p 80; exit 1"
    anyone("run", "-d", "--name", "hull", "--restart", "always", "-p", "127.0.0.1::80", IMAGE, "sh", "-c", script)

    def served() -> bool:
        address = anyone("port", "hull", "80", check=False).stdout.strip()
        if not address:
            return False
        try:
            with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=5) as connection:
                return connection.recv(64) != b""
        except OSError:  # between two lives, or not yet listening
            return False

    for _ in range(3):
        assert await_(served)
    assert len(lives(anyone)) >= 3
    anyone("rm", "-f", "hull")
    assert_clean(anyone)


@pytest.mark.system
def test_who_is_attached_hears_the_end_of_one_life(anyone: Sampan) -> None:
    words = ("run", "--restart", "always", "--network", "none", "--name", "hull")
    done = anyone(*words, IMAGE, "sh", "-c", MORTAL, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "life 1\n", "")
    assert await_(lambda: len(lives(anyone)) > 2)
    anyone("rm", "-f", "hull")


@pytest.mark.system
def test_a_life_that_cannot_begin_is_the_last(anyone: Sampan) -> None:
    script = "cp /bin/busybox /tmp/sh; echo once; rm /bin/sh; exit 1"
    anyone(*RUN, "--restart", "always", IMAGE, "/bin/sh", "-c", script)
    assert anyone("wait", "hull").stdout == "127\n"
    ended = state(anyone, "hull")
    assert (ended["Status"], "/bin/sh" in ended["Error"]) == ("exited", True), ended
    assert lives(anyone) == ["once"]
    anyone("rm", "hull")
    assert_clean(anyone)


@pytest.mark.system
def test_a_monitor_that_starts_again_and_again_stays_small(anyone: Sampan) -> None:
    anyone(*RUN, "-t", "--restart", "always", IMAGE, "sh", "-c", UNTIL_ASKED)
    open_files = []
    for count in range(1, 7):
        assert await_(lambda count=count: len(lives(anyone)) == count and state(anyone, "hull")["Status"] == "running")
        open_files.append(len(os.listdir(f"/proc/{monitor(anyone)}/fd")))
        anyone("exec", "hull", "touch", "/tmp/end")
    assert max(open_files[1:]) <= open_files[1] + 1, open_files  # a client may be connected just then
    assert await_(lambda: state(anyone, "hull")["Status"] == "running")
    assert_small(anyone)
    anyone("rm", "-f", "hull")


@pytest.mark.system
def test_a_monitor_that_is_killed_between_two_lives(anyone: Sampan) -> None:
    anyone(*RUN, "--restart", "always", IMAGE, "sh", "-c", MORTAL)
    assert await_(lambda: state(anyone, "hull")["Restarting"] and len(lives(anyone)) > 4)
    os.kill(monitor(anyone), signal.SIGKILL)
    assert await_(lambda: not processes(anyone))
    assert (state(anyone, "hull")["Status"], state(anyone, "hull")["Error"]) == ("exited", "its monitor was killed")
    anyone("start", "hull")
    assert await_(lambda: len(lives(anyone)) > 6)
    anyone("rm", "-f", "hull")
    assert_clean(anyone)


@pytest.mark.system
def test_a_policy_and_removal_exclude_each_other(root: Sampan) -> None:
    done = root("run", "--rm", "--restart", "always", IMAGE, "true", check=False)
    assert (done.returncode, "--restart and --rm" in done.stderr) == (125, True)
    assert root("run", "--rm", "--restart", "no", "--network", "none", IMAGE, "true").returncode == 0
    assert list(Path(root.root / "containers").iterdir()) == []
