"""Digests are checked before they are part of a path, and chain ids are those of the specification."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.errors import Corrupt, Invalid
from sampan.oci.digest import Digest, chain_ids, hasher, sha256, verify

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_digest_is_a_text() -> None:
    digest = Digest(EMPTY)
    assert digest == EMPTY
    assert (digest.algorithm, digest.short) == ("sha256", "e3b0c44298fc")
    assert json.dumps(digest) == f'"{EMPTY}"'
    assert Digest(digest) is digest


@pytest.mark.parametrize(
    "text",
    [
        "", "sha256", "sha256:", EMPTY.upper(), EMPTY[:-1], EMPTY + "0", "sha256:" + "g" * 64, "md5:" + "0" * 32,
        "sha256:../../../etc/passwd", "sha256:" + "0" * 63 + "/", EMPTY + "\n", "sha512:" + "0" * 64, ":" + "0" * 64,
        "sha256:" + "٠" * 64,
    ],
)  # fmt: skip
def test_what_is_no_digest(text: str) -> None:
    with pytest.raises(Invalid):
        Digest(text)


@given(st.binary(max_size=200))
def test_both_implementations_agree(data: bytes) -> None:
    assert sha256(data) == "sha256:" + hashlib.sha256(data).hexdigest()
    assert verify(data, sha256(data), "data") is data


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_verify(algorithm: str) -> None:
    digest = Digest(f"{algorithm}:{hashlib.new(algorithm, b'right').hexdigest()}")
    assert verify(b"right", digest, "it") == b"right"
    with pytest.raises(Corrupt, match="it is corrupt"):
        verify(b"wrong", digest, "it")
    assert hasher(digest).name == algorithm


def test_chain_ids() -> None:
    first, second = sha256(b"1"), sha256(b"2")
    chain = chain_ids([first, second])
    assert chain[0] == first
    assert chain[1] == sha256(f"{first} {second}".encode())
    assert chain_ids([]) == ()
