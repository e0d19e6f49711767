"""Filters of ``images``: each by itself, and together."""

from collections.abc import Iterator

import pytest

from sampan.engine import Engine, open_engine
from sampan.errors import Invalid, NotFound
from sampan.oci.config import ContainerConfig
from sampan.store import selection
from shelf import put_image

NOW = 1_717_200_000.0  # 2024-06-01T00:00:00Z


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with open_engine(str(tmp_path_factory.mktemp("store"))) as engine:
        put_image(engine, "new:1", "new:2", created="2024-05-31T00:00:00Z", config=ContainerConfig(labels={"a": "1"}))
        put_image(engine, "old", created="2024-01-01T00:00:00Z", config=ContainerConfig(labels={"a": "2", "b": ""}))
        put_image(engine, created="2023-01-01T00:00:00Z")
        yield engine


def found(engine: Engine, *texts: str, patterns: tuple[str, ...] = ()) -> list[str]:
    chosen = selection.parse(texts, patterns)
    rows = selection.select(engine.images, engine.blobs, chosen, NOW)
    return [
        name for _, names in rows for name in ([each.reference.familiar() for each in names] if names else ["<none>"])
    ]


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        ([], ["new:1", "new:2", "old:latest", "<none>"]),
        (["dangling=true"], ["<none>"]),
        (["dangling=false"], ["new:1", "new:2", "old:latest"]),
        (["label=a"], ["new:1", "new:2", "old:latest"]),
        (["label=a=2"], ["old:latest"]),
        (["label=a", "label=b"], ["old:latest"]),
        (["label!=b"], ["new:1", "new:2", "<none>"]),
        (["before=new:1"], ["old:latest", "<none>"]),
        (["since=old"], ["new:1", "new:2"]),
        (["since=old", "before=new:1"], []),
        (["until=24h"], ["old:latest", "<none>"]),
        (["until=2024-02-01T00:00:00Z"], ["old:latest", "<none>"]),
        (["until=1704067200"], ["<none>"]),
        (["reference=new:*"], ["new:1", "new:2"]),
        (["reference=new:1", "reference=old"], ["new:1", "old:latest"]),
        (["reference=*:1", "label=a=2"], []),
        (["dangling=true", "until=24h"], ["<none>"]),
    ],
)
def test_filters(engine: Engine, texts: list[str], names: list[str]) -> None:
    assert found(engine, *texts) == names


def test_an_argument_adds_to_a_reference(engine: Engine) -> None:
    assert found(engine, "reference=*:2", patterns=("new",)) == ["new:2"]


@pytest.mark.parametrize("text", ["nosuch=1", "dangling=maybe", "dangling", "reference=UPPER", "until=soon"])
def test_nonsense(engine: Engine, text: str) -> None:
    with pytest.raises(Invalid):
        found(engine, text)


def test_an_image_that_there_is_not(engine: Engine) -> None:
    with pytest.raises(NotFound):
        found(engine, "before=nosuch")
