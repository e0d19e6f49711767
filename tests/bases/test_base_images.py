"""Base images made of this machine and of its mirror, and containers of them."""

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from commands import Account, Sampan

pytestmark = pytest.mark.system

IMAGE = "localhost/python:host"
IN_CONTAINER = """
import bz2, ctypes, curses, decimal, hashlib, lzma, multiprocessing, readline, sqlite3, ssl, sys, uuid, venv, zlib
import encodings.idna, pwd, socket
assert sys.version_info[:3] == tuple(map(int, sys.argv[1].split("."))), sys.version
assert sys.flags.utf8_mode or sys.getfilesystemencoding() == "utf-8"
assert len(ssl.create_default_context().get_ca_certs()) > 50
assert pwd.getpwuid(0).pw_dir == "/root"
assert sqlite3.connect(":memory:").execute("SELECT 6 * 7").fetchone() == (42,)
assert socket.gethostbyname("localhost") == "127.0.0.1"
print("all there")
"""


@pytest.fixture
def base(sampan: Sampan) -> Sampan:
    sampan("base", "host", "-q")
    return sampan


def inside(sampan: Sampan, *command: str, **options: object) -> str:
    return sampan("run", "--rm", "--network", "none", IMAGE, *command, **options).stdout


def check_python(sampan: Sampan) -> None:
    version = ".".join(map(str, sys.version_info[:3]))
    assert inside(sampan, "python", "-W", "ignore", "-c", IN_CONTAINER, version) == "all there\n"
    assert inside(sampan, "pip", "--version").startswith("pip ")


@pytest.mark.root
def test_this_machines_python_in_a_container(base: Sampan) -> None:
    check_python(base)
    tools = "echo a b | tr a-z A-Z | sed s/A/x/ | awk '{print $2, $1}' | gzip | gunzip; id -u; pwd; ls / | grep -c root"
    assert inside(base, "sh", "-c", tools) == "B x\n0\n/\n1\n"


@pytest.mark.rootless
def test_an_ordinary_user_makes_and_runs_one(rootless_sampan: Sampan) -> None:
    rootless_sampan("base", "host", "-q")
    check_python(rootless_sampan)


@pytest.mark.root
@pytest.mark.rootless
def test_the_same_image_for_everyone(base: Sampan, rootless_sampan: Sampan) -> None:
    again = base("base", "host", "-q", "-t", "python", "-t", "localhost/other:1").stdout
    assert rootless_sampan("base", "host", "-q").stdout == again
    listed = base("images", "--no-trunc").stdout.split()
    assert [listed.count(name) for name in ("python", "localhost/other", "localhost/python")] == [1, 1, 1]
    assert listed.count(again.strip()) == 3


@pytest.mark.root
def test_modules_start_from_byte_code(base: Sampan) -> None:
    said = base("run", "--rm", "--network", "none", IMAGE, "python", "-v", "-c", "import json, pip._internal.cli.main")
    loaded = [line for line in said.stderr.splitlines() if line.startswith("# code object from")]
    assert loaded
    assert [line for line in loaded if not line.endswith(".pyc'")] == []


def saved_owners(sampan: Sampan, name: str, directory: Path) -> list[dict[str, tuple[int, int]]]:
    """Whose the files of each layer of an image are, lowest layer first."""
    archive = directory / "owners.tar"
    sampan("save", "-o", archive, name, timeout=300)
    found = []
    with tarfile.open(archive) as saved:
        manifest = json.load(saved.extractfile("manifest.json"))  # type: ignore[arg-type]
        for path in manifest[0]["Layers"]:
            with tarfile.open(fileobj=saved.extractfile(path)) as layer:
                found.append({member.name: (member.uid, member.gid) for member in layer})
    return found


def make_wheel(directory: Path) -> None:
    with zipfile.ZipFile(directory / "demo-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("demo.py", "def main():\n    print('hello from demo')\n")
        wheel.writestr("demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
        wheel.writestr("demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("demo-1.0.dist-info/entry_points.txt", "[console_scripts]\ndemo = demo:main\n")
        wheel.writestr("demo-1.0.dist-info/RECORD", "")


@pytest.mark.root
def test_pip_installs_and_removes(base: Sampan, tmp_path: Path) -> None:
    make_wheel(tmp_path)
    script = (
        "pip install -q --no-index -f /wheels demo && demo && pip uninstall -q -y demo && [ ! -e /usr/local/bin/demo ]"
    )
    options = ("--network", "none", "-v", f"{tmp_path}:/wheels:ro", "-e", "PIP_ROOT_USER_ACTION=ignore")
    done = base("run", "--rm", *options, IMAGE, "sh", "-c", script)
    assert (done.stdout, done.stderr) == ("hello from demo\n", "")


@pytest.mark.rootless
def test_pip_installs_with_one_id(rootless_sampan: Sampan, ordinary_user: Account) -> None:
    context = ordinary_user.home / "context"
    context.mkdir(mode=0o755)
    make_wheel(context)
    (context / "demo-1.0-py3-none-any.whl").chmod(0o644)
    (context / "Dockerfile").write_text(
        f"FROM {IMAGE}\nRUN useradd -m app\nENV PIP_ROOT_USER_ACTION=ignore\n"
        "RUN --mount=target=/wheels pip install -q --no-index -f /wheels demo\n"
        "USER app\nRUN --mount=target=/wheels pip install -q --no-index -f /wheels --target ~/mine demo\n"
    )
    rootless_sampan("base", "host", "-q")
    rootless_sampan("build", "-q", "-t", "installed", "--network=none", context)
    assert rootless_sampan("run", "--rm", "--network", "none", "installed", "demo").stdout == "hello from demo\n"
    *_, system, home = saved_owners(rootless_sampan, "installed", ordinary_user.home)
    assert {owner for name, owner in system.items() if "demo" in name} == {(0, 0)}
    assert home["home/app/mine/demo.py"] == (1000, 1000)


@pytest.mark.root
def test_virtual_environments_and_users(base: Sampan) -> None:
    script = "python -m venv /venv && /venv/bin/pip --version && useradd -m app && id -u app && ls -d /home/app"
    assert inside(base, "sh", "-c", script).splitlines()[1:] == ["1000", "/home/app"]


@pytest.mark.root
def test_an_interrupted_base_leaves_nothing(sampan: Sampan) -> None:
    """A full disk in the middle of it: neither an image nor a blob."""
    limited = f"ulimit -f 4096; exec {' '.join(sampan.command('base', 'host'))}"
    done = subprocess.run(["sh", "-c", limited], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert sampan("images", "-q").stdout == ""
    left = [path for path in (sampan.root / "blobs").rglob("*") if path.is_file()]
    assert left == []


@pytest.mark.root
@pytest.mark.rootless
@pytest.mark.needs("mmdebstrap")
def test_a_base_from_the_mirror(sampan: Sampan, rootless_sampan: Sampan, ordinary_user: Account) -> None:
    if subprocess.run(["apt-get", "-qq", "update"], check=False, stdin=subprocess.DEVNULL).returncode:
        pytest.skip("the machine reaches no Debian mirror")
    sampan("base", "debian", "-q", "--variant", "essential", "--include", "apt", "-t", "debian", timeout=300)
    script = 'echo "$PATH" && dpkg-query -W apt base-files && cat /etc/apt/sources.list && ls /etc/apt/apt.conf.d /dev'
    said = sampan("run", "--rm", "--network", "none", "debian", "bash", "-c", script).stdout
    assert "base-files" in said
    assert "Acquire" not in said
    saved, context = ordinary_user.home / "debian.tar", ordinary_user.home / "context"
    sampan("save", "-o", saved, "debian")
    saved.chmod(0o644)
    rootless_sampan("load", "-i", saved)
    install_with_one_id(rootless_sampan, context)


def install_with_one_id(sampan: Sampan, context: Path) -> None:
    """An ordinary user with a single id installs packages that make users and give files to groups."""
    context.mkdir(mode=0o755)
    (context / "Dockerfile").write_text(
        "FROM debian\nRUN apt-get -qq update && apt-get -qq install -y --no-install-recommends cron passwd && "
        "useradd -m -u 1234 app && rm /etc/apt/apt.conf.d/[0-9]*\n"
    )
    sampan("build", "-q", "-t", "installed", "--network=host", context, timeout=300)
    found = saved_owners(sampan, "installed", context.parent)[-1]
    assert found["home/app"] == (1234, 1234)
    assert found["etc/shadow"] == (0, 42)
    assert found["var/spool/cron/crontabs"][1] != 0  # the group crontab, which the package made
    assert not [name for name in found if "zz-sampan" in name]


@pytest.mark.root
@pytest.mark.needs("mmdebstrap")
def test_a_mirror_without_that_suite(sampan: Sampan) -> None:
    done = sampan("base", "debian", "--suite", "no-such-suite", check=False)
    assert done.returncode == 1
    assert "mmdebstrap failed" in done.stderr
    assert sampan("images", "-q").stdout == ""


@pytest.mark.skipif(not shutil.which("apt-get"), reason="the machine is not of Debian's kind")
def test_no_tool_to_make_it_with(sampan: Sampan) -> None:
    program = f"""
import sys
from sampan.bases import debian
find = debian._find
debian._find = lambda name: None if "strap" in name else find(name)
from sampan.cli.main import main
sys.exit(main({sampan.command("base", "debian", "--suite", "bookworm")[3:]!r}))
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "neither mmdebstrap nor debootstrap is installed" in done.stderr
    assert "hint: " in done.stderr
