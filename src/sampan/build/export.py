"""From what a target led to to an image in the store: config, manifest, names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sampan.build.state import Dated, State, Stores, timestamp
from sampan.errors import Invalid
from sampan.oci import media
from sampan.oci.config import ImageConfig
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import sha256
from sampan.oci.manifest import Manifest
from sampan.store.images import Image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple

    from sampan.oci.digest import Digest
    from sampan.oci.reference import Reference
    from sampan.store.blobs import Blobs
    from sampan.store.images import Images
else:
    from sampan.values import NamedTuple

_OCI_LAYERS = {
    media.DOCKER_LAYER: media.OCI_LAYER,
    media.DOCKER_LAYER_GZIP: media.OCI_LAYER_GZIP,
    media.DOCKER_LAYER_ZSTD: media.OCI_LAYER_ZSTD,
}
"""A base image's layers are the same bytes under either name."""


class Product(NamedTuple):
    """What was built for one platform (that of ``config``, which lacks its layers and times), no image made of it yet.

    ``annotations`` are for its manifest.
    """

    config: ImageConfig
    state: State
    annotations: Mapping[str, str] = {}


def export(
    config: ImageConfig,
    state: State,
    names: Sequence[Reference],
    stores: Stores,
    images: Images,
    *,
    epoch: int | None = None,
    annotations: Mapping[str, str] = {},
) -> Image:
    """Stores the image that a product makes (``assemble``), and names it. ``names`` have a tag."""
    image = assemble(Product(config, state, annotations), stores, epoch=epoch)
    images.put(image, names)
    return image


def assemble(product: Product, stores: Stores, *, epoch: int | None = None) -> Image:
    """Stores the config and the manifest of an image, which is in no table yet.

    Times are those of its layers, so a build that the cache knows gives the same image again. Raises Invalid if the
    history does not tell of exactly those layers.
    """
    state = product.state
    config = complete(product.config, state.layers, timestamp(epoch))
    encoded = config.encode()
    layers = tuple(_as_oci(dated.layer.descriptor) for dated in state.layers)
    digest = _put(stores.blobs, encoded)
    described = Descriptor(media.OCI_CONFIG, digest, len(encoded))
    manifest = Manifest(media.OCI_MANIFEST, described, layers, product.annotations).encode()
    target = Descriptor(media.OCI_MANIFEST, _put(stores.blobs, manifest), len(manifest))
    stores.snapshots.settle()
    return Image(digest, target, state.chain, config.platform, config.created, stores.snapshots.size(state.chain))


def complete(config: ImageConfig, layers: Sequence[Dated], now: str) -> ImageConfig:
    """``config`` with the layers' diff ids, and with times: of each history entry, and of the image.

    An instruction that made no layer is as old as what came before it; only where nothing did is it ``now``.
    """
    history = tuple(_dated(config.history, layers, now))
    created = history[-1]["created"] if history else now
    return config._replace(
        diff_ids=tuple(dated.layer.diff_id for dated in layers), history=history, created=str(created)
    )


def _dated(history: Sequence[Mapping[str, Any]], layers: Sequence[Dated], now: str) -> Iterator[dict[str, Any]]:
    made = [entry for entry in history if not entry.get("empty_layer")]
    if len(made) != len(layers):
        raise Invalid(f"the history tells of {len(made)} layers, and there are {len(layers)}")
    rest = iter(layers)
    before = next((dated.created for dated in layers if dated.created), now)
    for entry in history:
        layer = None if entry.get("empty_layer") else next(rest)
        before = entry.get("created") or (layer and layer.created) or before
        yield {"created": before, **{key: value for key, value in entry.items() if key != "created"}}


def _as_oci(layer: Descriptor) -> Descriptor:
    return layer._replace(media_type=_OCI_LAYERS.get(layer.media_type, layer.media_type))


def _put(blobs: Blobs, data: bytes) -> Digest:
    digest = sha256(data)
    # A build without changes makes what is there already: writing it again would cost two syncs of the disk.
    return digest if blobs.has(digest) else blobs.put(data)
