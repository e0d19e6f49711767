"""images, tag, rmi, history and inspect, over a real store."""

import json
import re

import pytest

import commands
from commands import Inside
from sampan.containers.options import Options
from sampan.containers.record import Container, Containers
from sampan.engine import Engine
from sampan.oci.config import ContainerConfig
from sampan.store.images import Image
from shelf import put_image


def put_container(engine: Engine, image: Image, name: str) -> Container:
    identifier = name.encode().hex().ljust(64, "0")
    containers = Containers(engine.database, engine.paths.containers)
    created = "2024-01-02T03:04:05Z"
    container = Container(
        identifier, name, image.id, "a", created, Options(command=("ls", "-l")), containers.directory(identifier)
    )
    containers.add(container)
    return container


def test_images(engine: Engine, inside: Inside) -> None:
    old = put_image(engine, "localhost:5000/tools/old:1.0", "old", layers=(b"x" * 1500,))
    new = put_image(engine, "new", created="2024-06-01T00:00:00Z")
    bare = put_image(engine, created="2023-01-01T00:00:00Z")
    code, out, err = inside("images")
    rows = [line.split() for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert rows[0] == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert [row[:3] for row in rows[1:]] == [
        ["new", "latest", new.id.short],
        ["old", "latest", old.id.short],
        ["localhost:5000/tools/old", "1.0", old.id.short],
        ["<none>", "<none>", bare.id.short],
    ]
    assert [row[-1] for row in rows[1:]] == ["0B", "1.5kB", "1.5kB", "0B"]


def test_images_of_an_empty_store(inside: Inside) -> None:
    assert inside("images") == (0, "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n", "")
    assert inside("images", "-q") == (0, "", "")


def test_images_whole(engine: Engine, inside: Inside) -> None:
    image = put_image(engine, "a")
    assert inside("images", "-q")[1] == f"{image.id.short}\n"
    assert inside("images", "-q", "--no-trunc")[1] == f"{image.id}\n"
    assert inside("images", "--digests")[1].splitlines()[1].split()[2] == image.manifest.digest
    fields = json.loads(inside("image", "ls", "--format", "json")[1])
    assert (fields["Repository"], fields["Tag"], fields["ID"]) == ("a", "latest", image.id.short)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["python"], ["python:3.11", "python:3.12"]),
        (["python:3.12"], ["python:3.12"]),
        (["docker.io/library/python"], ["python:3.11", "python:3.12"]),
        (["py*"], ["python:3.11", "python:3.12"]),
        (["*:3.11"], ["python:3.11"]),
        (["*/app"], ["me/app:1"]),
        (["nosuch"], []),
        (["--filter", "reference=me/*"], ["me/app:1"]),
        (["-f", "dangling=true"], ["<none>:<none>"]),
        (["-f", "dangling=false"], ["python:3.11", "python:3.12", "me/app:1"]),
    ],
)
def test_some_images(engine: Engine, inside: Inside, words: list[str], found: list[str]) -> None:
    put_image(engine, "python:3.12", "me/app:1")
    put_image(engine, "python:3.11", created="2024-06-01T00:00:00Z")
    put_image(engine, created="2023-01-01T00:00:00Z")
    code, out, _ = inside("images", *words)
    assert code == 0
    assert [":".join(line.split()[:2]) for line in out.splitlines()[1:]] == found


@pytest.mark.parametrize("words", [["-f", "dangling"], ["-f", "dangling=x"], ["UPPER"]])
def test_images_with_nonsense(inside: Inside, words: list[str]) -> None:
    code, out, err = inside("images", *words)
    assert (code, out) == (1, "")
    assert err.startswith("sampan: ")


def test_tag(engine: Engine, inside: Inside) -> None:
    image = put_image(engine, "a")
    assert inside("tag", "a", "localhost:5000/b:1.0") == (0, "", "")
    assert inside("image", "tag", image.id.short, "c") == (0, "", "")
    names = [name.reference.familiar() for name in engine.images.names()]
    assert names == ["a:latest", "c:latest", "localhost:5000/b:1.0"]
    assert inside("tag", "a", "Upper")[0] == 1
    assert inside("tag", "nosuch", "d")[0] == 1
    assert inside("tag", "a", f"d@{image.id}")[0] == 1
    assert len(engine.images.names()) == 3


def test_tag_moves_a_name(engine: Engine, inside: Inside) -> None:
    put_image(engine, "a")
    new = put_image(engine, "b", created="2024-06-01T00:00:00Z")
    assert inside("tag", "b", "a")[0] == 0
    assert engine.images.find("a") == new


def test_rmi(engine: Engine, inside: Inside) -> None:
    image = put_image(engine, "a", "b", layers=(b"12345", b"678"))
    kept = put_image(engine, "kept", layers=(b"12345",), created="2024-06-01T00:00:00Z")
    assert inside("rmi", "a") == (0, "Untagged: a:latest\n", "")
    assert engine.blobs.has(image.id)
    assert inside("rmi", "b") == (0, f"Untagged: b:latest\nDeleted: {image.id}\n", "")
    assert engine.images.all() == [kept]
    assert not engine.blobs.has(image.id)
    assert not engine.blobs.has(image.manifest.digest)
    assert image.chain is not None
    assert kept.chain is not None
    assert not engine.snapshots.has(image.chain)
    assert engine.snapshots.has(kept.chain)
    assert engine.blobs.has(kept.id)
    assert len(engine.blobs.all()) == 3


def test_rmi_goes_on_after_a_failure(engine: Engine, inside: Inside) -> None:
    put_image(engine, "a")
    code, out, err = inside("rmi", "nosuch", "a", "Upper")
    assert code == 1
    assert out.startswith("Untagged: a:latest\n")
    assert err.count("sampan: ") == 2
    assert "no such image: nosuch:latest" in err


def test_rmi_leaves_the_image_of_a_container(engine: Engine, inside: Inside) -> None:
    image = put_image(engine, "a")
    put_container(engine, image, "web")
    code, out, err = inside("rmi", "a")
    assert (code, out) == (1, "")
    assert "container web is using its referenced image" in err
    assert "hint: sampan rm web" in err
    assert inside("rmi", "-f", "a")[0] == 0


def test_history(engine: Engine, inside: Inside) -> None:
    history = (
        {"created": "2024-01-01T00:00:00Z", "created_by": "COPY . /app  # " + "x" * 60, "comment": "note"},
        {"created": "2024-01-01T00:00:01Z", "created_by": 'CMD\t["sh"]\x1b[2J', "empty_layer": True},
    )
    image = put_image(engine, "a", layers=(b"x" * 2500,), history=history)
    code, out, _ = inside("history", "a")
    header, first, second = out.splitlines()
    assert code == 0
    assert header.split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert first.startswith(image.id.short)
    assert "\x1b" not in out
    assert second.startswith("<missing>")
    assert "COPY . /app  # " + "x" * 29 + "…" in second
    assert second.split()[-2:] == ["2.5kB", "note"]
    _, out, _ = inside("history", "-H=false", "--no-trunc", "a")
    assert "CREATED AT" in out
    assert "2024-01-01T00:00:00Z" in out
    assert "x" * 60 in out
    assert out.splitlines()[2].split()[-2:] == ["2500", "note"]
    assert inside("history", "-q", "a")[1] == f"{image.id.short}\n<missing>\n"


def test_inspect_images(engine: Engine, inside: Inside) -> None:
    image = put_image(engine, "a", config=ContainerConfig(env=("X=1",)))
    code, out, err = inside("inspect", "a", image.id.short)
    assert (code, err) == (0, "")
    assert [value["Id"] for value in json.loads(out)] == [image.id, image.id]
    assert out.startswith('[\n    {\n        "Id": ')
    assert json.loads(inside("image", "inspect", "a", "--format", "{{json .}}")[1])["RepoTags"] == ["a:latest"]


def test_inspect_containers(engine: Engine, inside: Inside) -> None:
    image = put_image(engine, "a", config=ContainerConfig(env=("X=1",), entrypoint=("env",), cmd=("sh",)))
    container = put_container(engine, image, "a")
    code, out, _ = inside("inspect", "a")
    (value,) = json.loads(out)
    assert code == 0
    assert (value["Id"], value["Name"], value["Image"]) == (container.id, "/a", image.id)
    assert (value["Path"], value["Args"]) == ("env", ["ls", "-l"])
    assert (value["State"]["Status"], value["State"]["Running"]) == ("created", False)
    assert value["State"]["StartedAt"] == "0001-01-01T00:00:00Z"
    assert "X=1" in value["Config"]["Env"]
    assert json.loads(inside("inspect", "--type", "image", "a")[1])[0]["Id"] == image.id
    assert json.loads(inside("container", "inspect", container.id[:6])[1])[0]["Id"] == container.id


def test_inspect_what_is_not_there(engine: Engine, inside: Inside) -> None:
    put_image(engine, "a")
    code, out, err = inside("inspect", "nosuch")
    assert (code, out) == (1, "[]\n")
    assert err.startswith("sampan: no such object: nosuch\n")
    code, out, err = inside("inspect", "nosuch", "a")
    assert (code, len(json.loads(out))) == (1, 1)
    assert inside("inspect", "--type=container", "a")[:2] == (1, "[]\n")
    assert inside("inspect", "Not!a?name")[:2] == (1, "[]\n")
    assert inside("inspect", "--type=volume", "a")[:2] == (1, "[]\n")
    assert inside("inspect", "--type=plugin", "a")[:2] == (1, "")


def test_info(engine: Engine, inside: Inside) -> None:
    put_container(engine, put_image(engine, "a"), "web")
    code, out, _ = inside("info")
    assert code == 0
    lines = dict(line.split(": ", 1) for line in out.splitlines())
    assert (lines["Containers"], lines[" Running"], lines[" Stopped"], lines["Images"]) == ("1", "0", "1", "1")
    assert lines["Root Dir"] == engine.paths.root
    assert lines["Storage Driver"] == "overlay"
    assert lines["Cgroup Version"] in ("1", "2")
    assert lines["Rootless"].startswith(("yes: ", "no: "))
    fields = json.loads(inside("system", "info", "-f", "json")[1])
    assert (fields["Containers"], fields["DockerRootDir"]) == (1, engine.paths.root)
    assert fields["MemTotal"] > 1 << 20


@pytest.mark.system
@pytest.mark.rootless
def test_info_of_an_ordinary_user(rootless_sampan: commands.Sampan) -> None:
    said = rootless_sampan("info").stdout
    assert f"\nRoot Dir: {rootless_sampan.root}\n" in said
    why = r"1 id: there is no line for this user in /etc/subuid and /etc/subgid\n Rung: one id: .*\n"
    lift = r" For more: usermod --add-subuids (\d+-\d+) --add-subgids \d+-\d+ [1-9]\d*"
    assert re.search(rf"\nRootless: yes: run by user [1-9]\d*; containers have ({why}{lift}|[1-9]\d* ids)", said)
    rootless_sampan("images", "-q")
    assert rootless_sampan("rmi", "nosuch", check=False).returncode == 1


def test_version(inside: Inside) -> None:
    code, out, _ = inside("version")
    assert code == 0
    assert out.startswith("Client:\n Version: ")
    fields = json.loads(inside("version", "--format", "json")[1])["Client"]
    assert fields["Os"] == "linux"
    client, server = inside("version", "-f", "{{.Client.Version}} {{.Server.Version}}")[1].split()
    assert client == server == fields["Version"]
