"""The types of a bundle's values."""

from typing import Any

import pytest

from sampan.errors import Invalid
from sampan.runtime import attributes, defaults, shape


def spec(**more: Any) -> dict[str, Any]:
    return {**defaults.base_spec(["true"], [], "/", hostname="x"), **more}


def test_what_the_engine_writes_has_the_shape() -> None:
    shape.check(spec(), shape.SPEC, "")


def test_what_is_unknown_or_null_is_passed_over() -> None:
    shape.check(spec(unknown={"deep": [1]}, hooks=None, annotations={"a": "b"}), shape.SPEC, "")


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"linux": True}, "linux is True, and not an object"),
        ({"mounts": {}}, "mounts is {}, and not a list"),
        ({"mounts": [None]}, "mounts[0] is null"),
        ({"mounts": [{"type": "bind"}]}, "mounts[0].destination is missing"),
        ({"process": {"user": {"uid": 2**32 - 1}}}, "process.user.uid is 4294967295, and not a number from 0 to"),
        ({"process": {"user": {"uid": True}}}, "process.user.uid is True, and not a number"),
        ({"process": {"user": {"umask": 0o1777}}}, "process.user.umask is 1023, and not a number from 0 to 511"),
        ({"process": {"args": ["a\0b"]}}, "process.args[0] has a NUL character in it"),
        ({"process": {"rlimits": [{"type": "RLIMIT_CORE"}]}}, "process.rlimits[0].soft is missing"),
        ({"process": {"capabilities": {"bounding": "CAP_KILL"}}}, "process.capabilities.bounding is 'CAP_KILL', and"),
        ({"hooks": {"prestart": [{"path": 1}]}}, "hooks.prestart[0].path is 1, and not a text"),
        ({"hostname": "x" * 99, "root": None}, "the bundle: root is missing"),
        ({"linux": {"resources": {"memory": {"limit": 2**63}}}}, "linux.resources.memory.limit is 9223372036854775808"),
    ],
)
def test_values_of_another_type(more: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Invalid) as raised:
        shape.check(spec(**more), shape.SPEC, "")
    assert sentence in raised.value.message


def test_capabilities_that_there_are_not_are_left_out_with_a_word() -> None:
    process, sentences = attributes.clamped({"capabilities": {"bounding": ["CAP_KILL", "CAP_X"], "ambient": ["CAP_X"]}})
    assert process["capabilities"] == {"bounding": ["CAP_KILL"], "ambient": []}
    assert sentences == ["there is no capability CAP_X"]
