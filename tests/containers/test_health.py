"""Health: what is asked, how often, and what is concluded."""

import json
import os
import subprocess
from typing import Any

import pytest

import images
from commands import Sampan
from residents import IMAGE, assert_clean, assert_small, await_, command, processes, state
from sampan.containers import healthchecks
from sampan.containers.options import Healthcheck
from sampan.errors import Invalid, SampanError

SECOND = 10**9

# -- what is asked --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("30s", 30 * SECOND),
        ("1m30s", 90 * SECOND),
        ("1h", 3600 * SECOND),
        ("1.5s", 3 * SECOND // 2),
        (".5s", SECOND // 2),
        ("500ms", SECOND // 2),
        ("1000us", SECOND // 1000),
        ("0", 0),
        ("0s", 0),
    ],
)
def test_spans(text: str, span: int) -> None:
    assert healthchecks.duration(text, "--health-interval") == span


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "1 s", "1s ", "1d", "999us", "1ns", "soon", "1e3s", "٣s", "."])
def test_no_spans(text: str) -> None:
    with pytest.raises(Invalid, match="--health-interval"):
        healthchecks.duration(text, "--health-interval")


def test_flags_over_the_image() -> None:
    image = {"Test": ["CMD", "ask", "it"], "Interval": 5, "Retries": 7}
    asked = healthchecks.read(None, {"interval": "2s", "start-period": "1m"}, None, none=False)
    settled = healthchecks.settle(asked, image, None)
    assert settled == Healthcheck(("CMD", "ask", "it"), 2 * SECOND, 0, 60 * SECOND, 0, 7, ("ask", "it"))
    assert healthchecks.describe(settled) == {
        "Test": ["CMD", "ask", "it"], "Interval": 2 * SECOND, "StartPeriod": 60 * SECOND, "Retries": 7,
    }  # fmt: skip
    other = healthchecks.settle(healthchecks.read("test x", {}, 2, none=False), image, ("/bin/bash", "-ec"))
    assert (other.command, other.retries) == (("/bin/bash", "-ec", "test x"), 2)
    assert healthchecks.settle(healthchecks.read(None, {}, None, none=True), image, None).command == ()
    assert healthchecks.settle(Healthcheck(), None, None) == Healthcheck()
    assert healthchecks.describe(Healthcheck()) is None


@pytest.mark.parametrize(
    "image", [{"Test": ["SHELL", "x"]}, {"Test": ["CMD"]}, {"Interval": "5s"}, {"Retries": -1}, {"Timeout": 1.5}]
)
def test_an_image_that_asks_nonsense(image: dict[str, Any]) -> None:
    with pytest.raises(SampanError, match="the image's HEALTHCHECK"):
        healthchecks.settle(Healthcheck(), image, None)


# -- what is concluded ----------------------------------------------------------------------------------------------


RUN = ("run", "-d", "--network", "none", "--name", "hull")
ASK = ("--health-cmd", "test -e /ok && echo fine || { echo broken >&2; exit 5; }", "--health-interval", "50ms")
SLEEP = ("sleep", "1077")


def health(sampan: Sampan) -> dict[str, Any]:
    value: dict[str, Any] = state(sampan, "hull")["Health"]
    return value


def monitor(sampan: Sampan) -> int:
    (found,) = (pid for pid in processes(sampan) if "sampan.containers.monitor" in command(pid))
    return found


@pytest.mark.system
def test_from_starting_to_healthy_to_unhealthy_and_back(anyone: Sampan) -> None:
    anyone(*RUN, *ASK, "--health-start-period", "1h", "--health-start-interval", "50ms", IMAGE, *SLEEP)
    assert "(health: starting)" in anyone("ps").stdout
    assert await_(lambda: len(health(anyone)["Log"]) == 5)  # and no more are kept
    now = health(anyone)
    assert (now["Status"], now["FailingStreak"]) == ("starting", 0)
    assert {(entry["ExitCode"], entry["Output"]) for entry in now["Log"]} == {(5, "broken\n")}
    anyone("exec", "hull", "touch", "/ok")
    assert await_(lambda: health(anyone)["Status"] == "healthy")
    assert health(anyone)["Log"][-1]["Output"] == "fine\n"
    assert "(healthy)" in anyone("ps").stdout
    anyone("exec", "hull", "rm", "/ok")
    assert await_(lambda: health(anyone)["Status"] == "unhealthy")  # once healthy, the start is over
    assert health(anyone)["FailingStreak"] >= 3
    assert "(unhealthy)" in anyone("ps").stdout
    anyone("exec", "hull", "touch", "/ok")
    assert await_(lambda: health(anyone)["Status"] == "healthy")
    assert health(anyone)["FailingStreak"] == 0
    anyone("stop", "-t", "0", "hull")
    assert health(anyone)["Status"] == "unhealthy"
    assert "health" not in anyone("ps", "-a").stdout
    anyone("rm", "hull")
    assert_clean(anyone)


@pytest.mark.system
def test_a_question_that_takes_too_long(anyone: Sampan) -> None:
    """What it began goes with it, and many of them leave nothing: neither processes nor descriptors."""
    asked = ("--health-cmd", "sleep 1066; true", "--health-interval", "20ms", "--health-timeout", "50ms")
    anyone(*RUN, *asked, "--health-retries", "2", IMAGE, *SLEEP)
    assert await_(lambda: health(anyone)["FailingStreak"] > 5)
    now = health(anyone)
    assert (now["Status"], now["Log"][-1]["ExitCode"]) == ("unhealthy", -1)
    assert now["Log"][-1]["Output"] == "Health check exceeded timeout (0.05s)"
    before = len(os.listdir(f"/proc/{monitor(anyone)}/fd"))
    streak = now["FailingStreak"]
    assert await_(lambda: health(anyone)["FailingStreak"] > streak + 10)
    assert len(os.listdir(f"/proc/{monitor(anyone)}/fd")) <= before + 4  # one question may be open just then
    sleeping = [pid for pid in processes(anyone) if "1066" in command(pid)]
    assert len(sleeping) <= 2
    anyone("rm", "-f", "hull")
    assert_clean(anyone)


@pytest.mark.system
def test_a_monitor_that_asks_is_small(anyone: Sampan) -> None:
    anyone(*RUN, "--health-cmd", "true", "--health-interval", "4s", IMAGE, *SLEEP)
    assert await_(lambda: health(anyone)["Status"] == "healthy")
    assert_small(anyone)
    anyone("rm", "-f", "hull")


@pytest.mark.system
def test_a_question_that_cannot_be_asked(anyone: Sampan) -> None:
    image = "asked"
    images.put(anyone, image, {}, {"Healthcheck": {"Test": ["CMD", "/no/such"], "Interval": 50_000_000, "Retries": 1}})
    anyone(*RUN, image, *SLEEP)
    assert await_(lambda: health(anyone)["Status"] == "unhealthy")
    assert "/no/such" in health(anyone)["Log"][0]["Output"]
    assert state(anyone, "hull")["Running"] is True
    anyone("rm", "-f", "hull")
    anyone(*RUN, "--no-healthcheck", image, *SLEEP)
    value = json.loads(anyone("inspect", "hull").stdout)[0]
    assert ("Health" in value["State"], value["Config"]["Healthcheck"]["Test"]) == (False, ["NONE"])
    anyone("rm", "-f", "hull")


@pytest.mark.system
def test_it_is_asked_as_the_container_is(anyone: Sampan) -> None:
    asked = ("--health-cmd", "echo $PLACE $(pwd); yes | head -c 100000", "--health-interval", "50ms")
    anyone(*RUN, "-e", "PLACE=here", "-w", "/tmp", *asked, IMAGE, *SLEEP)
    assert await_(lambda: health(anyone)["Status"] == "healthy")
    output = health(anyone)["Log"][0]["Output"]
    assert (output[:10], len(output)) == ("here /tmp\n", 4096)
    anyone("rm", "-f", "hull")


@pytest.mark.system
@pytest.mark.root
def test_one_that_is_paused_is_not_asked(root: Sampan) -> None:
    """What is begun in it would wait too, and its monitor with that."""
    root(*RUN, *ASK, IMAGE, *SLEEP)
    assert await_(lambda: len(health(root)["Log"]) > 1)
    root("pause", "hull")
    asked = health(root)["Log"]
    assert len({json.dumps(health(root)["Log"]) for _ in range(4)}) <= 2  # one may have been on its way
    root("unpause", "hull")
    assert await_(lambda: health(root)["Log"][-1] != asked[-1])
    root("pause", "hull")
    assert root("stop", "-t", "0", "hull").stdout == "hull\n"
    assert state(root, "hull")["ExitCode"] == 137
    root("rm", "hull")


@pytest.mark.system
def test_each_life_is_asked_anew(anyone: Sampan) -> None:
    words = ("sh", "-c", "touch /ok; while [ ! -e /tmp/end ]; do sleep 0.02; done; rm /tmp/end /ok; exit 1")
    anyone(*RUN, *ASK, "--restart", "always", IMAGE, *words)
    for _ in range(2):
        assert await_(lambda: state(anyone, "hull").get("Health", {}).get("Status") == "healthy")
        anyone("exec", "hull", "touch", "/tmp/end")
        assert await_(lambda: state(anyone, "hull")["Status"] != "running" or health(anyone)["Status"] != "healthy")
    anyone("rm", "-f", "hull")
    assert_clean(anyone)


@pytest.mark.system
def test_clients_come_and_go_while_it_is_asked(anyone: Sampan) -> None:
    """Many things happen in one round of the monitor's loop: none of them ends it."""
    anyone(*RUN, *ASK, "--health-interval", "2ms", IMAGE, *SLEEP)
    for _ in range(5):
        running = [
            subprocess.Popen(
                anyone.command("exec", "hull", "true"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, **_as(anyone)
            )
            for _ in range(6)
        ]
        for number, process in enumerate(running):
            if number % 2:
                process.kill()
            process.communicate(timeout=60)
    assert state(anyone, "hull")["Running"] is True
    assert len(health(anyone)["Log"]) == 5
    anyone("rm", "-f", "hull")
    assert_clean(anyone)


def _as(sampan: Sampan) -> dict[str, Any]:
    account = sampan.account
    if not account or os.geteuid():
        return {}
    env = {"PATH": os.environ["PATH"], "HOME": str(account.home), **account.environment}
    return {"user": account.uid, "group": account.gid, "extra_groups": [], "env": env, "cwd": account.home}


@pytest.mark.system
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--no-healthcheck", "--health-cmd", "x"), "say opposite things"),
        (("--health-interval", "5"), "invalid --health-interval '5'"),
        (("--health-retries", "-1"), "--health-retries cannot be negative"),
        (("--health-timeout", "1us"), "--health-timeout cannot be less than a millisecond"),
    ],
)
def test_what_makes_no_sense_is_said(root: Sampan, options: tuple[str, ...], sentence: str) -> None:
    done = root("run", "--rm", *options, IMAGE, "true", check=False)
    assert (done.returncode, sentence in done.stderr) == (125, True), done.stderr
