"""Programs that take all they can get: others on the machine, and the engine itself, go on; and what is left of them
can be removed."""

import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import Sampan
from residents import IMAGE, assert_clean, await_, cgroups, command, processes, read_until, started, state
from sampan.linux import mounts

pytestmark = [pytest.mark.system]

RUN = ("run", "--network", "none", "--name", "bomb")
FORK = "bomb() { bomb | bomb & }; bomb; echo up; while :; do sleep 0.1; done"


def monitor(sampan: Sampan) -> int:
    (found,) = (pid for pid in processes(sampan) if "sampan.containers.monitor" in command(pid))
    return found


# -- processes ------------------------------------------------------------------------------------------------------


@pytest.mark.root
def test_a_fork_bomb_reaches_its_limit_and_is_removed(root: Sampan) -> None:
    identifier = root(*RUN, "-d", "--pids-limit", "64", IMAGE, "sh", "-c", FORK).stdout.strip()
    counted = [path for path in cgroups(identifier) if (path / "pids.events").exists()]
    events = counted[0] / "pids.events"
    assert await_(lambda: int(events.read_text().split()[1]) > 0)
    assert int((events.parent / "pids.current").read_text()) <= 64
    assert root("run", "--rm", "--network", "none", IMAGE, "echo", "others").stdout == "others\n"
    assert root("rm", "-f", "bomb").stdout == "bomb\n"
    assert_clean(root)
    assert cgroups(identifier) == []


def test_a_brood_that_never_stops_forking_dies_with_its_container(anyone: Sampan) -> None:
    """Also where no limit can be set. It is kept small by itself: the machine is others' too."""
    brood = "one() { sleep 0.01; (one &) ; exit; }; for n in 1 2 3 4 5 6 7 8; do (one &) ; done; echo up; sleep 1077"
    anyone(*RUN, "-d", IMAGE, "sh", "-c", brood)
    with started(anyone, "logs", "-f", "bomb") as process:
        read_until(process.stdout, "up\n")
    anyone("stop", "-t", "0", "bomb")
    assert await_(lambda: not processes(anyone)), [command(pid) for pid in processes(anyone)]
    assert state(anyone, "bomb")["ExitCode"] == 137


# -- memory ---------------------------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.parametrize(
    "script",
    [
        "x=aaaaaaaa; while :; do x=$x$x; done",
        "dd if=/dev/zero of=/dev/shm/x bs=1M; cat",  # memory all the same
        "dd if=/dev/zero of=/tmp/x bs=1M; cat",
    ],
)
def test_memory_that_is_used_up_is_told(root: Sampan, script: str) -> None:
    limits = ("-m", "24m", "--memory-swap", "24m", "--shm-size", "1g", "--tmpfs", "/tmp:size=1g")
    done = root(*RUN, *limits, IMAGE, "sh", "-c", f"exec 2>/dev/null; {script.replace('; cat', '')}", check=False)
    assert done.returncode == 137
    assert done.stderr == "WARNING: container bomb was killed: it used up its memory (--memory)\n"
    assert (state(root, "bomb")["OOMKilled"], state(root, "bomb")["ExitCode"]) == (True, 137)


@pytest.mark.root
def test_one_killed_process_is_not_the_container(root: Sampan) -> None:
    """It goes on; that something was killed is told in its state."""
    script = "dd if=/dev/zero of=/dev/shm/x bs=1M 2>/dev/null; echo $?; rm /dev/shm/x; exit 3"
    limits = ("-m", "24m", "--memory-swap", "24m", "--shm-size", "1g")
    done = root(*RUN, *limits, IMAGE, "sh", "-c", script, check=False)
    assert (done.returncode, done.stdout) == (3, "137\n")
    assert (state(root, "bomb")["OOMKilled"], state(root, "bomb")["ExitCode"]) == (True, 3)


# -- disk -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(root: Sampan, tmp_path: Path) -> Iterator[Sampan]:
    """The store on a file system of 40 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounts.mount(b"none", os.fsencode(disk), b"tmpfs", 0, b"size=40m")
    try:
        shutil.copytree(root.root, disk / f"small-{root.root.name}", symlinks=True)
        sampan = Sampan(disk / f"small-{root.root.name}")
        yield sampan
        sampan.remove_containers()
        assert await_(lambda: not processes(sampan))
    finally:
        mounts.umount(os.fsencode(disk))


@pytest.mark.root
def test_a_disk_bomb_ends_nobody(small_disk: Sampan) -> None:
    """The container goes on when there is no room, for its files nor for its log; its end is known, and it goes."""
    script = "dd if=/dev/zero of=/x bs=64k 2>/dev/null; seq 1 20000; rm /x; echo room; exit 6"
    done = small_disk(*RUN, IMAGE, "sh", "-c", script, check=False)
    assert (done.returncode, done.stdout.split()[-2:]) == (6, ["20000", "room"])
    lines = small_disk("logs", "bomb").stdout.split()
    assert lines[-1] == "room"
    assert "lines are missing here: No space left on device" in small_disk("logs", "bomb").stderr
    assert state(small_disk, "bomb")["ExitCode"] == 6


@pytest.mark.root
def test_a_container_ends_in_order_on_a_full_disk(small_disk: Sampan) -> None:
    script = "dd if=/dev/zero of=/x bs=64k 2>/dev/null; seq 1 20000; exit 6"
    assert small_disk(*RUN, IMAGE, "sh", "-c", script, check=False).returncode == 6
    ended = state(small_disk, "bomb")
    assert (ended["Status"], ended["ExitCode"]) == ("exited", 6)
    assert "lines of its log were lost: No space left on device" in ended["Error"]
    assert "Exited (6)" in small_disk("ps", "-a").stdout
    assert small_disk("rm", "bomb").returncode == 0


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("size=1g", "the size of a container cannot be limited here: "),
        ("size", "invalid --storage-opt 'size'"),
        ("size=lots", "invalid --storage-opt size 'lots'"),
        ("size=0", "--storage-opt size is to be more than nothing"),
        ("magic=1", "invalid --storage-opt 'magic=1'"),
    ],
)
def test_a_size_that_cannot_be_kept_is_refused(anyone: Sampan, option: str, sentence: str) -> None:
    """The store of this test is in memory, which has no quotas; where they are, tests/vm proves them."""
    if not str(anyone.root).startswith("/dev/shm"):
        pytest.skip("the machine has no /dev/shm")
    done = anyone("run", "--rm", "--network", "none", "--storage-opt", option, IMAGE, "true", check=False)
    assert (done.returncode, sentence in done.stderr) == (125, True), done.stderr
    assert_clean(anyone)


# -- the monitor ----------------------------------------------------------------------------------------------------


def test_what_a_killed_monitor_had_is_free_for_the_next_life(anyone: Sampan) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ("-p", f"127.0.0.1:{port}:80", "-v", "kept:/kept", "--tmpfs", "/t")
    words = ("run", "-d", "--name", "bomb", *options, IMAGE, "sh", "-c", "echo life >>/kept/n; sleep 1077")
    identifier = anyone(*words).stdout.strip()
    with started(anyone, "wait", "bomb") as waiting:
        os.kill(monitor(anyone), signal.SIGKILL)
        assert read_until(waiting.stdout, "\n") == "137\n"
    assert await_(lambda: not processes(anyone))
    ended = state(anyone, "bomb")
    assert (ended["Status"], ended["ExitCode"], ended["Error"]) == ("exited", 137, "its monitor was killed")
    anyone("start", "bomb")
    assert state(anyone, "bomb")["Running"] is True
    assert anyone("port", "bomb", "80").stdout == f"127.0.0.1:{port}\n"
    assert await_(lambda: anyone("exec", "bomb", "cat", "/kept/n").stdout == "life\nlife\n")
    os.kill(monitor(anyone), signal.SIGKILL)
    assert await_(lambda: not processes(anyone))
    assert anyone("rm", "-v", "bomb").stdout == "bomb\n"
    assert cgroups(identifier) == []
    assert_clean(anyone)
    assert anyone(*words).returncode == 0  # the name and the port are free
    anyone("rm", "-f", "bomb")
