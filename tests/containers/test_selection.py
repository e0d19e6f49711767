"""Filters of ``ps``: each by itself, values as alternatives, names that add up."""

import pytest

from sampan.containers import selection
from sampan.containers.options import Mount, Options
from sampan.containers.record import Container
from sampan.containers.state import State
from sampan.errors import Invalid, NotFound

PYTHON, OTHER = f"sha256:{'cd' * 32}", f"sha256:{'ef' * 32}"


def container(name: str, digit: str, options: Options, image: str = "python:3.12", image_id: str = PYTHON) -> Container:
    return Container(digit * 64, name, image_id, image, f"2024-01-0{digit}T00:00:00Z", options, "/nowhere")


ALL = [  # the newest first, as the table gives them
    (
        container("web-1", "3", Options(labels=(("tier", "web"),), mounts=(Mount("data", "/var/data"),))),
        State("running", 7, health="healthy", ports=(("", 8080, 80, "tcp"), ("", 5353, 53, "udp"))),
    ),
    (container("web-10", "2", Options(network="host", labels=(("tier", "db"),))), State("exited", exit_code=3)),
    (container("job", "1", Options(mounts=(Mount("/srv", "/srv"),)), "other:latest", OTHER), State("created")),
]


def names(*texts: str) -> list[str]:
    chosen = selection.parse(texts)
    return [each.name for each, _ in selection.select(ALL, chosen, lambda each: dict(each.options.labels))]


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([], ["web-1", "web-10", "job"]),
        (["name=web"], ["web-1", "web-10"]),
        (["name=^web-1$"], ["web-1"]),
        (["name=^/job$"], ["job"]),
        (["name=job", "name=web-10"], ["web-10", "job"]),
        (["id=333"], ["web-1"]),
        (["status=exited", "status=created"], ["web-10", "job"]),
        (["status=exited", "name=job"], []),
        (["exited=3"], ["web-10"]),
        (["exited=0"], []),
        (["ancestor=python:3.12"], ["web-1", "web-10"]),
        (["ancestor=other"], ["job"]),
        (["ancestor=efefefefefef"], ["job"]),
        ([f"ancestor={OTHER}"], ["job"]),
        (["ancestor=python"], []),
        (["label=tier"], ["web-1", "web-10"]),
        (["label=tier=db"], ["web-10"]),
        (["label=tier", "label=tier=db"], ["web-10"]),
        (["label!=tier"], ["job"]),
        (["network=host"], ["web-10"]),
        (["health=healthy"], ["web-1"]),
        (["health=none", "health=starting"], ["web-10", "job"]),
        (["volume=data"], ["web-1"]),
        (["volume=/srv"], ["job"]),
        (["publish=8080"], ["web-1"]),
        (["publish=8000-9000/tcp"], ["web-1"]),
        (["publish=80"], []),
        (["expose=80"], ["web-1"]),
        (["expose=53/udp"], ["web-1"]),
        (["expose=53"], []),
        (["before=web-10"], ["job"]),
        (["since=web-10"], ["web-1"]),
        (["since=job", "before=web-1"], ["web-10"]),
    ],
)
def test_filters(texts: list[str], found: list[str]) -> None:
    assert names(*texts) == found


@pytest.mark.parametrize(
    "text",
    ["nosuch=1", "name", "status=up", "exited=x", "publish=x", "publish=1-", "expose=99999", "name=(", "name=a**"],
)
def test_nonsense(text: str) -> None:
    with pytest.raises(Invalid):
        names(text)


def test_a_container_that_there_is_not() -> None:
    with pytest.raises(NotFound, match="nosuch"):
        names("before=nosuch")
