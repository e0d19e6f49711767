"""Where a build's result goes: ``--output`` and ``--annotation`` read into values (buildx's words)."""

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from sampan.errors import Invalid, Unsupported
from sampan.oci import platform as platforms
from sampan.oci.platform import Platform
from sampan.registry import recompress
from sampan.registry.recompress import Compression


class Packing(NamedTuple):
    """How layers are to be compressed; None: as they are. ``force`` is for those of the base image too."""

    compression: Compression | None = None
    force: bool = False


class Annotation(NamedTuple):
    """``on`` is what it is written on: manifest, index, or manifest-descriptor (the index's entry)."""

    on: str
    key: str
    value: str
    platform: Platform | None = None
    """Only for that one of several."""


class Output(NamedTuple):
    """One destination. ``kind`` is local, tar, oci, docker, image or cacheonly (registry is an image that is pushed).

    ``dest`` is a path, ``-`` for standard output, empty for none.
    """

    kind: str
    dest: str = ""
    tar: bool = True
    names: tuple[str, ...] = ()
    push: bool = False
    store: bool = True
    split: bool | None = None
    """local and tar: a directory for each platform; None: if there are several."""
    packing: Packing = Packing()
    annotations: tuple[Annotation, ...] = ()


_PACKING = frozenset(("compression", "compression-level", "force-compression"))
_KEYS: Mapping[str, Collection[str]] = {
    "local": ("dest", "platform-split"),
    "tar": ("dest", "platform-split"),
    "oci": ("dest", "tar", "name", "oci-mediatypes", *_PACKING),
    "docker": ("dest", "tar", "name", "oci-mediatypes", *_PACKING),
    "image": ("name", "push", "store", "unpack", "oci-mediatypes", *_PACKING),
    "registry": ("name", "oci-mediatypes", *_PACKING),
    "cacheonly": (),
}
_ANNOTATED = ("oci", "docker", "image", "registry")
_TARGET = re.compile(r"([a-z-]+)(?:\[([A-Za-z0-9_/-]+)\])?")


def parse(text: str) -> Output:
    """``type=oci,dest=app.tar``, or for short a directory, or ``-`` for a tar on standard output. Raises Invalid."""
    fields = _fields(text)
    if "=" not in text:
        if len(fields) != 1 or not text:
            raise Invalid(f"invalid --output {text!r}", hint="type=local|tar|oci|docker|image|registry, or a directory")
        return Output("tar", "-") if text == "-" else Output("local", text)
    values = dict(field.partition("=")[::2] for field in fields)
    kind = values.pop("type", "")
    if kind not in _KEYS:
        raise Invalid(f"invalid --output {text!r}: its type is {kind!r}", hint=f"one of {', '.join(_KEYS)}")
    marked = {key: values.pop(key) for key in list(values) if key.startswith("annotation") and kind in _ANNOTATED}
    for key in values:
        if key not in _KEYS[kind]:
            raise Unsupported(f"--output of type {kind} has no {key!r}", hint=f"it has {', '.join(_KEYS[kind])}")
    if not _flag(values, "oci-mediatypes", True):
        raise Unsupported("only OCI media types are written", hint="leave out oci-mediatypes=false")
    dest = values.get("dest", "")
    if kind in ("local", "tar") and not dest:
        raise Invalid(f"--output of type {kind} has no dest", hint=f"type={kind},dest=PATH")
    return Output(
        "image" if kind == "registry" else kind,
        dest,
        _flag(values, "tar", True),
        tuple(name for name in values.get("name", "").split(",") if name),
        kind == "registry" or _flag(values, "push", False),
        kind != "registry" and _flag(values, "store", True),
        _flag(values, "platform-split", False) if "platform-split" in values else None,
        _packing(values),
        tuple(_marked(key, value) for key, value in marked.items()),
    )


def _fields(text: str) -> list[str]:
    """The fields of a line of CSV: one with a comma in it stands in quotes."""
    import csv

    rows = list(csv.reader([text], strict=False))
    return [field.strip() for field in rows[0]] if rows else []


def _flag(values: Mapping[str, str], key: str, default: bool) -> bool:
    text = values.get(key, str(default)).lower()
    if text not in ("true", "false", "1", "0", ""):
        raise Invalid(f"invalid {key}={values[key]} of --output: it is true or false")
    return text in ("true", "1", "")


def _packing(values: Mapping[str, str]) -> Packing:
    how, level = values.get("compression"), values.get("compression-level")
    if level is not None and how is None:
        raise Invalid("--output has a compression-level and no compression", hint="compression=gzip or zstd")
    compression = recompress.parse(f"{how}:{level}" if level else how) if how else None
    return Packing(compression, _flag(values, "force-compression", False))


ANNOTATED = ("manifest", "manifest-descriptor", "index", "index-descriptor")
"""What annotations may be put on."""


def annotations(text: str) -> tuple[Annotation, ...]:
    """``[WHERE[PLATFORM][,WHERE…]:]KEY=VALUE`` of ``--annotation``. Raises Invalid, Unsupported."""
    left, equals, value = text.partition("=")
    where, colon, key = left.partition(":")
    if not colon:
        where, key = "manifest", where
    if not equals or not key:
        raise Invalid(f"invalid --annotation {text!r}", hint="write it as KEY=VALUE or index:KEY=VALUE")
    return tuple(_annotation(target, key, value, text) for target in where.split(","))


def _marked(key: str, value: str) -> Annotation:
    """``annotation-manifest[PLATFORM].KEY`` of ``--output``."""
    where, dot, name = key.removeprefix("annotation").removeprefix("-").partition(".")
    if not dot or not name:
        raise Invalid(f"invalid {key} of --output", hint="write it as annotation.KEY=VALUE")
    return _annotation(where or "manifest", name, value, key)


def _annotation(where: str, key: str, value: str, text: str) -> Annotation:
    found = _TARGET.fullmatch(where)
    if not found or found[1] not in ANNOTATED:
        raise Unsupported(f"annotations cannot be put on {where!r} ({text})", hint=f"on one of {', '.join(ANNOTATED)}")
    return Annotation(found[1], key, value, platforms.parse(found[2]) if found[2] else None)
