"""``run``: what a new container does and what it says, as root and as an ordinary user."""

import hashlib
import json
import random
import subprocess
from pathlib import Path

import pytest

import images
from commands import Sampan
from residents import IMAGE, assert_clean, read_until, started

pytestmark = [pytest.mark.system]

RUN = ("run", "--rm", "--network", "none")


def sh(sampan: Sampan, script: str, *options: str) -> str:
    """What a shell script prints in a new container without a network."""
    return sampan(*RUN, *options, IMAGE, "sh", "-c", script).stdout


@pytest.mark.parametrize(
    ("command", "code", "sentence"),
    [
        (("true",), 0, ""),
        (("sh", "-c", "exit 7"), 7, ""),
        (("sh", "-c", "exit 255"), 255, ""),
        (("sh", "-c", "ulimit -t 0; while :; do :; done"), 137, ""),
        (("nothing",), 127, 'sampan: exec: "nothing": executable file not found in $PATH\n'),
        (("/bin/nothing",), 127, 'sampan: exec: "/bin/nothing": no such file or directory\n'),
        (("/etc/passwd",), 126, 'sampan: exec: "/etc/passwd": permission denied\n'),
        (("/etc",), 126, 'sampan: exec: "/etc": is a directory\n'),
    ],
)
def test_exit_code_of_the_command(anyone: Sampan, command: tuple[str, ...], code: int, sentence: str) -> None:
    done = anyone(*RUN, IMAGE, *command, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", sentence)
    assert_clean(anyone)


@pytest.mark.parametrize(
    "options",
    [
        ("--network", "no-such"),
        ("-u", "nobody-there"),
        ("-v", "relative:also/relative"),
        ("-w", "relative"),
        ("--env-file", "/no/such/file"),
        ("--entrypoint", ""),
        ("-w", "/etc/passwd/below"),
    ],
)
def test_a_container_that_cannot_be_made_is_the_engines_fault(anyone: Sampan, options: tuple[str, ...]) -> None:
    images.put(anyone, "silent", {}, {"Cmd": None, "Entrypoint": ["true"]})
    done = anyone("run", "--network", "none", *options, "silent", check=False)
    assert done.returncode == 125
    assert done.stdout == ""
    assert done.stderr.startswith("sampan: ")
    assert_clean(anyone)


def test_streams_stay_apart(anyone: Sampan) -> None:
    done = anyone(*RUN, IMAGE, "sh", "-c", "echo out; echo err >&2; cat")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_standard_input_passes_through(anyone: Sampan) -> None:
    data = random.Random(1).randbytes(5 << 20)
    with started(anyone, *RUN, "-i", IMAGE, "cat") as process:
        output, errors = process.communicate(data, timeout=60)
    assert (process.returncode, errors) == (0, b"")
    assert hashlib.sha256(output).hexdigest() == hashlib.sha256(data).hexdigest()


def test_standard_input_from_a_file(anyone: Sampan, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x" * 300_000)
    with (tmp_path / "in").open() as file:
        assert anyone(*RUN, "-i", IMAGE, "wc", "-c", stdin=file).stdout == "300000\n"


def test_a_program_that_does_not_read_holds_nothing_up(anyone: Sampan) -> None:
    """More than a pipe holds waits for a program that never wants it, and that answers meanwhile."""
    with started(anyone, *RUN, "-i", IMAGE, "sh", "-c", "echo up; sleep 3; echo done") as process:
        output, errors = process.communicate(b"x" * (4 << 20), timeout=60)
    assert (process.returncode, output, errors) == (0, b"up\ndone\n", b"")


def test_a_closed_standard_output_is_no_disaster(anyone: Sampan) -> None:
    with started(anyone, *RUN, IMAGE, "sh", "-c", "yes | head -c 3000000; sleep 0.1; exit 3") as process:
        assert process.stdout
        process.stdout.read(10)
        process.stdout.close()
        process.stdout = None
        assert process.wait(60) in (3, 141)
        assert process.stderr
        assert b"Traceback" not in process.stderr.read()


def test_environment(anyone: Sampan) -> None:
    file = anyone.root / "environment"
    file.write_text("# a comment\n\nFROM_FILE=file\nBOTH=file\nHOSTS\nSPACED= a b \n")
    file.chmod(0o644)
    options = ("-e", "BOTH=flag", "-e", "HOSTS2", "-e", "NOT_THERE", "-e", "EMPTY=", "--env-file", str(file))
    canaries = {"HOSTS": "from here", "HOSTS2": "here too", "AWS_SECRET_ACCESS_KEY": "canary"}
    done = anyone(*RUN, "-h", "hull", *options, IMAGE, "env", environment=canaries)
    assert sorted(done.stdout.splitlines()) == [
        "BOTH=flag", "EMPTY=", "FROM_FILE=file", "HOME=/root", "HOSTNAME=hull", "HOSTS2=here too", "HOSTS=from here",
        "PATH=/bin", "SPACED= a b ",
    ]  # fmt: skip


def test_working_directory(anyone: Sampan) -> None:
    assert sh(anyone, "pwd", "-w", "/made/for/this") == "/made/for/this\n"
    assert sh(anyone, "pwd") == "/\n"
    images.put(anyone, "placed", {}, {"WorkingDir": "/srv"})
    assert anyone(*RUN, "placed", "pwd").stdout == "/srv\n"
    assert anyone(*RUN, "-w", "/tmp", "placed", "pwd").stdout == "/tmp\n"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("bob", "uid=1000(bob) gid=1001(bobs) groups=50(staff),60(other),1001(bobs)"),
        ("1000", "uid=1000(bob) gid=1001(bobs) groups=50(staff),60(other),1001(bobs)"),
        ("bob:staff", "uid=1000(bob) gid=50(staff) groups=50(staff)"),
        ("bob:77", "uid=1000(bob) gid=77 groups=77"),
        ("4711", "uid=4711 gid=0(root) groups=0(root)"),
        ("4711:50", "uid=4711 gid=50(staff) groups=50(staff)"),
        ("root", "uid=0(root) gid=0(root) groups=0(root)"),
    ],
)
def test_user_and_groups(root: Sampan, user: str, expected: str) -> None:
    assert sorted_groups(sh(root, "id", "-u", user)) == expected
    identifier = root("run", "-d", "--network", "none", IMAGE, "sleep", "1000").stdout.strip()
    assert sorted_groups(root("exec", "-u", user, identifier, "id").stdout) == expected
    images.put(root, "owned", {}, {"User": user})
    assert sorted_groups(root(*RUN, "owned", "id").stdout) == expected


def sorted_groups(line: str) -> str:
    front, _, groups = line.strip().partition(" groups=")
    return f"{front} groups=" + ",".join(sorted(groups.split(","), key=lambda group: int(group.partition("(")[0])))


def test_home_is_the_users(root: Sampan) -> None:
    assert sh(root, "echo $HOME") == "/root\n"
    assert sh(root, "echo $HOME", "-u", "bob") == "/home/bob\n"
    assert sh(root, "echo $HOME", "-u", "4711") == "/\n"
    assert sh(root, "echo $HOME", "-u", "bob", "-e", "HOME=/mine") == "/mine\n"


def test_a_user_that_the_namespace_does_not_know(ordinary: Sampan) -> None:
    done = ordinary(*RUN, "-u", "bob", IMAGE, "sh", "-c", "id -u; echo $HOME")
    assert done.stdout == "0\n/home/bob\n"
    assert "WARNING: the container runs as the only user id there is here, not as 1000:1001\n" in done.stderr


def test_entrypoint_and_command(anyone: Sampan) -> None:
    images.put(anyone, "talker", {}, {"Entrypoint": ["echo", "entry"], "Cmd": ["and", "command"]})
    assert anyone(*RUN, "talker").stdout == "entry and command\n"
    assert anyone(*RUN, "talker", "instead").stdout == "entry instead\n"
    # An entrypoint of one's own puts the image's command out of force.
    assert anyone(*RUN, "--entrypoint", "echo", "talker").stdout == "\n"
    assert anyone(*RUN, "--entrypoint", "", "talker", "echo", "bare").stdout == "bare\n"


def test_a_script_is_a_program(anyone: Sampan) -> None:
    nodes: dict[str, images.Node] = {"script": "#!/bin/sh\necho script $1\n", "lost": "#!/no/such\n"}
    images.put(anyone, "scripts", nodes)
    assert anyone(*RUN, "scripts", "/script", "x").stdout == "script x\n"
    done = anyone(*RUN, "scripts", "/lost", check=False)
    assert done.returncode == 127
    assert "the interpreter in its first line" in done.stderr


def test_names_of_the_container_itself(anyone: Sampan) -> None:
    assert sh(anyone, "hostname; cat /etc/hostname", "-h", "hull") == "hull\nhull\n"
    done = anyone(
        "run", "--network", "none", "--name", "hull", IMAGE, "sh", "-c", "hostname; grep localhost /etc/hosts"
    )
    hostname, *hosts = done.stdout.splitlines()
    assert hostname == anyone("ps", "-aq").stdout.strip()
    assert hosts[0].split() == ["127.0.0.1", "localhost"]


def test_root_file_system_is_its_own(anyone: Sampan) -> None:
    assert sh(anyone, "rm -r /data; echo new > /etc/passwd; ls /data 2>&1; cat /etc/passwd").endswith("new\n")
    assert sh(anyone, "cat /data/seed") == "from the image\n"


def test_container_is_removed_with_all_that_is_its_own(anyone: Sampan) -> None:
    anyone(*RUN, "-v", "/scratch", IMAGE, "touch", "/scratch/x")
    assert_clean(anyone)
    assert volumes(anyone) == []


def volumes(sampan: Sampan) -> list[str]:
    directory = sampan.root / "volumes"
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


def test_without_rm_it_stays(anyone: Sampan) -> None:
    anyone("run", "--network", "none", "--name", "hull", IMAGE, "sh", "-c", "echo said; exit 4", check=False)
    state = json.loads(anyone("inspect", "hull").stdout)[0]["State"]
    assert (state["Status"], state["ExitCode"], state["Running"], state["Pid"]) == ("exited", 4, False, 0)
    assert anyone("logs", "hull").stdout == "said\n"
    anyone("rm", "hull")
    assert_clean(anyone)


def test_a_name_is_given_once(anyone: Sampan) -> None:
    first = anyone("run", "-d", "--network", "none", "--name", "hull", IMAGE, "sleep", "1000").stdout
    done = anyone("run", "-d", "--network", "none", "--name", "hull", IMAGE, "true", check=False)
    assert done.returncode == 125
    assert done.stderr == (
        "sampan: the container name hull is in use\n"
        "hint: remove that container (sampan rm hull), or choose another --name\n"
    )
    assert anyone("ps", "-aq", "--no-trunc").stdout == first
    bad = anyone("run", "--name", "no/name", IMAGE, "true", check=False)
    assert (bad.returncode, bad.stdout) == (125, "")


def test_two_at_once_with_one_name(anyone: Sampan) -> None:
    arguments = ("run", "-d", "--network", "none", "--name", "hull", IMAGE, "sleep", "1000")
    with started(anyone, *arguments) as one, started(anyone, *arguments) as other:
        said = [process.communicate(timeout=60)[1] for process in (one, other)]
    assert sorted((one.returncode, other.returncode)) == [0, 125]
    assert sum(b"the container name hull is in use" in text for text in said) == 1
    assert len(anyone("ps", "-q").stdout.split()) == 1


def test_ten_at_once(anyone: Sampan) -> None:
    running = [started(anyone, *RUN, "-e", f"N={number}", IMAGE, "sh", "-c", "echo $N") for number in range(10)]
    processes: list[subprocess.Popen[bytes]] = [each.__enter__() for each in running]
    try:
        said = [process.communicate(timeout=90) for process in processes]
    finally:
        for each in running:
            each.__exit__(None, None, None)
    assert [output for output, _ in said] == [b"%d\n" % number for number in range(10)]
    assert {errors for _, errors in said} == {b""}
    assert_clean(anyone)


def test_detached_container_goes_on_alone(anyone: Sampan) -> None:
    done = anyone("run", "-d", "--network", "none", IMAGE, "sleep", "1000")
    identifier = done.stdout.strip()
    assert len(identifier) == 64
    assert anyone("ps", "-q").stdout == f"{identifier[:12]}\n"
    with started(anyone, "logs", "-f", identifier) as process:
        anyone("kill", identifier)
        assert process.communicate(timeout=30) == (b"", b"")


def test_a_missing_image_is_looked_for_and_not_found(anyone: Sampan) -> None:
    done = anyone("run", "--pull", "never", "nosuch:image", "true", check=False)
    assert done.returncode == 125
    assert done.stderr.startswith("sampan: no such image: nosuch:image")


def test_an_attached_run_shows_output_as_it_comes(anyone: Sampan) -> None:
    with started(anyone, *RUN, "-i", IMAGE, "sh", "-c", "echo first; read line; echo got $line") as process:
        assert read_until(process.stdout, "first\n") == "first\n"
        assert process.stdin
        process.stdin.write(b"word\n")
        process.stdin.flush()
        assert read_until(process.stdout, "got word\n") == "got word\n"
        assert process.wait(30) == 0


def test_platforms(anyone: Sampan) -> None:
    context = anyone.root / "context"
    context.mkdir(mode=0o755)
    (context / "Dockerfile").write_text('FROM scratch\nCOPY Dockerfile /\nHEALTHCHECK CMD true\nCMD ["/none"]\n')
    anyone("build", "--platform=linux/s390x", "-t", "far", context)
    own = json.loads(anyone("inspect", IMAGE).stdout)[0]
    anyone("run", "--rm", "--network=none", "--platform", f"{own['Os']}/{own['Architecture']}", IMAGE, "true")
    done = anyone("run", "--rm", "--pull=never", "--platform=linux/riscv64", "far", check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        125, "sampan: the image far is here for linux/s390x, not for linux/riscv64",
    )  # fmt: skip
    assert anyone("create", "--platform=linux/s390x", "--no-healthcheck", "--name=own", "far").stderr == ""
    warned = anyone("create", "--name=host", "far").stderr
    assert warned.startswith("WARNING: the image far is for linux/s390x, and this machine is linux/")
    checks = [json.loads(anyone("inspect", name).stdout)[0]["Config"]["Healthcheck"] for name in ("own", "host")]
    assert checks == [{"Test": ["NONE"]}, {"Test": ["CMD-SHELL", "true"]}]
