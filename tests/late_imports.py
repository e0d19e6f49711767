"""Law 1 of the house: after the pivot nothing is imported, on the ways that succeed and on those that fail.

``sys.path`` resolves inside the container then, and a late import would run the image's code with the runtime's
privileges. A program of its own makes containers with an audit hook that writes down every import that is tried once
the doors are shut; a planted late import shows that the hook sees one, and that the runtime refuses to go on.

What the engine's own commands open late, of modules, of the dynamic linker's and of the name service's files, the
kernel tells by way of strace: from run, exec, a build's RUN and bundles with hooks, as root and as an ordinary user.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import commands
import images
from bundles import Bundle, as_user
from commands import Account, Sampan
from inside import RUN
from residents import IMAGE, anyone, await_, ordinary, root, template

__all__ = ["anyone", "ordinary", "root", "template"]
SOURCE = Path(__file__).parent.parent / "src"
BUSYBOX = "/bin/busybox"

PROGRAM = r"""
import sys
sys.path.append(sys.argv[1])
import json, os
from sampan.runtime import enter, init, parent, program  # all that a monitor or an exec has loaded
from sampan.errors import SampanError
from sampan.linux import seccomp

tried_read, tried_write = os.pipe()

def hook(event, arguments):
    if event == "import" and not sys.meta_path:
        os.write(tried_write, str(arguments[0]).encode() + b"\n")

sys.addaudithook(hook)
case = json.loads(sys.argv[2])
if case["plant"]:
    real = program.find
    def planted(*arguments):
        import colorsys
        return real(*arguments)
    program.find = planted
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


# -- by the kernel's account ----------------------------------------------------------------------------------------

CALLS = "open,openat,openat2,execve,execveat,pivot_root,setns,clone,clone3,fork,vfork"
EVENT = re.compile(r"(\w+)\((.*)\) += (-?\d+|\?)(?: .*?/\* (\d+) in strace's PID NS \*/)?")
# What the first process needs inside, none of which is code: see working_directory, _home, console and _set_groups.
DATA = re.compile(
    r"/|\.|\.\.|[a-z]+|/?etc/passwd|/dev/console|/dev/pts/ptmx|/proc/self/setgroups|/proc/self/fd/\d+",
)


class Traced(Sampan):
    """The command line under strace, which follows all that it starts and writes a file for each process."""

    def __init__(self, sampan: Sampan, into: Path) -> None:
        super().__init__(sampan.root, sampan.account)
        self.into = into
        into.mkdir()
        if self.account:
            os.chown(into, self.account.uid, self.account.gid)

    def command(self, *arguments: str | Path) -> list[str]:
        return [*tracing(self.into), *super().command(*arguments)]


def tracing(into: Path) -> list[str]:
    # -D: the command is not kept waiting for processes that it leaves behind.
    words = ["strace", "-D", "-ff", "-q", "-s", "500", "--decode-pids=pidns", "-e", CALLS]
    return [*words, "-o", f"{into}/p"]


def opened_inside(into: Path) -> tuple[int, list[str]]:
    """How many processes went inside, and what these opened from then on until they became another program."""
    assert await_(lambda: _told(into) is not None), sorted(path.name for path in into.iterdir())
    events, children = _told(into) or ({}, set())
    entered, found = 0, []
    pending = [(pid, False) for pid in events if pid not in children]
    while pending:
        pid, inside = pending.pop()
        for name, arguments, result, told in events.get(pid, ()):
            if result == "0" and (name == "pivot_root" or (name == "setns" and "CLONE_NEWNS" in arguments)):
                inside, entered = True, entered + 1
            elif name.startswith("execve") and result == "0":
                inside = False
            elif _forks(name, result):
                pending.append((int(told or result), inside))
            elif inside and name.startswith("open"):
                found += re.findall(r'"([^"]*)"', arguments)[:1]
    return entered, found


def _told(into: Path) -> tuple[dict[int, list[tuple[str, ...]]], set[int]] | None:
    """What each process did, by its id, and which of them were forked; None unless strace has told of all their ends.

    Whether an id is in use says nothing: on a busy machine it is somebody else's soon.
    """
    texts = {int(path.suffix[1:]): path.read_text() for path in into.iterdir()}
    events = {pid: EVENT.findall(text) for pid, text in texts.items()}
    forks = [(result, told) for each in events.values() for name, _, result, told in each if _forks(name, result)]
    has_ended = all(text.endswith(" +++\n") for text in texts.values()) and len(texts) > len(forks)
    return (events, {int(told or result) for result, told in forks}) if has_ended else None


def _forks(name: str, result: str) -> bool:
    return name in ("clone", "clone3", "fork", "vfork") and result not in ("?", "0", "-1")


def assert_no_code(into: Path, least: int) -> None:
    entered, found = opened_inside(into)
    assert entered >= least
    assert [path for path in found if not DATA.fullmatch(path)] == []


PROGRAMS = {
    ("true",): 0, ("-t", "true"): 0, ("--init", "true"): 0, ("-u", "bob", "true"): 0, ("nothing",): 127,
    ("/bin",): 126, ("/etc/passwd",): 126, ("/script",): 127, ("-w", "/etc/passwd", "true"): 125,
    ("-u", "7:8", "id"): 0,
}  # fmt: skip


def place(words: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The options before the image or the container, and the command after it."""
    count = {"-t": 1, "--init": 1, "-u": 2, "-w": 2}.get(words[0], 0)
    return words[:count], words[count:]


@pytest.mark.system
@pytest.mark.needs("strace")
def test_run_opens_no_code_inside(anyone: Sampan) -> None:
    images.put(anyone, "odd", {"script": images.File("#!/no/such\n", 0o755)})
    traced = Traced(anyone, anyone.root / "trace")
    for words, code in PROGRAMS.items():
        options, command = place(words)
        if anyone.account and "-u" in options:
            continue  # he has one id alone
        assert traced(*RUN, *options, "odd", *command, check=False).returncode == code, words
    assert_no_code(traced.into, 6)


@pytest.mark.system
@pytest.mark.needs("strace")
def test_exec_opens_no_code_inside(anyone: Sampan) -> None:
    traced = Traced(anyone, anyone.root / "trace")
    hull = traced.command("run", "-d", "--network", "none", "--name", "hull", IMAGE, "sleep", "1000")
    # Not by pipes: strace stays with the monitor, and keeps what it was started with open.
    subprocess.run(hull, stdout=subprocess.DEVNULL, check=True, timeout=60, **as_user(anyone.account))
    for words, code in PROGRAMS.items():
        options, command = place(words)
        if "--init" in options or (anyone.account and "-u" in options):
            continue
        done = anyone("exec", *options, "hull", *command, check=False)
        assert bool(done.returncode) == bool(code), (words, done)
    anyone("rm", "-f", "hull")
    assert_no_code(traced.into, 6)


@pytest.mark.system
@pytest.mark.needs("strace")
def test_a_build_opens_no_code_inside(anyone: Sampan) -> None:
    traced = Traced(anyone, anyone.root / "trace")
    context = anyone.root / "context"
    context.mkdir(mode=0o755)
    for line, code in (("true", 0), ('["true"]', 0), ("exit 7", 1), ('["/nothing"]', 1), ('["/etc/passwd"]', 1)):
        (context / "Dockerfile").write_text(f"FROM {IMAGE}\nWORKDIR /made/here\nRUN {line}\n")
        done = traced("build", "--network", "none", "--no-cache", context, check=False)
        assert (done.returncode != 0) == bool(code), line
    assert_no_code(traced.into, 5)


HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


@pytest.fixture(params=["root", "ordinary"])
def anyones_bundle(request: pytest.FixtureRequest) -> Iterator[Bundle]:
    account: Account | None = request.getfixturevalue("ordinary_user") if request.param == "ordinary" else None
    if not account and os.geteuid() != 0:
        pytest.skip("needs root")
    directory = commands.new_store()
    directory.chmod(0o755)
    made = Bundle(directory / "bundle", account)
    try:
        yield made
    finally:
        made.remove_all()
        commands.remove_store(directory)


@pytest.mark.system
@pytest.mark.needs("strace", "busybox")
@pytest.mark.parametrize("kinds", [HOOKS, ("startContainer",)], ids=["all", "startContainer"])
@pytest.mark.parametrize("failing", ["", *HOOKS[:4]])
def test_the_runtime_command_opens_no_code_inside(anyones_bundle: Bundle, kinds: tuple[str, ...], failing: str) -> None:
    """With the gate at which a created container waits, and hooks before and after the pivot."""
    bundle = anyones_bundle
    into = bundle.path / "trace"
    into.mkdir()
    bundle.spec["hooks"] = {kind: [{"path": "/bin/false" if kind == failing else "/bin/true"}] for kind in kinds}
    (bundle.root / "bin/false").symlink_to("busybox")
    bundle.write("sleep", "1000")
    name = bundle.name()
    program = (*tracing(into), sys.executable, "-c", "from sampan.cli.runtime import run; run()")
    created = bundle("create", "-b", bundle.path, name, program=program, check=False)
    begun = created.returncode == 0 and bundle("start", name, program=program, check=False).returncode == 0
    assert begun == (failing not in kinds)
    for words in (("true",), ("nothing",), ("/bin",)) if begun else ():
        bundle("exec", name, *words, program=program, check=False)
    bundle("delete", "--force", name, program=program)
    assert_no_code(into, 4 if begun else 1 if failing == "startContainer" else 0)
