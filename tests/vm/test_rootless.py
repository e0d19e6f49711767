"""Ordinary users with systemd: limits hold by what systemd delegates to them, and they have a network.

Both have a session of their own as by a login (``su -``, which goes by pam_systemd): "many" has subordinate ids, "one"
has not.
"""

import json
import os
import pwd
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import images
from commands import Done
from residents import await_, cgroups_named

TOP = Path("/sys/fs/cgroup")
HOG = "x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done"
BURN = "while :; do :; done"
RUN = ("run", "--rm", "--network", "none")


class Person:
    """Someone with a login session, and sampan's command line as he uses it there."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.uid = pwd.getpwnam(name).pw_uid
        self.root = Path(f"/home/{name}/store")
        self.account = None

    def shell(self, script: str, *, check: bool = True, input: str | None = None) -> Done:
        """What a login shell says to a script."""
        words = ["su", "-", self.name, "-c", script]
        done = subprocess.run(words, text=True, capture_output=True, timeout=120, check=False, input=input or "")
        assert not check or done.returncode == 0, (script, done)
        return done

    def __call__(self, *words: str | Path, check: bool = True, within: str = "", **options: Any) -> Done:
        """Runs sampan, below ``within`` if that is given: a command that begins another one."""
        return self.shell(f"{within} {shlex.join(self.command(*words))}", check=check)

    def command(self, *words: str | Path) -> list[str]:
        return ["sampan", "--root", str(self.root), *map(str, words)]

    def cgroup(self, container: str) -> Path:
        """Where a running container is."""
        pid = self("inspect", "-f", "{{.State.Pid}}", container).stdout.strip()
        return TOP / Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::/")


@pytest.fixture(scope="module", params=["many", "one"])
def person(request: pytest.FixtureRequest) -> Iterator[Person]:
    """Someone whose systemd runs, with the image ``box`` in his store."""
    name = request.param
    subprocess.run(["loginctl", "enable-linger", name], check=True)
    found = Person(name)
    assert await_(Path(f"/run/user/{found.uid}/bus").exists)
    images.put(found, "box")  # type: ignore[arg-type]
    yield found
    found("rm", "-f", *found("ps", "-aq").stdout.split(), check=False)


@pytest.fixture
def clean(person: Person) -> Iterator[Person]:
    """The same; afterwards nothing is left of his containers."""
    yield person
    names = person("ps", "-aq").stdout.split()
    if names:
        person("rm", "-f", *names)
    assert await_(lambda: not scopes(person)), scopes(person)


def scopes(person: Person) -> list[str]:
    return cgroups_named("sampan-", f"/sys/fs/cgroup/user.slice/user-{person.uid}.slice")


def numbers(cgroup: Path, file: str) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in (cgroup / file).read_text().splitlines())}


def test_his_own_cgroup_is_not_his(person: Person) -> None:
    """Or the rest of this page would prove something else."""
    script = "cat /proc/self/cgroup; stat -c %u /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/cgroup.procs"
    path, owner = person.shell(script).stdout.split()
    assert path.endswith(".scope")
    assert owner == "0"


def test_the_rung_of_the_ladder(person: Person) -> None:
    assert ("65537 ids" if person.name == "many" else "1 id") in person("info").stdout


def test_a_container_and_a_second_program(clean: Person) -> None:
    clean("run", "-d", "--name", "box1", "--network", "none", "box", "sleep", "1000")
    assert clean("exec", "box1", "cat", "/proc/self/cgroup").stdout == "0::/\n"
    cgroup = clean.cgroup("box1")
    assert cgroup.is_relative_to(TOP / f"user.slice/user-{clean.uid}.slice/user@{clean.uid}.service"), cgroup
    clean("exec", "-d", "box1", "sleep", "1000")
    assert await_(lambda: len((cgroup / "cgroup.procs").read_text().split()) == 2)


def test_a_memory_hog_is_killed_and_that_is_reported(clean: Person) -> None:
    run = ("run", "--name", "hog", "--network", "none", "-m", "32m", "--memory-swap", "32m")
    assert clean(*run, "box", "sh", "-c", HOG, check=False).returncode == 137
    state = json.loads(clean("inspect", "hog").stdout)[0]["State"]
    assert (state["OOMKilled"], state["ExitCode"]) == (True, 137)


def test_a_fork_bomb_is_stopped(clean: Person) -> None:
    script = f"sh -c 'b() {{ b | b & }}; b' & {BURN}"
    clean("run", "-d", "--name", "bomb", "--network", "none", "--pids-limit", "20", "box", "sh", "-c", script)
    cgroup = clean.cgroup("bomb")
    assert await_(lambda: numbers(cgroup, "pids.events")["max"] > 10)
    assert int((cgroup / "pids.current").read_text()) <= 20


def test_half_a_processor(clean: Person) -> None:
    clean("run", "-d", "--name", "burn", "--network", "none", "--cpus", "0.5", "box", "sh", "-c", BURN)
    cgroup = clean.cgroup("burn")
    before = numbers(cgroup, "cpu.stat")
    assert await_(lambda: numbers(cgroup, "cpu.stat")["nr_periods"] > before["nr_periods"] + 30)
    after = numbers(cgroup, "cpu.stat")
    periods = after["nr_periods"] - before["nr_periods"]
    assert after["usage_usec"] - before["usage_usec"] < periods * 100_000 * 0.75
    assert after["nr_throttled"] - before["nr_throttled"] >= periods // 2


def test_a_pause_a_change_and_what_is_used(clean: Person) -> None:
    clean("run", "-d", "--name", "burn", "--network", "none", "-m", "64m", "box", "sh", "-c", BURN)
    cgroup = clean.cgroup("burn")
    shown = json.loads(clean("stats", "--no-stream", "--format", "json", "burn").stdout.splitlines()[0])
    assert shown["MemUsage"].endswith(" / 64MiB"), shown
    clean("pause", "burn")
    assert "frozen 1" in (cgroup / "cgroup.events").read_text()
    clean("unpause", "burn")
    clean("update", "-m", "96m", "--memory-swap", "96m", "burn")
    assert (cgroup / "memory.max").read_text().strip() == str(96 << 20)
    assert "frozen 0" in (cgroup / "cgroup.events").read_text()


def test_a_unit_of_his_own(clean: Person) -> None:
    """What runs below a group that is the user's needs no scope more."""
    within = "systemd-run --user --scope -q"
    run = ("run", "-d", "--name", "box1", "--network", "none", "-m", "64m")
    clean(*run, "box", "sleep", "1000", within=within)
    cgroup = clean.cgroup("box1")
    assert (cgroup / "memory.max").read_text().strip() == str(64 << 20)
    assert "app.slice/sampan/" in str(cgroup)


def test_systemd_leaves_limits_alone(clean: Person) -> None:
    clean("run", "-d", "--name", "box1", "--network", "none", "-m", "64m", "box", "sleep", "1000")
    clean.shell("systemctl --user daemon-reload; systemd-run --user --wait -q -p MemoryMax=1G true")
    assert (clean.cgroup("box1") / "memory.max").read_text().strip() == str(64 << 20)


def test_a_container_whose_monitor_is_killed(clean: Person) -> None:
    clean("run", "-d", "--name", "box1", "--network", "none", "box", "sleep", "1000")
    cgroup = clean.cgroup("box1")
    (monitor,) = (cgroup.parents[1] / "monitor/cgroup.procs").read_text().split()
    os.kill(int(monitor), 9)
    assert await_(lambda: not cgroup.exists())
    assert clean("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "box1").stdout == "exited 137\n"


def test_a_build(clean: Person) -> None:
    dockerfile = (
        "FROM box\nRUN id -u && cat /proc/self/cgroup > /seen\nRUN adduser -D -u 1000 x || true; chown 1000 /seen\n"
    )
    clean.shell(f"mkdir -p ctx; printf %s {shlex.quote(dockerfile)} > ctx/Dockerfile")
    clean("build", "-q", "--network", "none", "-t", "built", "ctx")
    assert clean(*RUN, "built", "cat", "/seen").stdout.startswith("0::/")
    assert clean(*RUN, "built", "stat", "-c", "%u", "/seen").stdout in ("1000\n", "0\n")


@pytest.fixture(params=["pasta", "slirp4netns"])
def program(request: pytest.FixtureRequest) -> Iterator[str]:
    """The only one of these programs that is installed for now."""
    other = Path("/usr/bin") / ("slirp4netns" if request.param == "pasta" else "pasta")
    other.rename("/root/hidden")
    yield request.param
    Path("/root/hidden").rename(other)


def test_a_published_port(clean: Person, program: str) -> None:
    server = "while :; do echo -e 'HTTP/1.0 200 OK\\r\\n\\r\\nhello' | nc -l -p 80; done"
    clean("run", "-d", "--name", "web", "-p", "127.0.0.1:8080:80", "box", "sh", "-c", server)
    fetch = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080', timeout=20).read().decode())"
    assert await_(lambda: "hello" in clean.shell(f"python3 -c {shlex.quote(fetch)}", check=False).stdout)
    assert "default via" in clean("exec", "web", "ip", "route").stdout


def test_a_program_without_a_session(clean: Person) -> None:
    """As a service of the system's runs it: nothing in its environment, but his systemd is there."""
    words = ["setpriv", f"--reuid={clean.uid}", f"--regid={clean.uid}", "--clear-groups", "env", "-i", "-C", "/"]
    settings = ["PATH=/usr/local/bin:/usr/bin:/bin", f"HOME=/home/{clean.name}"]
    run = clean.command("run", "-d", "--name", "box1", "--network", "none", "-m", "64m", "box", "sleep", "1000")
    subprocess.run([*words, *settings, *run], check=True, timeout=120)
    assert (clean.cgroup("box1") / "memory.max").read_text().strip() == str(64 << 20)


@pytest.fixture
def newcomer() -> Iterator[Person]:
    """Someone who has never logged in: no systemd is his."""
    subprocess.run(["useradd", "--create-home", "newcomer"], check=True)
    found = Person("newcomer")
    subprocess.run(["loginctl", "disable-linger", found.name], check=False)
    images.put(found, "box")  # type: ignore[arg-type]
    assert await_(lambda: not Path(f"/run/user/{found.uid}").exists())
    yield found
    subprocess.run(["systemctl", "stop", f"user-{found.uid}.slice"], check=False)
    subprocess.run(["userdel", "--remove", found.name], check=True)


def as_service(person: Person, *words: str) -> Done:
    """Runs sampan in a unit of the system's manager, as ``person``."""
    unit = ["systemd-run", "--quiet", "--pipe", "--wait", "-p", f"User={person.name}"]
    run = [*unit, *person.command(*words)]
    return subprocess.run(run, text=True, capture_output=True, check=False, timeout=120, stdin=subprocess.DEVNULL)


def test_limits_that_nobody_can_set(newcomer: Person) -> None:
    done = as_service(newcomer, *RUN, "-m", "64m", "box", "true")
    assert done.returncode == 125
    assert "loginctl enable-linger" in done.stderr
    assert as_service(newcomer, *RUN, "box", "echo", "fine").stdout == "fine\n"
