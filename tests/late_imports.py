"""Law 1 of the house: after the pivot nothing is imported, on the ways that succeed and on those that fail.

``sys.path`` resolves inside the container then, and a late import would run the image's code with the runtime's
privileges. A program of its own makes containers with an audit hook that writes down every import that is tried once
the doors are shut; a planted late import shows that the hook sees one, and that the runtime refuses to go on.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"
BUSYBOX = "/bin/busybox"

PROGRAM = r"""
import sys
sys.path.append(sys.argv[1])
import json, os
from sampan.runtime import enter, init, parent  # all that a monitor or an exec has loaded
from sampan.errors import SampanError
from sampan.linux import seccomp

tried_read, tried_write = os.pipe()

def hook(event, arguments):
    if event == "import" and not sys.meta_path:
        os.write(tried_write, str(arguments[0]).encode() + b"\n")

sys.addaudithook(hook)
case = json.loads(sys.argv[2])
if case["plant"]:
    real = init._program
    def planted(*arguments):
        import colorsys
        return real(*arguments)
    init._program = planted
null = os.open("/dev/null", os.O_RDWR)
outcome = "ran"
first = None
try:
    first = parent.create(case["spec"], case["bundle"], overlay=None, stdio=(null, null, null))
    first.ready(terminal=case["spec"]["process"]["terminal"])
    first.start()
    if case["exec"]:
        process = {**case["spec"]["process"], **case["exec"]}
        filter_ = seccomp.compile(case["spec"]["linux"]["seccomp"], os.uname().machine)
        stdio = null, null, null
        ending = init.Ending(process, (filter_, seccomp.SPEC_ALLOW), stdio, process["terminal"])
        second = enter.create(first.pid, "", ending)
        try:
            second.ready(terminal=process["terminal"])
            second.start()
            outcome = f"ran {second.wait()}"
        finally:
            # Reaped before the first one: a pid namespace ends only when all that lived in it has been buried.
            second.abandon()
        first.abandon()
    else:
        outcome = f"ran {first.wait()}"
        first.close()
except SampanError as error:
    outcome = f"{type(error).__name__}: {error}"
    if first:
        first.abandon()
os.close(tried_write)
print(json.dumps({"outcome": outcome, "tried": os.read(tried_read, 65536).decode().split()}))
"""

CASES = {
    "runs": ({}, "ran 0"),
    "runs in a terminal": ({"terminal": True}, "ran 0"),
    "runs as a user": ({"user": {"uid": 7, "gid": 8, "additionalGids": [8, 9], "umask": 0o22}}, "ran 0"),
    "with no new privileges": ({"noNewPrivileges": True}, "ran 0"),
    "is missing": ({"args": ["nothing"]}, "CommandMissing"),
    "is missing at its path": ({"args": ["/bin/nothing"]}, "CommandMissing"),
    "is a directory": ({"args": ["/bin"]}, "NotExecutable"),
    "is not executable": ({"args": ["/plain"]}, "NotExecutable"),
    "has no interpreter": ({"args": ["/script"]}, "CommandMissing"),
    "is no program": ({"args": ["/garbage"]}, "NotExecutable"),
    "has a name that is not UTF-8": ({"args": ["/bin/\udcff"]}, "CommandMissing"),
    "has an impossible working directory": ({"cwd": "/plain/below"}, "SampanError"),
    "has an unknown limit": ({"rlimits": [{"type": "RLIMIT_NONE", "soft": 1, "hard": 1}]}, "Invalid"),
    "has an impossible limit": ({"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 9, "hard": 1}]}, ""),
    "has an impossible user": ({"user": {"uid": -7, "gid": 8}}, ""),
    "has an unknown capability": ({"capabilities": {"bounding": ["CAP_NONSENSE"]}}, ""),
}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    root = tmp_path / "rootfs"
    (root / "bin").mkdir(parents=True)
    subprocess.run(["cp", BUSYBOX, root / "bin/busybox"], check=True)
    for name in ("true", "sh", "sleep"):
        (root / "bin" / name).symlink_to("busybox")
    (root / "plain").write_text("no program\n")
    (root / "script").write_text("#!/no/such/interpreter\n")
    (root / "garbage").write_bytes(b"\x7fELF and nothing more")
    for name in ("script", "garbage"):
        (root / name).chmod(0o755)
    return tmp_path


def run(
    bundle: Path, process: dict[str, object], *, exec_: object = None, plant: bool = False
) -> tuple[str, list[str]]:
    from sampan.runtime import defaults

    spec = defaults.base_spec(["true"], ["PATH=/bin"], "/", hostname="late")
    spec["process"].update(process)
    spec["mounts"] = [mount for mount in spec["mounts"] if mount["type"] != "cgroup"]
    case = {"spec": spec, "bundle": str(bundle), "plant": plant, "exec": exec_}
    interpreter = getattr(sys, "_base_executable", sys.executable)
    done = subprocess.run(
        [interpreter, "-SI", "-c", PROGRAM, str(SOURCE), json.dumps(case)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return answer["outcome"], answer["tried"]


@pytest.mark.system
@pytest.mark.root
@pytest.mark.parametrize("name", CASES)
def test_first_process_imports_nothing_after_the_pivot(bundle: Path, name: str) -> None:
    process, expected = CASES[name]
    outcome, tried = run(bundle, process)
    assert outcome.startswith(expected), outcome
    assert outcome != "ran"
    assert tried == []


@pytest.mark.system
@pytest.mark.root
@pytest.mark.parametrize("name", CASES)
def test_further_process_imports_nothing(bundle: Path, name: str) -> None:
    process, expected = CASES[name]
    outcome, tried = run(bundle, {"args": ["sleep", "60"]}, exec_={"args": ["true"], **process})
    assert outcome.startswith(expected), outcome
    assert tried == []


@pytest.mark.system
@pytest.mark.root
def test_a_late_import_is_seen_and_refused(bundle: Path) -> None:
    outcome, tried = run(bundle, {}, plant=True)
    assert "ran" not in outcome
    assert "colorsys" in tried
