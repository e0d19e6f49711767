"""``--mount``: comma-separated fields, as Docker reads them (docker/cli, opts/mount.go)."""

from __future__ import annotations

import os

from sampan.containers.options import ImageMount, Mount, check_volume_name
from sampan.containers.spec import check_target
from sampan.errors import Invalid, NotFound, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
_FIELDS = {
    "bind": ("bind-propagation", "bind-recursive", "bind-nonrecursive", "consistency"),
    "volume": ("volume-nocopy", "volume-subpath", "volume-label", "volume-driver", "consistency"),
    "tmpfs": ("tmpfs-size", "tmpfs-mode"),
    "image": ("image-subpath",),
}
_PROPAGATIONS = ("private", "rprivate", "slave", "rslave", "shared", "rshared")
_SWITCHES = {"true": True, "1": True, "": True, "false": False, "0": False}
_RECURSIONS = ("enabled", "disabled", "writable", "readonly")
_CONSISTENCIES = ("default", "consistent", "cached", "delegated")


class Memory(NamedTuple):
    """A mount in memory; ``options`` are comma-separated, as those of ``--tmpfs``."""

    target: str
    options: str


def parse(text: str) -> Mount | Memory | ImageMount:
    """One ``--mount``. Raises Invalid, Unsupported for what there is not here, and NotFound for a source that is not
    there: unlike ``-v``, it makes none. An image's chain is left empty."""
    fields = _fields(text)
    kind = fields.pop("type", "volume").lower()
    if kind in ("npipe", "cluster"):
        raise Unsupported(f"--mount type={kind}: there is no such thing here", hint=", ".join(_FIELDS))
    if kind not in _FIELDS:
        raise Invalid(f"invalid --mount {text!r}: {kind!r} is not a type", hint=", ".join(_FIELDS))
    source, target = fields.pop("source", ""), fields.pop("target", "")
    read_only = _switch(fields.pop("readonly", "false"), "readonly", text)
    if "volume-opt" in fields:
        raise Unsupported("--mount volume-opt: volumes are directories here, and have no options")
    for name in fields:
        if name not in _FIELDS[kind]:
            raise Invalid(f"invalid --mount {text!r}: {name!r} is not a field of a {kind} mount")
    if fields.get("consistency", "default") not in _CONSISTENCIES:
        raise Invalid(f"invalid --mount {text!r}: consistency is one of {', '.join(_CONSISTENCIES)}")
    if not target.startswith("/"):
        raise Invalid(f"invalid --mount {text!r}: the target is missing, or no absolute path")
    if kind == "tmpfs":
        return Memory(target, _memory_options(fields, read_only, source, text))
    if kind == "image":
        if not source:
            raise Invalid(f"invalid --mount {text!r}: the source, an image, is missing")
        return ImageMount(source, "", check_target(target), read_only, _subpath(fields, "image-subpath", text))
    if kind == "volume":
        return _volume(source, target, read_only, fields, text)
    return _bind(source, target, read_only, fields, text)


def _volume(source: str, target: str, read_only: bool, fields: dict[str, str], text: str) -> Mount:
    if fields.get("volume-driver", "local") != "local":
        raise Unsupported(f"--mount volume-driver={fields['volume-driver']}: there is none here but local")
    labels = tuple(tuple(label.partition("=")[::2]) for label in fields.get("volume-label", "").split("\n") if label)
    return Mount(
        check_volume_name(source) if source else "",
        target,
        read_only,
        fill=not _switch(fields.get("volume-nocopy", "false"), "volume-nocopy", text),
        subpath=_subpath(fields, "volume-subpath", text),
        labels=labels,  # type: ignore[arg-type]
    )


def _subpath(fields: dict[str, str], name: str, text: str) -> str:
    path = fields.get(name, "")
    if path.startswith("/") or ".." in path.split("/"):
        raise Invalid(f"invalid --mount {text!r}: {name} is a relative path that stays below the source")
    return path


def _fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    import csv

    for word in next(csv.reader([text]), []):
        name, equals, value = word.partition("=")
        name = _ALIASES.get(name.lower(), name.lower())
        if not equals and name not in ("readonly", "volume-nocopy", "bind-nonrecursive"):
            raise Invalid(f"invalid --mount {text!r}: {word!r} must be a pair NAME=VALUE")
        fields[name] = f"{fields[name]}\n{value}" if name == "volume-label" and name in fields else value
    return fields


def _switch(value: str, name: str, text: str) -> bool:
    if value.lower() not in _SWITCHES:
        raise Invalid(f"invalid --mount {text!r}: {name} is true or false")
    return _SWITCHES[value.lower()]


def _bind(source: str, target: str, read_only: bool, fields: dict[str, str], text: str) -> Mount:
    propagation = fields.get("bind-propagation", "rprivate")
    if propagation not in _PROPAGATIONS:
        raise Invalid(f"invalid --mount {text!r}: {propagation!r} is not a propagation", hint=", ".join(_PROPAGATIONS))
    recursion = fields.get("bind-recursive", "enabled")
    if _switch(fields.get("bind-nonrecursive", "false"), "bind-nonrecursive", text):
        recursion = "disabled"
    if recursion not in _RECURSIONS:
        raise Invalid(f"invalid --mount {text!r}: bind-recursive is one of {', '.join(_RECURSIONS)}")
    if recursion in ("writable", "readonly") and not read_only:
        raise Invalid(f"invalid --mount {text!r}: bind-recursive={recursion} is for a mount that is readonly")
    if not source:
        raise Invalid(f"invalid --mount {text!r}: a bind mount needs a source")
    source = os.path.abspath(source)
    if not os.path.exists(source):
        raise NotFound(f"--mount: there is no {source}", hint="make it first, or use -v, which makes a directory")
    return Mount(
        source, target, read_only, propagation, recursive=recursion != "disabled", deep=recursion != "writable"
    )


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
