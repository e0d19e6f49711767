"""Image names: the grammar of distribution/reference, and Docker's short forms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.errors import Invalid
from sampan.oci.digest import Digest
from sampan.oci.reference import Reference, parse, read_canonical

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("python", "docker.io/library/python", "python"),
        ("python:3.12", "docker.io/library/python:3.12", "python:3.12"),
        ("library/python", "docker.io/library/python", "python"),
        ("docker.io/python", "docker.io/library/python", "python"),
        ("index.docker.io/library/python:1", "docker.io/library/python:1", "python:1"),
        ("user/app", "docker.io/user/app", "user/app"),
        ("docker.io/user/app:x", "docker.io/user/app:x", "user/app:x"),
        ("library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/app", "localhost:5000/app", "localhost:5000/app"),
        ("127.0.0.1:5000/a/b/c:t", "127.0.0.1:5000/a/b/c:t", "127.0.0.1:5000/a/b/c:t"),
        ("[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app"),
        ("registry.example/app", "registry.example/app", "registry.example/app"),
        ("Registry/app", "Registry/app", "Registry/app"),
        ("host:1/app:tag@" + DIGEST, "host:1/app:tag@" + DIGEST, "host:1/app:tag@" + DIGEST),
        ("app@" + DIGEST, "docker.io/library/app@" + DIGEST, "app@" + DIGEST),
        ("a--b/c__d/e.f_g", "docker.io/a--b/c__d/e.f_g", "a--b/c__d/e.f_g"),
        ("app:" + "t" * 128, "docker.io/library/app:" + "t" * 128, "app:" + "t" * 128),
    ],
)
def test_forms(text: str, canonical: str, familiar: str) -> None:
    reference = parse(text)
    assert reference.canonical() == canonical
    assert reference.familiar() == str(reference) == familiar
    assert parse(canonical) == reference
    assert parse(familiar) == reference
    assert hash(parse(canonical)) == hash(reference)


@pytest.mark.parametrize(
    "text",
    [
        "", ":tag", "@" + DIGEST, "app:", "app@", "app@sha256:123", "app:-x", "app:.x", "app:" + "t" * 129, "a//b",
        "/app", "app/", "a..b", "a___b", "-app", "app-", "a b", "a\n", "a\0", "docker.io/", "host:/app", "host:x/app",
        "http://host/app", "host_name.x/app", "app:a:b", "app@" + DIGEST.upper(), HEX, "a" * 256, "ä", "localhost:5000",
        "app@md5:" + "0" * 32, "-host.x/app", "[::1/app",
    ],
)  # fmt: skip
def test_what_is_no_name(text: str) -> None:
    if text == "localhost:5000":  # a name and a tag, whatever was meant
        assert parse(text).canonical() == "docker.io/library/localhost:5000"
        return
    with pytest.raises(Invalid) as caught:
        parse(text)
    assert "\n" not in caught.value.message.replace("\\n", "")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Python", "write it as python"),
        ("user/App:Tag", "write it as user/app:tag"),
        ("name.", "write it as name"),
        ("http://host.example/app", None),
    ],
)
def test_hints(text: str, hint: str | None) -> None:
    with pytest.raises(Invalid) as caught:
        parse(text)
    assert caught.value.hint
    if hint:
        assert caught.value.hint == hint


def test_64_digits_are_an_id_but_may_follow_a_registry() -> None:
    with pytest.raises(Invalid, match="image ID"):
        parse(HEX)
    assert parse(f"host.example/{HEX}").repository == HEX


def test_the_longest_repository() -> None:
    assert parse("user/" + "a" * 250).repository.startswith("user/")
    with pytest.raises(Invalid, match="255"):
        parse("user/" + "a" * 251)
    with pytest.raises(Invalid, match="255"):
        parse("a" * 248)  # with "library/" it is too long


def test_selectors() -> None:
    assert parse("app").selector == "latest"
    assert parse("app:1").selector == "1"
    assert parse(f"app:1@{DIGEST}").selector == DIGEST
    assert parse("app").tagged() == parse("app:latest")
    assert parse("app:1").tagged() == parse("app:1")
    assert parse("app:1").with_digest(Digest(DIGEST)) == parse(f"app@{DIGEST}")


@given(st.text(max_size=80))
def test_noise_is_refused_or_understood(text: str) -> None:
    try:
        reference = parse(text)
    except Invalid:
        return
    assert parse(reference.canonical()) == reference
    assert isinstance(reference, Reference)
    assert ".." not in reference.repository.split("/")


@pytest.mark.parametrize(
    "text",
    ["python", "me/app:1", "localhost:5000/a/b/c:x", f"[::1]:5000/app@sha256:{'a' * 64}", f"a:1@sha256:{'b' * 64}"],
)
def test_a_canonical_form_is_read_back(text: str) -> None:
    reference = parse(text)
    again = read_canonical(reference.canonical())
    assert (again.registry, again.repository, again.tag, again.digest) == (
        reference.registry,
        reference.repository,
        reference.tag,
        reference.digest,
    )
