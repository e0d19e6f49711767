"""A graph made into an image: what every frontend ends in."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from sampan.build.export import export
from sampan.build.graph import Graph
from sampan.build.perform import Build, State, Stores
from sampan.build.solve import solve
from sampan.events import Event, Report

if TYPE_CHECKING:
    from sampan.build.repeat import Repeat
    from sampan.build.run import Host
    from sampan.oci.reference import Reference
    from sampan.store.images import Image, Images


def make(
    graph: Graph,
    names: "Sequence[Reference]",
    stores: Stores,
    images: "Images",
    host: "Host",
    report: Report,
    *,
    epoch: int | None = None,
    fresh: bool = False,
    fresh_stages: Collection[str] = (),
    jobs: int = 4,
    repeat: "Repeat | None" = None,
) -> "Image":
    """Solves ``graph`` and stores the image under ``names`` (each with a tag).

    ``epoch`` is SOURCE_DATE_EPOCH, ``fresh`` --no-cache, ``fresh_stages`` --no-cache-filter. ``repeat`` is told what
    this led to. The caller holds a lease. Raises SampanError, and OSError for what the machine refuses; then no name
    has changed, and nothing runs or is mounted.
    """
    report = _in_turn(report)
    with Build(stores, host, report, epoch=epoch, fresh=fresh, fresh_stages=fresh_stages) as work:
        state = solve(graph.target, work, report, jobs=jobs)
    image = export(graph.config, state, names, stores, images, epoch=epoch)
    if repeat:
        _remember(repeat, image, names, state, work)
    return image


def _remember(repeat: "Repeat", image: "Image", names: "Sequence[Reference]", state: State, work: Build) -> None:
    from sampan.build.context import Directory
    from sampan.build.repeat import Basis

    directories = {}
    for context in work.contexts:
        if not isinstance(context, Directory) or context.root != repeat.root:
            return  # nothing tells whether that has changed
        directories.update(context.listings)
    if work.cached is not None:
        layers = [dated.layer.descriptor.digest for dated in state.layers]
        blobs = (image.id, image.manifest.digest, *layers)
        basis = Basis(work.cached, blobs, state.chain, directories)
        repeat.remember(image.id, [name.canonical() for name in names], basis)


def _in_turn(report: Report) -> Report:
    """The same listener for several threads."""
    from threading import Lock

    lock = Lock()

    def locked(event: Event) -> None:
        with lock:
            report(event)

    return locked
