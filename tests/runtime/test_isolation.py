"""What a container cannot see and cannot do, each with a canary outside; as root and as an ordinary user."""

import json
import os
import platform
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import images
from commands import Sampan
from inside import DOCKERS_CAPABILITIES, IMPORTS, LIBRARIES, PYTHON, RUN, own_bounding, python, python_exec, with_python
from residents import IMAGE

pytestmark = [pytest.mark.system]


MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware",
    "/sys/devices/virtual/powercap", "/sys/devices/system/cpu/cpu0/thermal_throttle",
)  # fmt: skip
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


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


def test_no_path_of_the_host_is_seen_in_ps(anyone: Sampan) -> None:
    """Guard: ``set_command_line`` in ``init.begin``."""
    shown = anyone(*RUN, "--init", IMAGE, "sh", "-c", "cat /proc/1/cmdline; echo; ps -o pid,comm,args").stdout
    assert shown.startswith("sampan-init\0\n")
    first = next(line for line in shown.splitlines() if line.split()[:1] == ["1"])
    assert first.split()[1:] == ["sampan-init", "sampan-init"]
    assert "python" not in shown


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
    expected = DOCKERS_CAPABILITIES & own_bounding()
    no_new_privileges = int(hull.account is not None)
    wanted = [0, expected, expected, expected, 0, no_new_privileges, 2]
    assert python(hull, STATUS) == wanted
    assert python_exec(hull, STATUS) == wanted


def test_other_users_have_no_capabilities(root: Sampan) -> None:
    expected = [0, 0, 0, DOCKERS_CAPABILITIES & own_bounding(), 0, 0, 2]
    assert python(root, STATUS, "-u", "bob") == expected
    root("run", "-d", "--network", "none", "--name", "hull", *with_python(root), IMAGE, "sleep", "1000")
    assert python_exec(root, STATUS, "-u", "bob") == expected
    root("run", "-d", "--network", "none", "--name", "bobs", "-u", "bob", *with_python(root), IMAGE, "sleep", "1000")
    own = json.loads(root("exec", "bobs", *PYTHON, IMPORTS + STATUS).stdout)
    assert own == expected
    # Root in it, when asked for, has what the container may have and no more.
    full = DOCKERS_CAPABILITIES & own_bounding()
    assert json.loads(root("exec", "-u", "0", "bobs", *PYTHON, IMPORTS + STATUS).stdout) == [0, *[full] * 3, 0, 0, 2]


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
            results.append(change[0].__name__)
        except OSError:
            pass
os.close(os.open('/dev/null', os.O_RDWR))
print(json.dumps([results, sorted(os.listdir('/dev'))]))"""
    changed, listed = python(anyone, script)
    # A container with one user id is told that it may give files away (``pretence``); nothing comes of it.
    assert set(changed) <= ({"chown"} if anyone.account else set())
    for name in names:
        now = os.stat(f"/dev/{name}")
        assert (now.st_mode, now.st_uid, now.st_gid) == (before[name].st_mode, before[name].st_uid, before[name].st_gid)
    assert set(listed) <= {
        "console", "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout",
        "tty", "urandom", "zero",
    }  # fmt: skip
