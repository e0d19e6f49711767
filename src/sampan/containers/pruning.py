"""Removing what nobody uses: stopped containers, images without containers, volumes of nobody.

Each function removes and says what it removed; the bytes of layers and blobs are free when the store is collected.
"""

from __future__ import annotations

from sampan.containers import lifecycle
from sampan.errors import Conflict, NotFound
from sampan.store import filters, moments, removal, selection
from sampan.volumes import Volumes, is_anonymous

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    from sampan.containers.record import Containers
    from sampan.store.blobs import Blobs
    from sampan.store.filters import Filters
    from sampan.store.images import Images
else:
    from sampan.values import NamedTuple

FILTERS = ("label", "until")
_BEGINNING_SECONDS = 10.0
"""A container that was made just now, and does not run yet, may be about to: another process is starting it."""


class Pruned(NamedTuple):
    """The names of what was removed, and the bytes that were its own."""

    removed: tuple[str, ...]
    freed: int = 0


def containers(stores: lifecycle.Stores, chosen: Filters, now: float) -> Pruned:
    """Removes the containers that do not run, with nothing of theirs left but volumes."""
    from sampan.containers import describe

    limits = [moments.parse(text, now) for text in chosen.get("until", ())]
    removed, freed = [], 0
    for container in stores.containers.all():
        created, status = moments.of_record(container.created), container.state().status
        beginning = status == "created" and now - created < _BEGINNING_SECONDS
        if status not in ("created", "exited", "dead") or beginning or any(created >= limit for limit in limits):
            continue
        if not filters.labels_match(chosen, dict(container.options.labels)):
            continue
        try:
            size, _ = describe.sizes(container, stores.snapshots)
            lifecycle.remove(container, stores)
        except (Conflict, NotFound):  # started, or removed, by someone else meanwhile
            continue
        removed.append(container.id)
        freed += size
    return Pruned(tuple(removed), freed)


def networks(stores: lifecycle.Stores, chosen: Filters, now: float) -> tuple[str, ...]:
    """Removes the networks that users made and that no container is in, and gives their names."""
    from sampan.containers import places
    from sampan.networks import bridge

    if stores.rootless or not stores.networks:
        return ()
    limits = [moments.parse(text, now) for text in chosen.get("until", ())]
    removed = []
    for made in stores.networks.all():
        young = any(moments.of_record(made.created) >= limit for limit in limits)
        if young or places.members(made.name, stores) or not filters.labels_match(chosen, dict(made.labels)):
            continue
        try:
            bridge.remove(stores.paths.networks, made.network)
        except Conflict:  # somebody went into it meanwhile
            continue
        stores.networks.forget(made)
        removed.append(made.name)
    return tuple(removed)


def images(store: Images, blobs: Blobs, table: Containers, chosen: Filters, *, everything: bool) -> Pruned:
    """Removes the images that have no container and no name, with ``everything`` also those that have names."""
    used, lines = {container.image_id for container in table.all()}, []
    for image, names in selection.select(store, blobs, chosen):
        if image.id in used or (names and not everything):
            continue
        try:
            removal.perform(removal.Removal(tuple(names), image), store)
        except NotFound:  # removed by someone else meanwhile
            continue
        lines += [f"untagged: {name.reference.familiar()}" for name in names]
        lines.append(f"deleted: {image.id}")
    return Pruned(tuple(lines))


def volumes(store: Volumes, table: Containers, chosen: Filters, *, everything: bool) -> Pruned:
    """Removes the volumes that no container uses, the anonymous ones or ``everything``."""
    in_use, removed, freed = volumes_in_use(table), [], 0
    for name in store.all():
        wanted = (everything or is_anonymous(name)) and filters.labels_match(chosen, store.labels(name))
        if wanted and name not in in_use:
            size = store.size(name)
            store.remove(name)
            removed.append(name)
            freed += size
    return Pruned(tuple(removed), freed)


def volumes_in_use(table: Containers) -> set[str]:
    """The volumes that containers use, running or not."""
    return {mount.source for container in table.all() for mount in container.options.mounts}
