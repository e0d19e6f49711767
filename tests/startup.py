"""The start-up bill: which modules a command line loads. Times differ from machine to machine, modules do not."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import commands
from sampan.engine import open_engine
from shelf import put_image

_PROBE = """
import sys
before = set(sys.modules)
from sampan.cli.main import main
code = main(sys.argv[1:])
print()
print(code, *sorted(set(sys.modules) - before))
"""
FRONT_DOOR = {
    f"sampan{name}" for name in ("", ".errors", ".cli", ".cli.commands", ".cli.context", ".cli.flags", ".cli.main")
}
HEAVY = (
    "argparse asyncio concurrent dataclasses decimal difflib email gettext hashlib http importlib.metadata inspect "
    "isal logging multiprocessing pathlib pickle queue random rich shutil ssl subprocess tempfile textwrap threading "
    "traceback unittest urllib urllib3 uuid xml zipfile zstandard tarfile"
).split()
"""What costs more than it gives on the way to a container. Each may be loaded by the verb that cannot do without it."""


def loaded(root: Path, *words: str, code: int = 0) -> set[str]:
    """The modules that a command line loads besides those that the interpreter starts with."""
    run = subprocess.run(
        [sys.executable, "-c", _PROBE, "--root", str(root), *words],
        capture_output=True,
        text=True,
        check=True,
    )
    found, *modules = run.stdout.splitlines()[-1].split()
    assert int(found) == code, run.stderr
    return set(modules)


COSTLY = {"collections", "contextlib", "enum", "functools", "re", "typing"}
"""What takes 1 to 5 ms to load, and what ``collections.abc`` at a module's top brings along."""


def heavy(modules: set[str]) -> list[str]:
    return sorted(name for name in modules if any(name == each or name.startswith(f"{each}.") for each in HEAVY))


def too_much(modules: set[str]) -> list[str]:
    """What the way to a container has no business to load: heavy modules, and rooms for other work."""
    return heavy(modules) + [
        name for name in modules if name.startswith(("sampan.registry", "sampan.build", "sampan.api"))
    ]


def test_version_flag_loads_the_front_door_alone(tmp_path: Path) -> None:
    assert loaded(tmp_path, "--version") == FRONT_DOOR


def test_help_loads_no_verb(tmp_path: Path) -> None:
    assert loaded(tmp_path, "--help") == FRONT_DOOR | {"sampan.cli.help"}


def test_version_loads_no_engine(tmp_path: Path) -> None:
    modules = loaded(tmp_path, "version")
    assert heavy(modules) == []
    assert {name for name in modules if name.startswith("sampan.")} == FRONT_DOOR - {"sampan"} | {
        "sampan.cli.version",
        "sampan.oci",
        "sampan.oci.platform",
        "sampan.values",
    }


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["ps"], 0),
        (["ps", "-a"], 0),
        (["images"], 0),
        (["run", "--pull=never", "nosuch"], 125),
        (["exec", "nosuch", "true"], 1),
        (["logs", "nosuch"], 1),
        (["stop", "nosuch"], 1),
        (["rm", "nosuch"], 1),
        (["inspect", "nosuch"], 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_hot_path_stays_light(tmp_path: Path, words: list[str], code: int) -> None:
    assert too_much(loaded(tmp_path / "root", *words, code=code)) == []


@pytest.mark.system
@pytest.mark.needs("busybox")
def test_a_whole_run_and_what_follows_stay_light(sampan: commands.Sampan) -> None:
    with open_engine(str(sampan.root)) as engine:
        image = put_image(engine, "tiny", layers=(b"",))
        (directory,) = engine.snapshots.stack(image.chain)
    shutil.copy(shutil.which("busybox") or "", f"{directory}/sleep")
    modules = loaded(sampan.root, "run", "--rm", "--network=none", "tiny", "/sleep", "0")
    assert too_much(modules) == []
    assert modules.isdisjoint(COSTLY)
    assert "sampan.containers.lifecycle" in modules
    assert too_much(loaded(sampan.root, "run", "-d", "--name=web", "--network=none", "tiny", "/sleep", "100")) == []
    for words in (("exec", "web", "/sleep", "0"), ("ps",)):
        modules = loaded(sampan.root, *words)
        assert too_much(modules) == []
        assert modules.isdisjoint(COSTLY)
    assert too_much(loaded(sampan.root, "rm", "-f", "web")) == []


@pytest.mark.root
def test_a_build_that_was_done_before_loads_no_builder(tmp_path: Path) -> None:
    context, root = tmp_path / "context", tmp_path / "root"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    while time.time() - context.stat().st_ctime < 0.5:  # what has just changed is not trusted
        time.sleep(0.02)
    words = ("build", "-q", "-t", "x", str(context))
    first = loaded(root, *words)
    assert "sampan.build.solve" in first
    assert "typing" not in first
    again = loaded(root, *words)
    assert heavy(again) == []
    assert again.isdisjoint(("typing", "re", "json"))
    assert {name for name in again if name.startswith("sampan.build")} == {"sampan.build", "sampan.build.repeat"}


def test_ps_loads_nothing_that_starts_containers(tmp_path: Path) -> None:
    modules = loaded(tmp_path / "root", "ps")
    assert not modules & {"sampan.containers.lifecycle", "sampan.runtime.launch", "sampan.snapshots.overlay", "socket"}


def test_a_monitor_starts_with_the_least() -> None:
    """Its start is what every container waits for: each of these would cost more than the rest together."""
    program = (
        "import sys; sys.path.append(sys.argv[1]); before = set(sys.modules)\n"
        "import sampan.containers.monitor, sampan.containers.watch; print(*set(sys.modules) - before)"
    )
    source = str(Path(__file__).parents[1] / "src")
    run = subprocess.run([sys.executable, "-SIc", program, source], capture_output=True, text=True, check=True)
    found = set(run.stdout.split())
    assert "sampan.runtime.init" in found
    costly = {"collections", "contextlib", "ctypes", "enum", "functools", "json", "re", "selectors", "signal", "socket"}
    assert found & (costly | {"typing", "types", "datetime", "dataclasses", "sqlite3"}) == set()


def test_the_package_itself_loads_nothing(tmp_path: Path) -> None:
    probe = "import sys; before = set(sys.modules); import sampan; print(*sorted(set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert run.stdout.split() == ["sampan"]


def test_a_heavy_module_would_be_found() -> None:
    assert heavy({"os", "http.client", "urllib.parse", "json", "httpx"}) == ["http.client", "urllib.parse"]
