"""What a container cannot do, each with a canary outside that must stay as it is; as root and as an ordinary user.

Programs inside are scripts for the host's own Python, which is mounted read-only beside the image's files.
"""

import hashlib
import json
import os
import platform
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import images
from commands import Sampan
from residents import IMAGE, assert_clean, await_, processes, read_until, started
from trees import Directory, Link

pytestmark = [pytest.mark.system]

RUN = ("run", "--rm", "--network", "none")
PYTHON = ("/opt/python3", "-SI", "-c")
LIBRARIES = tuple(path for path in ("/usr", "/lib", "/lib64") if os.path.exists(path))
IMPORTS = "import ctypes, errno, json, os, socket, stat, sys, time\n"
DOCKERS_CAPABILITIES = 0xA80425FB

MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware",
    "/sys/devices/virtual/powercap", "/sys/devices/system/cpu/cpu0/thermal_throttle",
)  # fmt: skip
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def with_python(sampan: Sampan) -> tuple[str, ...]:
    """Options that mount the host's Python. Its program is a copy: the runtime refuses to execute its own file."""
    copy = sampan.root / "python3"
    if not copy.exists():
        shutil.copy("/usr/bin/python3", copy)
        copy.chmod(0o755)
    sources = (f"{copy}:/opt/python3", *(f"{path}:{path}" for path in LIBRARIES))
    return tuple(word for source in sources for word in ("-v", f"{source}:ro"))


def python(sampan: Sampan, script: str, *options: str, image: str = IMAGE) -> Any:
    """What a script inside a new container prints as JSON."""
    return json.loads(sampan(*RUN, *with_python(sampan), *options, image, *PYTHON, IMPORTS + script).stdout)


@pytest.fixture
def hull(anyone: Sampan) -> Sampan:
    """A store with a running container of this name, which has Python."""
    anyone("run", "-d", "--network", "none", "--name", "hull", *with_python(anyone), IMAGE, "sleep", "1000")
    return anyone


def python_exec(sampan: Sampan, script: str, *options: str) -> Any:
    """What a script inside the container "hull" prints as JSON."""
    return json.loads(sampan("exec", *options, "hull", *PYTHON, IMPORTS + script).stdout)


@pytest.fixture
def outside(anyone: Sampan) -> Iterator[Path]:
    """A directory of the user's on the host with a canary; it is the same afterwards."""
    directory = anyone.root / "outside"
    directory.mkdir()
    (directory / "canary").write_text("canary\n")
    if anyone.account:
        for path in (directory, directory / "canary"):
            os.chown(path, anyone.account.uid, anyone.account.gid)
    before = _shape(directory)
    yield directory
    assert _shape(directory) == before


def _shape(directory: Path) -> list[tuple[object, ...]]:
    paths = [directory, *sorted(directory.rglob("*"))]
    return [
        (path, path.read_bytes() if path.is_file() else b"", status.st_mode, status.st_uid, status.st_nlink)
        for path in paths
        for status in [path.lstat()]
    ]


# -- what there is to see -----------------------------------------------------------------------------------------


def test_no_process_of_the_host_is_visible(anyone: Sampan) -> None:
    with subprocess.Popen(["sleep", "4242"]) as canary:
        try:
            script = "pids = [name for name in os.listdir('/proc') if name.isdigit()]"
            seen = python(
                anyone, f"{script}; print(json.dumps({{p: open(f'/proc/{{p}}/cmdline').read() for p in pids}}))"
            )
        finally:
            canary.kill()
    assert list(seen) == ["1"]
    assert "4242" not in seen["1"]


def test_its_namespaces_are_its_own(anyone: Sampan) -> None:
    kinds = ("pid", "mnt", "uts", "ipc", "net", "cgroup")
    own = python(anyone, f"print(json.dumps([os.readlink('/proc/self/ns/' + kind) for kind in {kinds}]))")
    assert not set(own) & {os.readlink(f"/proc/self/ns/{kind}") for kind in kinds}


def test_masked_paths_say_nothing(anyone: Sampan) -> None:
    script = f"""
def content(path):
    try:
        return os.listdir(path) if os.path.isdir(path) else open(path, 'rb').read(64).hex()
    except OSError as error:
        return error.errno
print(json.dumps({{path: content(path) for path in {MASKED} if os.path.lexists(path)}}))"""
    contents = python(anyone, script)
    assert contents
    assert all(content in ("", []) for content in contents.values()), contents


WRITE = """
def write(path, flags=os.O_WRONLY):
    try:
        os.close(os.open(path, flags))
        return 'opened'
    except OSError as error:
        return errno.errorcode[error.errno]
"""


def test_read_only_paths_cannot_be_written(anyone: Sampan) -> None:
    files = (
        "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/vm/drop_caches",
        "/proc/sys/net/ipv4/ip_forward", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity",
        "/sys/kernel/uevent_helper", "/sys/kernel/mm/transparent_hugepage/enabled",
    )  # fmt: skip
    script = f"""{WRITE}
flags = {{path: os.statvfs(path).f_flag & os.ST_RDONLY for path in {READONLY} if os.path.exists(path)}}
print(json.dumps([flags, {{path: write(path) for path in {files} if os.path.exists(path)}}]))"""
    flags, writes = python(anyone, script)
    assert set(flags) == {path for path in READONLY if os.path.exists(path)}
    assert set(flags.values()) == {1}
    assert len(writes) >= 3
    assert set(writes.values()) <= {"EROFS", "EACCES"}, writes


def test_sys_and_cgroups_are_read_only(anyone: Sampan) -> None:
    """Also without a cgroup namespace's help (runc's CVE-2023-25809), and no release_agent (CVE-2022-0492)."""
    script = f"""{WRITE}
found, writable = [], []
for top, directories, names in os.walk('/sys/fs/cgroup'):
    for name in names:
        if name in ('cgroup.procs', 'tasks', 'release_agent', 'devices.allow', 'cgroup.subtree_control'):
            found.append(name)
            if write(f'{{top}}/{{name}}') == 'opened':
                writable.append(f'{{top}}/{{name}}')
    try:
        os.mkdir(f'{{top}}/made')
        writable.append(top)
    except OSError:
        pass
print(json.dumps([found, writable, os.statvfs('/sys').f_flag & os.ST_RDONLY, open('/proc/self/cgroup').read()]))"""
    found, writable, read_only, cgroup = python(anyone, script)
    assert writable == []
    assert read_only == 1
    if not anyone.account:
        assert found
        assert "sampan" not in cgroup


# -- what it may do -----------------------------------------------------------------------------------------------

STATUS = """
fields = dict(line.split(':\\t', 1) for line in open('/proc/self/status').read().splitlines())
names = ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')
print(json.dumps([*(int(fields[name], 16) for name in names), int(fields['NoNewPrivs']), int(fields['Seccomp'])]))"""


def test_capabilities_are_dockers(hull: Sampan) -> None:
    """None is inheritable (CVE-2022-24769 and its kin); without privileges no program can gain any."""
    expected = DOCKERS_CAPABILITIES & _own_bounding()
    no_new_privileges = int(hull.account is not None)
    wanted = [0, expected, expected, expected, 0, no_new_privileges, 2]
    assert python(hull, STATUS) == wanted
    assert python_exec(hull, STATUS) == wanted


def test_other_users_have_no_capabilities(root: Sampan) -> None:
    expected = [0, 0, 0, DOCKERS_CAPABILITIES & _own_bounding(), 0, 0, 2]
    assert python(root, STATUS, "-u", "bob") == expected
    root("run", "-d", "--network", "none", "--name", "hull", *with_python(root), IMAGE, "sleep", "1000")
    assert python_exec(root, STATUS, "-u", "bob") == expected
    root("run", "-d", "--network", "none", "--name", "bobs", "-u", "bob", *with_python(root), IMAGE, "sleep", "1000")
    own = json.loads(root("exec", "bobs", *PYTHON, IMPORTS + STATUS).stdout)
    assert own == expected
    # Root in it, when asked for, has what the container may have and no more.
    full = DOCKERS_CAPABILITIES & _own_bounding()
    assert json.loads(root("exec", "-u", "0", "bobs", *PYTHON, IMPORTS + STATUS).stdout) == [0, *[full] * 3, 0, 0, 2]


def _own_bounding() -> int:
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["CapBnd"], 16)


CALLS = {
    "keyctl": 250, "add_key": 248, "request_key": 249, "bpf": 321, "userfaultfd": 323, "io_uring_setup": 425,
    "perf_event_open": 298, "kexec_load": 246, "init_module": 175, "finit_module": 313, "setns": 308, "mount": 165,
    "umount2": 166, "pivot_root": 155, "open_by_handle_at": 304, "open_tree": 428, "move_mount": 429, "fsopen": 430,
    "swapon": 167, "reboot": 169, "acct": 163, "settimeofday": 164, "quotactl": 179, "kcmp": 312,
}  # fmt: skip


def test_refused_system_calls(hull: Sampan) -> None:
    """A rich source of holes in kernels: refused before the kernel looks at them."""
    if platform.machine() != "x86_64":
        pytest.skip("the machine is no x86_64, whose numbers these are")
    script = f"""
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    libc.syscall(number, *arguments)
    return errno.errorcode.get(ctypes.get_errno(), 'worked')
def family(number):
    try:
        socket.socket(number, socket.SOCK_SEQPACKET).close()
        return 'worked'
    except OSError as error:
        return errno.errorcode[error.errno]
results = {{name: call(number, *[0] * 6) for name, number in {CALLS}.items()}}
for flag in (0x10000000, 0x20000, 0x40000000, 0x2000000):
    results[f'unshare {{flag:x}}'] = call(272, flag)
    if flag != 0x2000000:
        results[f'clone {{flag:x}}'] = call(56, flag | 17, 0, 0, 0, 0)
results['personality'] = call(135, 0x40000)
results['AF_ALG'], results['AF_VSOCK'] = family(38), family(40)
results['clone3'] = call(435, 0, 0)
print(json.dumps(results))"""
    for results in (python(hull, script), python_exec(hull, script)):
        assert results.pop("clone3") == "ENOSYS"
        assert {name: result for name, result in results.items() if result != "EPERM"} == {}


def test_the_keys_of_the_host_are_out_of_reach(root: Sampan) -> None:
    """A session keyring of its own, seen by a program that no filter holds."""
    script = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
join = libc.syscall(250, 1, 0)
if join < 0:
    print("no keyrings"), sys.exit()
assert libc.syscall(248, b"user", b"sampan-canary", b"secret", 6, ctypes.c_long(-3)) > 0
sys.path.append(sys.argv[1])
from sampan.runtime import defaults, launch
find = ("import ctypes; libc = ctypes.CDLL(None); "
    "found = libc.syscall(250, 10, ctypes.c_long(-3), b'user', b'sampan-canary', 0); "
    "print('found' if found > 0 else 'nothing', flush=True)")
spec = defaults.base_spec(["/opt/python3", "-SI", "-c", find], ["PATH=/bin"], "/")
for path in sys.argv[4:]:
    spec["mounts"].append(defaults.bind(path, path))
spec["mounts"].append(defaults.bind(sys.argv[3], "/opt/python3"))
spec["linux"]["seccomp"] = None
null = os.open("/dev/null", os.O_RDWR)
process = launch.create(spec, sys.argv[2], rootfs=None, stdio=(null, 1, 2))
process.start()
process.wait()
process.close()
"""
    if platform.machine() != "x86_64":
        pytest.skip("the machine is no x86_64, whose numbers these are")
    source = Path(__file__).parents[2] / "src"
    with_python(root)
    command = [sys.executable, "-c", script, source, root.root / "bundle", root.root / "python3", *LIBRARIES]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) in (("nothing\n", ""), ("no keyrings\n", ""))


# -- devices ------------------------------------------------------------------------------------------------------


def test_devices_made_inside_do_not_work(root: Sampan) -> None:
    script = """
results = {}
for directory in ('/', '/tmp', '/dev', '/dev/shm', '/data', '/vol', '/bound'):
    path = f'{directory}/node'
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.close(os.open(path, os.O_RDWR))
        results[directory] = 'works'
    except OSError as error:
        results[directory] = errno.errorcode[error.errno]
print(json.dumps(results))"""
    bound = root.root / "bound"
    bound.mkdir()
    results = python(root, script, "-v", "/vol", "-v", f"{bound}:/bound")
    assert set(results.values()) == {"EACCES"}, results


def test_devices_of_an_image_do_not_work(root: Sampan) -> None:
    images.put(root, "devices", {"null": images.Device(tarfile.CHRTYPE, 1, 3)})
    done = root(*RUN, "devices", "sh", "-c", "ls -l /null; : > /null", check=False)
    assert done.returncode != 0
    assert "Permission denied" in done.stderr


def test_the_hosts_device_nodes_stay_as_they_are(anyone: Sampan) -> None:
    before = {name: os.stat(f"/dev/{name}") for name in ("null", "zero", "full", "random", "urandom", "tty")}
    names = tuple(before)
    script = f"""
results = []
for name in {names}:
    for change in (os.chmod, (0,)), (os.chown, (1, 1)), (os.utime, ((1, 1),)):
        try:
            change[0](f'/dev/{{name}}', *change[1])
            results.append(name)
        except OSError:
            pass
os.close(os.open('/dev/null', os.O_RDWR))
print(json.dumps([results, sorted(os.listdir('/dev'))]))"""
    changed, listed = python(anyone, script)
    assert changed == []
    assert {name: os.stat(f"/dev/{name}").st_mode for name in names} == {name: s.st_mode for name, s in before.items()}
    assert set(listed) <= {
        "console", "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout",
        "tty", "urandom", "zero",
    }  # fmt: skip


# -- descriptors and working directories --------------------------------------------------------------------------

DESCRIPTORS = """
found = {}
for name in os.listdir('/proc/self/fd'):
    try:
        found[int(name)] = os.readlink(f'/proc/self/fd/{name}')
    except FileNotFoundError:
        pass
print(json.dumps([found, os.getcwd()]))"""


@pytest.fixture
def leak(outside: Path) -> Iterator[int]:
    """An open directory of the host that the command line inherits."""
    fd = os.open(outside, os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(fd, True)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("options", [(), ("-i",), ("-t",)])
def test_no_descriptor_but_the_standard_ones(hull: Sampan, leak: int, options: tuple[str, ...]) -> None:
    commands = (("run", "--rm", "--network", "none", *with_python(hull), *options, IMAGE), ("exec", *options, "hull"))
    for command in commands:
        found, _ = json.loads(hull(*command, *PYTHON, IMPORTS + DESCRIPTORS, pass_fds=(leak,)).stdout)
        assert set(found) == {"0", "1", "2"}
        assert all(target.startswith(("pipe:", "/dev/null", "/dev/pts/")) for target in found.values()), found


def test_working_directories_do_not_lead_out(hull: Sampan, leak: int, outside: Path) -> None:
    """CVE-2024-21626: the working directory is a descriptor that was open while the container was made."""
    script = "pwd; ls -a; ls -a ..; ls -a ../..; cat canary ../outside/canary"
    for number in range(3, 13):
        path = f"/proc/self/fd/{number}"
        image = f"way{number}"
        if number % 3 == 0:
            images.put(hull, image, {}, {"WorkingDir": path})
            done = hull(*RUN, image, "sh", "-c", script, pass_fds=(leak,), check=False)
            assert "canary\n" not in done.stdout
        for command in ((*RUN, "-w", path, IMAGE), ("exec", "-w", path, "hull")):
            done = hull(*command, "sh", "-c", script, pass_fds=(leak,), check=False)
            assert "canary\n" not in done.stdout, (command, done.stdout)
            assert "outside" not in done.stdout


# -- images that set traps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_a_link_in_the_place_of_the_kernels_files(anyone: Sampan, outside: Path, name: str) -> None:
    """CVE-2019-19921, CVE-2019-16884: the image's own files would be taken for the kernel's."""
    for target in ("/tmp/x", str(outside), "..", "/data"):
        images.put(anyone, "trap", {name: Link(target)})
        done = anyone(*RUN, "trap", "ls", f"/{name}", check=False)
        assert done.returncode == 125, (target, done)
        assert f"cannot set up /{name} in the container" in done.stderr
    assert_clean(anyone)


@pytest.mark.parametrize(
    "nodes",
    [
        {"dev": "OUTSIDE"},
        {"dev": "/"},
        {"dev": "../../../../../../OUTSIDE"},
        {
            "dev": Directory(),
            "dev/null": "/proc/sys/kernel/core_pattern",
            "dev/pts": "OUTSIDE",
            "dev/console": "OUTSIDE",
        },
        {"dev": Directory(), "dev/shm": "OUTSIDE", "dev/mqueue": "OUTSIDE"},
        {"etc/hosts": "OUTSIDE/canary", "etc/resolv.conf": "OUTSIDE/new", "etc/hostname": "/proc/1/environ"},
        {"etc/hosts": Directory(), "etc/resolv.conf": Directory()},
        {"etc/hosts": "hosts", "etc/resolv.conf": "/dev/full"},
        {"etc/passwd": "OUTSIDE/canary", "etc/group": "OUTSIDE/canary"},
    ],
)
@pytest.mark.parametrize("terminal", [(), ("-t",)])
def test_links_where_something_is_mounted(
    anyone: Sampan, outside: Path, nodes: dict[str, Any], terminal: tuple[str, ...]
) -> None:
    """CVE-2026-41579, CVE-2025-31133, CVE-2025-52565 and their kin: nothing outside is touched, read or mounted on."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text()
    trap = {
        name: Link(node.replace("OUTSIDE", str(outside)).replace("..//", "../")) if isinstance(node, str) else node
        for name, node in nodes.items()
    }
    images.put(anyone, "trap", trap)
    script = (
        "echo x > /dev/null; echo x > /proc/sys/kernel/core_pattern; cat /proc/timer_list /proc/keys; "
        "cat /etc/hosts /etc/passwd; ls /dev /dev/pts; echo done"
    )
    done = anyone(*RUN, *terminal, "trap", "sh", "-c", script, check=False)
    assert done.returncode in (0, 125), done
    assert "canary" not in done.stdout + done.stderr
    if done.returncode == 0:
        assert "done" in done.stdout
    else:
        assert done.stderr.count("\n") <= 2
    assert Path("/proc/sys/kernel/core_pattern").read_text() == pattern
    assert str(outside) not in Path("/proc/self/mountinfo").read_text()


def test_volumes_of_an_image_stay_away_from_the_kernel(anyone: Sampan) -> None:
    """CVE-2019-16884 and runc's kin: an image's volume over /proc."""
    for volume in ("/proc", "/proc/self", "/tmp/../proc", "//proc/", "/"):
        images.put(anyone, "trap", {}, {"Volumes": {volume: {}}})
        done = anyone(*RUN, "trap", "true", check=False)
        assert done.returncode == 125, volume
        assert "cannot be a volume" in done.stderr
    assert_clean(anyone)


def test_no_volume_gets_there_by_a_link(anyone: Sampan, outside: Path) -> None:
    images.put(anyone, "trap", {"way": Link("/proc"), "deep": Directory(), "deep/way": Link("../way/self")})
    images.put(anyone, "trap2", {"way": Link("/proc")}, {"Volumes": {"/way": {}}})
    for options in (
        ("-v", "vol:/way", "trap"),
        ("-v", f"{outside}:/way/1/attr", "trap"),
        ("-v", "vol:/deep/way", "trap"),
        ("trap2",),
    ):
        for network in ("none", "host"):
            done = anyone("run", "--rm", "--network", network, *options, "true", check=False)
            assert done.returncode == 125, (options, network)
            assert "leads into the container's /proc" in done.stderr


def test_volumes_of_an_image_copy_nothing_of_the_host(anyone: Sampan, outside: Path) -> None:
    """containerd's CVE-2022-23648: a volume's path leads out, and the host's directory is copied into it."""
    climbing = {"Volumes": {f"/../../../..{outside}": {}, "/../../etc": {}, "/way": {}}}
    images.put(anyone, "trap", {"way": Link(str(outside))}, climbing)
    done = anyone(*RUN, "trap", "sh", "-c", f"cat /etc/passwd; ls {outside} /way", check=False)
    assert "canary" not in done.stdout
    if done.returncode == 0:
        assert done.stdout.startswith(images.PASSWD)


def test_variables_without_a_value_draw_none_from_the_host(anyone: Sampan) -> None:
    """podman's CVE-2026-57231."""
    images.put(anyone, "trap", {}, {"Env": ["PATH=/bin", "AWS_SECRET_ACCESS_KEY", "*", "AWS_*", "=x", "", "OK=1"]})
    secret = {"AWS_SECRET_ACCESS_KEY": "c4nary", "AWS_OTHER": "c4nary"}
    done = anyone(*RUN, "trap", "env", environment=secret)
    assert "c4nary" not in done.stdout
    assert "OK=1" in done.stdout.splitlines()
    assert "c4nary" not in anyone(*RUN, "-i", "trap", "cat", "/proc/1/environ", environment=secret).stdout


@pytest.mark.parametrize(
    ("user", "sentence"),
    [
        ("4294967296", "a user id is a number from 0 to 2147483647"),
        ("4294967295", "a user id is a number from 0 to 2147483647"),
        ("2147483648", "a user id is a number from 0 to 2147483647"),
        ("-1", "a user id is a number from 0 to 2147483647"),
        ("0:4294967296", "a group id is a number from 0 to 2147483647"),
        ("0:-1", "a group id is a number from 0 to 2147483647"),
        ("0x1", "unable to find user 0x1"),
        ("+0", "unable to find user +0"),
        (" 0", "unable to find user"),
        ("1e0", "unable to find user 1e0"),
        ("٠", "unable to find user"),
        ("bob:0x1", "unable to find group 0x1"),
        ("bob:staff:root", "unable to find group staff:root"),
    ],
)
def test_users_that_are_none(anyone: Sampan, user: str, sentence: str) -> None:
    """CVE-2024-40635, CVE-2026-30892: a number that wraps around, or is read by half, would be root's."""
    images.put(anyone, "trap", {}, {"User": user})
    anyone("run", "-d", "--network", "none", "--name", "hull", IMAGE, "sleep", "1000")
    for command, code in (
        ((*RUN, "-u", user, IMAGE), 125), ((*RUN, "trap"), 125), (("exec", "-u", user, "hull"), 1),
    ):  # fmt: skip
        done = anyone(*command, "id", check=False)
        assert (done.returncode, done.stdout) == (code, ""), command
        assert sentence in done.stderr


@pytest.mark.parametrize(
    ("user", "expected"),
    [("1000:", "1000 1001 [50, 60, 1001]"), (":5", "0 5 [5]"), ("01000", "1000 1001 [50, 60, 1001]")],
)
def test_users_that_are_odd(root: Sampan, user: str, expected: str) -> None:
    script = "print(json.dumps(f'{os.getuid()} {os.getgid()} {sorted(os.getgroups())}'))"
    assert python(root, script, "-u", user) == expected


def test_a_number_is_no_name(root: Sampan) -> None:
    """CVE-2026-46680: the image's passwd has a user whose name is a number."""
    images.put(root, "trap", {"etc/passwd": "root:x:0:0::/:/bin/sh\n1000:x:0:0::/:/bin/sh\n4294967296:x:0:0::/:\n"})
    assert root(*RUN, "-u", "1000", "trap", "id", "-u").stdout == "1000\n"
    assert root(*RUN, "-u", "4294967296", "trap", "id", "-u", check=False).returncode == 125


@pytest.mark.parametrize("file", [images.Fifo(), Directory(), Link("/dev/zero"), Link("passwd"), "x" * (2 << 20)])
def test_odd_files_in_the_place_of_passwd(anyone: Sampan, file: Any) -> None:
    """podman's CVE-2024-9676: the engine neither waits for ever, nor reads without end, nor leaves the image."""
    images.put(anyone, "trap", {"etc/passwd": file})
    done = anyone(*RUN, "-u", "bob", "trap", "id", check=False, timeout=60)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("sampan: ")


# -- the runtime itself -------------------------------------------------------------------------------------------

TAKE = """#!/proc/self/exe
import os, sys
exe = os.open("/proc/self/exe", os.O_PATH)
os.set_inheritable(exe, True)
status, flags = os.stat(exe), os.fstatvfs(exe).f_flag
print(status.st_ino, flags & os.ST_RDONLY, flush=True)
code = '''
import errno, os, sys
for path in (f"/proc/self/fd/{sys.argv[1]}", "/proc/1/exe"):
    try:
        os.close(os.open(path, os.O_WRONLY))
        print("opened")
    except OSError as error:
        print(errno.errorcode[error.errno])
'''
os.execv("/opt/python3", ["python3", "-SI", "-c", code, str(exe)])
"""


def test_the_runtimes_own_file_cannot_be_written(root: Sampan) -> None:
    """CVE-2019-5736: a script's interpreter is the runtime itself; the program then keeps and overwrites its file."""
    interpreter = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    before = hashlib.sha256(Path(interpreter).read_bytes()).hexdigest()
    images.put(root, "trap", {"take": TAKE})
    root("run", "-d", "--network", "none", "--name", "hull", *with_python(root), "trap", "sleep", "1000")
    for command in ((*RUN, *with_python(root), "trap"), ("exec", "hull")):
        done = root(*command, "/take", check=False)
        # It runs, as with any runtime; what counts is that the file lies on a mount of its own that is read-only.
        assert done.returncode == 0
        inode, read_only, *results = done.stdout.split()
        assert (int(inode), read_only) == (os.stat(interpreter).st_ino, "1")
        assert set(results) <= {"EROFS", "ETXTBSY"}
    assert hashlib.sha256(Path(interpreter).read_bytes()).hexdigest() == before


def test_the_runtime_is_not_executed_as_the_program(anyone: Sampan) -> None:
    images.put(anyone, "trap", {"entry": Link("/proc/self/exe"), "bin/other": Link("/proc/self/exe")})
    anyone("run", "-d", "--network", "none", "--name", "hull", *with_python(anyone), "trap", "sleep", "1000")
    for program in ("/entry", "other", "/proc/self/exe"):
        for command in ((*RUN, *with_python(anyone), "trap"), ("exec", "hull")):
            done = anyone(*command, program, "-c", "print('ran')", check=False)
            assert (done.returncode, done.stdout) == (126, ""), (command, program)
            assert "it is the container runtime itself" in done.stderr


WATCH = """
seen, leaks = 0, []
print('up', flush=True)
while seen < 40 and not os.path.exists('/tmp/end'):
    for pid in os.listdir('/proc'):
        if not pid.isdigit() or int(pid) in (1, os.getpid()):
            continue
        try:
            if b'sampan' not in open(f'/proc/{pid}/cmdline', 'rb').read():
                continue
        except OSError:
            continue
        seen += 1
        for what in ('fd', 'root', 'cwd', 'exe', 'environ', 'mem', 'map_files'):
            path = f'/proc/{pid}/{what}'
            try:
                if what in ('fd', 'map_files'):
                    os.listdir(path) and os.readlink(f'{path}/{os.listdir(path)[0]}')
                elif what in ('environ', 'mem'):
                    os.close(os.open(path, os.O_RDONLY))
                else:
                    os.readlink(path)
                if b'sampan' in open(f'/proc/{pid}/cmdline', 'rb').read():
                    leaks.append(what)
            except OSError:
                continue
print(json.dumps([seen, leaks]), flush=True)
"""


def test_a_process_that_is_entering_is_out_of_reach(anyone: Sampan) -> None:
    """CVE-2016-9962: root inside looks for the descriptors of an exec that is being set up."""
    anyone("run", "-d", "--network", "none", "--name", "hull", *with_python(anyone), IMAGE, "sleep", "1000")
    with started(anyone, "exec", "hull", *PYTHON, IMPORTS + WATCH) as watcher:
        read_until(watcher.stdout, "up\n")
        for _ in range(60):
            anyone("exec", "hull", "true")
            if watcher.poll() is not None:
                break
        anyone("exec", "hull", "touch", "/tmp/end")
        assert watcher.wait(60) == 0
        assert watcher.stdout
        seen, leaks = json.loads(watcher.stdout.read())
    assert seen > 0
    assert leaks == []


def test_mount_targets_that_move(root: Sampan) -> None:
    """CVE-2021-30465, CVE-2024-45310: a shared volume in which a directory and a link take turns in one place."""
    outside = root.root / "outside"
    outside.mkdir()
    swap = f"""
os.chdir('/vol'); os.mkdir('a'); os.symlink({str(outside)!r}, 'b'); print('up', flush=True)
libc = ctypes.CDLL(None)
while True:
    libc.renameat2(-100, b'a', -100, b'b', 2)
"""
    options = ("-d", "--network", "none", "--name", "hull", "-v", "shared:/vol", *with_python(root))
    root("run", *options, IMAGE, *PYTHON, IMPORTS + swap)
    with started(root, "logs", "-f", "hull") as process:
        read_until(process.stdout, "up\n")
    for number in range(12):
        root(*RUN, "-v", "shared:/vol", "-v", f"/vol/a/made{number}", IMAGE, "true", check=False)
    assert list(outside.iterdir()) == []
    assert str(outside) not in Path("/proc/self/mountinfo").read_text()


def test_nobody_else_can_talk_to_a_monitor(hull: Sampan) -> None:
    """CVE-2020-15257: a control socket in the abstract namespace is within reach of every container on the host's
    network."""
    (socket_path,) = (hull.root / "containers").glob("*/monitor.sock")
    assert stat.S_IMODE(socket_path.stat().st_mode) == 0o600
    assert stat.S_IMODE(socket_path.parent.stat().st_mode) == 0o700
    owners = set(processes(hull))
    inodes = {
        os.readlink(f"/proc/{pid}/fd/{fd}") for pid in owners for fd in os.listdir(f"/proc/{pid}/fd")
    }  # fmt: skip
    abstract = [
        line for line in Path("/proc/net/unix").read_text().splitlines()[1:]
        if len(line.split()) > 7 and line.split()[7].startswith("@") and f"socket:[{line.split()[6]}]" in inodes
    ]  # fmt: skip
    assert abstract == []


def test_what_outlived_its_monitor_is_ended_by_its_removal(anyone: Sampan) -> None:
    """A program can take back the signal that would have ended it with its monitor."""
    script = """
ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)  # PR_SET_PDEATHSIG
print('up', flush=True)
time.sleep(1000)"""
    options = ("-d", "--network", "none", "--name", "hull", *with_python(anyone))
    anyone("run", *options, IMAGE, *PYTHON, IMPORTS + script)
    with started(anyone, "logs", "-f", "hull") as process:
        read_until(process.stdout, "up\n")
    for pid in processes(anyone):
        if b"sampan.containers.monitor" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, 9)
    assert await_(lambda: "Exited" in anyone("ps", "-a").stdout)
    anyone("rm", "hull")
    assert await_(lambda: not processes(anyone))
