"""What ``--cache-from`` and ``--cache-to`` say: where a build cache comes from, and where it goes (buildx's words)."""

from typing import NamedTuple

from sampan.errors import Invalid, Unsupported

_KINDS = ("local", "registry", "inline")
_FROM = {"local": ("src", "tag"), "registry": ("ref",)}
_ALWAYS_SO = ("oci-mediatypes", "image-manifest")
"""What buildx lets one switch off; there is no other form here."""
_TO = {
    "local": ("dest", "tag", "mode", "ignore-error", *_ALWAYS_SO),
    "registry": ("ref", "mode", "ignore-error", *_ALWAYS_SO),
    "inline": ("mode",),
}
DEFAULT_TAG = "latest"
"""What a cache is called in an image layout, where others may be."""


class Endpoint(NamedTuple):
    """``kind`` is local, registry or inline; ``place`` a directory or the name of an image."""

    kind: str
    place: str
    tag: str = DEFAULT_TAG
    full: bool = False
    """All steps of the build (mode=max), not only those that are in the image."""
    needed: bool = True
    """It is an error if the cache cannot go there."""

    def __str__(self) -> str:
        return f"type={self.kind}" + (f" {self.place}" if self.place else "")


def parse_source(text: str) -> Endpoint:
    """``REF``, or ``type=KIND,NAME=VALUE,…``. Raises Invalid or Unsupported, naming what it does not know."""
    kind, options = _parsed("--cache-from", text, _FROM)
    return Endpoint(kind, _place("--cache-from", kind, options), options.get("tag") or DEFAULT_TAG)


def parse_target(text: str) -> Endpoint:
    """The same for where it goes."""
    flag = "--cache-to"
    kind, options = _parsed(flag, text, _TO)
    mode = options.get("mode", "min")
    if mode not in ("min", "max"):
        raise Invalid(f"{flag}: mode={mode} is neither min nor max")
    if kind == "inline" and mode == "max":
        raise Unsupported(f"{flag}: an inline cache has mode=min, for it is about the image's own layers")
    for name in _ALWAYS_SO:
        if not _truth(flag, name, options.get(name, "true")):
            raise Unsupported(f"{flag}: {name}=false is not supported")
    ignored = _truth(flag, "ignore-error", options.get("ignore-error", "false"))
    place = _place(flag, kind, options)
    return Endpoint(kind, place, options.get("tag") or DEFAULT_TAG, mode == "max", not ignored)


def _parsed(flag: str, text: str, known: dict[str, tuple[str, ...]]) -> tuple[str, dict[str, str]]:
    """The kind, and the options besides."""
    if "=" not in text and "," not in text:
        return "registry", {"ref": text}
    options = {}
    for word in text.split(","):
        name, equals, value = word.partition("=")
        if not equals:
            raise Invalid(f"invalid {flag} {text!r}: {word!r} is not NAME=VALUE")
        options[name.strip().lower()] = value
    kind = options.pop("type", "")
    if kind not in known:
        what = f"{flag} type={kind} is not supported" if kind else f"{flag} {text!r} has no type"
        hint = f"{', '.join(each for each in _KINDS if each in known)}; type=local is a directory that any CI can keep"
        raise Unsupported(what, hint=hint) if kind else Invalid(what, hint=hint)
    for name in options:
        if name not in known[kind]:
            raise Unsupported(
                f"{flag} type={kind}: {name} is not supported", hint=f"known are {', '.join(known[kind])}"
            )
    return kind, options


def _place(flag: str, kind: str, options: dict[str, str]) -> str:
    name = {"local": "src" if flag == "--cache-from" else "dest", "registry": "ref"}.get(kind)
    if name and not options.get(name):
        raise Invalid(f"{flag} type={kind} needs {name}=")
    return options[name] if name else ""


def _truth(flag: str, name: str, text: str) -> bool:
    if text.lower() not in ("true", "1", "false", "0"):
        raise Invalid(f"{flag}: {name}={text} is neither true nor false")
    return text.lower() in ("true", "1")
