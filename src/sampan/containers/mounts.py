"""``--mount``: comma-separated fields, as Docker reads them (docker/cli, opts/mount.go)."""

from __future__ import annotations

import os

from sampan.containers.options import Mount, check_volume_name
from sampan.errors import Invalid, NotFound, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
_FIELDS = {
    "bind": ("bind-propagation", "bind-recursive"),
    "volume": (),
    "tmpfs": ("tmpfs-size", "tmpfs-mode"),
}
_PROPAGATIONS = ("private", "rprivate", "slave", "rslave", "shared", "rshared")
_SWITCHES = {"true": True, "1": True, "": True, "false": False, "0": False}


class Memory(NamedTuple):
    """A mount in memory; ``options`` are comma-separated, as those of ``--tmpfs``."""

    target: str
    options: str


def parse(text: str) -> Mount | Memory:
    """One ``--mount``. Raises Invalid, Unsupported for what is not built yet, and NotFound for a source that is not
    there: unlike ``-v``, it makes none."""
    fields = _fields(text)
    kind = fields.pop("type", "volume")
    if kind in ("image", "npipe", "cluster"):
        raise Unsupported(f"--mount type={kind} is not built yet", hint="bind, volume and tmpfs are")
    if kind not in _FIELDS:
        raise Invalid(f"invalid --mount {text!r}: {kind!r} is not a type", hint="bind, volume or tmpfs")
    source, target = fields.pop("source", ""), fields.pop("target", "")
    read_only = _switch(fields.pop("readonly", "false"), text)
    for name in fields:
        if name not in _FIELDS[kind]:
            raise Invalid(f"invalid --mount {text!r}: {name!r} is not a field of a {kind} mount")
    if not target.startswith("/"):
        raise Invalid(f"invalid --mount {text!r}: the target is missing, or no absolute path")
    if kind == "tmpfs":
        return Memory(target, _memory_options(fields, read_only, source, text))
    if kind == "volume":
        return Mount(check_volume_name(source) if source else "", target, read_only)
    return _bind(source, target, read_only, fields, text)


def _fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for word in text.split(","):
        name, equals, value = word.partition("=")
        name = _ALIASES.get(name.lower(), name.lower())
        if not equals and name != "readonly":
            raise Invalid(f"invalid --mount {text!r}: {word!r} must be a pair NAME=VALUE")
        fields[name] = value
    return fields


def _switch(value: str, text: str) -> bool:
    if value.lower() not in _SWITCHES:
        raise Invalid(f"invalid --mount {text!r}: readonly is true or false")
    return _SWITCHES[value.lower()]


def _bind(source: str, target: str, read_only: bool, fields: dict[str, str], text: str) -> Mount:
    propagation = fields.get("bind-propagation", "rprivate")
    if propagation not in _PROPAGATIONS:
        raise Invalid(f"invalid --mount {text!r}: {propagation!r} is not a propagation", hint=", ".join(_PROPAGATIONS))
    if fields.get("bind-recursive", "enabled") != "enabled":
        raise Unsupported(f"--mount bind-recursive={fields['bind-recursive']} is not built yet", hint="enabled is")
    if not source:
        raise Invalid(f"invalid --mount {text!r}: a bind mount needs a source")
    source = os.path.abspath(source)
    if not os.path.exists(source):
        raise NotFound(f"--mount: there is no {source}", hint="make it first, or use -v, which makes a directory")
    return Mount(source, target, read_only, propagation)


def _memory_options(fields: dict[str, str], read_only: bool, source: str, text: str) -> str:
    if source:
        raise Invalid(f"invalid --mount {text!r}: a tmpfs mount has no source")
    from sampan.containers.limits import parse_bytes

    words = ["ro"] if read_only else []
    if "tmpfs-size" in fields:
        words.append(f"size={parse_bytes(fields['tmpfs-size'], 'tmpfs-size')}")
    mode = fields.get("tmpfs-mode")
    if mode is not None:
        if not mode.isdigit() or set(mode) - set("01234567"):
            raise Invalid(f"invalid --mount {text!r}: tmpfs-mode is an octal number")
        words.append(f"mode={mode}")
    return ",".join(words)
