"""Containers in the background: their logs, how they are stopped, killed, listed, described and removed."""

import json
import re
import time

import pytest

from commands import Sampan
from residents import IMAGE, assert_clean, await_, cgroups, processes, read_until, started, state

pytestmark = [pytest.mark.system]

DETACHED = ("run", "-d", "--network", "none")
OBEDIENT = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done"
DEAF = "trap '' TERM; echo up; while :; do sleep 0.05; done"


def start(sampan: Sampan, script: str, *options: str) -> str:
    """The id of a container that runs a shell script which says "up" when it is."""
    identifier = sampan(*DETACHED, *options, IMAGE, "sh", "-c", script).stdout.strip()
    with started(sampan, "logs", "-f", identifier) as process:
        read_until(process.stdout, "up\n")
    return identifier


def test_logs(anyone: Sampan) -> None:
    identifier = start(anyone, "echo one; echo two >&2; printf three; echo; echo up; printf no-newline")
    await_(lambda: state(anyone, identifier)["Status"] == "exited")
    done = anyone("logs", identifier)
    assert (done.stdout, done.stderr) == ("one\nthree\nup\nno-newline", "two\n")
    timed = anyone("logs", "-t", identifier).stdout.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z one", timed[0])
    lines = [json.loads(line) for line in (anyone.root / f"containers/{identifier}/{identifier}-json.log").open()]
    assert [(line["stream"], line["log"]) for line in lines if line["log"] != "two\n"] == [
        ("stdout", "one\n"), ("stdout", "three\n"), ("stdout", "up\n"), ("stdout", "no-newline"),
    ]  # fmt: skip
    assert anyone("logs", "nobody", check=False).returncode == 1


def test_the_end_of_logs(anyone: Sampan) -> None:
    identifier = start(anyone, "seq 20; echo up; printf no-newline")
    await_(lambda: state(anyone, identifier)["Status"] == "exited")
    assert anyone("logs", "--tail", "3", identifier).stdout == "20\nup\nno-newline"
    assert anyone("logs", "-n", "0", identifier).stdout == ""
    assert anyone("logs", "-f", "--tail", "1", identifier).stdout == "no-newline"
    assert anyone("logs", "--tail", "x", identifier, check=False).returncode == 1


def test_logs_of_a_time(anyone: Sampan) -> None:
    identifier = start(anyone, "for word in one two three; do echo $word; sleep 0.01; done; echo up")
    await_(lambda: state(anyone, identifier)["Status"] == "exited")
    times = [line.split()[0] for line in anyone("logs", "-t", identifier).stdout.splitlines()]

    def shown(*options: str) -> list[str]:
        return anyone("logs", *options, identifier).stdout.splitlines()

    assert shown("--since", times[1], "--until", times[2]) == ["two", "three"]
    assert shown("-f", "--since", times[1], "--tail", "2") == ["three", "up"]
    assert shown("--since", times[1], "--tail", "4") == ["two", "three", "up"]
    assert shown("--until", "1h") == shown("--since", "2199-01-01") == []
    assert shown("--since", "1h30m") == ["one", "two", "three", "up"]
    assert shown("--details", "-t", "-n", "1") == [f"{times[3]}  up"]
    done = anyone("logs", "--since", "yesterday", identifier, check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "sampan: invalid time 'yesterday'")


def test_logs_are_followed_until_a_moment(anyone: Sampan) -> None:
    identifier = start(anyone, OBEDIENT)
    moment = str(time.time() + 0.5)
    assert anyone("logs", "-f", "--until", moment, identifier, timeout=60).stdout == "up\n"
    assert state(anyone, identifier)["Status"] == "running"


def test_logs_are_followed_to_the_end(anyone: Sampan) -> None:
    identifier = start(anyone, OBEDIENT)
    with started(anyone, "logs", "-f", identifier) as process:
        read_until(process.stdout, "up\n")
        anyone("stop", identifier)
        assert process.stdout
        assert process.stdout.read() == b"bye\n"
        assert process.wait(30) == 0


def test_what_is_not_text_is_logged_and_shown(anyone: Sampan) -> None:
    identifier = start(anyone, r"printf 'a\377b\n'; head -c 40000 /dev/zero | tr '\0' x; echo; echo up")
    logged = anyone("logs", identifier).stdout
    assert logged.startswith("a\N{REPLACEMENT CHARACTER}b\n" + "x" * 40000 + "\nup")


def test_stop_asks_first(anyone: Sampan) -> None:
    identifier = start(anyone, OBEDIENT)
    assert anyone("stop", identifier).stdout == f"{identifier}\n"
    assert state(anyone, identifier)["ExitCode"] == 3
    assert anyone("logs", identifier).stdout == "up\nbye\n"
    anyone("stop", identifier)  # once more is no error


def test_stop_kills_who_does_not_listen(anyone: Sampan) -> None:
    identifier = start(anyone, DEAF)
    anyone("stop", "-t", "0", identifier)
    assert state(anyone, identifier)["ExitCode"] == 137


def test_stop_signal_may_be_chosen(anyone: Sampan) -> None:
    identifier = start(anyone, "trap 'exit 5' USR1; " + DEAF, "--stop-signal", "SIGUSR1")
    anyone("stop", identifier)
    assert state(anyone, identifier)["ExitCode"] == 5


def test_kill_sends_a_signal(anyone: Sampan) -> None:
    identifier = start(anyone, "trap 'echo hup' HUP; trap 'exit 6' INT; echo up; while :; do sleep 0.05; done")
    anyone("kill", "-s", "HUP", identifier)
    assert await_(lambda: anyone("logs", identifier).stdout == "up\nhup\n")
    anyone("kill", "-s", "SIGINT", identifier)
    assert await_(lambda: state(anyone, identifier)["Status"] == "exited")
    assert state(anyone, identifier)["ExitCode"] == 6
    refused = anyone("kill", identifier, check=False)
    assert (refused.returncode, "is not running" in refused.stderr) == (1, True)
    assert anyone("kill", "-s", "NONSENSE", identifier, check=False).stderr.startswith("sampan: 'NONSENSE' is not a")


def test_a_running_container_is_not_removed(anyone: Sampan) -> None:
    identifier = start(anyone, DEAF, "--name", "hull")
    done = anyone("rm", "hull", check=False)
    assert done.returncode == 1
    assert done.stderr == "sampan: container hull is running\nhint: stop it first, or sampan rm -f hull\n"
    assert state(anyone, identifier)["Running"] is True
    assert anyone("rm", "-f", "hull").stdout == "hull\n"
    assert_clean(anyone)
    assert cgroups(identifier) == []


def test_rm_takes_several_and_goes_on_after_an_error(anyone: Sampan) -> None:
    first, second = (anyone(*DETACHED, IMAGE, "true").stdout.strip() for _ in range(2))
    assert await_(lambda: not processes(anyone))
    done = anyone("rm", first, "nobody", second[:12], check=False)
    assert (done.returncode, done.stdout) == (1, f"{first}\n{second[:12]}\n")
    assert done.stderr == "sampan: no such container: nobody\nhint: sampan ps -a lists all containers\n"
    assert anyone("rm", "-f", "nobody").returncode == 0
    assert_clean(anyone)


def test_anonymous_volumes_go_on_request(anyone: Sampan) -> None:
    volumes = anyone.root / "volumes"
    anyone(*DETACHED, "--name", "hull", "-v", "/scratch", "-v", "kept:/kept", IMAGE, "true")
    assert await_(lambda: not processes(anyone))
    assert len(list(volumes.iterdir())) == 2
    anyone("rm", "-v", "hull")
    assert [path.name for path in volumes.iterdir()] == ["kept"]


def test_detached_container_removes_itself(anyone: Sampan) -> None:
    identifier = start(anyone, OBEDIENT, "--rm", "-v", "/scratch")
    assert len(list((anyone.root / "volumes").iterdir())) == 1
    anyone("stop", identifier)
    assert_clean(anyone)
    assert list((anyone.root / "volumes").iterdir()) == []
    assert cgroups(identifier) == []


def test_ps(anyone: Sampan) -> None:
    running = start(anyone, DEAF, "--name", "runs", "-l", "purpose=test")
    anyone("run", "--network", "none", "--name", "ended", IMAGE, "sh", "-c", "exit 9", check=False)
    lines = anyone("ps").stdout.splitlines()
    assert lines[0].split("  ")[0] == "CONTAINER ID"
    assert re.split(r" {2,}", lines[0].strip()) == [
        "CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES",
    ]  # fmt: skip
    row = re.split(r" {2,}", lines[1].strip())
    assert (row[0], row[1], row[2], row[-1]) == (running[:12], "box", "\"sh -c trap '' TERM;…\"", "runs")
    assert (row[3].endswith(" ago"), row[4].startswith("Up ")) == (True, True)
    assert len(lines) == 2
    both = anyone("ps", "-a").stdout.splitlines()
    assert [line.split()[-1] for line in both[1:]] == ["ended", "runs"]
    assert re.search(r"Exited \(9\) .* ago", both[1])
    assert anyone("ps", "-q").stdout == f"{running[:12]}\n"
    assert anyone("ps", "-q", "--no-trunc").stdout == f"{running}\n"
    assert len(anyone("ps", "-aq").stdout.split()) == 2
    assert anyone("ps", "-aq", "-f", "name=end").stdout != anyone("ps", "-aq", "-f", "label=purpose=test").stdout


def test_inspect(anyone: Sampan) -> None:
    options = ("--name", "hull", "-e", "A=1", "-w", "/tmp", "-l", "k=v", "-h", "hostly", "-v", "vol:/vol:ro")
    identifier = start(anyone, DEAF, *options)
    (value,) = json.loads(anyone("inspect", "hull").stdout)
    assert (value["Id"], value["Name"], value["Path"], value["Args"][0]) == (identifier, "/hull", "sh", "-c")
    assert value["State"]["Running"] is True
    assert value["State"]["Pid"] in processes(anyone)
    config = value["Config"]
    assert (config["Hostname"], config["WorkingDir"], config["Image"], config["Labels"]) == (
        "hostly", "/tmp", "box", {"k": "v"},
    )  # fmt: skip
    assert {"A=1", "PATH=/bin"} <= set(config["Env"])
    assert [(mount["Name"], mount["Destination"], mount["RW"]) for mount in value["Mounts"]] == [("vol", "/vol", False)]
    assert value["HostConfig"]["NetworkMode"] == "none"


def test_an_image_in_use_is_not_removed(anyone: Sampan) -> None:
    start(anyone, DEAF, "--name", "hull")
    done = anyone("rmi", IMAGE, check=False)
    assert done.returncode == 1
    assert "hull" in done.stderr
    assert anyone("exec", "hull", "cat", "/data/seed").stdout == "from the image\n"
