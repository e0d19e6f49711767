"""Descriptors: how one blob names another (OCI image-spec, descriptor.md)."""

from __future__ import annotations

from sampan.errors import Invalid
from sampan.oci import platform as platforms
from sampan.oci.digest import Digest
from sampan.oci.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple


class Descriptor(NamedTuple):
    """Media type, digest and size (bytes) of a blob; in an index also the platform that it is for."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = {}

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.platform:
            value["platform"] = self.platform.to_json()
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return value


def from_json(value: object) -> Descriptor:
    """Raises Invalid unless media type, digest and size are there and of the right form."""
    if not isinstance(value, dict):
        raise Invalid("a descriptor is not an object")
    media_type, size = value.get("mediaType"), value.get("size")
    if not isinstance(media_type, str) or not media_type:
        raise Invalid("a descriptor has no mediaType")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 63:
        raise Invalid(f"a descriptor has no valid size: {size!r}")
    where = value.get("platform")
    annotations = value.get("annotations")
    return Descriptor(
        media_type,
        Digest(value.get("digest") or ""),
        size,
        platforms.from_json(where) if isinstance(where, dict) else None,
        {str(key): str(text) for key, text in annotations.items()} if isinstance(annotations, dict) else {},
    )
