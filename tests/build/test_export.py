"""The config and the manifest of what was built: layers in order, times that do not depend on when one looks."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sampan.build.export import complete, export
from sampan.build.state import Dated, State, Stores, timestamp
from sampan.errors import Invalid
from sampan.layers.write import Layer
from sampan.oci import config as configs
from sampan.oci import manifest as manifests
from sampan.oci import media, reference
from sampan.oci.config import ImageConfig
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import sha256
from sampan.oci.manifest import Manifest
from sampan.oci.platform import Platform
from sampan.snapshots.overlay import Overlay
from sampan.store import database
from sampan.store.blobs import Blobs
from sampan.store.images import Images

AMD64 = Platform("linux", "amd64")
NOW, ONE, TWO = "2030-01-01T00:00:00Z", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"
EMPTY = {"empty_layer": True}


def layer(name: str, created: str = "", media_type: str = media.OCI_LAYER_GZIP) -> Dated:
    digest = sha256(name.encode())
    return Dated(Layer(sha256(digest.encode()), Descriptor(media_type, digest, 10), 5), created)


def config(*history: Mapping[str, Any]) -> ImageConfig:
    return ImageConfig(AMD64, history=history)


def test_each_entry_is_as_old_as_its_layer() -> None:
    history = [
        {"created_by": "base", "created": "2000-01-01T00:00:00Z"},
        {"created_by": "ENV", **EMPTY},
        {"created_by": "RUN"},
        {"created_by": "CMD", **EMPTY},
        {"created_by": "COPY"},
        {"created_by": "LABEL", **EMPTY},
    ]
    layers = [layer("base"), layer("run", ONE), layer("copy", TWO)]
    done = complete(config(*history), layers, NOW)
    assert [entry["created"] for entry in done.history] == [
        "2000-01-01T00:00:00Z",
        *["2000-01-01T00:00:00Z"],
        ONE,
        ONE,
        TWO,
        TWO,
    ]
    assert [entry["created_by"] for entry in done.history] == ["base", "ENV", "RUN", "CMD", "COPY", "LABEL"]
    assert done.created == TWO
    assert done.diff_ids == tuple(dated.layer.diff_id for dated in layers)


def test_what_comes_before_the_first_layer_is_as_old_as_that() -> None:
    done = complete(config({"created_by": "ENV", **EMPTY}, {"created_by": "RUN"}), [layer("run", ONE)], NOW)
    assert [entry["created"] for entry in done.history] == [ONE, ONE]


def test_an_image_without_layers_is_made_now() -> None:
    assert complete(config({"created_by": "LABEL", **EMPTY}), [], NOW).created == NOW
    assert complete(config(), [], NOW).created == NOW


@pytest.mark.parametrize("layers", [[], [layer("a"), layer("b")]])
def test_a_history_of_other_layers_is_refused(layers: list[Dated]) -> None:
    with pytest.raises(Invalid):
        complete(config({"created_by": "RUN"}), layers, NOW)


def test_timestamp() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00Z"
    assert timestamp(1_700_000_000) == "2023-11-14T22:13:20Z"
    assert timestamp(None).endswith("Z")


def test_export(tmp_path: Path) -> None:
    db = database.connect(str(tmp_path / "db"))
    stores = Stores(db, Blobs(str(tmp_path / "blobs")), Overlay(str(tmp_path / "snapshots"), db, userxattr=True))
    images = Images(db)
    base = layer("base", media_type=media.DOCKER_LAYER_GZIP)
    run = layer("run", ONE)
    stores.snapshots.prepare("key", None)
    stores.snapshots.commit("key", sha256(b"chain"), 77)
    names = [reference.parse("app").tagged(), reference.parse("localhost:5000/app:1")]
    state = State(sha256(b"chain"), (base, run))
    history = [{"created": ONE}, {"created_by": "RUN"}]
    image = export(config(*history), state, names, stores, images)
    assert images.find("app") == images.find("localhost:5000/app:1") == image
    assert (image.size, image.created, image.chain) == (77, ONE, state.chain)
    manifest = manifests.parse(stores.blobs.read(image.manifest.digest))
    assert isinstance(manifest, Manifest)
    assert manifest.media_type == media.OCI_MANIFEST
    # The bytes of a layer are the same under Docker's name and the specification's.
    assert [entry.media_type for entry in manifest.layers] == [media.OCI_LAYER_GZIP] * 2
    assert [entry.digest for entry in manifest.layers] == [dated.layer.descriptor.digest for dated in (base, run)]
    data = stores.blobs.read(image.id)
    assert manifest.config == Descriptor(media.OCI_CONFIG, image.id, len(data))
    assert configs.parse(data).diff_ids == (base.layer.diff_id, run.layer.diff_id)
    assert json.loads(data)["rootfs"]["type"] == "layers"
    assert export(config(*history), state, (), stores, images) == image  # again: the same, to the byte
    db.close()
