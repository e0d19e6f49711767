"""``manifest.json`` of a docker-archive (moby image/spec, "Combined Image JSON + Filesystem Changeset Format")."""

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sampan.archives import layout
from sampan.archives.places import Offer, images
from sampan.errors import Invalid, NotFound
from sampan.oci import manifest as manifests
from sampan.oci import platform as platforms
from sampan.oci.descriptor import Descriptor
from sampan.oci.manifest import MAX_BYTES, Index, Manifest
from sampan.store.blobs import Blobs


class Saved(NamedTuple):
    """One image: paths in the archive, and names."""

    config: str
    layers: tuple[str, ...]
    tags: tuple[str, ...]


def parse(data: bytes) -> tuple[Saved, ...]:
    """The images that a ``manifest.json`` tells of. Raises Invalid."""
    if len(data) > MAX_BYTES:
        raise Invalid(f"manifest.json is larger than {MAX_BYTES >> 20} MiB")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"manifest.json is not JSON: {error}") from None
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise Invalid("manifest.json is not a list of images")
    return tuple(
        Saved(_texts([entry.get("Config")])[0], _texts(entry.get("Layers") or []), _texts(entry.get("RepoTags") or []))
        for entry in value
    )


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) and text for text in value):
        raise Invalid("manifest.json is not of the form that docker save writes")
    return tuple(value)


def encode(offered: Sequence[Offer], blobs: Blobs) -> bytes:
    """The ``manifest.json`` for these images, whose blobs lie where an image layout has them.

    An index cannot be told of: in its place stands its image for this machine, else its first.
    """
    entries: dict[str, dict[str, list[str] | str]] = {}
    for offer in offered:
        manifest = _manifest(offer.target, blobs)
        tags = [name.familiar() for name in layout.names(offer) if name.tag]
        entry = entries.setdefault(
            manifest.config.digest,
            {
                "Config": layout.path(manifest.config),
                "RepoTags": [],
                "Layers": [layout.path(layer) for layer in manifest.layers],
            },
        )
        entry["RepoTags"] = [*entry["RepoTags"], *tags]
    return manifests.encode(list(entries.values()))


def _manifest(target: Descriptor, blobs: Blobs) -> Manifest:
    document = manifests.parse(blobs.read(target.digest), target.media_type)
    if isinstance(document, Index):
        document = _manifest(_chosen(images(target, blobs)), blobs)
    return document


def _chosen(entries: Iterable[Descriptor]) -> Descriptor:
    entries = tuple(entries)
    if not entries:
        raise NotFound("the index has no image that is here")
    try:
        return manifests.choose(entries, platforms.host())
    except NotFound:
        return entries[0]
