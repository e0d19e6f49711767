"""Stages, targets and what they need."""

import pytest

from sampan.build.dockerfile import stages
from sampan.build.dockerfile.stages import Stage
from sampan.errors import NotFound

DOCKERFILE = stages.parse(b"ARG a\nARG b=1\nFROM x AS One\nRUN 1\nFROM y\nRUN 2\nRUN 3\nFROM z AS one\n")


def test_stages() -> None:
    assert [len(stage.body) for stage in DOCKERFILE.stages] == [1, 2, 0]
    assert [stage.label for stage in DOCKERFILE.stages] == ["one", "stage-1", "one"]
    assert [name for arg in DOCKERFILE.preamble for name, _ in arg.definitions] == ["a", "b"]


@pytest.mark.parametrize(("wanted", "number"), [(None, 2), ("", 2), ("ONE", 2), ("0", 0), ("1", 1)])
def test_target(wanted: str | None, number: int) -> None:
    assert stages.target(DOCKERFILE.stages, wanted).number == number


@pytest.mark.parametrize(
    ("wanted", "hint"), [("on", "did you mean one?"), ("3", "the stages are: one, one"), ("²", "")]
)
def test_no_such_target(wanted: str, hint: str) -> None:
    with pytest.raises(NotFound) as caught:
        stages.target(DOCKERFILE.stages, wanted)
    assert hint in (caught.value.hint or "")


def test_needed() -> None:
    text = "".join(f"FROM scratch AS s{number}\n" for number in range(6))
    found = stages.parse(text.encode()).stages
    edges = {5: (3, 1), 3: (1, 0), 1: (0,), 4: (2,)}

    def depends_on(stage: Stage) -> list[Stage]:
        return [found[number] for number in edges.get(stage.number, ())]

    assert [stage.number for stage in stages.needed(found[5], depends_on)] == [0, 1, 3, 5]
