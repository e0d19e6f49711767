"""The engine's own program file, which is the interpreter's, stays as it is, whoever runs the container and whoever the
file belongs to (CVE-2019-5736)."""

import hashlib
import os
import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import hostile
import images
from bundles import Bundle
from commands import Sampan
from inside import RUN
from residents import IMAGE

pytestmark = [
    pytest.mark.system,
    pytest.mark.needs("gcc", "busybox"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the machine is no x86_64, for which the attack is made"),
]
LOADER = "lib64/ld-linux-x86-64.so.2"
TRAP = "#!/proc/self/exe\n"


def own_interpreter(directory: Path, uid: int) -> Path:
    """A copy of the interpreter that belongs to the one who runs containers, as one in a home directory does."""
    copy = directory / "bin/python3"
    copy.parent.mkdir()
    shutil.copy(os.path.realpath(getattr(sys, "_base_executable", sys.executable)), copy)
    for path in (copy.parent, copy):
        path.chmod(0o755)
        os.chown(path, uid, uid)
    return copy


class Own(Sampan):
    """The command line by an interpreter of the user's own."""

    def __init__(self, sampan: Sampan) -> None:
        super().__init__(sampan.root, sampan.account)
        uid = sampan.account.uid if sampan.account else 0
        self.interpreter = own_interpreter(sampan.root, uid)

    def command(self, *arguments: str | Path) -> list[str]:
        # What this Python can import, and nothing of an environment that the copy does not belong to.
        start = f"import sys; sys.path[:] = {sys.path!r}; from sampan.cli.main import run; sys.exit(run())"
        return [str(self.interpreter), "-c", start, "--root", str(self.root), *map(str, arguments)]


def assert_out_of_reach(said: str) -> None:
    """What the attack says: it was loaded as the runtime's C library, tried for long, and nothing came of it."""
    first, *attempts, last = said.splitlines()
    assert first.startswith("exe ")
    assert last == "tried", said
    assert first.endswith(" read-only") or "/memfd:" in first, first
    assert len(attempts) >= 2


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def trapped(anyone: Sampan) -> Own:
    """A store with the image "trap", whose program /take has the runtime executed in its own place."""
    own = Own(anyone)
    images.put(own, "trap", {"take": TRAP, LOADER: hostile.taker(), "loop": hostile.taker()})
    return own


def test_it_is_not_overwritten(trapped: Own) -> None:
    """Guard: ``launch._out_of_reach``."""
    before = digest(trapped.interpreter)
    trapped("run", "-d", "--network", "none", "--name", "hull", "trap", "sleep", "1000")
    for command in ((*RUN, "trap"), (*RUN, "--init", "trap"), ("exec", "hull")):
        # The trap's last word is no failure of the engine's, nor of the command that it is.
        assert_out_of_reach(trapped(*command, "/take").stdout)
    assert digest(trapped.interpreter) == before


def test_it_is_not_overwritten_by_a_step_of_a_build(trapped: Own, tmp_path: Path) -> None:
    """Guard: ``launch._out_of_reach``."""
    before = digest(trapped.interpreter)
    context = trapped.root / "context"
    context.mkdir(mode=0o755)
    (context / "Dockerfile").write_text('FROM trap\nRUN ["/take"]\n')
    done = trapped("build", "--network", "none", "--progress", "plain", context)
    lines = [line.split(" ", 2)[2] for line in done.stderr.splitlines() if line.startswith("#") and line.count(" ") > 1]
    first = next(at for at, line in enumerate(lines) if line.startswith("exe "))
    assert_out_of_reach("\n".join(lines[first : lines.index("tried") + 1]))
    assert digest(trapped.interpreter) == before


Way = Callable[[Bundle, tuple[str, ...]], str]


def by_run(bundle: Bundle, program: tuple[str, ...]) -> str:
    return bundle.run("/take", program=program).stdout


def by_exec(bundle: Bundle, program: tuple[str, ...]) -> str:
    bundle.write("sleep", "1000")
    name = bundle.name()
    bundle("run", "-d", "-b", bundle.path, name, program=program)
    return bundle("exec", name, "/take", program=program).stdout


@pytest.mark.parametrize("way", [by_run, by_exec])
def test_it_is_not_overwritten_from_a_bundle(anyones_bundle: Bundle, way: Way) -> None:
    """Guards: ``launch.become`` before a container is made, and ``launch._out_of_reach`` in it."""
    bundle = anyones_bundle
    for name, content in ((LOADER, hostile.taker()), ("loop", hostile.taker()), ("take", TRAP.encode())):
        path = bundle.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755)
    interpreter = own_interpreter(bundle.path.parent, bundle.account.uid if bundle.account else 0)
    before = digest(interpreter)
    start = f"import sys; sys.path[:] = {sys.path!r}; from sampan.cli.runtime import run; run()"
    assert_out_of_reach(way(bundle, (str(interpreter), "-c", start)))
    assert digest(interpreter) == before


def test_it_is_not_executed_as_the_program(anyone: Sampan) -> None:
    """Guard: the comparison with the runtime's own file in ``program._checked``."""
    images.put(anyone, "trap", {"entry": images.Link("/proc/self/exe"), "bin/other": images.Link("/proc/self/exe")})
    anyone("run", "-d", "--network", "none", "--name", "hull", IMAGE, "sleep", "1000")
    for program in ("/entry", "other", "/proc/self/exe"):
        done = anyone(*RUN, "trap", program, "-c", "print('ran')", check=False)
        assert (done.returncode, done.stdout) == (126, ""), program
        assert "it is the container runtime itself" in done.stderr
    done = anyone("exec", "hull", "/proc/self/exe", check=False)
    assert (done.returncode, done.stdout) == (126, "")
