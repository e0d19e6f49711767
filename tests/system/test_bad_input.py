"""What goes wrong for a stranger: one clear sentence, a hint where there is a way out, and nothing left behind."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import commands
import faulty
import images
import servers
from commands import Done, Sampan
from residents import IMAGE, PATIENCE, assert_clean, command, leftovers, processes, read_until, started

pytestmark = [pytest.mark.system]


@pytest.fixture
def context(anyone: Sampan) -> Path:
    """An empty build context."""
    directory = anyone.root / "context"
    directory.mkdir()
    directory.chmod(0o755)
    return directory


def told(done: Done, code: int, *parts: str, hint: str = "") -> None:
    """The command failed with this code, said all ``parts`` in one sentence, and gave this hint, or any."""
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    first, *rest = done.stderr.splitlines()
    assert first.startswith("sampan: "), done.stderr
    assert "internal error" not in first
    for part in parts:
        assert part in first, done.stderr
    hints = [line for line in rest if line.startswith("hint: ")]
    assert len(hints) >= bool(hint), done.stderr
    assert hint in "".join(hints), done.stderr


def quiet_build(sampan: Sampan, context: Path, dockerfile: str, *options: str) -> Done:
    (context / "Dockerfile").write_text(dockerfile)
    return sampan("build", "-q", *options, context, check=False)


def only_the_image(sampan: Sampan) -> None:
    assert_clean(sampan)
    assert sampan("images", "-q").stdout.count("\n") == 1
    assert sampan("run", "--rm", "--network", "none", IMAGE, "cat", "/data/seed").stdout == "from the image\n"


# -- builds -----------------------------------------------------------------------------------------------------------


def test_a_missing_dockerfile(anyone: Sampan, context: Path) -> None:
    told(anyone("build", context, check=False), 1, "Dockerfile", hint=" ")
    told(anyone("build", "-f", "other", context, check=False), 1, "other")
    told(anyone("build", context / "nowhere", check=False), 1, "nowhere")
    only_the_image(anyone)


def test_an_unknown_instruction(anyone: Sampan, context: Path) -> None:
    done = quiet_build(anyone, context, "FROM box\nRUM echo\n")
    told(done, 1, "RUM", hint="RUN")
    assert "2" in done.stderr
    only_the_image(anyone)


def test_copy_with_one_argument(anyone: Sampan, context: Path) -> None:
    (context / "requirements.txt").touch()
    told(quiet_build(anyone, context, "FROM box\nCOPY requirements.txt.\n"), 1, "COPY", hint="COPY requirements.txt .")
    only_the_image(anyone)


def test_a_build_without_a_context(anyone: Sampan, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM box\n")
    done = anyone("build", "-t", "name.", cwd=context, check=False)
    assert done.returncode == 1
    assert "-t name ." in done.stderr
    assert "Traceback" not in done.stderr
    only_the_image(anyone)


def test_what_is_copied_is_not_there(anyone: Sampan, context: Path) -> None:
    told(quiet_build(anyone, context, "FROM box\nCOPY nothing /\n"), 1, "nothing")
    told(quiet_build(anyone, context, "FROM box\nCOPY --from=0 /nothing /\n"), 1)
    only_the_image(anyone)


def test_a_command_that_fails(anyone: Sampan, context: Path) -> None:
    done = quiet_build(anyone, context, "FROM box\nRUN echo reason >&2; exit 9\n", "--network", "none")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "reason" in done.stderr
    assert "9" in next(line for line in done.stderr.splitlines() if line.startswith("sampan: "))
    anyone("image", "prune", "-f")  # what the command ran on was kept to be looked at
    only_the_image(anyone)


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--rm", "Box"), ("tag", IMAGE, "new/Name"), ("pull", "Box"), ("push", "Box"), ("build", "-t", "Name"),
    ],
)  # fmt: skip
def test_a_reference_with_capitals(anyone: Sampan, context: Path, words: tuple[str, ...]) -> None:
    (context / "Dockerfile").write_text("FROM box\n")
    more = (context,) if words[0] == "build" else ()
    told(anyone(*words, *more, check=False), 125 if words[0] == "run" else 1, "lower", hint=" ")
    only_the_image(anyone)


def test_a_base_image_with_capitals(anyone: Sampan, context: Path) -> None:
    told(quiet_build(anyone, context, "FROM Box\n"), 1, "lower", hint=" ")


# -- images and registries --------------------------------------------------------------------------------------------


def test_an_image_that_does_not_exist_here(anyone: Sampan) -> None:
    told(anyone("run", "--pull", "never", "nothing", check=False), 125, "nothing")
    for words in (
        ("rmi", "nothing"),
        ("tag", "nothing", "new"),
        ("history", "nothing"),
        ("push", "127.0.0.1:1/nothing"),
    ):
        told(anyone(*words, check=False), 1, words[1])
    done = anyone("inspect", "nothing", check=False)
    assert (done.returncode, "Traceback" in done.stderr, "nothing" in done.stderr) == (1, False, True)
    only_the_image(anyone)


def test_an_image_that_the_registry_does_not_have(anyone: Sampan, context: Path) -> None:
    with faulty.registry() as registry:
        name = f"{registry.address}/team/nothing:1"
        told(anyone("pull", name, check=False), 1, "team/nothing")
        told(quiet_build(anyone, context, f"FROM {name}\n"), 1, "team/nothing")
        done = anyone("run", name, check=False)
        assert done.returncode == 125
        assert done.stderr.startswith(f"Unable to find image '{name}' locally\nsampan: ")
        assert "Traceback" not in done.stderr
    only_the_image(anyone)


def test_a_registry_that_is_down(anyone: Sampan) -> None:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        name = f"127.0.0.1:{probe.getsockname()[1]}/team/app"
        told(anyone("pull", name, check=False), 1, "127.0.0.1", hint=" ")
        anyone("tag", IMAGE, name)
        told(anyone("push", name, check=False), 1, "127.0.0.1", hint=" ")
        anyone("rmi", name)
        login = anyone("login", "-u", "x", "--password-stdin", name.partition("/")[0], input="y\n", check=False)
        told(login, 1, "127.0.0.1", hint=" ")
    only_the_image(anyone)


@pytest.mark.registry
def test_a_registry_that_wants_a_login(anyone: Sampan, tmp_path: Path) -> None:
    home = {"HOME": str(anyone.root / "home"), "DOCKER_CONFIG": str(anyone.root / "home")}
    with servers.registry(tmp_path / "registry", auth="basic") as registry:
        name = f"{registry.address}/team/app"
        told(anyone("pull", name, check=False, environment=home), 1, registry.address, hint="login")
        anyone("tag", IMAGE, name)
        told(anyone("push", name, check=False, environment=home), 1, registry.address, hint="login")
        anyone("rmi", name)
        words = ("login", "-u", registry.username, "--password-stdin", registry.address)
        wrong = anyone(*words, input="wr0ng\n", check=False, environment=home)
        told(wrong, 1, registry.address, hint=" ")
        assert "wr0ng" not in wrong.stderr
    only_the_image(anyone)


@pytest.fixture
def registry() -> Iterator[faulty.FaultyRegistry]:
    """A registry with an image of its own."""
    layers = [images.layer({"one": "1" * 100_000}), images.layer({"two": "2"})]
    with faulty.registry(images.content(layers, {"Cmd": ["/one"]})) as running:
        yield running


def test_a_corrupt_blob(anyone: Sampan, registry: faulty.FaultyRegistry) -> None:
    registry.does("/blobs/", faulty.flip, always=True)
    told(anyone("pull", "-q", f"{registry.address}/app", check=False), 1, "sha256:")
    done = anyone("run", f"{registry.address}/app", check=False)
    assert done.returncode == 125
    only_the_image(anyone)


def test_a_layer_that_is_not_what_its_config_says(anyone: Sampan) -> None:
    """Each blob has its digest, and yet the layer is another than the image's config names."""
    content = images.content([images.layer({"one": "1"})], {})
    other = images.content([images.layer({"one": "2"})], {})
    manifest, wrong = (json.loads(each["/manifests/latest"].body) for each in (content, other))
    manifest["layers"] = wrong["layers"]
    answer = content["/manifests/latest"]._replace(body=json.dumps(manifest).encode())
    with faulty.registry({**content, **other, "/manifests/latest": answer}) as registry:
        told(anyone("pull", "-q", f"{registry.address}/app", check=False), 1, "sha256:")
    only_the_image(anyone)


def test_what_is_no_layer(anyone: Sampan) -> None:
    with faulty.registry(images.content([b"this is no archive at all" * 100], {})) as registry:
        told(anyone("pull", "-q", f"{registry.address}/app", check=False), 1)
    only_the_image(anyone)


# -- a full disk ------------------------------------------------------------------------------------------------------


def on_a_full_disk(sampan: Sampan, size: str, *words: str) -> tuple[Done, list[str]]:
    """Runs a command with a store on a new disk of this size, which only it can see, and lists what is there then."""
    account = sampan.account or commands.Account(os.getuid(), os.getgid(), Path("/root"))
    disk = sampan.root / "disk"
    disk.mkdir(exist_ok=True)
    inner = Sampan(disk / "store", sampan.account).command(*words)
    identity = ["setpriv", f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups", "--"]
    script = (
        'mount -t tmpfs -o "size=$1,uid=$2,gid=$3" none "$4" || exit 99; cd "$4"; shift 4; '
        '"$@"; code=$?; find store > ../listing; exit $code'
    )
    inside = [size, account.uid, account.gid, disk, *(identity if sampan.account else []), *inner]
    environment = {"HOME": str(account.home), **account.environment}
    done = commands.run(["unshare", "-m", "sh", "-c", script, "sh", *inside], check=False, environment=environment)
    return done, (sampan.root / "listing").read_text().split()


@pytest.mark.root
def test_a_disk_that_is_full_during_a_pull(anyone: Sampan) -> None:
    noise = os.urandom(3 << 20)
    with faulty.registry(images.content([images.layer({"noise": noise})], {})) as registry:
        # Too small for the blob; large enough for that and not for its files, which are written as it comes.
        for size in ("1m", "4m"):
            done, files = on_a_full_disk(anyone, size, "pull", "-q", f"{registry.address}/app")
            told(done, 1)
            assert "the disk is full" in done.stderr or "No space left on device" in done.stderr
            assert not [name for name in files if "/partial/" in name], files
            assert not [name for name in files if "/aside/" in name or "/tmp/" in name], files
            assert not [name for name in files if name.startswith("store/snapshots/")], files
    assert str(anyone.root) not in Path("/proc/self/mountinfo").read_text()
    only_the_image(anyone)


@pytest.mark.root
def test_a_disk_that_is_full_during_a_build(anyone: Sampan, context: Path) -> None:
    (context / "noise").write_bytes(os.urandom(3 << 20))
    (context / "noise").chmod(0o644)
    (context / "Dockerfile").write_text("FROM scratch\nCOPY noise /\n")
    for size in ("1m", "4m"):
        done, files = on_a_full_disk(anyone, size, "build", "-q", str(context))
        told(done, 1, "the disk is full", hint=" ")
        assert not [name for name in files if "/aside/" in name or "/tmp/" in name], files
        assert not [name for name in files if name.startswith("store/snapshots/") and "noise" in name], files


@pytest.mark.root
def test_a_disk_that_is_full_from_the_beginning(anyone: Sampan) -> None:
    for words, code in ((("images",), 1), (("run", "--rm", "--pull", "never", "box"), 125)):
        done, _ = on_a_full_disk(anyone, "8k", *words)
        told(done, code, "the disk is full", hint=" ")


def test_a_container_that_fills_its_disk(anyone: Sampan) -> None:
    """The program hears of it; the engine goes on."""
    script = "dd if=/dev/zero of=/dev/shm/x bs=1M count=80 2>&1; echo code $?"
    done = anyone("run", "--rm", "--network", "none", IMAGE, "sh", "-c", script)
    assert "No space left on device" in done.stdout
    assert "code 1" in done.stdout


# -- interrupts -------------------------------------------------------------------------------------------------------


def interrupted(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert process.stderr
    said = process.stderr.read()
    assert b"sampan: interrupted\n" in said
    assert b"Traceback" not in said


def test_an_interrupt_in_the_middle_of_a_command_of_a_build(anyone: Sampan, context: Path) -> None:
    lines = "FROM box\nRUN echo up; touch /made; (setsid sleep 5432 &); sleep 5432\n"
    (context / "Dockerfile").write_text(lines)
    with started(anyone, "build", "--progress=plain", "--network", "none", "-t", "new", str(context)) as process:
        read_until(process.stderr, " up\n")
        interrupted(process)
    only_the_image(anyone)
    assert [pid for pid in processes(anyone) if "5432" in command(pid)] == []


@pytest.mark.parametrize("what", ["/blobs/", "/manifests/"])
def test_an_interrupt_in_the_middle_of_a_pull(anyone: Sampan, registry: faulty.FaultyRegistry, what: str) -> None:
    registry.does(what, faulty.stall, always=True)
    reading, writing = os.pipe()
    registry.stalled = lambda: os.write(writing, b"stalled\n") and None
    try:
        with started(anyone, "pull", f"{registry.address}/app") as process:
            read_until(reading, "stalled\n")
            interrupted(process)
    finally:
        os.close(reading)
        os.close(writing)
    only_the_image(anyone)


def test_a_pull_that_is_killed_is_forgotten(anyone: Sampan, registry: faulty.FaultyRegistry) -> None:
    registry.does("/blobs/", faulty.cut(1000), faulty.stall, faulty.stall, faulty.stall)
    reading, writing = os.pipe()
    registry.stalled = lambda: os.write(writing, b"stalled\n") and None
    try:
        with started(anyone, "pull", f"{registry.address}/app") as process:
            read_until(reading, "stalled\n")
            process.kill()
    finally:
        os.close(reading)
        os.close(writing)
    # What is left of it is swept away by those who come next.
    anyone("pull", f"{registry.address}/app")
    anyone("rmi", f"{registry.address}/app")
    assert [name for name in leftovers(anyone) if name.startswith("snapshot")] == []


# -- the store itself -------------------------------------------------------------------------------------------------


def test_a_store_that_is_not_ones_own(ordinary: Sampan) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    told(Sampan(Path("/root/store"), ordinary.account)("images", check=False), 1, "/root/store")


def test_a_damaged_database(anyone: Sampan) -> None:
    database = anyone.root / "sampan.db"
    kept = database.read_bytes()
    for name in ("sampan.db-wal", "sampan.db-shm"):
        (anyone.root / name).unlink(missing_ok=True)
    database.write_bytes(b"this is no database" * 1000)
    try:
        told(anyone("images", check=False), 1, "the store's database is damaged", hint=" ")
        told(anyone("run", "--rm", IMAGE, check=False), 125, "the store's database is damaged", hint=" ")
    finally:
        database.write_bytes(kept)


def test_the_command_line_without_a_standard_stream(anyone: Sampan) -> None:
    words = anyone.command("run", "--rm", "--network", "none", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 5")
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        done = commands.run(
            ["sh", "-c", f'"$@" {closed}', "sh", *words], check=False, account=anyone.account, cwd=anyone.root
        )
        assert done.returncode == 5, (closed, done)
        assert "Traceback" not in done.stderr
