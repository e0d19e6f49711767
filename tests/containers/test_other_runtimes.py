"""``--runtime``: containers that other OCI runtimes make, and that live as all others do."""

import os
import signal
from pathlib import Path

import pytest

from commands import Sampan
from residents import IMAGE, PATIENCE, assert_clean, await_, cgroups, read_until, started, state

pytestmark = [pytest.mark.system]
RUNTIMES = [pytest.param(name, marks=pytest.mark.needs(name)) for name in ("crun", "runc")]
LISTENING = ("sh", "-c", "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.1; done")


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_a_program_runs_and_ends(anyone: Sampan, runtime: str) -> None:
    run = ("run", "--rm", "--network=none", "--runtime", runtime)
    done = anyone(*run, IMAGE, "sh", "-c", "id -u; cat; echo oops >&2; exit 3", check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("0\n", "oops\n", 3)
    assert anyone(*run, "-i", IMAGE, "cat", input="typed\n").stdout == "typed\n"


def test_a_user_who_cannot_be_had_is_mentioned(ordinary: Sampan, runtime: str) -> None:
    done = ordinary("run", "--rm", "--network=none", "--user=bob", "--runtime", runtime, IMAGE, "id", "-u")
    assert done.stdout == "0\n"
    assert "the only user id there is here, not as 1000:1001" in done.stderr


def test_a_life_from_start_to_end(anyone: Sampan, runtime: str) -> None:
    anyone("create", "--name", "hull", "--network=none", "--runtime", runtime, IMAGE, *LISTENING)
    assert anyone("inspect", "-f", "{{.HostConfig.Runtime}}", "hull").stdout == f"{runtime}\n"
    for _ in range(2):
        anyone("start", "hull")
        assert await_(lambda: anyone("logs", "hull").stdout.endswith("up\n"))
        anyone("stop", "hull")
        assert state(anyone, "hull")["ExitCode"] == 7
    assert anyone("logs", "hull").stdout == "up\nbye\nup\nbye\n"
    anyone("start", "hull")
    anyone("kill", "hull")
    assert state(anyone, "hull")["ExitCode"] == 128 + signal.SIGKILL
    anyone("start", "hull")
    anyone("rm", "-f", "hull")
    assert_clean(anyone)


def test_programs_beside_the_first(anyone: Sampan, runtime: str) -> None:
    anyone("run", "-d", "--name", "hull", "--network=none", "--runtime", runtime, IMAGE, *LISTENING)
    done = anyone(
        "exec",
        "-i",
        "-w",
        "/tmp",
        "-e",
        "A=b",
        "hull",
        "sh",
        "-c",
        "pwd; echo $A; cat; exit 9",
        input="typed\n",
        check=False,
    )
    assert (done.stdout, done.returncode) == ("/tmp\nb\ntyped\n", 9)
    missing = anyone("exec", "hull", "nosuch", check=False)
    assert (missing.returncode, "nosuch" in missing.stderr) == (127, True)
    anyone("exec", "-d", "hull", "touch", "/marker")
    assert await_(lambda: anyone("exec", "hull", "test", "-e", "/marker", check=False).returncode == 0)
    with started(anyone, "exec", "hull", "sh", "-c", "echo in; exec sleep 1000") as running:
        read_until(running.stdout, "in\n")
        anyone("stop", "hull")
        assert running.wait(PATIENCE) == 128 + signal.SIGKILL
    anyone("rm", "hull")


def test_commands_that_cannot_be_run(anyone: Sampan, runtime: str) -> None:
    for word, code in (("nosuch", 127), ("/etc", 126), ("/etc/passwd", 126)):
        done = anyone("run", "--network=none", "--runtime", runtime, IMAGE, word, check=False)
        assert done.returncode == code, done.stderr
    assert anyone("ps", "-aq").stdout == ""


def test_terminals(anyone: Sampan, runtime: str) -> None:
    run = ("run", "-t", "--name", "hull", "--network=none", "--runtime", runtime, IMAGE)
    with started(anyone, *run, "sh", "-c", "tty; exec sleep 1000") as running:
        read_until(running.stdout, "/dev/pts/0")
        assert "/dev/pts/" in anyone("exec", "-t", "hull", "tty").stdout
        anyone("rm", "-f", "hull")
        assert running.wait(PATIENCE) == 128 + signal.SIGKILL


def test_limits_a_network_and_holding_still(root: Sampan, runtime: str) -> None:
    limits = ("-m", "40m", "--pids-limit", "30", "--cpus", "0.5", "--runtime", runtime)
    root("run", "-d", "--name", "hull", "--domainname", "port", *limits, IMAGE, *LISTENING)
    assert root("exec", "hull", "cat", "/proc/sys/kernel/domainname").stdout == "port\n"
    assert "inet 10." in root("exec", "hull", "ip", "address").stdout
    root("pause", "hull")
    assert state(root, "hull")["Status"] == "paused"
    root("unpause", "hull")
    assert "sleep" in root("top", "hull").stdout
    root("rm", "-f", "hull")
    root("run", "--name", "hull", *limits, IMAGE, "tail", "/dev/zero", check=False)
    assert (state(root, "hull")["ExitCode"], state(root, "hull")["OOMKilled"]) == (128 + signal.SIGKILL, True)
    root("rm", "hull")


def test_mounts(anyone: Sampan, runtime: str) -> None:
    mounts = ("--mount", f"type=image,source={IMAGE},target=/image", "--tmpfs", "/fast:size=1m", "-v", "stuff:/stuff")
    run = ("run", "--rm", "--read-only", "--network=none", "--runtime", runtime, *mounts, IMAGE, "sh", "-c")
    done = anyone(*run, "ls /image/bin/busybox && echo kept > /stuff/it && touch /fast/x && ! touch /x 2>/dev/null")
    assert done.stdout == "/image/bin/busybox\n"
    assert anyone("run", "--rm", "--network=none", "-v", "stuff:/stuff", IMAGE, "cat", "/stuff/it").stdout == "kept\n"
    anyone("volume", "rm", "stuff")


def test_one_that_nobody_waits_for_is_removed_at_its_end(anyone: Sampan, runtime: str) -> None:
    anyone("run", "-d", "--rm", "--network=none", "--runtime", runtime, IMAGE, "true")
    assert await_(lambda: anyone("ps", "-aq").stdout == "")
    assert_clean(anyone)


def test_devices(root: Sampan, runtime: str) -> None:
    """Nodes that were asked for, and no others: not even those that a container makes by itself."""
    run = ("run", "--rm", "--network=none", "--runtime", runtime)
    assert root(*run, "--device", "/dev/full:/dev/mine", IMAGE, "head", "-c", "1", "/dev/mine").stdout == "\0"
    major, minor = os.major(os.stat("/dev/fuse").st_rdev), os.minor(os.stat("/dev/fuse").st_rdev)
    script = f"mknod /dev/own c {major} {minor} && exec 3<>/dev/own && echo opened"
    assert "not permitted" in root(*run, IMAGE, "sh", "-c", script, check=False).stderr
    assert root(*run, "--device", "/dev/fuse", IMAGE, "sh", "-c", script).stdout == "opened\n"
    assert root(*run, "--privileged", IMAGE, "sh", "-c", "exec 3<>/dev/fuse; hostname").stdout


def test_a_monitor_that_is_killed(root: Sampan, runtime: str) -> None:
    """What it watched is ended by who starts or removes the container next."""
    words = ("run", "-d", "--name", "hull", "--network=none", "--runtime", runtime, IMAGE, *LISTENING)
    identifier = root(*words).stdout.strip()

    def kill_monitor() -> int:
        first = int(state(root, "hull")["Pid"])
        parent = int(Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(parent, signal.SIGKILL)
        assert await_(lambda: state(root, "hull")["Status"] != "running")
        return first

    first = kill_monitor()
    root("start", "hull")
    assert await_(lambda: not Path(f"/proc/{first}/exe").exists())
    assert root("exec", "hull", "echo", "in").stdout == "in\n"
    kill_monitor()
    root("rm", "hull")
    assert cgroups(identifier) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("run", "--runtime=nosuch"), "unknown runtime nosuch"),
        (("create", "--runtime=./nosuch"), "unknown runtime ./nosuch"),
        (("run", "--runtime=/bin/true"), "/bin/true is no OCI runtime"),
        (("run", "--runtime=/bin/false"), "false create: exit code 1"),
        (("run", "--runtime=/bin/cat", "--init"), "--init is a part of sampan's own runtime"),
    ],
)
def test_runtimes_that_are_none(root: Sampan, words: tuple[str, ...], sentence: str) -> None:
    done = root(*words, "--network=none", IMAGE, "true", check=False)
    assert (done.returncode, sentence in done.stderr) == (125 if words[0] == "run" else 1, True), done.stderr
    assert root("ps", "-aq").stdout == ""


def test_where_a_runtime_is_named(root: Sampan, runtime: str, tmp_path: Path) -> None:
    def used(*words: str, **environment: str) -> str:
        root(*words, "create", "--name", "hull", IMAGE, "true", environment=environment)
        name = root("inspect", "-f", "{{.HostConfig.Runtime}}", "hull").stdout.strip()
        root("rm", "hull")
        return name

    assert used() == "sampan"
    assert used("--runtime", runtime) == runtime
    assert used(SAMPAN_RUNTIME=runtime) == runtime
    assert used("--runtime", "sampan", SAMPAN_RUNTIME=runtime) == "sampan"
    (tmp_path / "config.toml").write_text(f'runtime = "{runtime}"\n')
    assert used(SAMPAN_CONFIG=str(tmp_path / "config.toml")) == runtime
    done = root("--runtime", runtime, "ps", check=False)
    assert (done.returncode != 0, "sampan ps makes none" in done.stderr) == (True, True)
