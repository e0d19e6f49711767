"""A hundred containers that are started at once, and ended by one command that waits for all of them together."""

import subprocess
from contextlib import ExitStack

import pytest

from commands import Sampan
from residents import IMAGE, PATIENCE, assert_clean, await_, started, state
from sampan.containers import lifecycle, names
from sampan.containers.options import Options
from sampan.containers.record import Container
from sampan.engine import open_engine
from sampan.errors import Conflict

pytestmark = [pytest.mark.system]

MANY = 100
OBEDIENT = "trap 'exit 3' TERM; echo up; while :; do sleep 1077 & wait; done"
DEAF = "trap '' TERM; echo up; while :; do sleep 1077; done"


def crowd(sampan: Sampan, network: str, script: str, count: int = MANY, *options: str) -> list[str]:
    """The ids of containers that were all started at the same time, each by a process of its own, and say "up"."""
    words = ("run", "-d", "--network", network, *options, IMAGE, "sh", "-c", script)
    with ExitStack() as stack:
        starting = [stack.enter_context(started(sampan, *words, stdin=subprocess.DEVNULL)) for _ in range(count)]
        ended = [process.communicate(timeout=10 * PATIENCE) for process in starting]
    assert [process.returncode for process in starting] == [0] * count, {errors for _, errors in ended}
    identifiers = [output.decode().strip() for output, _ in ended]
    logs = [sampan.root / f"containers/{identifier}/{identifier}-json.log" for identifier in identifiers]
    assert await_(lambda: all(b"up" in log.read_bytes() for log in logs))
    return identifiers


def test_a_crowd_obeys(anyone: Sampan) -> None:
    identifiers = crowd(anyone, "none", OBEDIENT)
    assert sorted(anyone("ps", "-q", "--no-trunc").stdout.split()) == sorted(identifiers)
    assert anyone("stop", *identifiers).stdout.split() == identifiers
    assert anyone("ps", "-q").stdout == ""
    assert set(anyone("wait", *identifiers).stdout.split()) == {"3"}
    assert anyone("rm", *identifiers).stdout.split() == identifiers
    assert_clean(anyone)


def test_a_crowd_that_does_not_listen_is_killed(anyone: Sampan) -> None:
    """One after the other would take longer than the command gets."""
    identifiers = crowd(anyone, "none", DEAF, 40)
    anyone("stop", "-t", "3", *identifiers, timeout=100)
    assert {state(anyone, identifier)["ExitCode"] for identifier in identifiers[:3]} == {137}
    assert anyone("ps", "-q").stdout == ""
    anyone("rm", *identifiers)


@pytest.mark.root
def test_a_crowd_on_the_bridge_is_removed(root: Sampan) -> None:
    identifiers = crowd(root, "bridge", "echo up; sleep 1077")
    addresses = root("inspect", "-f", "{{.NetworkSettings.IPAddress}}", *identifiers).stdout.split()
    assert len(set(addresses)) == MANY
    assert root("rm", "-f", *identifiers).stdout.split() == identifiers
    assert_clean(root)


def test_what_is_wrong_with_one_of_many_is_told(anyone: Sampan) -> None:
    first, second = crowd(anyone, "none", OBEDIENT, 2)
    anyone("stop", first)
    done = anyone("kill", first, "nobody", second, check=False)
    assert (done.returncode, done.stdout.split()) == (1, [second])
    assert "no such container: nobody" in done.stderr
    assert f"{state_name(anyone, first)} is not running" in done.stderr
    assert anyone("stop", "-t", "0", first, second, first).stdout.split() == [first, second, first]


def test_two_that_invent_the_same_name(root: Sampan, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a crowd to happen by itself: here the first names are all the same."""
    inventions = iter(["gentle_otter", "gentle_otter", "gentle_otter", "calm_kayak"])
    monkeypatch.setattr(names, "invent", lambda taken: next(inventions))
    with open_engine(str(root.root)) as engine:
        table = engine.records
        nameless = [Container(digit * 64, "", "sha256:x", IMAGE, "", Options(), "/nowhere") for digit in "ab"]
        recorded = [lifecycle.record(container, table) for container in nameless]
        assert [container.name for container in recorded] == ["gentle_otter", "calm_kayak"]
        assert table.names() == {"gentle_otter", "calm_kayak"}
        with pytest.raises(Conflict, match="the container name calm_kayak is in use"):
            lifecycle.record(recorded[1]._replace(id="c" * 64), table)
        for container in recorded:
            table.forget(container)


def test_each_has_its_own_time(anyone: Sampan) -> None:
    """One that is given no end is not kept from it by one that is killed at once."""
    script = "trap 'while [ ! -e /tmp/end ]; do sleep 0.02; done; exit 4' TERM; echo up; while :; do sleep 0.02; done"
    patient = crowd(anyone, "none", script, 1, "--stop-timeout", "-1")[0]
    short = crowd(anyone, "none", DEAF, 1, "--stop-timeout", "0")[0]
    with started(anyone, "stop", patient, short) as process:
        assert anyone("wait", short, timeout=PATIENCE).stdout == "137\n"
        assert process.poll() is None
        anyone("exec", patient, "touch", "/tmp/end")
        assert process.wait(PATIENCE) == 0
    assert state(anyone, patient)["ExitCode"] == 4


def state_name(sampan: Sampan, identifier: str) -> str:
    return sampan("inspect", "-f", "{{.Name}}", identifier).stdout.strip().removeprefix("/")
