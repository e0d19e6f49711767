"""create, start, restart, wait, rename, top, port, diff, pause, stats and attach, as root and as an ordinary user."""

import json
import os
import re
import signal
from pathlib import Path

import pytest

import commands
from commands import Sampan
from residents import IMAGE, await_, processes, read_until, started, state

pytestmark = pytest.mark.system
SLEEPER = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done"


def run(sampan: Sampan, name: str, script: str, *flags: str) -> None:
    """A container in the background; its script has said "ready" on return if it says so at all."""
    sampan("run", "-d", "--network=none", f"--name={name}", *flags, IMAGE, "sh", "-c", script)
    if "echo ready" in script:
        assert await_(lambda: "ready" in sampan("logs", name).stdout)


def test_a_container_has_several_lives(anyone: Sampan) -> None:
    script = "echo out; echo err >&2; echo once more >> /lives; wc -l < /lives; exit 3"
    identifier = anyone("create", "--name=job", "--network=none", IMAGE, "sh", "-c", script).stdout.strip()
    assert anyone("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Status}}").stdout == f"{identifier} Created\n"
    for life in ("1", "2"):
        done = anyone("start", "-a", "job", check=False)
        assert (done.returncode, done.stdout, done.stderr) == (3, f"out\n{life}\n", "err\n")
    assert anyone("start", "job").stdout == "job\n"
    assert anyone("wait", "job").stdout == "3\n"
    assert anyone("logs", "job").stdout == "out\n1\nout\n2\nout\n3\n"
    hosts = (anyone.root / "containers" / identifier / "hosts").read_text()
    assert sum("job" in line for line in hosts.splitlines()) <= 1


def test_start_passes_input_on(anyone: Sampan) -> None:
    anyone("create", "-i", "--name=cat", "--network=none", IMAGE, "cat")
    assert anyone("start", "-ai", "cat", input="hello\n").stdout == "hello\n"
    anyone("create", "--rm", "--name=once", "--network=none", IMAGE, "echo", "hi")
    assert anyone("start", "-a", "once").stdout == "hi\n"
    assert anyone("ps", "-aq", "-f", "name=once").stdout == ""


def test_start_says_what_cannot_be_started(anyone: Sampan) -> None:
    anyone("create", "--name=missing", "--network=none", IMAGE, "nosuchcommand")
    done = anyone("start", "missing", check=False)
    assert (done.returncode, done.stdout) == (127, "")
    assert "nosuchcommand" in done.stderr
    run(anyone, "runs", SLEEPER)
    assert anyone("start", "runs").stdout == "runs\n"  # it is as it is asked for
    done = anyone("start", "nosuch", "runs", check=False)
    assert (done.returncode, done.stdout) == (1, "runs\n")
    done = anyone("start", "-a", "runs", "missing", check=False)
    assert "cannot start and attach multiple containers" in done.stderr


def test_restart(anyone: Sampan) -> None:
    run(anyone, "web", SLEEPER)
    first = state(anyone, "web")
    assert anyone("restart", "-t", "20", "web").stdout == "web\n"
    second = state(anyone, "web")
    assert second["Running"]
    assert second["Pid"] != first["Pid"]
    assert second["StartedAt"] > first["StartedAt"]
    anyone("stop", "-s", "KILL", "web")
    assert state(anyone, "web")["ExitCode"] == 137
    anyone("restart", "web")
    assert state(anyone, "web")["Running"]


def test_attach(anyone: Sampan) -> None:
    run(anyone, "echoes", "while read line; do echo got $line; test $line = one || exit 4; done", "-i")
    with started(anyone, "attach", "echoes") as process:
        assert process.stdin
        process.stdin.write(b"one\n")
        process.stdin.flush()
        read_until(process.stdout, "got one")
        process.stdin.write(b"two\n")
        process.stdin.flush()
        assert process.wait(60) == 4
    done = anyone("attach", "echoes", check=False)
    assert done.returncode == 1
    assert "stopped container" in done.stderr


def test_attach_passes_signals_on(anyone: Sampan) -> None:
    run(anyone, "web", "trap 'exit 7' TERM; while :; do echo tick; sleep 0.1; done")
    with started(anyone, "attach", "--no-stdin", "web") as process:
        read_until(process.stdout, "tick")  # so it listens to signals, too
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 7


def test_rename(anyone: Sampan) -> None:
    run(anyone, "old", SLEEPER)
    anyone("create", "--name=taken", "--network=none", IMAGE)
    anyone("rename", "old", "new")
    assert anyone("inspect", "-f", "{{.Name}}", "new").stdout == "/new\n"
    assert "in use" in anyone("rename", "new", "taken", check=False).stderr
    assert anyone("rename", "new", "a b", check=False).returncode == 1
    done = anyone("rename", "new", "new", check=False)
    assert (done.returncode, done.stderr) == (1, "sampan: container new has this name already\n")
    assert anyone("rename", "old", "x1", check=False).returncode == 1


def test_top(anyone: Sampan) -> None:
    run(anyone, "web", SLEEPER)
    lines = anyone("top", "web").stdout.splitlines()
    assert lines[0].split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert "echo ready" in lines[1]
    pids = {int(line.split()[0]) for line in anyone("top", "web", "-eo", "pid,args").stdout.splitlines()[1:]}
    assert state(anyone, "web")["Pid"] in pids
    assert len(pids) <= 3
    assert "PID" in anyone("top", "web", "-o", "args", check=False).stderr
    anyone("stop", "web")
    assert "is not running" in anyone("top", "web", check=False).stderr


def test_diff(anyone: Sampan) -> None:
    run(anyone, "job", "echo x > /new; mkdir -p /d/e; rm /etc/group; echo x >> /etc/passwd; echo ready")
    anyone("wait", "job")
    assert anyone("diff", "job").stdout.splitlines() == [
        "A /d",
        "A /d/e",
        "C /etc",
        "D /etc/group",
        "C /etc/passwd",
        "A /new",
    ]


def test_what_the_runtime_makes_is_no_change(anyone: Sampan) -> None:
    anyone("create", "--name=none", "--network=none", IMAGE, "true")
    anyone("start", "-a", "none")
    assert anyone("diff", "none").stdout == ""
    run(anyone, "changed", "chmod 700 /etc; echo ready")
    anyone("wait", "changed")
    assert anyone("diff", "changed").stdout == "C /etc\n"


@pytest.mark.root
def test_ports(root: Sampan) -> None:
    root("run", "-d", "--name=web", "-p", "127.0.0.1:0:80", "-p", "127.0.0.1:0:53/udp", IMAGE, "sh", "-c", SLEEPER)
    lines = root("port", "web").stdout.splitlines()
    assert [re.sub(r"\d+$", "N", line) for line in lines] == ["53/udp -> 127.0.0.1:N", "80/tcp -> 127.0.0.1:N"]
    assert root("port", "web", "80").stdout.strip() == lines[1].partition(" -> ")[2]
    assert root("port", "web", "53/udp").stdout.strip() == lines[0].partition(" -> ")[2]
    done = root("port", "web", "81", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no public port '81/tcp'" in done.stderr
    published = lines[1].rpartition(":")[2]
    assert root("ps", "-f", f"publish={published}", "--format", "{{.Names}}").stdout == "web\n"
    assert root("ps", "-q", "-f", "publish=1").stdout == ""


@pytest.mark.root
def test_pause(root: Sampan) -> None:
    run(root, "web", "trap 'exit 7' TERM; echo ready; while :; do echo x >> /count; sleep 0.01; done")
    assert root("pause", "web").stdout == "web\n"
    assert state(root, "web") | {"Status": "paused", "Paused": True, "Running": True} == state(root, "web")
    assert root("ps", "--format", "{{.State}} {{.Status}}").stdout.startswith("paused Up ")
    assert root("ps", "--format", "{{.Status}}").stdout.endswith("(Paused)\n")
    assert root("ps", "-q", "-f", "status=running").stdout == ""
    assert len(root("ps", "-q", "-f", "status=paused").stdout.split()) == 1
    count = next((root.root / "snapshots").glob("*/fs/count"))
    assert await_(lambda: _stands_still(count))
    for words in (("exec", "web", "true"), ("pause", "web"), ("attach", "web"), ("rm", "web")):
        assert root(*words, check=False).returncode == 1
    size = count.stat().st_size
    root("unpause", "web")
    assert await_(lambda: count.stat().st_size > size)
    assert "is not paused" in root("unpause", "web", check=False).stderr


def _stands_still(path: Path) -> bool:
    """Whether a file does not grow while another process comes and goes."""
    size = path.stat().st_size
    commands.run(["sleep", "0.1"], check=True)
    return path.stat().st_size == size


@pytest.mark.root
@pytest.mark.parametrize("words", [("stop", "-t", "20"), ("kill", "-s", "TERM"), ("rm", "-f")], ids=str)
def test_what_is_paused_can_be_ended(root: Sampan, words: tuple[str, ...]) -> None:
    run(root, "web", SLEEPER)
    root("pause", "web")
    root(*words, "web")
    if words[0] != "rm":
        assert root("wait", "web").stdout == "7\n"
        root("start", "web")
        assert not state(root, "web")["Paused"]


def test_pausing_needs_a_cgroup(ordinary: Sampan) -> None:
    run(ordinary, "web", SLEEPER)
    done = ordinary("pause", "web", check=False)
    if done.returncode:  # no cgroup was delegated to this user
        assert "cannot be paused" in done.stderr
        assert not state(ordinary, "web")["Paused"]
    else:
        ordinary("unpause", "web")


def test_stats(anyone: Sampan) -> None:
    run(anyone, "busy", "echo ready; while :; do :; done")
    rows = [json.loads(line) for line in anyone("stats", "--no-stream", "--format", "json").stdout.splitlines()]
    (row,) = rows
    assert row["Name"] == "busy"
    assert float(row["CPUPerc"].rstrip("%")) > 0
    assert re.fullmatch(r"[\d.]+[KM]iB / [\d.]+GiB", row["MemUsage"])
    assert int(row["PIDs"]) >= 1
    anyone("stop", "-t", "0", "busy")
    titles, line = anyone("stats", "--no-stream", "-a").stdout.splitlines()
    assert titles.split()[:3] == ["CONTAINER", "ID", "NAME"]
    assert "--" in line
    assert anyone("stats", "--no-stream", "nosuch", check=False).returncode == 1


def test_nothing_of_a_container_is_left(anyone: Sampan) -> None:
    run(anyone, "web", SLEEPER)
    anyone("restart", "-t", "0", "web")
    anyone("rm", "-f", "web")
    assert await_(lambda: processes(anyone) == [])


def test_signals_that_are_not_passed_on(anyone: Sampan) -> None:
    script = "trap 'exit 7' TERM INT; while :; do echo ready; sleep 0.1; done"
    command = ("run", "--sig-proxy=false", "--network=none", "--name=job", IMAGE, "sh", "-c", script)
    for words, number, code in (
        (command, signal.SIGINT, 130),
        (("attach", "--sig-proxy=0", "job"), signal.SIGTERM, 143),
    ):
        with started(anyone, *words) as process:
            read_until(process.stdout, "ready\n")
            process.send_signal(number)
            assert process.wait(30) == code
        assert state(anyone, "job")["Status"] == "running"


@pytest.mark.parametrize("words", [("logs", "-f"), ("wait",), ("stats",)])
def test_who_only_watches_is_interrupted_without_a_word(anyone: Sampan, words: tuple[str, ...]) -> None:
    anyone("run", "-d", "--name", "first", "--network", "none", IMAGE, "sh", "-c", "echo ready; sleep 1077")
    with started(anyone, *words, "first") as process:
        if words != ("wait",):
            read_until(process.stdout, "first" if words == ("stats",) else "ready")
        else:
            assert await_(lambda: b"wait" in Path(f"/proc/{process.pid}/cmdline").read_bytes() and _hears(process.pid))
        process.send_signal(signal.SIGINT)
        assert (process.wait(30), process.stderr and process.stderr.read()) == (130, b"")


def _hears(pid: int) -> bool:
    """Whether a process handles SIGINT, and waits for something on a socket."""
    caught = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    links = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
    return bool(int(caught.split()[1], 16) >> (signal.SIGINT - 1) & 1) and any(
        link.startswith("socket:") for link in links
    )
