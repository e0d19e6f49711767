"""Ways out by way of the runtime itself: its descriptors, its processes while they enter, its control sockets."""

import json
import os
import stat
import sys
from pathlib import Path

import pytest

import images
from commands import Sampan
from inside import DOCKERS_CAPABILITIES, IMPORTS, PYTHON, RUN, own_bounding, python_exec, with_python
from residents import IMAGE, PATIENCE, await_, processes, read_until, started

pytestmark = [pytest.mark.system]


DESCRIPTORS = """
found = {}
for name in os.listdir('/proc/self/fd'):
    try:
        found[int(name)] = os.readlink(f'/proc/self/fd/{name}')
    except FileNotFoundError:
        pass
print(json.dumps([found, os.getcwd()]))"""


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


ENTER = """
import json, os, sys
from sampan.containers import streams
from sampan.runtime import launch
directory = sys.argv[1]
spec = json.load(open(f"{directory}/config.json"))
asked = os.memfd_create("exec")
process = {**spec["process"], "args": ["true"], "terminal": True}
os.write(asked, json.dumps({"process": process, "detached": False}).encode())
null = os.open("/dev/null", os.O_RDWR)
end = streams.connect(f"{directory}/monitor.sock")
end.send_descriptors(streams.EXECUTE, (asked, null, null, null))
entering = launch.Process(0, end)
entering.console()
print(entering.pid, flush=True)
sys.stdin.read()
entering.start()
sys.exit(entering.wait())
"""
REACH = """
seen, reached = 0, []
for pid in os.listdir('/proc'):
    if not pid.isdigit() or int(pid) == os.getpid() or b'sampan' not in open(f'/proc/{pid}/cmdline', 'rb').read():
        continue
    seen += 1
    for what in ('fd', 'map_files', 'root', 'cwd', 'exe', 'ns/mnt', 'environ', 'mem'):
        path = f'/proc/{pid}/{what}'
        try:
            if what in ('fd', 'map_files'):
                os.readlink(f'{path}/{os.listdir(path)[0]}')
            elif what in ('environ', 'mem'):
                os.close(os.open(path, os.O_RDONLY))
            else:
                os.readlink(path)
            reached.append(what)
        except OSError:
            continue
    libc = ctypes.CDLL(None)
    if libc.ptrace(0x4206, int(pid), 0, 0) == 0:  # PTRACE_SEIZE
        reached.append('ptrace')
print(json.dumps([seen, reached]), flush=True)
"""


def test_a_process_that_is_entering_is_out_of_reach(hull: Sampan) -> None:
    """CVE-2016-9962: one that is set up, and only waits for its program to be executed, as root inside sees it."""
    (directory,) = (hull.root / "containers").iterdir()

    class Entering(Sampan):
        def command(self, *arguments: str | Path) -> list[str]:
            return [sys.executable, "-c", ENTER, str(directory)]

    with started(Entering(hull.root, hull.account)) as process:
        pid = int(read_until(process.stdout, "\n"))
        # Its last step before it says that it is ready is to give up the capabilities that are not the container's.
        held = DOCKERS_CAPABILITIES & own_bounding()
        assert await_(lambda: f"CapPrm:\t{held:016x}" in Path(f"/proc/{pid}/status").read_text())
        assert python_exec(hull, REACH) == [1, []]
        assert process.stdin
        process.stdin.close()
        process.stdin = None
        assert process.wait(PATIENCE) == 0


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
