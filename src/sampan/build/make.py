"""A graph made into an image: what every frontend ends in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack

from sampan.build.export import Product, export
from sampan.build.graph import Graph
from sampan.build.perform import Build
from sampan.build.reasons import Reasons
from sampan.build.solve import distinct, solve_all
from sampan.build.state import State, Stores
from sampan.errors import SampanError
from sampan.events import Event, Report, Warned
from sampan.oci.digest import chain_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple, TypeVar

    from sampan.build.endpoints import Endpoint
    from sampan.build.host import Host
    from sampan.build.repeat import Repeat
    from sampan.oci.digest import Digest
    from sampan.oci.reference import Reference
    from sampan.store.images import Image, Images

    Result = TypeVar("Result")
else:
    from sampan.values import NamedTuple


class Caches(NamedTuple):
    """Where steps may come from besides the store's own cache, and where the cache goes afterwards."""

    sources: Sequence[Endpoint] = ()
    targets: Sequence[Endpoint] = ()


class Wish(NamedTuple):
    """How a graph is to be solved: ``epoch`` is SOURCE_DATE_EPOCH, ``fresh`` --no-cache, ``fresh_stages``
    --no-cache-filter, ``caches`` --cache-from and --cache-to; ``project`` is what builds have in common whose steps are
    compared (``reasons``); ``command`` is how people call sampan on this store."""

    epoch: int | None = None
    fresh: bool = False
    fresh_stages: Collection[str] = ()
    jobs: int = 4
    caches: Caches = Caches()
    project: str = ""
    command: str = "sampan"


def make(
    graph: Graph,
    names: Sequence[Reference],
    stores: Stores,
    images: Images,
    host: Host,
    report: Report,
    wish: Wish = Wish(),  # noqa: B008
    *,
    repeat: Repeat | None = None,
) -> Image:
    """Solves ``graph`` and stores the image under ``names`` (each with a tag).

    ``repeat`` is told what this led to. The caller holds a lease. Raises SampanError, and OSError for what the machine
    refuses; then nothing runs or is mounted, and no name has changed, unless all that failed was sending the cache.
    """

    def publish(products: Sequence[Product], work: Build) -> Image:
        ((_, state, annotations),) = products
        image = export(graph.config, state, names, stores, images, epoch=wish.epoch, annotations=annotations)
        if repeat:
            _remember(repeat, image, names, state, work)
        return image

    return _make([graph], stores, images, host, report, wish, publish)


def solved(
    graphs: Sequence[Graph],
    stores: Stores,
    images: Images,
    host: Host,
    report: Report,
    wish: Wish = Wish(),  # noqa: B008
) -> Sequence[Product]:
    """What each of ``graphs`` leads to, one Dockerfile's for several platforms, no image made of it yet. Otherwise as
    ``make``."""
    return _make(graphs, stores, images, host, report, wish, lambda products, _: products)


def _make(
    graphs: Sequence[Graph],
    stores: Stores,
    images: Images,
    host: Host,
    report: Report,
    wish: Wish,
    publish: Callable[[Sequence[Product], Build], Result],
) -> Result:
    report, caches = _in_turn(report), wish.caches
    targets = [graph.target for graph in graphs]
    with ExitStack() as opened:
        elsewhere = None
        if caches.sources:
            from sampan.build.exchange import Sources

            elsewhere = opened.enter_context(Sources(caches.sources, stores.blobs, report))
        work = opened.enter_context(
            Build(
                stores,
                host,
                report,
                epoch=wish.epoch,
                fresh=wish.fresh,
                fresh_stages=wish.fresh_stages,
                elsewhere=elsewhere,
                reasons=Reasons(stores.database, wish.project, distinct(*targets)) if wish.project else None,
            )
        )
        if elsewhere and not wish.fresh:
            from sampan.build.outlook import is_better_elsewhere

            work.cache.elsewhere_first = is_better_elsewhere(targets, work)
        states = _solved(graphs, work, report, wish, stores, images)
    inline = any(target.kind == "inline" for target in caches.targets)
    products = [
        Product(graph.config, state, _inline(work, state) if inline else {})
        for graph, state in zip(graphs, states, strict=True)
    ]
    result = publish(products, work)
    for target in caches.targets:
        if target.kind != "inline":
            _send(target, work, states, stores, report)
    return result


def _inline(work: Build, state: State) -> Mapping[str, str]:
    from sampan.build import portable

    chains = _chains(state)
    return portable.inline(work.cache.entries(chains), chains)


def _send(target: Endpoint, work: Build, states: Sequence[State], stores: Stores, report: Report) -> None:
    from sampan.build.exchange import send
    from sampan.build.portable import Contents

    chains = work.chains if target.full else {chain for state in states for chain in _chains(state)}
    entries = work.cache.entries(chains)
    try:
        send(Contents(tuple(entries)), target, stores.blobs)
    except SampanError as error:
        if target.needed:
            error.message = f"the cache cannot go to {target}: {error.message}"
            raise
        report(Warned(f"the cache did not go to {target}: {error.message}"))


def _chains(state: State) -> tuple[Digest, ...]:
    return chain_ids(dated.layer.diff_id for dated in state.layers)


def _solved(
    graphs: Sequence[Graph], work: Build, report: Report, wish: Wish, stores: Stores, images: Images
) -> Sequence[State]:
    try:
        targets = [graph.target for graph in graphs]
        return solve_all(targets, work, report, jobs=wish.jobs, places=graphs[0].places)
    except SampanError as error:
        if work.failure:
            from sampan.build.inspection import keep, way_in

            inspected = keep(*work.failure, stores, images)
            error.hint = "; ".join(filter(None, (error.hint, way_in(work.failure[0], inspected, wish.command)))) or None
        raise


def _remember(repeat: Repeat, image: Image, names: Sequence[Reference], state: State, work: Build) -> None:
    from sampan.build.context import Directory
    from sampan.build.repeat import Basis

    directories = {}
    for context in work.keys.contexts:
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
