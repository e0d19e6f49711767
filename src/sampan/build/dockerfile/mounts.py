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
    "tmpfs": {"target", "size"},
    "secret": {"target", "source", "id", "env", "required", "mode", "uid", "gid"},
    "ssh": {"target", "id", "required", "mode", "uid", "gid"},
}
_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
_SWITCHES = ("readonly", "required")
_SHARING = ("shared", "private", "locked")
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}


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
        return bool(self.from_) or dict(self.words).get("type", "bind") == "bind"


def parse(text: str) -> RunMount:
    """The words of ``text``, which are separated as in CSV. Raises Invalid."""
    import csv

    words: dict[str, str] = {}
    try:
        (fields,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError):
        raise Invalid(f"--mount={text} is not a list of words separated by commas") from None
    for field in fields:
        name, equals, value = field.partition("=")
        name = name.strip().lower()
        negated = name in ("readwrite", "rw")
        name = "readonly" if negated else _ALIASES.get(name, name)
        if name in _SWITCHES:
            value = _switch(field, value if equals else "true", negated)
        elif not equals:
            raise Invalid(f"--mount: {field} is not of the form name=value", hint=_meant(name, "bind"))
        words[name] = value
    return RunMount(text, tuple(words.items()))


def resolve(
    mount: RunMount, expand: Callable[[str], str], directory: str, origin: Context | Step | None, number: int
) -> Mount:
    """What ``mount`` means in working directory ``directory``; ``number`` counts the ssh mounts before it.

    Raises Invalid.
    """
    words = {name: value if name == "from" else expand(value) for name, value in mount.words}
    kind = words.pop("type", "bind")
    if kind not in _KINDS:
        raise Invalid(f"--mount: unknown type {kind}", hint=did_you_mean(kind, list(_KINDS)))
    for name in words:
        if name not in _KINDS[kind]:
            raise Invalid(f"--mount: {name} means nothing for type={kind}", hint=_meant(name, kind))
    if kind in ("secret", "ssh"):
        return _credential(kind, words, directory, number)
    target = _target(words.get("target", ""), directory)
    if kind == "tmpfs":
        return Mount(kind, target, size=_size(words.get("size", "")))
    source = values.inside(words.get("source", ""))
    readonly = words.get("readonly", "true" if kind == "bind" else "false") == "true"
    if kind == "bind":
        return Mount(kind, target, source, origin, readonly=readonly)
    sharing = words.get("sharing", "shared")
    if sharing not in _SHARING:
        raise Invalid(f"--mount: unknown sharing {sharing}", hint="one of shared, private, locked")
    id_ = words.get("id") or posixpath.normpath(words["target"])
    return _owned(Mount(kind, target, source, origin, id_, readonly, sharing), words, 0o755)


def _credential(kind: str, words: Mapping[str, str], directory: str, number: int) -> Mount:
    id_, target, env = words.get("source") or words.get("id", ""), words.get("target", ""), words.get("env", "")
    required = words.get("required") == "true"
    if env and not re.fullmatch(r"[^=\0]+", env):
        raise Invalid(f"--mount: env={env} is not a variable's name")
    if kind == "ssh":
        place = _target(target, directory) if target else f"{AGENTS}.{number}"
        return _owned(Mount(kind, place, id=id_ or "default", required=required), words, 0o600)
    id_ = id_ or posixpath.basename(target)
    if not id_:
        raise Invalid("--mount: a secret needs an id", hint="--mount=type=secret,id=NAME")
    place = _target(target or f"{SECRETS}/{posixpath.basename(id_)}", directory) if target or not env else ""
    return _owned(Mount(kind, place, id=id_, required=required, env=env), words, 0o400)


def _target(target: str, directory: str) -> str:
    if not target:
        raise Invalid("--mount lacks the target", hint="target=/path/in/the/step")
    path = values.joined(directory, target)
    if path == "/":
        raise Invalid("--mount: the target cannot be /")
    return path


def _owned(mount: Mount, words: Mapping[str, str], mode: int) -> Mount:
    found = {"mode": mode, "uid": 0, "gid": 0}
    for name in found:
        text = words.get(name, "")
        if text and not re.fullmatch("[0-7]{1,4}" if name == "mode" else "[0-9]{1,9}", text, re.ASCII):
            raise Invalid(f"--mount: {name}={text} is not {'a mode in octal' if name == 'mode' else 'a number'}")
        if text:
            found[name] = int(text, 8 if name == "mode" else 10)
    return mount._replace(mode=found["mode"], uid=found["uid"], gid=found["gid"])


def _size(text: str) -> int:
    """Bytes, with k, m, g or t for powers of 1024 (``RAMInBytes`` of docker/go-units); 0 for the kernel's default."""
    match = re.fullmatch(r"(\d{1,12})(?:\.\d+)?\s*([kmgt]?)(?:i?b)?", text.lower(), re.ASCII)
    if text and not match:
        raise Invalid(f"--mount: size={text} is not a number of bytes", hint="for example size=64m")
    return int(match[1]) << _UNITS[match[2]] if match else 0


def _switch(field: str, value: str, negated: bool) -> str:
    if value.lower() not in ("true", "false", "1", "0"):
        raise Invalid(f"--mount: {field} is either true or false")
    return "true" if (value.lower() in ("true", "1")) != negated else "false"


def _meant(name: str, kind: str) -> str | None:
    known = _KINDS.get(kind, set()) | {"type"}
    return did_you_mean(name, sorted(known)) or f"type={kind} knows {', '.join(sorted(known - {'type'}))}"
