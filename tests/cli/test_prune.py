"""Pruning and disk usage, over a real store: what goes, what stays, and what is said."""

import json
import time
from pathlib import Path

import pytest

from commands import Inside
from sampan.containers.options import Mount, Options
from sampan.containers.record import Container, Containers
from sampan.containers.state import State, write_state
from sampan.engine import Engine
from sampan.oci.config import ContainerConfig
from sampan.store.images import Image
from sampan.volumes import anonymous_name
from shelf import put_image

_PLAIN = Options()


def put_container(engine: Engine, image: Image, name: str, options: Options = _PLAIN, created: str = "") -> Path:
    """A container that has ended, with its snapshot; gives the directory that it wrote to."""
    identifier = name.encode().hex().ljust(64, "0")
    containers = Containers(engine.database, engine.paths.containers)
    created = created or "2024-01-02T03:04:05Z"
    container = Container(identifier, name, image.id, "a", created, options, containers.directory(identifier))
    containers.add(container)
    Path(container.directory).mkdir(parents=True)
    write_state(container.directory, State("exited", finished=created))
    return Path(engine.snapshots.prepare(container.snapshot, image.chain))


def names(engine: Engine) -> list[str]:
    return [name.reference.familiar() for name in engine.images.names()]


def test_image_prune_takes_those_without_a_name(engine: Engine, inside: Inside) -> None:
    put_image(engine, "kept", layers=(b"k" * 10,))
    bare = put_image(engine, layers=(b"x" * 1000,), created="2023-01-01T00:00:00Z")
    used = put_image(engine, layers=(b"u" * 20,), created="2022-01-01T00:00:00Z")
    put_container(engine, used, "job")
    code, out, err = inside("image", "prune", "-f")
    assert (code, err) == (0, "")
    title, deleted, empty, total = out.splitlines()
    assert (title, deleted, empty) == ("Deleted Images:", f"deleted: {bare.id}", "")
    assert total.startswith("Total reclaimed space: ")
    assert not total.endswith(" 0B")
    assert not engine.blobs.has(bare.id)
    assert {image.id for image in engine.images.all()} == {used.id, engine.images.find("kept").id}
    assert inside("image", "prune", "-f") == (0, "Total reclaimed space: 0B\n", "")


def test_image_prune_all(engine: Engine, inside: Inside) -> None:
    used = put_image(engine, "used", layers=(b"u",))
    gone = put_image(engine, "gone:1", "gone:2", layers=(b"g",), created="2023-01-01T00:00:00Z")
    put_container(engine, used, "job")
    out = inside("image", "prune", "-a", "-f")[1]
    assert out.splitlines()[:4] == ["Deleted Images:", "untagged: gone:1", "untagged: gone:2", f"deleted: {gone.id}"]
    assert names(engine) == ["used:latest"]


@pytest.mark.parametrize(
    ("flag", "left"),
    [
        ("until=2023-06-01T00:00:00Z", ["new:latest"]),
        ("until=2020-01-01T00:00:00Z", ["new:latest", "old:latest"]),
        ("label=keep", ["old:latest"]),
        ("label!=keep", ["new:latest"]),
        ("label=nosuch", ["new:latest", "old:latest"]),
    ],
)
def test_image_prune_with_a_filter(engine: Engine, inside: Inside, flag: str, left: list[str]) -> None:
    put_image(engine, "new", config=ContainerConfig(labels={"keep": "1"}))
    put_image(engine, "old", created="2023-01-01T00:00:00Z")
    assert inside("image", "prune", "-a", "-f", "--filter", flag)[0] == 0
    assert names(engine) == left


def test_container_prune(engine: Engine, inside: Inside) -> None:
    image = put_image(engine, "a", layers=(b"a",))
    (put_container(engine, image, "job") / "file").write_bytes(b"x" * 1234)
    put_container(engine, image, "labelled", Options(labels=(("keep", ""),)))
    code, out, _ = inside("container", "prune", "-f", "--filter", "label!=keep")
    identifier = b"job".hex().ljust(64, "0")
    assert (code, out) == (0, f"Deleted Containers:\n{identifier}\n\nTotal reclaimed space: 1.23kB\n")
    left = Containers(engine.database, engine.paths.containers).all()
    assert [container.name for container in left] == ["labelled"]
    assert inside("container", "prune", "-f", "--filter", "until=2020-01-01T00:00:00Z")[1] == (
        "Total reclaimed space: 0B\n"
    )


def test_container_prune_spares_one_that_is_just_being_started(engine: Engine, inside: Inside) -> None:
    image = put_image(engine, "a", layers=(b"a",))
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
    put_container(engine, image, "new", created=now)
    Path(Containers(engine.database, engine.paths.containers).find("new").directory, "state.json").unlink()
    assert inside("container", "prune", "-f")[1] == "Total reclaimed space: 0B\n"


def test_volumes(engine: Engine, inside: Inside) -> None:
    assert inside("volume", "create", "--label", "tier=db", "data") == (0, "data\n", "")
    anonymous = inside("volume", "create")[1].strip()
    assert len(anonymous) == 64
    put_container(engine, put_image(engine, "a"), "job", Options(mounts=(Mount("used", "/used"),)))
    inside("volume", "create", "used")
    Path(engine.volumes.path("data"), "file").write_bytes(b"x" * 2000)
    assert inside("volume", "ls", "-q")[1].split() == sorted(["data", anonymous, "used"])
    assert inside("volume", "ls", "-q", "-f", "dangling=false")[1].split() == ["used"]
    assert inside("volume", "ls", "-q", "-f", "label=tier=db")[1].split() == ["data"]
    assert inside("volume", "ls", "--format", '{{.Name}} {{.Label "tier"}}', "-f", "name=dat")[1] == "data db\n"
    assert json.loads(inside("volume", "inspect", "data")[1])[0]["Labels"] == {"tier": "db"}
    assert inside("inspect", "-f", "{{.Mountpoint}} {{.Driver}}", "data")[1] == f"{engine.volumes.path('data')} local\n"
    code, out, err = inside("volume", "rm", "used", "nosuch")
    assert (code, out) == (1, "")
    assert "volume used is in use" in err
    assert "no such volume: nosuch" in err
    assert inside("volume", "rm", "-f", "nosuch") == (0, "nosuch\n", "")
    assert inside("volume", "prune", "-f")[1].splitlines()[:2] == ["Deleted Volumes:", anonymous]
    assert inside("volume", "prune", "-a", "-f")[1] == "Deleted Volumes:\ndata\n\nTotal reclaimed space: 2kB\n"
    assert inside("volume", "ls", "-q")[1] == "used\n"


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../x", "/"])
def test_names_of_volumes_do_not_leave_their_directory(engine: Engine, inside: Inside, name: str) -> None:
    engine.volumes.create("data")
    for verb in ("rm", "inspect"):
        assert inside("volume", verb, name)[0] == 1
    assert inside("volume", "create", name)[0] == 1
    assert engine.volumes.all() == ["data"]


def test_system_prune(engine: Engine, inside: Inside) -> None:
    image = put_image(engine, "a", layers=(b"a",))
    bare = put_image(engine, layers=(b"b",), created="2023-01-01T00:00:00Z")
    volume = anonymous_name()
    put_container(engine, image, "job", Options(mounts=(Mount(volume, "/data"),)))
    engine.volumes.create(volume)
    engine.volumes.create("named")
    out = inside("system", "prune", "-f", "--volumes")[1]
    assert "Deleted Containers:\n" in out
    assert f"Deleted Volumes:\n{volume}\n" in out
    assert f"Deleted Images:\ndeleted: {bare.id}\n" in out
    assert names(engine) == ["a:latest"]
    inside("system", "prune", "-a", "-f")
    assert (names(engine), engine.volumes.all(), engine.blobs.all()) == ([], ["named"], [])


def test_it_asks_first(engine: Engine, inside: Inside, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put_image(engine, layers=(b"b",))
    for answer, left in (("", 1), ("n\n", 1), ("\n", 1), ("y\n", 0)):
        path = tmp_path / "answer"
        path.write_text(answer)
        with path.open() as file:
            monkeypatch.setattr("sys.stdin", file)
            code, out, err = inside("image", "prune")
        assert out.startswith(
            "WARNING! This will remove all dangling images.\nAre you sure you want to continue? [y/N] "
        )
        assert code == (0 if answer else 1)
        assert ("nobody answered" in err) == (not answer)
        assert len(engine.images.all()) == left


def test_what_takes_the_disk(engine: Engine, inside: Inside) -> None:
    base = b"b" * 1000
    used = put_image(engine, "used", layers=(base, b"1" * 100))
    put_image(engine, "other", layers=(base, b"2" * 10))
    (put_container(engine, used, "job") / "file").write_bytes(b"x" * 50)
    engine.volumes.create("data")
    Path(engine.volumes.path("data"), "file").write_bytes(b"x" * 70)
    rows = [json.loads(line) for line in inside("system", "df", "--format", "json")[1].splitlines()]
    facts = {row["Type"]: (row["TotalCount"], row["Active"], row["Reclaimable"]) for row in rows}
    assert facts["Containers"] == ("1", "0", "50B (100%)")
    assert facts["Local Volumes"] == ("1", "0", "70B (100%)")
    assert facts["Images"][:2] == ("2", "1")
    lines = inside("system", "df", "-v")[1].splitlines()
    table = [line.split() for line in lines if line.startswith(("used", "other"))]
    by_name = {row[0]: row for row in table}
    assert by_name["used"][-1] == "1"
    assert by_name["other"][-1] == "0"
    # The base counts twice, unpacked and as it is stored, and both images share it.
    assert by_name["used"][-3] == by_name["other"][-3] == "2kB"


def test_system_df_of_nothing(inside: Inside) -> None:
    assert inside("system", "df")[1].splitlines() == [
        "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE",
        "Images          0         0         0B        0B",
        "Containers      0         0         0B        0B",
        "Local Volumes   0         0         0B        0B",
        "Build Cache     0         0         0B        0B",
    ]
