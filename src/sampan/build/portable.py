"""The build cache on its way from one machine to another: an OCI artifact (image-spec, manifest.md, "Guidelines for
Artifact Usage") that any registry, any image layout and any tool for these can hold.

Its layers are the layers that steps made, and the directories of cache mounts; its config says which step made which.
A small cache goes inside of an image instead: an annotation of its manifest says the same of the image's own layers.
Nothing here is believed: whoever uses an entry verifies digest, diff id and chain id.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sampan.build.cache import Built, Entry
from sampan.errors import Invalid
from sampan.layers.write import Layer
from sampan.oci import manifest as manifests
from sampan.oci import media
from sampan.oci.config import ImageConfig
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest, chain_ids, sha256
from sampan.oci.manifest import Manifest

CONFIG = "application/vnd.sampan.build-cache.config.v1+json"
"""The media type by which a cache is known from an image."""
INLINE = "vnd.sampan.build-cache.v1"
"""The annotation of an image's manifest: a JSON object, from the index of a layer to the keys of the step it is of."""
MAX_CONFIG = 256 << 20
"""Bytes: about a million steps."""
KEY = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[0-9a-f]{64}(\.[0-9]{1,6})?")
"""What directories of cache mounts are called."""


class Kept(NamedTuple):
    """What is in a cache mount. ``name`` is its directory's, ``about`` its id; owner and mode are the directory's."""

    name: str
    about: str
    mode: int
    uid: int
    gid: int
    layer: Layer


class Contents(NamedTuple):
    """A whole cache."""

    entries: tuple[Entry, ...]
    kept: tuple[Kept, ...] = ()


def encode(contents: Contents) -> tuple[bytes, bytes]:
    """The artifact's config and manifest. Equal contents give equal bytes."""
    layers = {each.diff_id: each for each in _layers(contents)}
    numbers = {diff_id: number for number, diff_id in enumerate(layers)}
    config = {
        "version": 1,
        "layers": [{"diffId": layer.diff_id, "size": layer.size} for layer in layers.values()],
        "steps": [_encode_entry(entry, numbers) for entry in contents.entries],
        "mounts": [_encode_kept(kept, numbers) for kept in contents.kept],
    }
    data = manifests.encode(config)
    described = Descriptor(CONFIG, sha256(data), len(data))
    stored = tuple(layer.descriptor for layer in layers.values())
    return data, Manifest(media.OCI_MANIFEST, described, stored).encode()


def decode(manifest: Manifest, config: bytes) -> Contents:
    """What ``encode`` was given. Raises Invalid."""
    try:
        value = json.loads(config)
        if value["version"] != 1:
            raise Invalid(f"the build cache is of version {value['version']!r}, which this sampan does not know")
        layers = [
            Layer(Digest(each["diffId"]), descriptor, _count(each["size"]))
            for each, descriptor in zip(value["layers"], manifest.layers, strict=True)
        ]
        return Contents(
            tuple(_decode_entry(each, layers) for each in value["steps"]),
            tuple(_decode_kept(each, layers) for each in value["mounts"]),
        )
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise Invalid(f"the build cache is malformed: {error!r}") from None


def inline(entries: Iterable[Entry], chains: Sequence[Digest]) -> Mapping[str, str]:
    """The annotation for an image whose layers have these chain ids; none if no step of it is known."""
    keys: dict[str, list[str]] = {}
    numbers = {chain: str(number) for number, chain in enumerate(chains)}
    for entry in entries:
        if entry.built.chain in numbers:
            keys.setdefault(numbers[entry.built.chain], []).append(entry.key)
    return {INLINE: json.dumps(keys, separators=(",", ":"))} if keys else {}


def from_image(manifest: Manifest, config: ImageConfig) -> Contents:
    """What the annotation of an image says. Raises Invalid; there is nothing in an image without one."""
    made = [entry for entry in config.history if not entry.get("empty_layer")]
    chains = chain_ids(config.diff_ids)
    found = []
    try:
        keys = json.loads(manifest.annotations.get(INLINE, "{}"))
        for text, each in keys.items():
            number = _count(int(text))
            entry = made[number] if number < len(made) else {}
            layer = Layer(config.diff_ids[number], manifest.layers[number], 0)
            built = Built(layer, chains[number], str(entry.get("created", "")))
            found += [Entry(_matching(KEY, key), built, str(entry.get("created_by", ""))) for key in each]
    except (ValueError, AttributeError, TypeError, IndexError, RecursionError) as error:
        raise Invalid(f"the build cache in the image is malformed: {error!r}") from None
    return Contents(tuple(found))


def _layers(contents: Contents) -> Iterable[Layer]:
    yield from (entry.built.layer for entry in contents.entries)
    yield from (kept.layer for kept in contents.kept)


def _encode_entry(entry: Entry, numbers: Mapping[Digest, int]) -> dict[str, Any]:
    built = entry.built
    return {
        "key": entry.key,
        "layer": numbers[built.layer.diff_id],
        "chain": built.chain,
        "created": built.created,
        "step": entry.step,
    }


def _decode_entry(value: dict[str, Any], layers: Sequence[Layer]) -> Entry:
    built = Built(layers[_count(value["layer"])], Digest(value["chain"]), str(value["created"]))
    return Entry(_matching(KEY, value["key"]), built, str(value["step"]))


def _encode_kept(kept: Kept, numbers: Mapping[Digest, int]) -> dict[str, Any]:
    return {**kept._asdict(), "layer": numbers[kept.layer.diff_id]}


def _decode_kept(value: dict[str, Any], layers: Sequence[Layer]) -> Kept:
    name, mode = _matching(NAME, value["name"]), _count(value["mode"])
    uid, gid = _count(value["uid"]), _count(value["gid"])
    return Kept(name, str(value["about"]), mode & 0o7777, uid, gid, layers[_count(value["layer"])])


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 62:
        raise ValueError(value)
    return value


def _matching(pattern: re.Pattern[str], text: object) -> str:
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise ValueError(text)
    return text
