"""``RUN --mount=…``: what is mounted for one command (Dockerfile reference, "RUN --mount").

The words are taken apart when the line is parsed, and get their meaning when variables are known; ``from`` is needed
before that and may have none. A word that is not known for its type is an error, never dropped.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping

from sampan.build.dockerfile import values
from sampan.build.dockerfile.statement import did_you_mean
from sampan.build.graph import Context, Mount, Step
from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

SECRETS = "/run/secrets"
AGENTS = "/run/buildkit/ssh_agent"

_KINDS = {
    "bind": {"target", "source", "from", "readonly"},
    "cache": {"target", "source", "from", "readonly", "id", "sharing", "mode", "uid", "gid"},
    "tmpfs": {"target", "size", "readonly"},
    "secret": {"target", "source", "id", "env", "required", "mode", "uid", "gid"},
    "ssh": {"target", "id", "required", "mode", "uid", "gid"},
}
_IDLE = {
    "bind": {"id", "env"},
    "cache": {"env"},
    "tmpfs": {"id", "env", "source", "from"},
    "secret": {"readonly"},
    "ssh": {"readonly", "from", "env"},
}
"""Words that BuildKit lets pass though they change nothing."""
_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly", "rw": "readwrite"}
_SWITCHES = ("readonly", "readwrite", "required")
_SHARING = ("shared", "private", "locked")
_MAX_ID = (1 << 32) - 2
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}


class RunMount(NamedTuple):
    """One ``--mount``: ``text`` as written, its words by their proper names (a switch without value is "true")."""

    text: str
    words: tuple[tuple[str, str], ...]

    @property
    def from_(self) -> str:
        return dict(self.words).get("from", "")

    @property
    def needs_origin(self) -> bool:
        """Whether there are files to be taken from somewhere: a bind has the context's if nothing is said."""
        kind = dict(self.words).get("type", "bind")
        return bool(self.from_) or kind.lower() == "bind" or "$" in kind


def parse(text: str) -> RunMount:
    """The words of ``text``, which are separated as in CSV. Raises Invalid."""
    import csv

    words: dict[str, str] = {}
    if not text:
        raise Invalid("--mount lacks a value", hint="--mount=type=cache,target=/path, for example")
    try:
        (fields,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError):
        raise Invalid(f"--mount={text} is not a list of words separated by commas") from None
    for field in fields:
        name, equals, value = field.partition("=")
        name = _ALIASES.get(name.strip().lower(), name.strip().lower())
        if not equals and name not in _SWITCHES:
            raise Invalid(f"--mount: {field} is not of the form name=value", hint=_meant(name, "bind"))
        words[name] = value if equals else "true"
    return RunMount(text, tuple(words.items()))


def resolve(
    mount: RunMount,
    expand: Callable[[str], str],
    directory: str,
    origin: Context | Step | None,
    number: int,
    warn: Callable[[str], None],
) -> Mount:
    """What ``mount`` means in working directory ``directory``; ``number`` counts the ssh mounts before it.

    Raises Invalid.
    """
    words = _switched({name: value if name == "from" else expand(value) for name, value in mount.words})
    kind = words.pop("type", "bind").lower()
    if kind not in _KINDS:
        raise Invalid(f"--mount: unknown type {kind}", hint=did_you_mean(kind, list(_KINDS)))
    for name in words:
        if name in _IDLE[kind]:
            warn(f"--mount: {name} means nothing for type={kind}")
        elif name not in _KINDS[kind]:
            raise Invalid(f"--mount: {name} means nothing for type={kind}", hint=_meant(name, kind))
    if kind in ("secret", "ssh"):
        return _credential(kind, words, directory, number)
    target = _target(words.get("target", ""), directory)
    readonly = words.get("readonly", "true" if kind == "bind" else "false") == "true"
    if kind == "tmpfs":
        return Mount(kind, target, readonly=readonly, size=_size(words.get("size", "")))
    source = values.inside(words.get("source", ""))
    if kind == "bind":
        return Mount(kind, target, source, origin, readonly=readonly)
    sharing = words.get("sharing", "shared").lower()
    if sharing not in _SHARING:
        raise Invalid(f"--mount: unknown sharing {sharing}", hint="one of shared, private, locked")
    id_ = words.get("id") or posixpath.normpath(words.get("target", ""))
    return _owned(Mount(kind, target, source, origin if mount.from_ else None, id_, readonly, sharing), words, 0o755)


def _switched(words: dict[str, str]) -> dict[str, str]:
    """With switches that are "true" or "false", and ``readwrite`` as what it is for ``readonly``."""
    found: dict[str, str] = {}
    for name, value in words.items():
        if name in _SWITCHES:
            on = _switch(name, value) != (name == "readwrite")
            name, value = "readonly" if name == "readwrite" else name, "true" if on else "false"
        found[name] = value
    return found


def _credential(kind: str, words: Mapping[str, str], directory: str, number: int) -> Mount:
    if words.get("source") and words.get("id"):
        raise Invalid("--mount: source and id are the same for a secret", hint="leave out one of them")
    id_, target, env = words.get("source") or words.get("id", ""), words.get("target", ""), words.get("env", "")
    required = words.get("required") == "true"
    if kind == "ssh":
        place = _target(target, directory) if target else f"{AGENTS}.{number}"
        return _owned(Mount(kind, place, id=id_ or "default", required=required), words, 0o600)
    if env and not re.fullmatch(r"[^=\0]+", env):
        raise Invalid(f"--mount: env={env} is not a variable's name")
    id_ = id_ or posixpath.basename(target)
    if not id_:
        raise Invalid("--mount: a secret needs an id", hint="--mount=type=secret,id=NAME")
    place = _target(target or f"{SECRETS}/{posixpath.basename(id_)}", directory) if target or not env else ""
    return _owned(Mount(kind, place, id=id_, required=required, env=env), words, 0o400)


def _target(target: str, directory: str) -> str:
    """Without one it is the working directory, as in BuildKit."""
    path = values.joined(directory, target)
    if path == "/":
        raise Invalid("--mount: the target cannot be /", hint=None if target else "target=/path/in/the/step")
    return path


def _owned(mount: Mount, words: Mapping[str, str], mode: int) -> Mount:
    found = {"mode": mode, "uid": 0, "gid": 0}
    for name in found:
        text = words.get(name, "")
        if text and not re.fullmatch("0*[0-7]{1,4}" if name == "mode" else "[0-9]{1,10}", text, re.ASCII):
            raise Invalid(f"--mount: {name}={text} is not {'a mode in octal' if name == 'mode' else 'a number'}")
        if text:
            found[name] = int(text, 8 if name == "mode" else 10)
        if found[name] > _MAX_ID:
            raise Invalid(f"--mount: {name}={text} is larger than any id")
    return mount._replace(mode=found["mode"], uid=found["uid"], gid=found["gid"])


def _size(text: str) -> int:
    """Bytes, with k, m, g … for powers of 1024 (``RAMInBytes`` of docker/go-units); 0 for the kernel's default."""
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,9})?)\s*([kmgtp]?)(?:i?b)?", text.lower(), re.ASCII)
    if text and not match:
        raise Invalid(f"--mount: size={text} is not a number of bytes", hint="for example size=64m")
    return int(float(match[1]) * (1 << _UNITS[match[2]])) if match else 0


def _switch(name: str, value: str) -> bool:
    """As Go's ``strconv.ParseBool`` reads it."""
    if value not in (*_TRUE, *_FALSE):
        raise Invalid(f"--mount: {name}={value} is either true or false")
    return value in _TRUE


def _meant(name: str, kind: str) -> str | None:
    known = _KINDS.get(kind, set()) | {"type"}
    return did_you_mean(name, sorted(known)) or f"type={kind} knows {', '.join(sorted(known - {'type'}))}"
