"""What lies elsewhere, as values: files behind a URL and git repositories, as ADD and build contexts name them.

Forms of BuildKit: its documentation of build contexts ("Git repositories", "URL fragments", "URL queries"), and
frontend/dockerfile/dfgitutil where that is silent. A URL's user name and password are kept apart from it, so that what
is shown, logged, hashed or passed to a program has none.
"""

from __future__ import annotations

import re

from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
    from urllib.parse import SplitResult
else:
    from sampan.values import NamedTuple

# Patterns are compiled where they are used: most builds need none of them, and each takes 0.1 ms.
_USERINFO = r"(?i)(https?://)([^/?#\s\"']*)@"
_SCP = r"(?P<user>[\w.-]+)@(?P<host>[\w.-]+|\[[0-9a-fA-F:.]+\]):(?!//)(?P<path>[^#?]+)"
_SCHEMES = ("http", "https", "git", "ssh")
_TRUE = ("", "1", "t", "T", "true", "True", "TRUE")
_FALSE = ("0", "f", "F", "false", "False", "FALSE")
_COMMIT = r"[0-9a-f]{40}|[0-9a-f]{64}"


class Url(NamedTuple):
    """One file to be fetched by HTTP."""

    url: str
    """Without user name, password and fragment."""
    login: str = ""
    """``user:password`` of the URL, percent-encoded as written there."""
    checksum: str = ""
    """``sha256:HEX`` that the content must have; empty for any."""

    @property
    def shown(self) -> str:
        """For people: without what may be secret in a query (a signature, a token)."""
        return re.sub(r"\?.*", "?…", self.url)

    @property
    def is_fixed(self) -> bool:
        """Whether it can only ever be the same."""
        return bool(self.checksum)

    @property
    def name(self) -> str:
        """The last component of the path: what the file is called in a directory; empty if there is none."""
        from urllib.parse import unquote, urlsplit

        name = unquote(urlsplit(self.url).path).rpartition("/")[2]
        return "" if name in (".", "..") or "\0" in name else name


class Repository(NamedTuple):
    """Files of one commit of a git repository."""

    remote: str
    """As git takes it, without user name and password unless by ssh."""
    ref: str = ""
    """A branch, a tag, a full name below ``refs/``, or a full commit id; empty for the remote's HEAD."""
    subdir: str = ""
    """The directory to take; empty for all."""
    commit: str = ""
    """The commit id, or its beginning, that ``ref`` must lead to; empty for any."""
    keep_git_dir: bool = False
    submodules: bool = True
    dated: bool = False
    """Files have the time of the commit, not of their checkout."""
    login: str = ""

    @property
    def shown(self) -> str:
        return re.sub(r"\?.*", "?…", self.remote)

    @property
    def is_fixed(self) -> bool:
        return is_commit(self.ref)

    @property
    def host(self) -> str:
        """With the port, if there is one; in lower case."""
        from urllib.parse import urlsplit

        scp = re.fullmatch(_SCP, self.remote)
        return (scp["host"] if scp else urlsplit(self.remote).netloc.rpartition("@")[2]).lower()

    @property
    def by_ssh(self) -> bool:
        return "://" not in self.remote or self.remote.startswith("ssh://")


Remote = Url | Repository


def parse(text: str) -> Remote | None:
    """What a source of ADD names; None for a path. Raises Invalid, never showing a password."""
    scheme = text.partition("://")[0].lower() if "://" in text else ""
    if scheme in ("http", "https"):
        parts = _split(text)
        return _repository(parts) if parts.path.endswith(".git") else _url(parts)
    if scheme in _SCHEMES:
        return _repository(_split(text))
    remote, number, fragment = text.partition("#")
    if "@" in text and re.match(_SCP, text):
        remote, _, query = remote.partition("?")
        return _located(Repository(remote), fragment if number else "", query)
    return None


def parse_context(text: str) -> Remote | None:
    """What a build context names; None for a path. Besides what ADD takes, that is ``github.com/OWNER/NAME``."""
    if text.startswith("github.com/"):
        place, number, fragment = text.partition("#")
        text = f"https://{place.removesuffix('.git')}.git{number}{fragment}"
    return parse(text)


def redacted(text: str, *, keep_length: bool = False) -> str:
    """``text`` with user names and passwords of http and https URLs made unreadable."""
    if "@" not in text:
        return text
    return re.sub(_USERINFO, lambda match: f"{match[1]}{'x' * (len(match[2]) if keep_length else 5)}@", text)


def is_commit(text: str) -> bool:
    """Whether it is a full commit id (SHA-1 or SHA-256)."""
    return bool(re.fullmatch(_COMMIT, text))


def _split(text: str) -> SplitResult:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
        port_is_valid = parts.port is None or parts.port >= 0
    except ValueError:
        port_is_valid = False
    if not port_is_valid or not parts.hostname or re.search(r"[\x00-\x20\x7f]", text) or parts.netloc.startswith("-"):
        raise Invalid(f"{redacted(text)!r} is not a valid URL")
    return parts


def _without_login(parts: SplitResult) -> tuple[str, str]:
    login, _, place = parts.netloc.rpartition("@")
    return parts._replace(netloc=place, fragment="").geturl(), login


def _url(parts: SplitResult) -> Url:
    return Url(*_without_login(parts))


def _repository(parts: SplitResult) -> Repository:
    bare = parts._replace(query="", fragment="")
    if parts.scheme.lower() in ("ssh", "git"):
        return _located(Repository(bare.geturl()), parts.fragment, parts.query)
    remote, login = _without_login(bare)
    return _located(Repository(remote, login=login), parts.fragment, parts.query)


def _located(found: Repository, fragment: str, query: str) -> Repository:
    """With what stands behind the address: ``#ref:subdir``, or ``?ref=…&subdir=…``."""
    from urllib.parse import unquote

    ref, _, subdir = unquote(fragment).partition(":")
    found = _queried(found._replace(ref=ref, subdir=subdir), query)
    for text in (found.ref, found.remote, found.host, found.remote.rpartition(":")[2]):
        if text.startswith("-"):
            raise Invalid(f"{text!r} of a git repository begins with a dash")
    if re.search(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{", found.ref):
        raise Invalid(f"{found.ref!r} is not a valid git ref", hint="a branch, a tag or a full commit id")
    if "\0" in found.subdir:
        raise Invalid("the directory in a git repository holds a NUL byte")
    return with_commit(found, found.commit)


def with_commit(found: Repository, commit: str) -> Repository:
    """``found`` bound to a commit id or its beginning (ADD --checksum). Raises Invalid."""
    if found.commit and commit and found.commit != commit:
        raise Invalid(f"the commit cannot be {found.commit} and {commit}")
    if commit and not re.fullmatch("[0-9a-fA-F]{1,64}", commit):
        raise Invalid(f"{commit!r} is not the beginning of a commit id", hint="hexadecimal digits, the more the safer")
    return found._replace(commit=commit.lower() or found.commit)


def _queried(found: Repository, query: str) -> Repository:
    from urllib.parse import parse_qsl

    seen: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in seen:
            raise Invalid(f"{name} stands twice in the address of a git repository")
        seen[name] = value
    for name, value in seen.items():
        if name in ("keep-git-dir", "submodules"):
            on = _switch(name, value)
            found = found._replace(submodules=on) if name == "submodules" else found._replace(keep_git_dir=on)
            continue
        if name == "fetch-by-commit":  # as it is done anyway where the server lets it
            _switch(name, value)
            continue
        if name == "mtime":
            if value not in ("checkout", "commit"):
                raise Invalid(f"mtime={value} in the address of a git repository", hint="checkout or commit")
            found = found._replace(dated=value == "commit")
            continue
        if not value:
            raise Invalid(f"{name} in the address of a git repository has no value")
        if name in ("ref", "tag", "branch"):
            prefix = {"ref": "", "tag": "refs/tags/", "branch": "refs/heads/"}[name]
            found = found._replace(ref=_agreed("ref", found.ref, prefix + value.removeprefix(prefix)))
        elif name == "subdir":
            found = found._replace(subdir=_agreed(name, found.subdir, value))
        elif name in ("checksum", "commit"):
            found = with_commit(found, value)
        else:
            raise Invalid(f"{name} in the address of a git repository is unknown")
    return found


def _agreed(name: str, first: str, second: str) -> str:
    if first and first != second:
        raise Invalid(f"the {name} of a git repository cannot be {first} and {second}")
    return second


def _switch(name: str, value: str) -> bool:
    if value not in (*_TRUE, *_FALSE):
        raise Invalid(f"{name}={value} is neither true nor false")
    return value in _TRUE
