"""``exec``: further programs in a running container."""

import hashlib
import random
import signal

import pytest

from commands import Sampan
from residents import IMAGE, await_, processes, read_until, started

pytestmark = [pytest.mark.system]


@pytest.fixture
def hull(anyone: Sampan) -> Sampan:
    """A store with a running container of this name."""
    options = ("-d", "--network", "none", "--name", "hull", "-e", "FROM_RUN=1", "-w", "/tmp")
    anyone("run", *options, IMAGE, "sleep", "1000")
    return anyone


@pytest.mark.parametrize(
    ("command", "code", "sentence"),
    [
        (("true",), 0, ""),
        (("sh", "-c", "exit 9"), 9, ""),
        (("sh", "-c", "kill -KILL $$"), 137, ""),
        (("sh", "-c", "kill -TERM $$"), 143, ""),
        (("nothing",), 127, 'sampan: exec: "nothing": executable file not found in $PATH\n'),
        (("/etc/passwd",), 126, 'sampan: exec: "/etc/passwd": permission denied\n'),
        (("/etc",), 126, 'sampan: exec: "/etc": is a directory\n'),
    ],
)
def test_exit_code(hull: Sampan, command: tuple[str, ...], code: int, sentence: str) -> None:
    done = hull("exec", "hull", *command, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", sentence)


def test_it_is_inside(hull: Sampan) -> None:
    done = hull("exec", "hull", "sh", "-c", "hostname; pwd; echo $FROM_RUN; echo err >&2; cat")
    hostname = hull("ps", "-q").stdout
    assert (done.stdout, done.stderr) == (f"{hostname}/tmp\n1\n", "err\n")
    listed = hull("exec", "hull", "ps", "-o", "pid,args").stdout
    assert "    1 sleep 1000\n" in listed
    assert "python" not in listed


def test_options(hull: Sampan) -> None:
    script = "echo $FROM_RUN $MINE $THEIRS; pwd"
    options = ("-e", "MINE=a b", "-e", "THEIRS", "-e", "FROM_RUN=2", "-w", "/data")
    done = hull("exec", *options, "hull", "sh", "-c", script, environment={"THEIRS": "env"})
    assert done.stdout == "2 a b env\n/data\n"
    missing = hull("exec", "-w", "/not/there", "hull", "true", check=False)
    assert missing.returncode in (1, 126, 127)
    assert "cannot use the working directory /not/there" in missing.stderr
    unknown = hull("exec", "-u", "nobody-there", "hull", "true", check=False)
    assert unknown.returncode == 1
    assert "unable to find user nobody-there" in unknown.stderr


def test_user_is_looked_up_in_the_files_of_now(root: Sampan) -> None:
    root("run", "-d", "--network", "none", "--name", "hull", IMAGE, "sleep", "1000")
    root("exec", "hull", "sh", "-c", "echo new:x:77:88::/new: >> /etc/passwd; echo more:x:99:new >> /etc/group")
    assert root("exec", "-u", "new", "hull", "sh", "-c", "id -u; id -g; id -G; echo $HOME").stdout == (
        "77\n88\n88 99\n/new\n"
    )


def test_standard_input(hull: Sampan) -> None:
    data = random.Random(2).randbytes(5 << 20)
    with started(hull, "exec", "-i", "hull", "cat") as process:
        output, errors = process.communicate(data, timeout=60)
    assert (process.returncode, errors) == (0, b"")
    assert hashlib.sha256(output).hexdigest() == hashlib.sha256(data).hexdigest()
    # Without -i there is nothing to read.
    assert hull("exec", "hull", "cat", input="unheard\n").stdout == ""


def test_signals_reach_the_program(hull: Sampan) -> None:
    script = "trap 'echo got; exit 4' TERM; echo up; while :; do sleep 0.05; done"
    with started(hull, "exec", "hull", "sh", "-c", script) as process:
        read_until(process.stdout, "up\n")
        process.send_signal(signal.SIGTERM)
        read_until(process.stdout, "got\n")
        assert process.wait(30) == 4


def test_it_ends_with_the_container(hull: Sampan) -> None:
    with started(hull, "exec", "hull", "sh", "-c", "echo up; sleep 1000") as process:
        read_until(process.stdout, "up\n")
        hull("kill", "hull")
        assert process.wait(30) == 137
    assert await_(lambda: not processes(hull))


def test_it_ends_with_its_command_line(hull: Sampan) -> None:
    with started(hull, "exec", "hull", "sh", "-c", "echo up; exec sleep 2000") as process:
        read_until(process.stdout, "up\n")
        assert "sleep 2000" in hull("exec", "hull", "ps", "-o", "args").stdout
        process.kill()
    assert await_(lambda: "sleep 2000" not in hull("exec", "hull", "ps", "-o", "args").stdout)
    assert hull("exec", "hull", "true").returncode == 0


def test_a_background_process_does_not_hold_it_up(hull: Sampan) -> None:
    done = hull("exec", "hull", "sh", "-c", "sleep 1000 & echo done", timeout=30)
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_only_in_a_running_container(hull: Sampan) -> None:
    hull("kill", "hull")
    done = hull("exec", "hull", "true", check=False)
    assert done.returncode == 1
    assert done.stderr == "sampan: container hull is not running\nhint: sampan ps -a shows how it ended\n"
    done = hull("exec", "nobody", "true", check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "sampan: no such container: nobody")


def test_many_at_once(hull: Sampan) -> None:
    running = [started(hull, "exec", "hull", "sh", "-c", f"echo {number}") for number in range(8)]
    processes_ = [each.__enter__() for each in running]
    try:
        assert [process.communicate(timeout=60) for process in processes_] == [(b"%d\n" % n, b"") for n in range(8)]
    finally:
        for each in running:
            each.__exit__(None, None, None)


def test_detached(hull: Sampan) -> None:
    done = hull("exec", "-dt", "hull", "sh", "-c", "seq 20000; echo all >/tmp/said; exec sleep 3000", timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert await_(lambda: hull("exec", "hull", "cat", "/tmp/said", check=False).stdout == "all\n")
    assert "sleep 3000" in hull("exec", "hull", "ps", "-o", "args").stdout
    hull("exec", "-d", "hull", "true")
    assert await_(lambda: "[true]" not in hull("exec", "hull", "ps", "-o", "args").stdout)
    missing = hull("exec", "--detach", "hull", "nothing", check=False)
    assert (missing.returncode, missing.stderr) == (
        127, 'sampan: exec: "nothing": executable file not found in $PATH\n',
    )  # fmt: skip
    hull("kill", "hull")
    assert await_(lambda: not processes(hull))


def test_environment_from_a_file(hull: Sampan) -> None:
    file = hull.root / "variables"
    file.write_text("# none\nMINE=file\nALSO=a b\nFROM_RUN=2\n")
    file.chmod(0o644)
    done = hull("exec", "--env-file", file, "-e", "MINE=flag", "hull", "sh", "-c", "echo $FROM_RUN $MINE $ALSO")
    assert done.stdout == "2 flag a b\n"
    done = hull("exec", "--env-file", "/not/there", "hull", "true", check=False)
    assert (done.returncode, done.stderr) == (
        1, "sampan: cannot read the environment file /not/there: No such file or directory\n",
    )  # fmt: skip


def test_privileged(hull: Sampan) -> None:
    script = "grep CapBnd /proc/self/status"
    plain = hull("exec", "hull", "sh", "-c", script).stdout
    full = hull("exec", "--privileged", "hull", "sh", "-c", script).stdout
    assert int(full.split()[1], 16) & ~int(plain.split()[1], 16) & 1 << 21  # CAP_SYS_ADMIN


@pytest.mark.parametrize("options", [(), ("-t",)])
def test_output_that_nobody_takes_ends_it(hull: Sampan, options: tuple[str, ...]) -> None:
    with started(hull, "exec", *options, "hull", "seq", "200000") as process:
        read_until(process.stdout, "1000")
        assert process.stdout
        process.stdout.close()
        assert process.wait(60) == 141
        process.stdout = None
    assert await_(lambda: "seq" not in hull("exec", "hull", "ps", "-o", "args").stdout)
