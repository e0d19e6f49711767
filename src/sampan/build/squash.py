"""``--squash``: the layers that a build made, merged into one upon those of its base."""

from collections.abc import Mapping
from typing import Any

from sampan.build.export import Product
from sampan.build.state import Dated, State, Stores
from sampan.events import quiet
from sampan.layers.write import pack_entries
from sampan.oci import media
from sampan.oci.config import ImageConfig
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest, chain_ids
from sampan.oci.manifest import Manifest
from sampan.snapshots import unpack
from sampan.snapshots.flatten import entries
from sampan.snapshots.lookup import Tree


def squash(product: Product, stores: Stores, epoch: int | None) -> Product:
    """``product`` with one layer in place of all that the build itself made; as it is if that is one or none.

    What a later step deleted is not in it. The history keeps its entries, as Docker's does, without their layers.
    """
    config, state, _ = product
    base = tuple(dated for dated in state.layers if not dated.created)  # the base image's are the lowest
    if len(state.layers) - len(base) < 2:
        return product
    layers = (*base, _merged(base, state, stores, epoch))
    chain = _unpacked(layers, config, stores)
    entry: Mapping[str, Any] = {
        "comment": f"merge of {len(state.layers) - len(base)} layers",
        "created": layers[-1].created,
    }
    history = (*_without_layers(config, len(base)), entry)
    return product._replace(config=config._replace(history=history), state=State(chain, layers))


def _merged(base: tuple[Dated, ...], state: State, stores: Stores, epoch: int | None) -> Dated:
    snapshots = stores.snapshots
    below = chain_ids(dated.layer.diff_id for dated in base)[-1] if base else None
    with (
        Tree(snapshots.stack(state.chain), snapshots.userxattr) as tree,
        Tree(snapshots.stack(below), snapshots.userxattr) as lower,
    ):
        layer = pack_entries(entries(tree, lower if base else None, epoch=epoch), stores.blobs)
    return Dated(layer, state.layers[-1].created)


def _unpacked(layers: tuple[Dated, ...], config: ImageConfig, stores: Stores) -> Digest | None:
    """Makes a snapshot of the merged layer; gives its chain id."""
    no_config = Descriptor(media.OCI_CONFIG, layers[-1].layer.diff_id, 0)
    manifest = Manifest(media.OCI_MANIFEST, no_config, tuple(dated.layer.descriptor for dated in layers))
    whole = config._replace(diff_ids=tuple(dated.layer.diff_id for dated in layers))
    with unpack.begin(manifest, whole, stores.blobs, stores.snapshots, quiet) as unpacking:
        return unpacking.finish()


def _without_layers(config: ImageConfig, keep: int) -> list[Mapping[str, Any]]:
    """The history, of whose layers only the first ``keep`` are still there."""
    found: list[Mapping[str, Any]] = []
    for entry in config.history:
        if not entry.get("empty_layer"):
            keep -= 1
        found.append({**entry, "empty_layer": True} if keep < 0 else dict(entry))
    return found
