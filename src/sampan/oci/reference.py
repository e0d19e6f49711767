"""References: image names, parsed once (distribution/reference's grammar; Docker's "familiar" short forms).

    reference  := [ registry "/" ] repository [ ":" tag ] [ "@" digest ]
    registry   := host [ ":" port ]      there only if it has a dot, a colon, an upper-case letter, or is localhost
    repository := component { "/" component }
    component  := [a-z0-9]+ { ( "." | "_" | "__" | "-"+ ) [a-z0-9]+ }
    tag        := [A-Za-z0-9_] [A-Za-z0-9_.-]{0,127}

The repository has at most 255 characters, "library/" included.
"""

from sampan.errors import Invalid
from sampan.oci.digest import Digest

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"

# Without regular expressions: their module and compiling these would take 2 ms at every container's start.
_DIGITS = frozenset("0123456789")
_HEX = frozenset("0123456789abcdef")
_TO_A = str.maketrans(dict.fromkeys("bcdefghijklmnopqrstuvwxyz0123456789", "a"))


class Reference:
    """An image name with its registry spelled out. Two references are equal when their canonical forms are."""

    __slots__ = ("digest", "registry", "repository", "tag")

    def __init__(self, registry: str, repository: str, tag: str | None = None, digest: Digest | None = None) -> None:
        self.registry = registry
        self.repository = repository
        self.tag = tag
        self.digest = digest

    @property
    def name(self) -> str:
        """Registry and repository, canonical: ``docker.io/library/python``."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar_name(self) -> str:
        """Registry and repository as people write them: ``python``."""
        if self.registry != DEFAULT_REGISTRY:
            return self.name
        return self.repository.removeprefix("library/") if self.repository.count("/") == 1 else self.repository

    @property
    def selector(self) -> str:
        """What a registry is asked for: the digest if there is one, else the tag, else "latest"."""
        return self.digest or self.tag or DEFAULT_TAG

    def canonical(self) -> str:
        """The form for machines: ``docker.io/library/python:3.12``."""
        return self.name + self._suffix()

    def familiar(self) -> str:
        """The form for people: ``python:3.12``."""
        return self.familiar_name + self._suffix()

    def with_digest(self, digest: Digest) -> "Reference":
        """The same name, pinned to ``digest`` and without a tag."""
        return Reference(self.registry, self.repository, None, digest)

    def tagged(self) -> "Reference":
        """The same name, with the tag "latest" if it has neither tag nor digest."""
        if self.tag or self.digest:
            return self
        return Reference(self.registry, self.repository, DEFAULT_TAG)

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.familiar()

    def __repr__(self) -> str:
        return f"Reference({self.canonical()!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and self.canonical() == other.canonical()

    def __hash__(self) -> int:
        return hash(self.canonical())


def parse(text: str) -> Reference:
    """The reference in ``text``, which may be familiar or canonical. Raises Invalid with a hint.

    No tag is added: use ``Reference.tagged()`` where "latest" is meant.
    """
    if not text:
        raise Invalid("an image name is empty")
    remainder, at, digest_text = text.partition("@")
    digest = None
    if at:
        try:
            digest = Digest(digest_text)
        except Invalid as error:
            raise Invalid(f"invalid reference {text!r}: {error.message}", hint=error.hint) from None
    registry, remainder = _split_registry(remainder)
    repository, colon, tag = remainder.partition(":")
    if colon and not _is_tag(tag):
        raise Invalid(f"invalid reference {text!r}: {tag!r} is not a tag", hint=_tag_hint(text, tag))
    if not all(map(_is_component, repository.split("/"))):
        raise Invalid(f"invalid reference {text!r}: {_why(repository)}", hint=_hint(text, registry, repository, tag))
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = f"library/{repository}"
    if not _is_registry(registry):
        raise Invalid(f"invalid reference {text!r}: {registry!r} is not a host name")
    if len(repository) > 255:
        raise Invalid(f"invalid reference {text[:40]!r}…: the repository is longer than 255 characters")
    if registry == DEFAULT_REGISTRY and not at and len(text) == 64 and _HEX.issuperset(text):
        raise Invalid(f"invalid reference {text!r}: 64 hexadecimal digits are an image ID, not a name")
    return Reference(registry, repository, tag if colon else None, digest)


def read_canonical(text: str) -> Reference:
    """The reference whose ``canonical`` form is ``text``, as the store keeps it: it was checked before, and with
    thousands of names checking it again would be most of the time that listing them takes."""
    registry, _, remainder = text.partition("/")
    remainder, _, digest = remainder.partition("@")
    repository, _, tag = remainder.partition(":")
    return Reference(registry, repository, tag or None, Digest(digest) if digest else None)


def _is_component(text: str) -> bool:
    """Groups of letters and digits, each joined with the next by one separator."""
    groups = text.translate(_TO_A)
    if not groups.startswith("a") or not groups.endswith("a"):
        return False
    return all(between in ("", ".", "_", "__") or not between.strip("-") for between in groups.split("a"))


def _is_tag(text: str) -> bool:
    return text.isascii() and text[:1] not in (".", "-") and len(text) <= 128 and _is_word(text, "_.-")


def _is_word(text: str, others: str) -> bool:
    """Whether a text consists of ASCII letters, digits and ``others``, one at least."""
    return text.isascii() and bool(text) and all(letter.isalnum() or letter in others for letter in text)


def _is_registry(text: str) -> bool:
    """A host's name or an IPv6 address in brackets, and a port or none."""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        valid = bool(bracket and host) and (_HEX | {":"}).issuperset(host.lower())
        colon, digits = port[:1], port[1:]
        return valid and (not port or (colon == ":" and bool(digits) and _DIGITS.issuperset(digits)))
    host, colon, digits = text.partition(":")
    if colon and not (digits and _DIGITS.issuperset(digits)):
        return False
    return all(_is_word(label, "-") and "-" not in (label[0], label[-1]) for label in host.split("."))


def _split_registry(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        return DEFAULT_REGISTRY, text
    if first == "index.docker.io":
        first = DEFAULT_REGISTRY
    return first, rest


def _why(repository: str) -> str:
    if not repository:
        return "the repository is missing"
    if repository.lower() != repository:
        return "repository names are lower case"
    if repository.startswith(("-", ".", "_", "/")) or repository.endswith(("-", ".", "_", "/")):
        return f"{repository!r} may not begin or end with a separator"
    return f"{repository!r} is not a repository name"


def _hint(text: str, registry: str, repository: str, tag: str) -> str | None:
    candidates = (text.lower(), text.rstrip("./-_"), text.lower().rstrip("./-_"), text.replace("://", "/"))
    for candidate in candidates:
        if candidate != text and _acceptable(candidate):
            return f"write it as {candidate}"
    return "lower-case letters and digits, separated by . _ - or /"


def _tag_hint(text: str, tag: str) -> str:
    if "/" in tag:
        return "if the first part is a registry's host and port, the name needs a repository after it: host:port/name"
    return "a tag has at most 128 letters, digits, _ . and -, and does not begin with . or -"


def _acceptable(text: str) -> bool:
    try:
        parse(text)
    except Invalid:
        return False
    return True
