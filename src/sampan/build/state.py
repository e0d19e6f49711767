"""What builds pass around: the layers that a step leads to, and the stores that all is in."""

from __future__ import annotations

import time

from sampan.oci.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from typing import NamedTuple

    from sampan.layers.write import Layer
    from sampan.snapshots.overlay import Overlay
    from sampan.store.blobs import Blobs
else:
    from sampan.values import NamedTuple


class Dated(NamedTuple):
    """A layer, and when it was made (RFC 3339; empty for one of a base image, whose history says it)."""

    layer: Layer
    created: str


class State(NamedTuple):
    """What a step leads to: layers, lowest first, and the chain id that their snapshot has (None without layers)."""

    chain: Digest | None
    layers: tuple[Dated, ...]


class Stores(NamedTuple):
    """The stores that a build works on."""

    database: sqlite3.Connection
    blobs: Blobs
    snapshots: Overlay


def timestamp(epoch: int | None) -> str:
    """A time (seconds since 1970; None: now) in RFC 3339, as image configs have it."""
    now = time.time() if epoch is None else epoch
    fraction = "" if epoch is not None else f".{int(now % 1 * 1_000_000_000):09d}"
    return time.strftime(f"%Y-%m-%dT%H:%M:%S{fraction}Z", time.gmtime(now))
