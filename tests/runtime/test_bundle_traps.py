"""Bundles that set traps for the OCI runtime command: nothing outside is touched, read, written or mounted on."""

import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bundles import OURS, Bundle
from residents import PATIENCE, await_

pytestmark = [pytest.mark.system, pytest.mark.needs("busybox")]
PATTERN = Path("/proc/sys/kernel/core_pattern")


def link(bundle: Bundle, name: str, to: str) -> None:
    """Puts a link in the place of ``name`` in the root file system; OUTSIDE is the directory with the canary."""
    path = bundle.root / name
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(to.replace("OUTSIDE", str(outside(bundle))))


def outside(bundle: Bundle) -> Path:
    return bundle.path.parent / "outside"


def assert_untouched(bundle: Bundle, pattern: str) -> None:
    assert PATTERN.read_text() == pattern
    assert str(outside(bundle)) not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.parametrize("name", ["proc", "sys"])
@pytest.mark.parametrize("to", ["/tmp/x", "OUTSIDE", "..", "../../outside", "tmp", "/proc/self/root"])
def test_a_link_in_the_place_of_the_kernels_files(anyones_bundle: Bundle, name: str, to: str) -> None:
    """CVE-2019-19921, CVE-2023-27561. Guard: ``mounting._real_directory``."""
    link(anyones_bundle, name, to)
    done = anyones_bundle.run("true", check=False)
    assert done.returncode == 1
    assert f"cannot set up /{name} in the container" in done.stderr
    assert anyones_bundle("list", "-q").stdout == ""


@pytest.mark.parametrize(
    "links",
    [
        {"dev": "OUTSIDE"},
        {"dev": "/"},
        {"dev": "../../../../../../../../OUTSIDE"},
        {"dev/null": "/proc/sys/kernel/core_pattern", "dev/pts": "OUTSIDE", "dev/console": "OUTSIDE/canary"},
        {"dev/shm": "OUTSIDE", "dev/mqueue": "OUTSIDE"},
        {"data": "OUTSIDE"},
        {"data": "/proc/self/attr"},
        {"data": "/dev/pts"},
    ],
    ids=str,
)
@pytest.mark.parametrize("own_dev", [True, False], ids=["own-dev", "images-dev"])
def test_links_where_something_is_mounted(anyones_bundle: Bundle, links: dict[str, str], own_dev: bool) -> None:
    """CVE-2026-41579, CVE-2026-47766, CVE-2019-18837, CVE-2025-31133. Guards: ``beneath.open_in`` (RESOLVE_IN_ROOT) and
    ``mounting._host_null``. Where the spec mounts nothing on /dev, the image's own is in use."""
    bundle, pattern = anyones_bundle, PATTERN.read_text()
    for name, to in links.items():
        link(bundle, name, to)
    if not own_dev:
        bundle.spec["mounts"] = [each for each in bundle.spec["mounts"] if each["destination"] != "/dev"]
    for target, kind in (("/data/deep/made", "tmpfs"), ("/data/bound", "bind")):
        bundle.mount(target, kind, *(["rbind"] if kind == "bind" else []), source=bundle.root / "etc")
    bundle.linux["devices"] = [{"path": "/dev/deep/extra", "type": "c", "major": 1, "minor": 3}]
    if bundle.account:
        bundle.linux["devices"] = []
    masked = "/proc/keys /proc/timer_list /proc/interrupts"
    script = f"for f in /dev/null /proc/sys/kernel/core_pattern {masked}; do echo x > $f; done; cat {masked}; echo done"
    done = bundle.run("sh", "-c", script, check=False)
    assert done.stdout in ("", "done\n")
    assert done.returncode in (0, 1), done
    assert "done" in done.stdout or done.stderr.startswith("sampan: ")
    assert "Traceback" not in done.stderr
    assert_untouched(bundle, pattern)


def test_links_in_the_place_of_masked_paths(anyones_bundle: Bundle) -> None:
    """What is to be masked is a link to elsewhere: masked is neither that, nor anything of the host's. Guard:
    ``links=False`` in ``mounting._mask`` and ``mounting._read_only``."""
    bundle, pattern = anyones_bundle, PATTERN.read_text()
    link(bundle, "secret", "OUTSIDE/canary")
    link(bundle, "way", "etc")
    (bundle.root / "etc/file").write_text("file\n")
    for key in ("maskedPaths", "readonlyPaths"):
        for path in ("/secret", "/way/file"):
            bundle.linux[key] = [path]
            done = bundle.run("true", check=False)
            assert (done.returncode, f"cannot set up {path}" in done.stderr) == (1, True), (key, path)
        bundle.linux[key] = []
    assert_untouched(bundle, pattern)


def test_paths_that_this_machine_may_lack_are_masked(anyones_bundle: Bundle) -> None:
    """GHSA-jq35-85cj-fj4p: in the place of sysfs a tree that has them all. Guard: ``defaults.MASKED_PATHS``."""
    bundle = anyones_bundle
    bundle.spec["mounts"] = [each for each in bundle.spec["mounts"] if each["destination"] not in ("/sys", "/proc")]
    for path in ("sys/devices/virtual/powercap", "sys/firmware", "proc/asound", "proc/acpi", "proc/scsi"):
        (bundle.root / path).mkdir(parents=True)
        (bundle.root / path / "secret").write_text("secret\n")
    files = "interrupts kcore keys latency_stats timer_list timer_stats sched_debug"
    for name in files.split():
        (bundle.root / "proc" / name).write_text("secret\n")
    (bundle.root / "bin/find").symlink_to("busybox")
    assert bundle.run("sh", "-c", "find /proc /sys -type f -exec cat {} +; echo done").stdout == "done\n"


@pytest.mark.parametrize("place", ["/data", "/data/self", "/proc/sys", "/proc/self/attr", "/proc", "//proc/../proc/fs"])
@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_nothing_is_mounted_into_proc(anyones_bundle: Bundle, place: str, kind: str) -> None:
    """CVE-2019-16884, CVE-2023-28642: labels and settings would be written to the image's files. Guard:
    ``mounting._refuse_proc``."""
    link(anyones_bundle, "data", "/proc")
    anyones_bundle.mount(place, kind, source=anyones_bundle.root / "etc")
    done = anyones_bundle.run("true", check=False)
    assert done.returncode == 1
    assert "leads into the container's /proc" in done.stderr


def test_numbers_of_the_kernels_can_be_replaced(anyones_bundle: Bundle) -> None:
    """As lxcfs does, and as runc allows: single files that no runtime reads."""
    (anyones_bundle.path / "numbers").write_text("replaced\n")
    anyones_bundle.mount("/proc/meminfo", "bind", "bind", source=anyones_bundle.path / "numbers")
    assert anyones_bundle.run("cat", "/proc/meminfo").stdout == "replaced\n"


@pytest.mark.parametrize("own_dev", [True, False], ids=["own-dev", "images-dev"])
@pytest.mark.parametrize("console", ["OUTSIDE/canary", "/dev/pts/0", "FIFO", "DIRECTORY", ""])
def test_what_is_in_the_place_of_the_console(anyones_bundle: Bundle, console: str, own_dev: bool) -> None:
    """CVE-2025-52565. Guards: O_NOFOLLOW in ``console._bind``, which opens nothing for more than its name."""
    bundle, path = anyones_bundle, anyones_bundle.root / "dev/console"
    if console == "FIFO":
        os.mkfifo(path)
    elif console == "DIRECTORY":
        path.mkdir()
    elif console:
        link(bundle, "dev/console", console)
    if not own_dev:
        bundle.spec["mounts"] = [each for each in bundle.spec["mounts"] if each["destination"] != "/dev"]
        (bundle.root / "dev/pts").mkdir()
    bundle.process["terminal"] = True
    bundle.write("sh", "-c", "test -t 0 && ls -l /dev/console && echo done")
    sent = bundle.path / "console"
    masters: list[int] = []

    def receive() -> None:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            return
        with connection:
            masters.extend(socket.recv_fds(connection, 100, 1)[1])

    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(PATIENCE)
        listener.bind(str(sent))
        sent.chmod(0o777)
        listener.listen()
        thread = threading.Thread(target=receive)
        thread.start()
        name = bundle.name()
        done = bundle("create", "-b", bundle.path, "--console-socket", sent, name, check=False)
        if done.returncode == 0:
            bundle("start", name)
            thread.join(PATIENCE)
            assert "done" in told(masters[0])
        else:
            with socket.socket(socket.AF_UNIX) as nobody:
                nobody.connect(str(sent))
            thread.join(PATIENCE)
            assert "the container's /dev/console is a" in done.stderr, done.stderr
    for master in masters:
        os.close(master)
    assert done.returncode == 0 or (not own_dev and console not in ("FIFO", ""))


def told(master: int) -> str:
    text = b""
    while b"done" not in text:
        try:
            data = os.read(master, 1000)
        except OSError:
            break
        text += data
    return text.decode()


@pytest.mark.parametrize("preserved", [0, 2])
def test_working_directories_do_not_lead_out(anyones_bundle: Bundle, preserved: int) -> None:
    """CVE-2024-21626. Guards: RESOLVE_NO_MAGICLINKS in ``beneath``, and ``init._enter``."""
    bundle = anyones_bundle
    where = outside(bundle)
    leaking = ("sh", "-c", f'exec 3<{where} 4<{where} 7<{where} 9</; exec "$@"', "sh", *OURS)
    script = "pwd; ls -a; ls -a ..; cat canary ../outside/canary"
    running = bundle.create("sleep", "1000")
    bundle("start", running)
    for number in range(3, 11):
        way = f"/proc/self/fd/{number}"
        bundle.process["cwd"] = way
        bundle.write("sh", "-c", script)
        words = ("-b", str(bundle.path), "--preserve-fds", str(preserved), bundle.name())
        begun = ("--cwd", way, "--preserve-fds", str(preserved), running, "sh", "-c", script)
        for verb, rest in (("run", words), ("exec", begun)):
            done = bundle(verb, *rest, program=leaking, check=False)
            assert "canary\n" not in done.stdout, (verb, way, done.stdout)
            assert "outside" not in done.stdout


SETTINGS = {
    "kernel.core_pattern": "|/x",
    "kernel.shm_rmid_forced": "1+kernel.core_pattern=|/x",
    "kernel.msgmax": "1\nkernel.core_pattern=|/x",
    "kernel.msgmax+kernel.core_pattern": "|/x",
    "kernel.msgmax=1 kernel.core_pattern": "|/x",
    "kernel.msgmax\nkernel.core_pattern": "|/x",
    "kernel/core_pattern": "|/x",
    "kernel.msgmax/../core_pattern": "|/x",
    "net.ipv4.ip_forward/../../../kernel/core_pattern": "|/x",
    "net.../kernel.core_pattern": "|/x",
    "net..ipv4.ip_forward ": "1",
    "fs.mqueue.../../kernel/core_pattern": "|/x",
    "vm.overcommit_memory": "1",
    "net": "1",
    "": "1",
}


@pytest.mark.parametrize("key", SETTINGS)
def test_settings_smuggle_nothing_in(anyones_bundle: Bundle, key: str) -> None:
    """CVE-2022-0811. Guard: ``rootfs._sysctl``."""
    pattern = PATTERN.read_text()
    anyones_bundle.linux["sysctl"] = {key: SETTINGS[key]}
    done = anyones_bundle.run("true", check=False)
    assert done.returncode == 1
    assert_untouched(anyones_bundle, pattern)


@pytest.mark.parametrize("own", ["net", "uts", "ipc"])
def test_settings_are_not_the_hosts(anyones_bundle: Bundle, own: str) -> None:
    """A namespace that is given by a path can be the host's all the same. Guard: ``namespaces.apart``."""
    bundle = anyones_bundle
    kind = {"net": "network"}.get(own, own)
    others = [each for each in bundle.linux["namespaces"] if each["type"] != kind]
    given = [*others, {"type": kind, "path": f"/proc/self/ns/{own}"}]
    setting = {"net": "net.ipv4.ip_forward", "uts": "kernel.domainname", "ipc": "kernel.msgmax"}[own]
    file = Path("/proc/sys", setting.replace(".", "/"))
    before, name = file.read_text(), socket.gethostname()
    bundle.spec["hostname"] = ""
    bundle.linux["namespaces"], bundle.linux["sysctl"] = given, {setting: before.strip()}
    done = bundle.run("true", check=False)
    assert (done.returncode, "would be the host's" in done.stderr) == (1, True), done.stderr
    if own == "uts":
        bundle.linux["sysctl"], bundle.spec["hostname"] = {}, "taken"
        assert "would be the host's" in bundle.run("true", check=False).stderr
    assert (file.read_text(), socket.gethostname()) == (before, name)


def test_more_mounts_than_64_kib(anyones_bundle: Bundle) -> None:
    """CVE-2021-43784: lengths of 16 bits that wrap around. Guard: none of the kind is used; each mount is there."""
    bundle = anyones_bundle
    count = 700
    long = "x" * 200
    for number in range(count):
        bundle.mount(f"/etc/{long}{number}", "bind", "bind", "ro", source=bundle.root / "etc")
    bundle.linux["maskedPaths"] += [f"/nonexistent/{long}{number}" for number in range(400)]
    bundle.write("sh", "-c", f"grep -c {long} /proc/self/mountinfo; cat /proc/keys; echo done")
    (bundle.root / "bin/grep").symlink_to("busybox")
    assert (bundle.path / "config.json").stat().st_size > 2 << 16
    assert bundle("run", "-b", bundle.path, bundle.name()).stdout == f"{count}\ndone\n"


USERS = {
    "1000:": None, ":5": None, "0x1": None, "4294967296": None, "4294967295": None, "-1": None, "+0": None,
    " 0": None, "0 ": None, "1e3": None, "٠": None, "0:": None, "0:0x1": None, "0:-1": None, "0:4294967295": None,
    "18446744073709551616": None, "root": None, "0:0:0": None, "0": "0 0", "0:0": "0 0", "00": "0 0",
}  # fmt: skip


def test_users_of_exec(anyones_bundle: Bundle) -> None:
    """CVE-2026-30892: a user that is read by half, or wraps around, is another one. Guard: ``bundles._take_user``."""
    name = anyones_bundle.create("sleep", "1000")
    anyones_bundle("start", name)
    for user, expected in USERS.items():
        done = anyones_bundle("exec", "-u", user, name, "sh", "-c", "echo $(id -u) $(id -g)", check=False)
        assert (done.returncode, done.stdout.strip()) == ((0, expected) if expected else (1, "")), (user, done)
    assert anyones_bundle("exec", "-u", "", name, "id", "-u", check=False).stdout in ("0\n", "")


IDS: dict[str, dict[str, Any]] = {
    "a uid of 32 ones": {"uid": 2**32 - 1, "gid": 0},
    "a uid that wraps around": {"uid": 2**32, "gid": 0},
    "a uid below zero": {"uid": -1, "gid": 0},
    "a uid of words": {"uid": "0", "gid": 0},
    "a uid of a fraction": {"uid": 0.5, "gid": 0},
    "a gid that wraps around": {"uid": 0, "gid": 2**32},
    "a group that wraps around": {"uid": 0, "gid": 0, "additionalGids": [2**32]},
    "groups that are no list": {"uid": 0, "gid": 0, "additionalGids": "0"},
    "a group that is null": {"uid": None, "gid": None, "additionalGids": [None]},
}


@pytest.mark.parametrize("name", IDS)
def test_users_of_a_bundle(anyones_bundle: Bundle, name: str) -> None:
    """The same of CVE-2024-40635. Guard: ``bundle.check_process``."""
    anyones_bundle.process["user"] = IDS[name]
    done = anyones_bundle.run("id", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") <= 2


LOOK = """
for p in /proc/[0-9]*; do
    [ "$(cat $p/cmdline 2>/dev/null | tr -d '\\0')" = sampan-init ] || continue
    echo found
    for what in fd/0 fd/1 fd/3 fd/4 fd/5 exe root cwd ns/mnt ns/pid; do readlink $p/$what && echo reached $what; done
    for what in environ mem maps; do head -c1 $p/$what && echo reached $what; done
    for what in fd/0 fd/3 root cwd; do ls $p/$what/ && echo reached $what/; done
done
"""


@pytest.mark.parametrize("way", ["created", "entering"])
def test_a_process_that_waits_is_out_of_reach(anyones_bundle: Bundle, way: str) -> None:
    """CVE-2016-9962: root inside looks at a process that is set up and waits to become its program. Guards:
    PR_SET_DUMPABLE in ``init._enter_namespaces`` and ``enter._join``."""
    bundle = anyones_bundle
    for name in ("head", "tr"):
        (bundle.root / "bin" / name).symlink_to("busybox")
    hull = bundle.create("sleep", "1000")
    bundle("start", hull)
    with created_beside(bundle, hull) if way == "created" else entering(bundle, hull):
        assert await_(lambda: "found" in bundle("exec", hull, "sh", "-c", LOOK, check=False).stdout)
        assert bundle("exec", hull, "sh", "-c", LOOK, check=False).stdout == "found\n"


@contextmanager
def created_beside(bundle: Bundle, hull: str) -> Iterator[None]:
    """Another container in the pid and user namespaces of the first, waiting at its gate."""
    pid = json.loads(bundle("state", hull).stdout)["pid"]
    for each in bundle.linux["namespaces"]:
        if each["type"] in ("pid", "user"):
            each["path"] = f"/proc/{pid}/ns/{each['type']}"
    for key in ("uidMappings", "gidMappings"):
        bundle.linux.pop(key, None)
    bundle.create("sleep", "1000")
    yield


@contextmanager
def entering(bundle: Bundle, hull: str) -> Iterator[None]:
    """An exec that is held up: nobody takes its terminal."""
    path = bundle.path / "console"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(path))
        path.chmod(0o777)
        listener.listen(0)
        first.connect(str(path))
        words = [*OURS, "--root", str(bundle.state), "exec", "-t", "--console-socket", str(path), hull, "sleep", "1000"]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, **bundle.identity()) as process:
            try:
                yield
            finally:
                process.kill()
