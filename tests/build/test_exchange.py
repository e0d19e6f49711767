"""Caches that go from one machine to another, as builds see it: everything is there again, and nothing is believed."""

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import commands
import servers
from builders import Builder, as_system
from sampan.oci.digest import sha256

LINES = (
    "FROM base AS one\nRUN echo 1 > /1; date +%N >> /1\nFROM base\n"
    "RUN --mount=type=cache,target=/c,uid=5,mode=0750 date +%N >> /c/f; cat /c/f > /2; mkdir -m 700 /d\n"
    "COPY --from=one /1 /\n"
)


@pytest.fixture
def other(builder: Builder) -> Iterator[Builder]:
    """The same, on a machine that has built nothing."""
    root = commands.new_store()
    yield Builder(commands.Sampan(root), builder.context)
    commands.remove_store(root)


def steps(said: str) -> list[str]:
    """How each step went, in the order of their numbers: CACHED or DONE."""
    return [how for _, how in sorted((int(number), how) for number, how in re.findall(r"#(\d+) (CACHED|DONE)", said))]


def caches(builder: Builder) -> list[Path]:
    return [path for path in (builder.sampan.root / "caches").glob("*/it/f") if path.is_file()]


@as_system
@pytest.mark.parametrize("place", ["directory", "cache.tar", "registry"])
def test_a_whole_cache_survives(builder: Builder, other: Builder, place: str, tmp_path: Path) -> None:
    with servers.registry(tmp_path / "registry") as registry:
        where = f"{registry.address}/team/cache:main" if place == "registry" else str(tmp_path / place)
        builder.build(LINES)
        assert "exported 7 steps and 2 cache mounts" in builder.sampan("cache", "export", where).stdout
        said = other.sampan("cache", "import", where).stdout
    assert "of which 7 steps and 2 cache mounts are new" in said
    assert set(steps(other.build(LINES).stderr)) == {"CACHED"}
    assert other.image()["Id"] == builder.image()["Id"]
    (kept,), (original,) = caches(other), caches(builder)
    assert kept.read_text() == original.read_text()
    status = kept.parent.stat()
    assert (status.st_mode & 0o7777, status.st_uid) == (0o750, 5)
    assert other.sampan("run", "--rm", "--network", "none", "built", "/bin/cat", "/2").stdout == kept.read_text()


@as_system
def test_an_export_is_written_once_and_swept(builder: Builder, tmp_path: Path) -> None:
    builder.build(LINES)
    builder.sampan("cache", "export", tmp_path / "out")
    blobs = tmp_path / "out/blobs/sha256"
    before = {name: (blobs / name).stat().st_ino for name in os.listdir(blobs)}
    assert all(sha256((blobs / name).read_bytes()).encoded == name for name in before)
    builder.sampan("cache", "export", tmp_path / "out")
    assert {name: (blobs / name).stat().st_ino for name in os.listdir(blobs)} == before
    builder.sampan("cache", "prune", "-af")
    builder.build("RUN true")
    builder.sampan("cache", "export", tmp_path / "out")
    # Four steps, config and manifest; the cache of pip and uv is empty, as is the layer of a step that does nothing.
    assert len(os.listdir(blobs)) == 6


@as_system
@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_build_takes_from_another_what_it_has_not(
    builder: Builder, other: Builder, mode: str, tmp_path: Path
) -> None:
    lines = LINES.replace("; date +%N >> /1", "")
    builder.build(lines, "--cache-to", f"type=local,dest={tmp_path}/out,mode={mode}")
    done = other.build(lines, "--cache-from", f"type=local,src={tmp_path}/out")
    # Without its own step the other stage has to be built again, and comes out the same.
    assert steps(done.stderr).count("DONE") == (1 if mode == "min" else 0)
    assert other.image()["Id"] == builder.image()["Id"]
    assert set(steps(other.build(lines).stderr)) == {"CACHED"}


STAGES = (
    "FROM base AS tools\nRUN cat /proc/sys/kernel/random/uuid > /tool{0}\nFROM base\n"
    "RUN cat /proc/sys/kernel/random/uuid > /1\nCOPY --from=tools /tool* /\n"
    "RUN --mount=from=tools,target=/t cat /proc/sys/kernel/random/uuid > /2{0}\n"
)


@as_system
def test_the_cache_that_leads_further_goes_first(builder: Builder, other: Builder, tmp_path: Path) -> None:
    """Both machines have performed the first RUN, each with another result."""
    first, second, out = STAGES.format(""), STAGES.format("b"), f"type=local,src={tmp_path}/out"
    builder.build(first)
    other.build(first)
    builder.build(second, "--cache-to", f"{out.replace('src', 'dest')},mode=max")
    assert set(steps(other.build(second, "--cache-from", out).stderr)) == {"CACHED"}
    assert other.image()["Id"] == builder.image()["Id"]
    assert set(steps(other.build(second).stderr)) == {"CACHED"}
    assert set(steps(other.build(first, "--no-cache").stderr)[3:]) == {"DONE"}
    kept = other.image()["Id"]
    assert set(steps(other.build(first, "--cache-from", out).stderr)) == {"CACHED"}
    assert other.image()["Id"] == kept  # all of it is here: nothing older comes from elsewhere
    assert "DONE" not in other.build(second, "--cache-from", out).stderr
    done = other.build(f"{second}COPY nothing /", "--cache-from", out, check=False)
    assert "nothing is not in the build context" in done.stderr
    assert "^^^^^^^" in done.stderr


@as_system
def test_a_working_directory_of_one_s_own_parts_no_caches(builder: Builder, other: Builder, tmp_path: Path) -> None:
    """Otherwise nothing above it is found: in a cache of another machine's, or after --no-cache in another project."""
    builder.build("RUN true")
    builder.sampan("tag", "built", "under")
    builder.sampan("save", "-o", tmp_path / "under.tar", "under")
    other.sampan("load", "-i", tmp_path / "under.tar")
    other.build("WORKDIR /w/d", base="FROM under\n")
    began = int(time.time())
    while int(time.time()) == began:
        time.sleep(0.05)
    lines = "WORKDIR /w/d\nRUN echo made > f\nWORKDIR e\nRUN echo made > g"
    builder.build(lines, base="FROM under\n")
    builder.sampan("cache", "export", tmp_path / "out")
    other.sampan("cache", "import", tmp_path / "out")
    assert other.build(lines, base="FROM under\n").stderr.count(" CACHED\n") == 5
    other.build("WORKDIR /w/d\nRUN echo other > f", "--no-cache", base="FROM under\n")
    assert other.build(lines, base="FROM under\n").stderr.count(" CACHED\n") == 5


@as_system
def test_a_registry_and_an_image_hold_caches(builder: Builder, other: Builder, tmp_path: Path) -> None:
    lines = "FROM base\nRUN date +%N > /1\nRUN date +%N > /2"
    with servers.registry(tmp_path / "registry") as registry:
        name = f"{registry.address}/app"
        inline = ("--build-arg", "BUILDKIT_INLINE_CACHE=1")
        builder.build(lines, "-t", name, *inline, "--cache-to", f"type=registry,ref={name}:cache")
        builder.sampan("push", name)
        for source in (name, f"type=registry,ref={name}:cache"):
            assert set(steps(other.build(lines, "--cache-from", source).stderr)) == {"CACHED"}
            assert other.image()["Id"] == builder.image()["Id"]
            other.sampan("rmi", "built")
            other.sampan("cache", "prune", "-af")
    assert "warn" not in other.build(lines).stderr.lower()


@as_system
def test_a_cache_that_is_not_there_costs_no_build(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source in ("type=local,src=/no/where", f"type=local,src={tmp_path}/empty", "127.0.0.1:1/app"):
        done = builder.build("RUN true", "--cache-from", source)
        assert "WARNING: the cache type=" in done.stderr
        assert "is not used: " in done.stderr
    builder.sampan("build", "-t", "plain", builder.context)
    with servers.registry(tmp_path / "registry") as registry:
        builder.sampan("tag", "plain", f"{registry.address}/plain")
        builder.sampan("push", f"{registry.address}/plain")
        done = builder.build("RUN true", "--cache-from", f"{registry.address}/plain")
    assert "has no build cache in it" in done.stderr
    done = builder.build("RUN true", "--cache-to", "type=registry,ref=127.0.0.1:1/app", check=False)
    assert done.returncode == 1
    assert "the cache cannot go to type=registry 127.0.0.1:1/app" in done.stderr
    done = builder.build("RUN true", "--cache-to", "type=registry,ref=127.0.0.1:1/app,ignore-error=true")
    assert "WARNING: the cache did not go to" in done.stderr


def forge(layout: Path, change: dict[str, str]) -> None:
    """Lets every step of a cache in a layout claim something else; all blobs have the digests that they should."""
    index = json.loads((layout / "index.json").read_text())

    def load(descriptor: dict[str, str]) -> dict[str, object]:
        loaded: dict[str, object] = json.loads((layout / "blobs/sha256" / descriptor["digest"][7:]).read_bytes())
        return loaded

    def store(descriptor: dict[str, object], value: object) -> None:
        data = json.dumps(value).encode()
        descriptor |= {"digest": sha256(data), "size": len(data)}
        (layout / "blobs/sha256" / sha256(data).encoded).write_bytes(data)

    (entry,) = index["manifests"]
    manifest = load(entry)
    described = manifest["config"]
    assert isinstance(described, dict)
    config = load(described)
    for each in config["layers" if "diffId" in change else "steps"]:  # type: ignore[attr-defined]
        each |= change
    store(described, config)
    store(entry, manifest)
    (layout / "index.json").write_text(json.dumps(index))


@as_system
@pytest.mark.parametrize("change", [{"chain": f"sha256:{'0' * 64}"}, {"diffId": f"sha256:{'0' * 64}"}])
@pytest.mark.parametrize("imported", [False, True])
def test_nothing_is_believed(
    builder: Builder, other: Builder, change: dict[str, str], imported: bool, tmp_path: Path
) -> None:
    layout = tmp_path / "out"
    builder.build("RUN echo good > /f", "--cache-to", f"type=local,dest={layout},mode=max")
    forge(layout, change)
    if imported:
        other.sampan("cache", "import", layout)
        done = other.build("RUN echo good > /f")
    else:
        done = other.build("RUN echo good > /f", "--cache-from", f"type=local,src={layout}")
    assert "CACHED" not in done.stderr.partition("#2")[2]
    assert "is not used: " in done.stderr
    assert (other.layer() / "f").read_text() == "good\n"
    assert other.leftovers() == []


@as_system
def test_damaged_blobs_are_not_used(builder: Builder, other: Builder, tmp_path: Path) -> None:
    layout = tmp_path / "out"
    builder.build("RUN echo good > /f", "--cache-to", f"type=local,dest={layout},mode=max")
    for blob in (layout / "blobs/sha256").iterdir():
        if not blob.read_bytes().startswith(b"{"):
            blob.write_bytes(bytes(blob.stat().st_size))
    failed = other.sampan("cache", "import", layout, check=False)
    assert failed.returncode == 1
    assert "a blob's digest is" in failed.stderr
    done = other.build("RUN echo good > /f", "--cache-from", f"type=local,src={layout}")
    assert "does not give COPY busybox" in done.stderr


@pytest.mark.system
@pytest.mark.needs("busybox")
def test_an_ordinary_user_takes_a_cache_along(
    rootless_sampan: commands.Sampan, ordinary_user: commands.Account
) -> None:
    context = ordinary_user.home / "context"
    context.mkdir()
    builder = Builder(rootless_sampan, context)
    lines = "RUN --mount=type=cache,target=/c echo kept > /c/f; date +%N > /x"
    (context / "busybox").chmod(0o755)
    for path in (context, *context.rglob("*")):
        path.chmod(path.stat().st_mode | 0o055)
    builder.build(lines, "--network=host")
    rootless_sampan("cache", "export", ordinary_user.home / "out")
    rootless_sampan("cache", "prune", "-af")
    rootless_sampan("rmi", "built")
    assert "4 steps and 2 cache mounts are new" in rootless_sampan("cache", "import", ordinary_user.home / "out").stdout
    assert set(steps(builder.build(lines, "--network=host").stderr)) == {"CACHED"}


@as_system
def test_misuse(builder: Builder, tmp_path: Path) -> None:
    def failure(*arguments: str | Path) -> str:
        done = builder.sampan("cache", *arguments, check=False)
        assert done.returncode == 1
        return done.stderr

    assert "there is no build cache to export" in failure("export", tmp_path / "out")
    assert "neither a path nor REGISTRY/NAME" in failure("export", "cache")
    assert "there is no archive" in failure("import", tmp_path / "no.tar")
    assert "there is no directory" in failure("import", tmp_path / "no")
    (tmp_path / "some").mkdir()
    (tmp_path / "some/file").write_text("")
    builder.build("RUN true")
    assert "neither empty nor an image layout" in failure("export", tmp_path / "some")
    builder.sampan("save", "-o", tmp_path / "image.tar", "built")
    assert "has no build cache in it" in failure("import", tmp_path / "image.tar")
