"""The light JSON says what the standard library's says."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan import plainjson

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=30,
)


@given(VALUES)
def test_both_agree(value: object) -> None:
    text = plainjson.dumps(value)
    assert text == json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    assert plainjson.loads(text) == value
    assert plainjson.loads(f" \n{json.dumps(value, indent=2)}\n".encode()) == value


@given(st.text(max_size=30))
def test_both_refuse_the_same(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError):
            plainjson.loads(text)
    else:
        assert repr(plainjson.loads(text)) == repr(expected)


@pytest.mark.parametrize("data", [b"\xff", b"", b"{} {}", b"{", b"[1,]", b"nul"])
def test_what_is_no_json(data: bytes) -> None:
    with pytest.raises(ValueError):
        plainjson.loads(data)


def test_what_json_does_not_know() -> None:
    with pytest.raises(TypeError):
        plainjson.dumps({"a": object()})


def test_without_the_private_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plainjson, "_scan", None)
    monkeypatch.setattr(plainjson, "_encode", None)
    assert plainjson.loads(plainjson.dumps({"ä": [1, None]})) == {"ä": [1, None]}
