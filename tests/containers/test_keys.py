"""The keys that detach."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.containers.keys import DEFAULT, Detector, parse
from sampan.errors import Invalid


@pytest.mark.parametrize(
    ("text", "keys"),
    [(DEFAULT, b"\x10\x11"), ("a", b"a"), ("ctrl-a,a", b"\x01a"), ("ctrl-@,ctrl-[,ctrl-\\", b"\0\x1b\x1c"), ("", b"")],
)
def test_keys(text: str, keys: bytes) -> None:
    assert parse(text) == keys


@pytest.mark.parametrize("text", ["ab", "ctrl-", "ctrl-1", "shift-a", "a,", ",", "é", "ctrl-é"])
def test_no_keys(text: str) -> None:
    with pytest.raises(Invalid, match="invalid --detach-keys"):
        parse(text)


def test_they_may_come_one_by_one() -> None:
    detector = Detector(b"\x10\x11")
    assert detector.feed(b"ls\x10") == (b"ls", False)
    assert detector.feed(b"x") == (b"\x10x", False)
    assert detector.feed(b"\x10") == (b"", False)
    assert detector.feed(b"\x10\x11rest") == (b"\x10", True)
    assert Detector(b"").feed(b"\x10\x11") == (b"\x10\x11", False)


@given(st.lists(st.binary(max_size=4)), st.binary(min_size=1, max_size=3))
def test_what_is_typed_arrives_until_then(pieces: list[bytes], keys: bytes) -> None:
    detector, typed, seen = Detector(keys), b"".join(pieces), b""
    for piece in pieces:
        passed, over = detector.feed(piece)
        seen += passed
        if over:
            assert typed.startswith(seen + keys)
            return
    assert keys not in typed
    assert typed.startswith(seen)
    assert len(typed) - len(seen) < len(keys)
