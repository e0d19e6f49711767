"""How each kind of step is recalled and performed: the ``Work`` of a real build."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

from sampan.build import selection
from sampan.build import source as sources
from sampan.build.cache import Built, Cache
from sampan.build.cancellation import CancellableBlobs, Cancellation
from sampan.build.graph import STEPS, Copy, MakeDirectory, Mount, Run, Scratch, Source, Step
from sampan.build.keys import Keys, input_of
from sampan.build.source import Selected
from sampan.build.state import Dated, State, Stores, timestamp
from sampan.errors import Invalid
from sampan.events import Report, Warned
from sampan.oci import config as configs
from sampan.oci import manifest as manifests
from sampan.oci.digest import Digest, chain_ids
from sampan.oci.manifest import Manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import NamedTuple

    from sampan.build.cache import Elsewhere
    from sampan.build.copy import Attributes
    from sampan.build.destination import Destination
    from sampan.build.former import Former
    from sampan.build.graph import Context
    from sampan.build.host import Host
    from sampan.build.mounts import Prepared
    from sampan.build.reasons import Reasons
    from sampan.build.solve import Output
    from sampan.layers.changes import Contents, Nodes
    from sampan.layers.compression import Known
    from sampan.layers.write import Index, Layer
    from sampan.snapshots.lookup import View
    from sampan.store.images import Image
else:
    from sampan.values import NamedTuple


class Result(NamedTuple):
    """What a step did in its snapshot: whether that is what its key stands for, what is known of some of its files, and
    who its links and devices belong to; and what a layer of it may have in common with an earlier one."""

    settled: bool
    contents: Contents
    nodes: Nodes
    placed: Mapping[bytes, bytes]
    """What is known of files that were copied (``destination.Destination``)."""
    known: Known | None = None


class Build:
    """The work of one build (``solve.Work``); a context manager.

    ``epoch`` (seconds since 1970) makes results reproducible: it is the time of what is made, and no time in a layer is
    later. ``fresh`` looks up nothing in the cache, ``fresh_stages`` (as steps call them) nothing for theirs.
    ``elsewhere`` is asked for what this store's cache does not have, ``reasons`` is told what each step was made of.
    """

    def __init__(
        self,
        stores: Stores,
        host: Host,
        report: Report,
        *,
        epoch: int | None,
        fresh: bool,
        fresh_stages: Collection[str] = (),
        elsewhere: Elsewhere | None = None,
        reasons: Reasons | None = None,
    ) -> None:
        self._stores = stores
        self._host = host
        self._report = report
        self._epoch = epoch
        self.cache = Cache(
            stores.database, stores.blobs, stores.snapshots, fresh=fresh, elsewhere=elsewhere, warn=self._warn
        )
        self._fresh_stages = fresh_stages
        self._cancellation = Cancellation()
        self.keys = Keys(stores, host, self._cancellation, epoch)
        self.failure: tuple[Run, State] | None = None
        """The step whose command failed, and what it was executed on."""
        self._formers: dict[int, Former | None] = {}
        """Of each COPY what it made in the project's last build."""
        self._missed: dict[int, list[str]] = {}
        """Of each step the keys for which the cache had nothing."""
        self.cached: list[str] | None = []
        """A key for each step that the cache has now; None when it has not all of them."""
        self._warned: set[str] = set()
        self.chains: set[Digest] = set()
        """Of all steps so far."""
        self._reasons = reasons

    def __enter__(self) -> Build:
        return self

    def __exit__(self, *rest: object) -> None:
        with self.keys:
            if self._reasons:
                self._reasons.save()

    def cancel(self) -> None:
        self._cancellation.cancel()

    def is_fresh(self, step: Step) -> bool:
        """Whether the cache is not to be asked for the step (--no-cache-filter)."""
        return step.stage in self._fresh_stages

    def is_unpacked(self, state: State) -> bool:
        return state.chain is None or self._stores.snapshots.has(state.chain)

    def recall(self, step: Step, inputs: Sequence[State]) -> State | None:
        """See ``solve.Work``. What a source holds needs no cache."""
        if isinstance(step, Scratch):
            return State(None, ())
        if isinstance(step, Source):
            return self._image(step.image)
        tried = self._missed[id(step)] = []
        if isinstance(step, Copy) and id(step) not in self._formers:
            self._formers[id(step)] = self._former(step)
        below = [dated.layer for dated in inputs[0].layers]
        for key in self.keys.make(step, inputs):
            built = None if self.is_fresh(step) else self.cache.get(key, below)
            if built:
                for missed in tried:
                    self.cache.put(missed, built, step.text)
                self.chains.add(built.chain)
                self._formers.pop(id(step), None)
                self._note(step, inputs, key, performed=False)
                return _upon(inputs[0], built)
            tried.append(key)
        return None

    def perform(self, step: Step, inputs: Sequence[State], output: Output) -> State:
        """See ``solve.Work``: a new snapshot on the parent's, the step's doing in it, and a layer of what changed."""
        from sampan.layers.write import Index

        parent, snapshots = inputs[0], self._stores.snapshots
        self._cancellation.check()
        remote = [source for source in step.sources if not isinstance(source, str)] if isinstance(step, Copy) else []
        for source in remote:
            self.keys.remotes.fetch(source, output)
        if remote and not self._missed[id(step)]:  # only now it is known what the step depends on
            cached = self.recall(step, inputs)
            if cached:
                return cached
        key = f"build-{os.getpid()}-{os.urandom(8).hex()}"
        upper = snapshots.prepare(key, parent.chain)
        try:
            result = self._act(step, inputs, key, upper, output)
            index = Index()

            def meanwhile() -> None:
                if self._reasons and result.settled and id(step) in self.keys.seen:
                    self._reasons.prepare(step, self.keys.describe(step, parent.chain))

            layer = self._pack(upper, result, index, meanwhile)
            if result.placed and result.settled:
                from sampan.build.former import write_note

                write_note(upper, self._epoch, result.placed, index)
            chain = chain_ids((parent.chain, layer.diff_id))[-1] if parent.chain else layer.diff_id
            snapshots.commit(key, chain, layer.size)
        except BaseException:
            snapshots.remove(key)
            raise
        built = Built(layer, chain, timestamp(self._epoch))
        for each in self._missed[id(step)] if result.settled else ():
            self.cache.put(each, built, step.text)
        self.chains.add(chain)
        self._note(step, inputs, self._missed[id(step)][-1] if result.settled else None, performed=True)
        return _upon(parent, built)

    def _note(self, step: Step, inputs: Sequence[State], key: str | None, *, performed: bool) -> None:
        if key is None or not self.keys.lasting:
            self.cached = None
        if key is None:
            return
        if self.cached is not None:
            self.cached.append(key)
        if self._reasons and id(step) in self.keys.seen:
            self._reasons.note(step, key, lambda: self.keys.describe(step, inputs[0].chain), performed=performed)

    def _act(self, step: Step, inputs: Sequence[State], key: str, upper: str, output: Output) -> Result:
        """Does what the step says in the new snapshot."""
        stack = self._stores.snapshots.stack(inputs[0].chain)
        if isinstance(step, Run):
            from sampan.build.run import CommandFailed, run

            def prepare(bundle: str, mounts: Sequence[Mount]) -> AbstractContextManager[Prepared]:
                return self._prepare(step, mounts, inputs, bundle)

            snapshots = self._stores.snapshots
            try:
                nodes = run(step, key, stack, snapshots, self._host, self._cancellation, output, self._warn, prepare)
            except CommandFailed:
                self.failure = self.failure or (step, inputs[0])
                raise
            return Result(True, {}, nodes, {})
        from sampan.build.destination import Destination

        now = time.time() if self._epoch is None else self._epoch
        rootless, check = self._host.rootless, self._cancellation.check
        if isinstance(step, MakeDirectory):
            at = _made(step.parent, inputs[0], now) if self._epoch is None else now
            with Destination(upper, stack, rootless=rootless, now=at) as to:
                _make_directory(step, to)
            return Result(True, {}, to.nodes, {})
        assert isinstance(step, Copy)
        below = () if step.link else stack
        with ExitStack() as opened:
            former = self._formers.pop(id(step))
            if former:
                opened.enter_context(former)
            digests = self.keys.digests(step)
            with Destination(
                upper, below, rootless=rootless, now=now, check=check, digests=digests, former=former
            ) as to:
                self._copy(step, inputs, to, stack)
            members = former.members(self._epoch) if former else {}
        known = former.known if former else None
        return Result(to.settled, {**to.contents, **members}, to.nodes, to.placed, known)

    def _former(self, step: Copy) -> Former | None:
        """What the step made in the project's last build."""
        from sampan.build import former

        if self._reasons is None or self.is_fresh(step) or isinstance(step.origin, STEPS):
            return None
        return former.find(self._reasons.last_key(step), self.cache, self._stores.snapshots, self._stores.blobs)

    def _prepare(
        self, step: Run, mounts: Sequence[Mount], inputs: Sequence[State], bundle: str
    ) -> AbstractContextManager[Prepared]:
        from sampan.build.mounts import Origin, Place, prepared

        @contextmanager
        def open_origin(origin: Context | Step) -> Iterator[Origin]:
            with self.keys.view(step, origin, inputs) as (view, _):
                if isinstance(origin, STEPS):
                    chain = input_of(step, origin, inputs).chain
                    yield Origin(view, self._stores.snapshots.stack(chain), str(chain))
                else:
                    yield Origin(view, None, "")

        by_kernel = self._stores.snapshots.driver == "overlay"
        place = Place(bundle, self._host.caches, self._host.rootless, not by_kernel)
        return prepared(mounts, place, open_origin, self._host.secrets, self._host.agents, self._cancellation)

    def _warn(self, message: str) -> None:
        """Says something once, however many steps have reason to."""
        if message not in self._warned:
            self._warned.add(message)
            self._report(Warned(message))

    def _copy(self, step: Copy, inputs: Sequence[State], to: Destination, stack: tuple[str, ...]) -> None:
        from sampan.build.copy import place, place_text

        attributes = _attributes(step, stack, self._host.rootless)
        with self.keys.view(step, step.origin, inputs) as (view, _):
            for source in step.sources:
                if isinstance(source, str):
                    matches, unpacks = selection.matches(step, view, source), step.unpack
                else:
                    fetched = [self.keys.remotes.fetch(source)]
                    matches, unpacks = selection.without_excluded(step, fetched), step.unpack_remote
                settled = to.settled
                # When a context was checked out is nothing that an image should tell of.
                to.at = None if isinstance(step.origin, STEPS) or not isinstance(source, str) else self._epoch
                for seen, match in matches:
                    if unpacks and self._unpack(seen, match, step.dest, to, attributes):
                        to.settled = to.settled and sources.unchanged(seen, match.path, match.status)
                    else:
                        place(seen, match, step.dest, to, attributes)
                if isinstance(step.origin, STEPS) or not isinstance(source, str):
                    to.settled = settled  # what was built or fetched does not change, whatever its times say
        for name, content in step.inline:
            place_text(name, content, step.dest, to, attributes)

    def _unpack(self, view: View, match: Selected, dest: str, to: Destination, attributes: Attributes) -> bool:
        from sampan.build.unpack import unpack

        return unpack(view, match, dest, to, attributes)

    def _pack(self, upper: str, result: Result, index: Index, meanwhile: Callable[[], object]) -> Layer:
        from sampan.layers.write import pack

        fd = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            blobs = CancellableBlobs(self._stores.blobs, self._cancellation)
            userxattr = self._stores.snapshots.userxattr
            contents, nodes = result.contents, result.nodes
            return pack(
                fd, blobs, userxattr=userxattr, epoch=self._epoch, contents=contents, nodes=nodes, index=index,
                known=result.known, meanwhile=meanwhile,
            )  # fmt: skip
        finally:
            os.close(fd)

    def _image(self, image: Image) -> State:
        from sampan.layers.write import Layer

        manifest = manifests.parse(self._stores.blobs.read(image.manifest.digest), image.manifest.media_type)
        assert isinstance(manifest, Manifest)
        diff_ids = configs.parse(self._stores.blobs.read(image.id)).diff_ids
        layers = (Layer(diff_id, layer, 0) for diff_id, layer in zip(diff_ids, manifest.layers, strict=True))
        return State(image.chain, tuple(Dated(layer, "") for layer in layers))


def _upon(parent: State, built: Built) -> State:
    return State(built.chain, (*parent.layers, Dated(built.layer, built.created)))


def _attributes(step: Copy, stack: tuple[str, ...], rootless: bool) -> Attributes:
    from sampan.build import modes
    from sampan.build.copy import Attributes
    from sampan.snapshots import users
    from sampan.snapshots.lookup import Tree

    owner = None
    if step.chown:
        with Tree(stack, rootless) as tree:
            owner = users.resolve_owner(step.chown, tree.read_file)
    mode = modes.parse(step.chmod) if step.chmod else None
    return Attributes(owner, mode, original=isinstance(step.origin, STEPS))


def _made(step: Step, state: State, now: float) -> float:
    """When what ``step`` led to was made, in whole seconds since 1970; ``now`` where nothing says so.

    That is the time of what WORKDIR makes: equal on every machine, and with ``--no-cache``, so that what was built upon
    it elsewhere, or before, is found in the cache.
    """
    from sampan.store import moments

    created = step.image.created if isinstance(step, Source) else state.layers[-1].created if state.layers else ""
    made = int(moments.of_record(created))
    return made if 0 < made < now else now


def _make_directory(step: MakeDirectory, to: Destination) -> None:
    """WORKDIR: as with BuildKit, what is made belongs to USER, parents included, and what is there stays as it is."""
    from sampan.build.destination import resolve_destination
    from sampan.snapshots import users

    found = resolve_destination(to, step.path)
    if found.status is None:
        owner = users.resolve_owner(step.user, to.tree.read_file) if step.user else None
        os.close(to.directory(found.path, owner, 0o755))
    elif not found.is_directory:
        raise Invalid(f"{step.path} in the image is not a directory")
