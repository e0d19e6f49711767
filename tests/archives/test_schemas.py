"""What is written, held against the specification's own JSON schemas (Debian's package of image-spec)."""

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

import crafted
from sampan.archives import derive, layout
from sampan.archives.places import Offer, closure
from sampan.oci import media
from sampan.oci.config import ContainerConfig, ImageConfig
from sampan.oci.descriptor import Descriptor
from sampan.oci.manifest import Index
from sampan.oci.platform import Platform, host

SCHEMAS = Path("/usr/share/gocode/src/github.com/opencontainers/image-spec/schema")
KINDS = {
    media.OCI_INDEX: "image-index-schema.json",
    media.OCI_MANIFEST: "image-manifest-schema.json",
    media.OCI_CONFIG: "config-schema.json",
}
pytestmark = pytest.mark.skipif(
    not SCHEMAS.exists(), reason="not installed: golang-github-opencontainers-image-spec-dev"
)


def check(data: bytes, name: str) -> None:
    """Raises ValidationError unless the document is as the schema says."""
    registry: Registry[Any] = Registry(retrieve=_schema)
    jsonschema.Draft4Validator(_schema(name).contents, registry=registry).validate(json.loads(data))


def _schema(address: str) -> Resource[Any]:
    """Schemas refer to each other by addresses of which only the last part is a file of the package."""
    schema = json.loads((SCHEMAS / address.rpartition("/")[2]).read_text())
    return Resource.from_contents(schema, default_specification=DRAFT4)


def written(store: crafted.Store, offer: Offer, directory: Path) -> dict[str, Any]:
    directory.mkdir()
    root = os.open(directory, os.O_PATH)
    layout.write_directory(root, [offer], store.blobs)
    os.close(root)
    check((directory / "index.json").read_bytes(), "image-index-schema.json")
    check((directory / "oci-layout").read_bytes(), "image-layout-schema.json")
    kinds: dict[str, Any] = {}
    for blob in closure(offer.target, store.blobs):
        kinds[blob.media_type] = blob
        if blob.media_type in KINDS:
            check((directory / layout.path(blob)).read_bytes(), KINDS[blob.media_type])
    return kinds


def test_schemas_refuse(tmp_path: Path) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check(b'{"schemaVersion": 2, "config": {}, "layers": []}', "image-manifest-schema.json")
    with pytest.raises(jsonschema.ValidationError):
        check(b"{}", "image-layout-schema.json")


def test_an_index_of_two_platforms(store: crafted.Store, tmp_path: Path) -> None:
    images = [
        crafted.make_image(store, crafted.layer_tar("a", b"a"), platform=platform)
        for platform in (host(), Platform("linux", "arm", "v7"))
    ]
    entries = tuple(
        image.manifest._replace(platform=image.platform, annotations={"org.example": "x"}) for image in images
    )
    data = Index(media.OCI_INDEX, entries, {"org.example": "y"}).encode()
    target = Descriptor(media.OCI_INDEX, store.blobs.put(data), len(data))
    kinds = written(store, Offer(target, ("docker.io/library/a:1", "tag")), tmp_path / "layout")
    assert {media.OCI_INDEX, media.OCI_MANIFEST, media.OCI_CONFIG} <= kinds.keys()


def test_an_image_without_a_build(store: crafted.Store, tmp_path: Path) -> None:
    config = ContainerConfig(
        "me", ("80/tcp",), ("A=1",), ("e",), ("c",), ("/v",), "/w", {"k": "v"}, "SIGINT", ("sh",), {"Test": ["NONE"]}
    )
    history = ({"created": "2024-01-02T03:04:05Z", "comment": "imported", "empty_layer": False},)
    value = ImageConfig(host(), config, history=history, created="2024-01-02T03:04:05.5Z", author="me")
    with store.blobs.open(store.blobs.put(crafted.layer_tar("a", b"a"))) as file:
        target = derive.put(value, None, derive.layer_of(file, store.blobs), store.blobs)
    kinds = written(store, Offer(target), tmp_path / "layout")
    assert kinds.keys() == {media.OCI_MANIFEST, media.OCI_CONFIG, media.OCI_LAYER_GZIP}
