"""Moments and filters as people give them."""

import pytest

from sampan.errors import Invalid
from sampan.store import filters, moments

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("0s", NOW),
        ("90s", NOW - 90),
        ("10m", NOW - 600),
        ("1h30m", NOW - 5400),
        ("1.5h", NOW - 5400),
        ("500ms", NOW - 0.5),
        ("24h", NOW - 86400),
        ("1136073845", 1136073845.0),
        ("1136073845.5", 1136073845.5),
        ("2006-01-02T15:04:05Z", 1136214245.0),
        ("2006-01-02T15:04:05+01:00", 1136210645.0),
        ("2006-01-02T15:04:05.5Z", 1136214245.5),
    ],
)
def test_moments(text: str, moment: float) -> None:
    assert moments.parse(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "x", "10x", "h", ".s", "1..5h", "2024-13-01", "٣h"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(Invalid, match="invalid time"):
        moments.parse(text, NOW)


def test_moments_of_records() -> None:
    assert moments.of_record("2006-01-02T15:04:05.123456789Z") == pytest.approx(1136214245.123456)
    assert moments.of_record("2006-01-02T15:04:05") == 1136214245
    assert moments.of_record("") == 0


def test_filters() -> None:
    chosen = filters.parse(["label=a", "label=b=1", "LABEL!=c", "name=x", "name=y=z"], ("label", "name"))
    assert chosen == {"label": ["a", "b=1"], "label!": ["c"], "name": ["x", "y=z"]}
    assert filters.labels_match(chosen, {"a": "", "b": "1"})
    assert not filters.labels_match(chosen, {"a": "", "b": "2"})
    assert not filters.labels_match(chosen, {"a": "", "b": "1", "c": ""})
    assert not filters.labels_match(chosen, {"b": "1"})
    assert filters.labels_match({}, {})


@pytest.mark.parametrize("text", ["label", "nosuch=1", "=1", "", "name!=x"])
def test_unknown_filters_are_named(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        filters.parse([text], ("label", "name"))
    assert repr(text) in caught.value.message
    assert caught.value.hint
    assert "label, name" in caught.value.hint


@pytest.mark.parametrize(("value", "meaning"), [("true", True), ("1", True), ("False", False), ("0", False)])
def test_booleans(value: str, meaning: bool) -> None:
    assert filters.boolean({"dangling": [value]}, "dangling") is meaning
    assert filters.boolean({}, "dangling") is None
    with pytest.raises(Invalid, match="true or false"):
        filters.boolean({"dangling": ["maybe"]}, "dangling")
