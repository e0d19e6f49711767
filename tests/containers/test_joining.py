"""What containers share with each other and with the host, and which of their streams are shown."""

import os
import re
from contextlib import suppress
from pathlib import Path

import pytest

from commands import Sampan
from residents import IMAGE, assert_clean, await_, read_until, started

pytestmark = [pytest.mark.system]
RUN = ("run", "--rm", "--network", "none")


def first(sampan: Sampan, *options: str) -> None:
    sampan("run", "-d", "--network", "none", "--name", "first", *options, IMAGE, "sleep", "1077")


# -- namespaces -----------------------------------------------------------------------------------------------------


def test_all_that_one_can_join(anyone: Sampan) -> None:
    """For an ordinary user it takes the other container's user namespace."""
    first(anyone, "--ipc", "shareable")
    anyone("exec", "first", "sh", "-c", "echo shared > /dev/shm/text")
    own = "cat /etc/hostname; for n in net ipc; do readlink /proc/self/ns/$n; done"
    script = f"cat /dev/shm/text; ps | grep -c '[s]leep 1077'; {own}"
    joined = ("--network", "container:first", "--ipc", "container:first", "--pid", "container:first")
    seen = anyone("run", "--rm", *joined, IMAGE, "sh", "-c", script).stdout
    assert seen == "shared\n1\n" + anyone("exec", "first", "sh", "-c", own).stdout
    anyone("create", "--name", "second", *joined, IMAGE, "cat", "/dev/shm/text")
    assert anyone("start", "-a", "second").stdout == "shared\n"


def test_memory_that_is_not_to_be_shared(root: Sampan) -> None:
    first(root)
    done = root(*RUN, "--ipc", "container:first", IMAGE, "true", check=False)
    assert (done.returncode, "container first does not share its ipc namespace" in done.stderr) == (125, True)
    assert root(*RUN, "--ipc", "none", IMAGE, "sh", "-c", "test -e /dev/shm || echo none").stdout == "none\n"
    done = root(*RUN, "--ipc", "elsewhere", IMAGE, "true", check=False)
    assert (done.returncode, "invalid --ipc 'elsewhere'" in done.stderr) == (125, True)


def test_a_shared_network_has_one_name_and_one_list_of_hosts(root: Sampan) -> None:
    root("run", "-d", "--name", "first", "--add-host", "db:10.1.2.3", "--dns", "10.9.9.9", IMAGE, "sleep", "1077")
    files = ("cat", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname")
    shared = ("run", "--rm", "--network", "container:first", IMAGE)
    assert root(*shared, *files).stdout == root("exec", "first", *files).stdout
    for flag in ("--dns=1.1.1.1", "--add-host=a:1.1.1.1", "--mac-address=02:42:0a:00:00:02", "--expose=80", "-P"):
        done = root(*shared[:-1], flag, IMAGE, "true", check=False)
        assert (done.returncode, "is not for a container that shares the network" in done.stderr) == (125, True), flag


def test_the_host_s_names(root: Sampan) -> None:
    words = ("run", "--rm", "--network", "host")
    assert root(*words, IMAGE, "cat", "/etc/hosts").stdout == Path("/etc/hosts").read_text()
    assert root(*words, IMAGE, "hostname").stdout == f"{os.uname().nodename}\n"
    assert root(*words, "-h", "hull", IMAGE, "hostname").stdout == "hull\n"


def test_a_cgroup_below_another(root: Sampan) -> None:
    parent = f"sampan-test-{os.getpid()}/inner"
    places = [
        path
        for path in Path("/sys/fs/cgroup").glob("*/cgroup.procs")
        if (path.parent / "memory.limit_in_bytes").exists()
    ]
    if not places:
        pytest.skip("there is no memory hierarchy of cgroup v1 here")
    memory = places[0].parent
    try:
        identifier = root(
            "run", "-d", "--network", "none", "--cgroup-parent", f"/{parent}", IMAGE, "sleep", "1077"
        ).stdout.strip()
        assert (memory / parent / identifier / "cgroup.procs").read_text()
        root("pause", identifier)
        root("unpause", identifier)
        root("rm", "-f", identifier)
        assert not (memory / parent / identifier).exists()
    finally:
        for made in Path("/sys/fs/cgroup").glob(f"*/{parent}"):
            for path in (made, made.parent):
                with suppress(FileNotFoundError):
                    path.rmdir()
    for text in ("../x", "/a/../b", "/"):
        done = root(*RUN, "--cgroup-parent", text, IMAGE, "true", check=False)
        assert (done.returncode, "invalid --cgroup-parent" in done.stderr) == (125, True)


@pytest.mark.rootless
def test_one_s_own_id(ordinary: Sampan) -> None:
    assert ordinary.account
    uid, gid, home = ordinary.account.uid, ordinary.account.gid, ordinary.root / "mine"
    home.mkdir()
    os.chown(home, uid, gid)
    kept = ("--userns", "keep-id", "-v", f"{home}:/mine")
    script = "id -u; id -g; touch /mine/new; stat -c %u /mine/new"
    found = ordinary(*RUN, *kept, IMAGE, "sh", "-c", script).stdout.split()
    assert found == [str(uid), str(gid), str(uid)]
    assert (home / "new").stat().st_uid == uid
    ordinary(
        "run", "-d", "--name", "first", "--network", "none", "--userns", "keep-id:uid=5,gid=6", IMAGE, "sleep", "1077"
    )
    assert ordinary("exec", "first", "sh", "-c", "id -u; id -g").stdout.split() == ["5", "6"]
    status = ordinary("exec", "first", "grep", "CapEff", "/proc/self/status").stdout
    assert int(status.split()[1], 16) == 0
    ordinary("restart", "-t", "0", "first")
    assert ordinary("exec", "first", "stat", "-c", "%u", "/proc/1").stdout == "5\n"


def test_what_an_ordinary_user_cannot_have(ordinary: Sampan) -> None:
    for options, sentence in (
        (("--mac-address", "02:42:0a:00:00:02"), "--mac-address: an ordinary user's container"),
        (("--add-host", "gate:host-gateway"), "a container of an ordinary user has no way to its host"),
        (("--network", "none", "--cgroup-parent", "/sampan-test-elsewhere"), "cannot set the limits asked for"),
    ):
        done = ordinary("run", "--rm", *options, IMAGE, "true", check=False)
        assert (done.returncode, sentence in done.stderr) == (125, True), done.stderr
    first(ordinary, "--userns", "keep-id")
    done = ordinary("run", "--rm", "--network", "container:first", IMAGE, "true", check=False)
    assert (done.returncode, "whose user keeps his own id" in done.stderr) == (125, True), done.stderr


@pytest.mark.parametrize(
    ("mode", "sentence"),
    [
        ("keep-id", "--userns keep-id is for ordinary users"),
        ("keep-id:uid=", "invalid --userns 'keep-id:uid='"),
        ("auto", "--userns auto is not supported"),
        ("elsewhere", "invalid --userns 'elsewhere'"),
    ],
)
def test_user_namespaces_that_root_cannot_have(root: Sampan, mode: str, sentence: str) -> None:
    done = root(*RUN, "--userns", mode, IMAGE, "true", check=False)
    assert (done.returncode, sentence in done.stderr) == (125, True), done.stderr
    assert root(*RUN, "--userns", "host", IMAGE, "echo", "ran").stdout == "ran\n"


# -- names and addresses --------------------------------------------------------------------------------------------


def test_the_way_to_the_host_and_an_address_of_one_s_own(root: Sampan) -> None:
    options = ("--add-host", "gate:host-gateway", "--mac-address", "92:d0:c6:0a:29:33")
    root("run", "-d", "--name", "first", *options, IMAGE, "sleep", "1077")
    for _ in range(2):
        script = (
            "ip route | grep default; grep gate /etc/hosts; cat /sys/class/net/eth0/address; ping -c1 gate > /dev/null"
        )
        route, entry, mac = root("exec", "first", "sh", "-c", script).stdout.splitlines()
        assert (entry.split(), mac) == ([route.split()[2], "gate"], "92:d0:c6:0a:29:33")
        root("restart", "-t", "0", "first")
    hosts = root("exec", "first", "cat", "/etc/hosts").stdout
    assert len(re.findall(r"\sfirst$", hosts, re.MULTILINE)) == 1


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--add-host=name:nowhere", "'nowhere' is not an address"),
        ("--add-host=name:host-gateway", "a container without a network has no way to its host"),
        ("--mac-address=02:42:0a:00:00:02", "--mac-address is not for a container with --network none"),
        ("--hostname=a b", "invalid --hostname 'a b'"),
        ("--expose=80:80", "invalid --expose '80:80'"),
        ("--expose=http", "port 'http'"),
        ("--attach=terminal", "invalid --attach 'terminal'"),
    ],
)
def test_what_makes_no_sense_is_said(root: Sampan, option: str, sentence: str) -> None:
    done = root(*RUN, option, IMAGE, "true", check=False)
    assert (done.returncode, sentence in done.stderr) == (125, True), done.stderr
    assert_clean(root)


@pytest.mark.parametrize("text", ["1:2", "zz:42:0a:00:00:02", "03:42:0a:00:00:02", "02:42:0a:00:00:02:03"])
def test_what_is_no_hardware_address(root: Sampan, text: str) -> None:
    done = root("run", "--rm", "--mac-address", text, IMAGE, "true", check=False)
    assert (done.returncode, "invalid --mac-address" in done.stderr) == (125, True)


# -- streams --------------------------------------------------------------------------------------------------------


def test_attached_streams(anyone: Sampan) -> None:
    script = "echo out; echo err >&2; cat"
    for streams, said in (
        (("stdout",), ("out\n", "")),
        (("STDERR",), ("", "err\n")),
        (("stdin", "stdout"), ("out\ntyped\n", "")),
    ):
        words = [word for stream in streams for word in ("-a", stream)]
        done = anyone(*RUN, *words, IMAGE, "sh", "-c", script, input="typed\n")
        assert (done.stdout, done.stderr) == said
    done = anyone(*RUN, "-d", "-a", "stdout", IMAGE, "true", check=False)
    assert (done.returncode, "--attach and --detach contradict each other" in done.stderr) == (125, True)
    assert_clean(anyone)


def test_a_program_that_is_left_by_keys_goes_on(anyone: Sampan) -> None:
    first(anyone)
    master, slave = os.openpty()
    words = ("exec", "-it", "--detach-keys", "ctrl-x,q", "first", "sh", "-c", "echo ready; read word; sleep 1066")
    try:
        with started(anyone, *words, stdin=slave, stdout=slave, stderr=slave) as process:
            read_until(master, "ready")
            os.write(master, b"go\n")
            assert await_(lambda: "sleep 1066" in anyone("exec", "first", "ps").stdout)
            os.write(master, b"\x18q")
            assert process.wait(30) == 0
        assert "sleep 1066" in anyone("exec", "first", "ps").stdout
    finally:
        os.close(slave)
        os.close(master)
