"""Addresses of files and repositories. Forms and refusals are those of BuildKit's tests and documentation, but where
a comment says otherwise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.build.remote import Repository, Url, parse, parse_context, redacted
from sampan.errors import SampanError

COMMIT = "0123456789012345678901234567890123456789"


@pytest.mark.parametrize("path", ["a", "./a.git", "/a/b.git", "a:b", "ftp://host/a", "file:///etc/passwd", "",
                                  "ext::sh", "github.com/owner/name", "a b@c:d"])  # fmt: skip
def test_paths(path: str) -> None:
    assert parse(path) is None


@pytest.mark.parametrize(
    ("text", "expected", "name"),
    [
        ("https://host/a/b.tar.gz", Url("https://host/a/b.tar.gz"), "b.tar.gz"),
        ("http://host:81/a%20b?x=y#part", Url("http://host:81/a%20b?x=y"), "a b"),
        ("https://user:p%40ss@host/f", Url("https://host/f", "user:p%40ss"), "f"),
        ("https://host", Url("https://host"), ""),
        ("https://host/dir/", Url("https://host/dir/"), ""),
        ("https://host/%2e%2e", Url("https://host/%2e%2e"), ""),
        ("https://host/a%2f..%2fb", Url("https://host/a%2f..%2fb"), "b"),
        ("https://host/a.gitx", Url("https://host/a.gitx"), "a.gitx"),
    ],
)
def test_files(text: str, expected: Url, name: str) -> None:
    found = parse(text)
    assert found == expected
    assert isinstance(found, Url)
    assert found.name == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://host/a.git", Repository("https://host/a.git")),
        ("https://host/a.git#v1", Repository("https://host/a.git", "v1")),
        ("https://host/a.git#v1:docs/x", Repository("https://host/a.git", "v1", "docs/x")),
        ("https://host/a.git#:docs", Repository("https://host/a.git", "", "docs")),
        ("https://u:p@host/a.git#feature/x", Repository("https://host/a.git", "feature/x", login="u:p")),
        ("http://host/a.git", Repository("http://host/a.git")),
        ("git://host:9418/a#refs/tags/v1", Repository("git://host:9418/a", "refs/tags/v1")),
        ("ssh://git@host:22/a/b#main", Repository("ssh://git@host:22/a/b", "main")),
        ("git@host:a/b.git#v1:sub", Repository("git@host:a/b.git", "v1", "sub")),
        ("git@host:a/b.git?subdir=s#v1", Repository("git@host:a/b.git", "v1", "s")),
        ("https://host/a.git?tag=v1&subdir=d", Repository("https://host/a.git", "refs/tags/v1", "d")),
        ("https://host/a.git?branch=main", Repository("https://host/a.git", "refs/heads/main")),
        (f"https://host/a.git?commit={COMMIT[:8]}#main", Repository("https://host/a.git", "main", commit=COMMIT[:8])),
        (
            "https://host/a.git?keep-git-dir&submodules=0",
            Repository("https://host/a.git", keep_git_dir=True, submodules=False),
        ),
    ],
)
def test_repositories(text: str, expected: Repository) -> None:
    assert parse(text) == expected


def test_only_a_context_may_be_a_bare_name_on_github() -> None:
    assert parse_context("github.com/o/n#v1:d") == Repository("https://github.com/o/n.git", "v1", "d")
    assert parse_context("github.com/o/n.git") == Repository("https://github.com/o/n.git")
    assert parse_context("./github.com/o/n") is None


@pytest.mark.parametrize(
    "text",
    [
        # CVE-2019-13139: nothing may be taken for an option
        "https://host/a.git#--upload-pack=touch /tmp/x:",
        "https://host/a.git#-u./x",
        "https://host/a.git?ref=-x",
        "ssh://-oProxyCommand=x/a",
        "git://-x/a",
        "git@-oProxyCommand:a",
        "git@host:-x",
        # what git itself refuses as a ref
        "https://host/a.git#a..b",
        "https://host/a.git#a b",
        "https://host/a.git#a%0ab",
        "https://host/a.git#a~1",
        # contradictions and unknown words
        "https://host/a.git?ref=a#b",
        "https://host/a.git?tag=a&branch=b",
        "https://host/a.git?ref=a&ref=b",
        "https://host/a.git?subdir=",
        "https://host/a.git?depth=1",
        "https://host/a.git?mtime=now",
        "https://host/a.git?commit=xyz",
        "https://host/a.git?submodules=maybe",
        # no addresses
        "https://",
        "https:///x",
        "https://host:port/x",
        "https://host/a\nb",
        "http://[::1/x",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(SampanError):
        parse(text)


@pytest.mark.parametrize(
    "text", ["https://u:{}@host/a.git#-x", "https://u:{}@host:port/x", "https://u:{}@h/a.git?ref=a#b"]
)
def test_a_password_is_not_shown(text: str) -> None:
    with pytest.raises(SampanError) as caught:
        parse(text.format("canary"))
    assert "canary" not in f"{caught.value.message} {caught.value.hint}"


def test_redacted() -> None:
    assert redacted("a https://u:p@h/x http://token@h git@h:x ssh://git@h/x") == (
        "a https://xxxxx@h/x http://xxxxx@h git@h:x ssh://git@h/x"
    )
    assert redacted("https://u:p@w@h/x") == "https://xxxxx@h/x"
    assert redacted("HTTPS://u@h/x|", keep_length=True) == "HTTPS://x@h/x|"


@given(
    st.text(), st.sampled_from(["https://u:canary@h/", "git@h:", "http://h/a.git?", "https://h/a.git#", "ssh://", ""])
)
def test_any_text_is_understood_or_refused(text: str, before: str) -> None:
    try:
        found = parse(before + text)
    except SampanError:
        return
    if isinstance(found, Repository):
        assert not found.ref.startswith("-")
        assert not found.remote.startswith("-")
    if found is not None:
        assert "canary" not in found.shown or "canary" in text
