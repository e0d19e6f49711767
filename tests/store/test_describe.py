"""Images as the Engine API describes them."""

from sampan.engine import Engine
from sampan.oci.config import ContainerConfig
from sampan.store import describe
from shelf import put_image

HISTORY = (
    {"created": "2024-01-01T00:00:00Z", "created_by": "COPY a /", "comment": "first"},
    {"created": "2024-01-01T00:00:01Z", "created_by": "ENV X=1", "empty_layer": True},
    {"created": "2024-01-01T00:00:02Z", "created_by": "COPY b /"},
)


def test_inspect(engine: Engine) -> None:
    config = ContainerConfig(env=("X=1",), cmd=("sh",), labels={"a": "b"}, exposed_ports=("80/tcp",))
    image = put_image(engine, "localhost:5000/a:1", "a", layers=(b"12345", b"678"), config=config, history=HISTORY)
    value = describe.inspect(image, engine.images, engine.blobs)
    assert value["Id"] == image.id
    assert value["RepoTags"] == ["a:latest", "localhost:5000/a:1"]
    assert value["RepoDigests"] == [f"a@{image.manifest.digest}", f"localhost:5000/a@{image.manifest.digest}"]
    assert (value["Os"], value["Architecture"], value["Size"]) == ("linux", "amd64", 8)
    assert value["Created"] == "2024-01-02T03:04:05Z"
    assert value["Config"]["Env"] == ["X=1"]
    assert value["Config"]["Cmd"] == ["sh"]
    assert value["Config"]["Labels"] == {"a": "b"}
    assert value["Config"]["ExposedPorts"] == {"80/tcp": {}}
    assert value["Config"]["Entrypoint"] is None
    assert value["RootFS"]["Type"] == "layers"
    assert len(value["RootFS"]["Layers"]) == 2
    assert value["Descriptor"]["digest"] == image.manifest.digest


def test_inspect_without_names(engine: Engine) -> None:
    value = describe.inspect(put_image(engine), engine.images, engine.blobs)
    assert (value["RepoTags"], value["RepoDigests"], value["RootFS"]["Layers"]) == ([], [], [])


def test_history_has_the_last_step_first_and_each_layer_with_its_own_step(engine: Engine) -> None:
    image = put_image(engine, "a", layers=(b"12345", b"678"), history=HISTORY)
    steps = describe.history(image, engine.blobs, engine.snapshots.size)
    assert [(step.created_by, step.size) for step in steps] == [("COPY b /", 3), ("ENV X=1", 0), ("COPY a /", 5)]
    assert [step.image_id for step in steps] == [image.id, None, None]
    assert steps[-1].comment == "first"


def test_layers_that_the_history_does_not_tell_of(engine: Engine) -> None:
    image = put_image(engine, layers=(b"12345", b"678"))
    steps = describe.history(image, engine.blobs, engine.snapshots.size)
    assert [(step.created_by, step.size) for step in steps] == [("", 3), ("", 5)]


def test_a_history_that_tells_of_more_layers_than_there_are(engine: Engine) -> None:
    steps = describe.history(put_image(engine, history=HISTORY), engine.blobs, engine.snapshots.size)
    assert [step.size for step in steps] == [0, 0, 0]
