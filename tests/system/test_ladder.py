"""Every rung of the privilege ladder builds, runs and executes, or says why it cannot."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import trees
from builders import BASE, BUSYBOX, ETC
from commands import Sampan, run

pytestmark = [pytest.mark.system, pytest.mark.root, pytest.mark.rootless, pytest.mark.needs("busybox", "newuidmap")]
EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}
LINES = """
COPY --chown=5:6 etc/passwd /copied
RUN mkdir -p /home/app && chown -R 1000:1001 /home/app && chmod 4755 /bin/busybox && mkfifo -m 600 /pipe
USER app
RUN echo it > /home/app/who && mkdir /home/app/d
"""
RUNGS = {"root": "sampan", "many ids": "ranged_sampan", "one id": "rootless_sampan"}


@pytest.fixture(params=RUNGS)
def rung(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def someone(rung: str, request: pytest.FixtureRequest) -> Sampan:
    found: Sampan = request.getfixturevalue(RUNGS[rung])
    return found


@pytest.fixture
def context() -> Iterator[Path]:
    """A build context that everybody can read."""
    directory = Path(tempfile.mkdtemp(prefix="sampan-test-context-"))
    trees.make(directory, ETC)
    shutil.copy(BUSYBOX, directory / "busybox")
    (directory / "Dockerfile").write_text(BASE + LINES)
    for path in (directory, *directory.rglob("*")):
        path.chmod(path.stat().st_mode | 0o055)
    yield directory
    shutil.rmtree(directory)


def build(sampan: Sampan, context: Path) -> str:
    return sampan("build", "-q", "-t", "box", "--network=none", context, environment=EPOCH).stdout


def test_a_rung_has_a_name(rung: str, someone: Sampan) -> None:
    assert f"\n Rung: {rung}: " in someone("info").stdout


def test_run_and_exec(rung: str, someone: Sampan, context: Path) -> None:
    build(someone, context)
    user = "0 0" if rung == "one id" else "1000 1001"
    script = "echo $(id -u) $(id -g); touch ~/new && stat -c %u:%g ~/new ~/d"
    owner = user.replace(" ", ":")
    shown = f"{user}\n{owner}\n{owner}\n"
    assert someone("run", "--rm", "--network=none", "box", "sh", "-c", script).stdout == shown
    someone("run", "-d", "--network=none", "--name", "one", "box", "sleep", "1000")
    assert someone("exec", "one", "sh", "-c", script).stdout == shown
    assert someone("exec", "-u", "0", "one", "id", "-u").stdout == "0\n"
    asked = someone("exec", "-u", "app", "one", "id", "-u")
    warning = "WARNING: the program runs as the only user id there is here, not as app\n"
    assert (asked.stdout, asked.stderr) == (("0\n", warning) if rung == "one id" else ("1000\n", ""))
    someone("rm", "-f", "one")


def test_the_same_image_on_every_rung(request: pytest.FixtureRequest, context: Path) -> None:
    """Owners that were given, modes and special files are what they are for root, also where they had to be noted."""
    found = {rung: build(request.getfixturevalue(fixture), context) for rung, fixture in RUNGS.items()}
    assert set(found.values()) == {found["root"]}, found


def test_files_of_others_belong_to_subordinate_ids(ranged_sampan: Sampan, context: Path) -> None:
    build(ranged_sampan, context)
    shared = Path(ranged_sampan.account.home) / "shared"  # type: ignore[union-attr]
    shared.mkdir()
    shared.chmod(0o777)
    ranged_sampan("run", "--rm", "--network=none", "-v", f"{shared}:/shared", "box", "touch", "/shared/f")
    outside = (shared / "f").stat().st_uid
    start = next(int(each.split(":")[1]) for each in _ranges() if each.startswith(f"sampan-{os.getpid()}:"))
    assert outside == start + 999  # 1 is the first of them
    ranged_sampan("run", "--rm", "--network=none", "-u", "0", "-v", f"{shared}:/shared", "box", "rm", "/shared/f")


def test_one_id_is_told_which_ids_are_free(rootless_sampan: Sampan, ranged_sampan: Sampan) -> None:
    """What it is told to have an administrator do gives nobody the ids of somebody else."""
    lift = rootless_sampan("info", "-f", "{{.RungLift}}").stdout.split()
    start, _, end = lift[lift.index("--add-subuids") + 1].partition("-")
    taken = [(int(first), int(first) + int(count)) for _, first, count in (line.split(":") for line in _ranges())]
    assert int(end) - int(start) == 65535
    assert all(int(start) >= after for _, after in taken)


def test_the_store_of_a_user_whose_home_is_not_set(rootless_sampan: Sampan, context: Path) -> None:
    """Commands that become root of a namespace, and those that do not, mean the same one."""
    account = rootless_sampan.account
    assert account
    said = []
    for home in ("", str(account.home)):
        words = [sys.executable, "-m", "sampan"]
        bare = {"HOME": home, "XDG_DATA_HOME": "relative"}
        built = run([*words, "build", "-q", context], account=account, environment=bare, check=False)
        shown = run([*words, "images", "-q"], account=account, environment=bare, check=False)
        said.append((built.returncode, shown.returncode, (built.stderr + shown.stderr).count("no home directory")))
    assert said == [(1, 1, 2), (0, 0, 0)]  # nobody knows where this user lives, but he himself
    store = account.home / ".local/share/sampan"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (store, store.parent)] == [0o700] * 2


@pytest.mark.parametrize("user", ["sampan", "rootless_sampan"])
def test_a_file_system_without_attributes_is_refused(request: pytest.FixtureRequest, user: str, context: Path) -> None:
    sampan: Sampan = request.getfixturevalue(user)
    subprocess.run(["mount", "-t", "ramfs", "-o", "mode=777", "none", sampan.root], check=True)
    try:
        done = sampan("build", context, check=False)
        assert done.returncode == 1
        assert "keeps no extended attributes, and layers need them\nhint: choose another with --root" in done.stderr
        assert sampan("images", "-q").stdout == ""
    finally:
        subprocess.run(["umount", sampan.root], check=True)


def test_a_store_of_somebody_else_is_refused(rootless_sampan: Sampan, context: Path) -> None:
    """He could have put anything into it, open to all, before its name was used."""
    os.chown(rootless_sampan.root, 4242, 4242)
    rootless_sampan.root.chmod(0o777)
    done = rootless_sampan("build", context, check=False)
    assert done.returncode == 1
    assert f"the store {rootless_sampan.root} belongs to another user\nhint: choose another place" in done.stderr
    assert list(rootless_sampan.root.iterdir()) == []


def test_a_store_where_nothing_may_be_executed_is_named(rootless_sampan: Sampan, context: Path) -> None:
    """Under overlayfs programs run nevertheless; copies are on the file system itself."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=777,noexec", "none", rootless_sampan.root], check=True)
    try:
        assert "RUN" in (context / "Dockerfile").read_text()
        variables = {"SAMPAN_STORAGE": "copies"}
        done = rootless_sampan("build", "--network=none", context, environment=variables, check=False)
        assert "hint: the file system it lies on is mounted noexec: the store can lie elsewhere" in done.stderr
    finally:
        subprocess.run(["umount", rootless_sampan.root], check=True)


def _ranges() -> list[str]:
    return Path("/etc/subuid").read_text().split()
