"""Images put straight into a store, as if they had been built there."""

from collections.abc import Mapping, Sequence
from typing import Any

from sampan.engine import Engine
from sampan.oci import media
from sampan.oci import reference as references
from sampan.oci.config import ContainerConfig, ImageConfig
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest, chain_ids
from sampan.oci.manifest import Manifest
from sampan.oci.platform import Platform
from sampan.store.images import Image


def put_image(
    engine: Engine,
    *names: str,
    layers: Sequence[bytes] = (),
    config: ContainerConfig | None = None,
    history: Sequence[Mapping[str, Any]] = (),
    created: str = "2024-01-02T03:04:05Z",
) -> Image:
    """An image whose layers are these bytes; each has a snapshot that says that it is as large."""
    digests = tuple(engine.blobs.put(layer) for layer in layers)
    chain = chain_ids(digests)
    for index, name in enumerate(chain):
        _put_snapshot(engine, name, chain[index - 1] if index else None, len(layers[index]))
    platform = Platform("linux", "amd64")
    value = ImageConfig(platform, config or ContainerConfig(), digests, tuple(history), created)
    config_data = value.encode()
    manifest = Manifest(
        media.OCI_MANIFEST,
        Descriptor(media.OCI_CONFIG, engine.blobs.put(config_data), len(config_data)),
        tuple(Descriptor(media.OCI_LAYER, digest, len(layer)) for digest, layer in zip(digests, layers, strict=True)),
    )
    data = manifest.encode()
    target = Descriptor(media.OCI_MANIFEST, engine.blobs.put(data), len(data))
    top = chain[-1] if chain else None
    image = Image(manifest.config.digest, target, top, platform, created, sum(map(len, layers)))
    engine.images.add(image)
    for name in names:
        engine.images.name(references.parse(name).tagged(), image)
    return image


def _put_snapshot(engine: Engine, name: Digest, parent: Digest | None, size: int) -> None:
    if not engine.snapshots.has(name):
        engine.snapshots.prepare(name, None)
        engine.snapshots.commit(name, name, size, parent)
