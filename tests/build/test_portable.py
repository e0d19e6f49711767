"""The build cache as an artifact: there and back, and hostile ones."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from sampan.build import portable
from sampan.build.cache import Built, Entry
from sampan.build.portable import Contents, Kept
from sampan.errors import Invalid
from sampan.layers.write import Layer
from sampan.oci import manifest as manifests
from sampan.oci import media
from sampan.oci.config import ImageConfig
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import chain_ids, sha256
from sampan.oci.manifest import Manifest
from sampan.oci.platform import Platform

LAYERS = [Layer(sha256(b), Descriptor(media.OCI_LAYER_GZIP, sha256(b + b"z"), 7), 5) for b in (b"1", b"2", b"3")]
ENTRIES = tuple(
    Entry(sha256(b"key%d" % number).encoded, Built(layer, sha256(b"chain"), "2024-01-01T00:00:00Z"), "RUN x")
    for number, layer in enumerate((*LAYERS[:2], LAYERS[0]))
)
CONTENTS = Contents(ENTRIES, (Kept("a" * 64 + ".1", "/root/.cache", 0o700, 1, 2, LAYERS[2]),))


def decode(config: bytes, manifest: bytes) -> Contents:
    document = manifests.parse(manifest)
    assert isinstance(document, Manifest)
    assert document.config.media_type == portable.CONFIG
    return portable.decode(document, config)


def test_there_and_back() -> None:
    encoded = portable.encode(CONTENTS)
    assert decode(*encoded) == CONTENTS
    assert portable.encode(decode(*encoded)) == encoded
    document = manifests.parse(encoded[1])
    assert isinstance(document, Manifest)
    assert [layer.digest for layer in document.layers] == [layer.descriptor.digest for layer in LAYERS]


def _changed(change: Callable[[Any], object]) -> bytes:
    value = json.loads(portable.encode(CONTENTS)[0])
    change(value)
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value["mounts"][0].update(name="../../etc"),
        lambda value: value["mounts"][0].update(name="a" * 64 + "\n"),
        lambda value: value["mounts"][0].update(uid=-1),
        lambda value: value["steps"][0].update(key="x"),
        lambda value: value["steps"][0].update(layer=3),
        lambda value: value["steps"][0].update(layer=-1),
        lambda value: value["steps"][0].update(layer=True),
        lambda value: value["steps"][0].update(chain="sha256:x"),
        lambda value: value["steps"][0].pop("created"),
        lambda value: value["layers"].pop(),
        lambda value: value.update(version=2),
        lambda value: value.update(steps=7),
    ],
)
def test_malformed_artifacts(change: Callable[[Any], object]) -> None:
    with pytest.raises(Invalid):
        decode(_changed(change), portable.encode(CONTENTS)[1])


def image(annotations: dict[str, str]) -> tuple[Manifest, ImageConfig]:
    history: tuple[dict[str, Any], ...] = (
        {"created": "2024-01-01T00:00:00Z", "created_by": "COPY a"},
        {"empty_layer": True, "created_by": "ENV"},
        {"created": "2024-01-02T00:00:00Z", "created_by": "RUN b"},
    )
    diff_ids = tuple(layer.diff_id for layer in LAYERS[:2])
    config = ImageConfig(Platform("linux", "amd64"), diff_ids=diff_ids, history=history)
    target = Descriptor(media.OCI_CONFIG, sha256(b""), 0)
    return Manifest(media.OCI_MANIFEST, target, tuple(layer.descriptor for layer in LAYERS[:2]), annotations), config


def test_an_image_has_the_keys_of_its_own_layers() -> None:
    chains = chain_ids(layer.diff_id for layer in LAYERS[:2])
    entries = [entry._replace(built=entry.built._replace(chain=chains[-1])) for entry in ENTRIES[:2]]
    annotations = portable.inline(entries, chains)
    assert list(annotations) == [portable.INLINE]
    found = portable.from_image(*image(dict(annotations))).entries
    assert [entry.key for entry in found] == [entry.key for entry in entries]
    assert {entry.built.chain for entry in found} == {chains[-1]}
    assert {(entry.built.created, entry.step) for entry in found} == {("2024-01-02T00:00:00Z", "RUN b")}
    assert portable.inline(ENTRIES, chains) == {}


@pytest.mark.parametrize("text", ["[]", "{", '{"2": []}', '{"x": []}', '{"0": ["k"]}', '{"0": 1}', '{"-1": []}'])
def test_malformed_annotations(text: str) -> None:
    with pytest.raises(Invalid):
        portable.from_image(*image({portable.INLINE: text}))
