"""Manifests and indexes (OCI image-spec, manifest.md and image-index.md; Docker's manifest v2 schema 2).

Bytes come first: whoever holds a manifest keeps the bytes that were received, and these values are read from them.
"""

from __future__ import annotations

from sampan import plainjson
from sampan.errors import Invalid, NotFound, Unsupported
from sampan.oci import descriptor as descriptors
from sampan.oci import media
from sampan.oci.descriptor import Descriptor
from sampan.oci.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple

MAX_BYTES = 4 << 20
"""No manifest, index or config larger than this is read (OCI distribution-spec, "Pushing Manifests": 4 MiB)."""


class Manifest(NamedTuple):
    """One image for one platform: a config and its layers, lowest first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = {}

    def encode(self) -> bytes:
        value: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "config": self.config.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
        }
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return encode(value)


class Index(NamedTuple):
    """Several manifests, one for each platform."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = {}

    def encode(self) -> bytes:
        value: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "manifests": [entry.to_json() for entry in self.manifests],
        }
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return encode(value)


def encode(value: object) -> bytes:
    """JSON as sampan writes it: no white space, keys in the order given, UTF-8."""
    return plainjson.dumps(value).encode()


def decode(data: bytes, what: str) -> dict[str, Any]:
    """The JSON object in ``data``. Raises Invalid, naming ``what``, for anything else or more than MAX_BYTES."""
    if len(data) > MAX_BYTES:
        raise Invalid(f"{what} is larger than {MAX_BYTES >> 20} MiB")
    try:
        value = plainjson.loads(data)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{what} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Invalid(f"{what} is not a JSON object")
    return value


def parse(data: bytes, media_type: str | None = None) -> Manifest | Index:
    """The manifest or index in ``data``.

    ``media_type`` is what the outside (a Content-Type, a descriptor) says it is. A document that has both ``layers``
    and ``manifests``, or whose own media type contradicts the outside, is refused: it would mean different things to
    different readers (CVE-2021-41190). Raises Invalid or Unsupported.
    """
    value = decode(data, "the manifest")
    inner = value.get("mediaType")
    known = media.MANIFESTS + media.INDEXES
    if media_type in known and inner and inner != media_type:
        raise Invalid(f"the manifest says it is {inner}, and was announced as {media_type}")
    kind = inner or (media_type if media_type in known else None)
    if value.get("schemaVersion") == 1 or kind in (media.DOCKER_SCHEMA1, media.DOCKER_SCHEMA1_SIGNED):
        raise Unsupported("the manifest is of Docker's old schema 1", hint="push the image again with a current tool")
    if value.get("schemaVersion") != 2:
        raise Invalid(f"the manifest's schemaVersion is {value.get('schemaVersion')!r}, not 2")
    if "manifests" in value and ("layers" in value or "config" in value):
        raise Invalid("the manifest has both manifests and layers")
    if kind is None:
        kind = media.OCI_INDEX if "manifests" in value else media.OCI_MANIFEST
    annotations = _annotations(value.get("annotations"))
    if kind in media.INDEXES:
        return Index(kind, _descriptors(value, "manifests"), annotations)
    if kind in media.MANIFESTS:
        config = descriptors.from_json(value.get("config"))
        return Manifest(kind, config, _descriptors(value, "layers"), annotations)
    raise Unsupported(f"unknown kind of manifest: {kind}")


def choose(entries: Iterable[Descriptor], wanted: Platform) -> Descriptor:
    """The first entry of an index that suits ``wanted`` best. Raises NotFound, listing what there is."""
    entries = tuple(entries)
    known = [(entry.platform.normal(), entry) for entry in entries if entry.platform]
    for platform in wanted.runnable():
        for found, entry in known:
            if found == platform:
                return entry
    for entry in entries:
        if entry.platform is None and entry.media_type in media.MANIFESTS:
            return entry
    offered = ", ".join(sorted({str(entry.platform) for entry in entries if entry.platform})) or "none"
    raise NotFound(f"there is no image for {wanted}", hint=f"the platforms on offer: {offered}")


def _descriptors(value: dict[str, Any], key: str) -> tuple[Descriptor, ...]:
    entries = value.get(key)
    if not isinstance(entries, list):
        raise Invalid(f"the manifest has no list of {key}")
    return tuple(descriptors.from_json(entry) for entry in entries)


def _annotations(value: object) -> dict[str, str]:
    return {str(key): str(text) for key, text in value.items()} if isinstance(value, dict) else {}
