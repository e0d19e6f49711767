"""How each kind of step is keyed and performed: the ``Work`` of a real build.

A key says all that a step's result depends on, by the chain ids of its inputs and not by how these came about. A COPY
from a stage has two: one by the stage's chain id, which costs nothing, and one by the content that it selects; so a
stage that was built anew, and came out the same where it matters, invalidates nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property

from sampan.build import source as sources
from sampan.build.cache import Built, Cache, FileDigests
from sampan.build.cancellation import CancellableBlobs, Cancellation
from sampan.build.graph import STEPS, Copy, MakeDirectory, Mount, Run, Scratch, Source, Step
from sampan.build.source import ContextFiles, Digester, Selected, read_digest
from sampan.errors import Invalid, NotFound
from sampan.events import Report, Warned
from sampan.oci import config as configs
from sampan.oci import manifest as manifests
from sampan.oci.digest import Digest, chain_ids, sha256
from sampan.oci.manifest import Manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable
    from typing import Any, NamedTuple

    from sampan.build.cache import Elsewhere
    from sampan.build.copy import Attributes
    from sampan.build.destination import Destination
    from sampan.build.former import Former
    from sampan.build.graph import Context
    from sampan.build.host import Host
    from sampan.build.mounts import Prepared
    from sampan.build.reasons import Facts, Inputs, Reasons
    from sampan.build.remotes import Remotes
    from sampan.build.solve import Output
    from sampan.layers.changes import Contents, Nodes
    from sampan.layers.tarball import Places
    from sampan.layers.write import Layer
    from sampan.snapshots.lookup import View
    from sampan.snapshots.overlay import Overlay
    from sampan.store.blobs import Blobs
    from sampan.store.images import Image
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


class Result(NamedTuple):
    """What a step did in its snapshot: whether that is what its key stands for, what is known of some of its files, and
    who its links and devices belong to."""

    settled: bool
    contents: Contents
    nodes: Nodes
    placed: Mapping[bytes, bytes]
    """What is known of files that were copied (``copy.Destination``)."""


class Stores(NamedTuple):
    """The stores that a build works on."""

    database: sqlite3.Connection
    blobs: Blobs
    snapshots: Overlay


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
        self._opened = ExitStack()
        self._contexts: dict[int, tuple[Context, Digester]] = {}
        self._digests: list[FileDigests] = []
        self.failure: tuple[Run, State] | None = None
        """The step whose command failed, and what it was executed on."""
        self._keys: dict[int, list[str]] = {}
        self.cached: list[str] | None = []
        """A key for each step that the cache has now; None when it has not all of them."""
        self._warned: set[str] = set()
        self.chains: set[Digest] = set()
        """Of all steps so far."""
        self._reasons = reasons
        self._seen: dict[int, tuple[dict[str, object], Facts]] = {}
        """Of each step, by what people call it, what it is shown or fetches; and the files that it copies."""

    def __enter__(self) -> Build:
        return self

    def __exit__(self, *rest: object) -> None:
        for digests in self._digests:
            digests.save()
        if self._reasons:
            self._reasons.save()
        self._opened.close()

    def cancel(self) -> None:
        self._cancellation.cancel()

    def recall(self, step: Step, inputs: Sequence[State]) -> State | None:
        """See ``solve.Work``. What a source holds needs no cache."""
        if isinstance(step, Scratch):
            return State(None, ())
        if isinstance(step, Source):
            return self._image(step.image)
        keys = self._keys[id(step)] = []
        below = [dated.layer for dated in inputs[0].layers]
        for key in self._make_keys(step, inputs):
            built = None if step.stage in self._fresh_stages else self.cache.get(key, below)
            if built:
                for missed in keys:
                    self.cache.put(missed, built, step.text)
                self.chains.add(built.chain)
                self._note(step, inputs, key, performed=False)
                return _upon(inputs[0], built)
            keys.append(key)
        return None

    def perform(self, step: Step, inputs: Sequence[State], output: Output) -> State:
        """See ``solve.Work``: a new snapshot on the parent's, the step's doing in it, and a layer of what changed."""
        parent, snapshots = inputs[0], self._stores.snapshots
        self._cancellation.check()
        remote = [source for source in step.sources if not isinstance(source, str)] if isinstance(step, Copy) else []
        for source in remote:
            self._remotes.fetch(source, output)
        if remote and not self._keys[id(step)]:  # only now it is known what the step depends on
            cached = self.recall(step, inputs)
            if cached:
                return cached
        key = f"build-{os.getpid()}-{os.urandom(8).hex()}"
        upper = snapshots.prepare(key, parent.chain)
        try:
            result = self._act(step, inputs, key, upper, output)
            places: Places = {}
            layer = self._pack(upper, result, places)
            if result.placed and result.settled:
                from sampan.build.former import write_note

                write_note(upper, self._epoch, layer, result.placed, places)
            chain = chain_ids((parent.chain, layer.diff_id))[-1] if parent.chain else layer.diff_id
            snapshots.commit(key, chain, layer.size)
        except BaseException:
            snapshots.remove(key)
            raise
        built = Built(layer, chain, timestamp(self._epoch))
        for each in self._keys[id(step)] if result.settled else ():
            self.cache.put(each, built, step.text)
        self.chains.add(chain)
        self._note(step, inputs, self._keys[id(step)][-1] if result.settled else None, performed=True)
        return _upon(parent, built)

    def _note(self, step: Step, inputs: Sequence[State], key: str | None, *, performed: bool) -> None:
        if key is None:
            self.cached = None
            return
        if self.cached is not None:
            self.cached.append(key)
        if self._reasons and id(step) in self._seen:
            self._reasons.note(step, key, lambda: self.describe(step, inputs[0].chain), performed=performed)

    def describe(self, step: Step, chain: Digest | None) -> Inputs:
        """What ``step``, upon ``chain``, was found to be made of when its key was."""
        from sampan.build import reasons

        around: dict[str, object] = {"SOURCE_DATE_EPOCH": self._epoch}
        if isinstance(step, Run):
            around |= {"build --network": self._host.network, "build --add-host": self._host.hosts}
        return reasons.describe(step, chain, around, *self._seen.get(id(step), ({}, [])))

    def survey(self, step: Step, inputs: Sequence[State | None]) -> None:
        """Finds out what ``step`` is made of as far as that can be told before all ``inputs`` are there."""
        known = [each or State(None, ()) for each in inputs]
        if isinstance(step, Copy) and not isinstance(step.origin, STEPS):
            self._contents(step, known)
        elif isinstance(step, Run):
            mounts = [mount for mount in step.mounts if not isinstance(mount.origin, STEPS)]
            self._seen[id(step)] = (_at((mount, self._mount_key(step, mount, known)) for mount in mounts), [])
        else:
            self._seen[id(step)] = ({}, [])

    @property
    def contexts(self) -> list[Context]:
        """Those that something was copied from or mounted."""
        return [context for context, _ in self._contexts.values()]

    # -- keys -----------------------------------------------------------------------------------------------------

    @cached_property
    def _remotes(self) -> Remotes:
        from sampan.build.remotes import Remotes

        stores, host = self._stores, self._host
        return self._opened.enter_context(
            Remotes(stores.database, stores.blobs, host.temporary, host.secrets, host.agents, self._cancellation)
        )

    def _make_keys(self, step: Step, inputs: Sequence[State]) -> Iterator[str]:
        """The keys of a step, the cheapest to make first."""
        about: tuple[object, ...] = (type(step).__name__, self._epoch, inputs[0].chain)
        if isinstance(step, Run):
            mounts = [self._mount_key(step, mount, inputs) for mount in step.mounts]
            self._seen[id(step)] = (_at(zip(step.mounts, mounts, strict=True)), [])
            command = (step.argv, step.env, step.args, step.user, step.cwd, step.network, self._host.network)
            opened = ("insecure",) if step.insecure else ()
            yield _key(*about, *command, self._host.hosts, *mounts, *self._unusual(), *opened)
        elif isinstance(step, MakeDirectory):
            self._seen[id(step)] = ({}, [])
            yield _key(*about, step.path, step.user)
        elif isinstance(step, Copy):
            about = (*about, step.dest, step.chown, step.chmod, step.link, step.unpack, step.inline)
            from_stage = isinstance(step.origin, STEPS)
            if from_stage:
                yield _key(*about, inputs[1].chain, step.sources, step.exclude, step.parents)
            remote = {each: self._remotes.identity(each) for each in step.sources if not isinstance(each, str)}
            if not all(each.is_fixed for each in remote):
                self.cached = None  # who asks again has to ask the servers, too
            if None in remote.values():
                return
            if remote:
                about = (*about, step.exclude, step.unpack_remote)
            yield _key(*about, step.parents, self._contents(step, inputs, remote))

    def _contents(
        self, step: Copy, inputs: Sequence[State], remote: Mapping[Any, object] | None = None
    ) -> list[object]:
        """What is copied, by content: of each source, of each match."""
        noted: Facts = []
        remote = remote or {}
        from_stage = isinstance(step.origin, STEPS)
        contents: list[object] = []
        with self._view(step, step.origin, inputs) as (view, digest):
            for source in step.sources:
                matches = _matches(step, view, source) if isinstance(source, str) else []
                keys = [
                    sources.content_key(seen, [one], digest, attributes=from_stage, noted=noted)
                    for seen, one in matches
                ]
                contents.append(keys if isinstance(source, str) else remote.get(source))
        told = {f"what {each.shown} gives": identity for each, identity in remote.items()}
        self._seen[id(step)] = (told, noted)
        return contents

    def _unusual(self) -> Iterator[object]:
        """What commands may notice of the machine, if it is not as usual."""
        from sampan.runtime.defaults import SHM_BYTES

        if self._host.shm_bytes != SHM_BYTES:
            yield self._host.shm_bytes
        yield from self._host.limits
        if self._host.hostname:
            yield self._host.hostname

    def _mount_key(self, step: Run, mount: Mount, inputs: Sequence[State]) -> tuple[object, ...]:
        """What a mount means for the result: its definition, and the content of what is shown; no secret."""
        content = ""
        if mount.origin is not None:
            with self._view(step, mount.origin, inputs) as (view, digest):
                selected = [_find(mount, view)]
                content = sources.content_key(view, selected, digest, attributes=isinstance(mount.origin, STEPS))
        return (*mount._replace(origin=None), content)

    @contextmanager
    def _view(self, step: Step, origin: Context | Step, inputs: Sequence[State]) -> Iterator[tuple[View, Digester]]:
        """The files that are copied from, and how their digests are found."""
        if isinstance(origin, STEPS):
            from sampan.snapshots.lookup import Tree

            snapshots = self._stores.snapshots
            with Tree(snapshots.stack(_state(step, origin, inputs).chain), snapshots.userxattr) as tree:
                yield tree, read_digest
            return
        if id(origin) not in self._contexts:
            self._contexts[id(origin)] = (origin, self._digester(origin.root))
        with ContextFiles(origin) as files:
            yield files, self._contexts[id(origin)][1]

    def _digester(self, root: str) -> Digester:
        if root.startswith(f"{self._host.temporary}/"):
            return read_digest  # it will never be seen again
        digests = FileDigests(self._stores.database, root)
        self._digests.append(digests)
        return digests

    # -- performing -----------------------------------------------------------------------------------------------

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
            with Destination(upper, stack, rootless=rootless, now=now) as to:
                _make_directory(step, to)
            return Result(True, {}, to.nodes, {})
        assert isinstance(step, Copy)
        below = () if step.link else stack
        with ExitStack() as opened:
            former = self._former(step)
            if former:
                opened.enter_context(former)
            digests = self._known_digests(step)
            with Destination(
                upper, below, rootless=rootless, now=now, check=check, digests=digests, former=former
            ) as to:
                self._copy(step, inputs, to, stack)
            members = former.members(self._epoch) if former else {}
        return Result(to.settled, {**to.contents, **members}, to.nodes, to.placed)

    def _known_digests(self, step: Copy) -> Mapping[bytes, str]:
        """Of the regular files that are copied from a context, by their paths in it."""
        if isinstance(step.origin, STEPS):
            return {}
        return {path: facts[2] for path, facts in self._seen[id(step)][1] if isinstance(facts[2], str)}

    def _former(self, step: Copy) -> Former | None:
        """What the step made in the project's last build."""
        from sampan.build import former

        if self._reasons is None or step.stage in self._fresh_stages or isinstance(step.origin, STEPS):
            return None
        return former.find(self._reasons.last_key(step), self.cache, self._stores.snapshots, self._stores.blobs)

    def _prepare(
        self, step: Run, mounts: Sequence[Mount], inputs: Sequence[State], bundle: str
    ) -> AbstractContextManager[Prepared]:
        from sampan.build.mounts import Origin, Place, prepared

        @contextmanager
        def open_origin(origin: Context | Step) -> Iterator[Origin]:
            with self._view(step, origin, inputs) as (view, _):
                if isinstance(origin, STEPS):
                    chain = _state(step, origin, inputs).chain
                    yield Origin(view, self._stores.snapshots.stack(chain), str(chain))
                else:
                    yield Origin(view, None, "")

        place = Place(bundle, self._host.caches, self._host.rootless, self._stores.snapshots.copies)
        return prepared(mounts, place, open_origin, self._host.secrets, self._host.agents, self._cancellation)

    def _warn(self, message: str) -> None:
        """Says something once, however many steps have reason to."""
        if message not in self._warned:
            self._warned.add(message)
            self._report(Warned(message))

    def _copy(self, step: Copy, inputs: Sequence[State], to: Destination, stack: tuple[str, ...]) -> None:
        from sampan.build.copy import place, place_text

        attributes = _attributes(step, stack, self._host.rootless)
        with self._view(step, step.origin, inputs) as (view, _):
            for source in step.sources:
                if isinstance(source, str):
                    matches, unpacks = _matches(step, view, source), step.unpack
                else:
                    matches, unpacks = _without_excluded(step, [self._remotes.fetch(source)]), step.unpack_remote
                settled = to.settled
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

    def _pack(self, upper: str, result: Result, places: Places) -> Layer:
        from sampan.layers.write import pack

        fd = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            blobs = CancellableBlobs(self._stores.blobs, self._cancellation)
            userxattr = self._stores.snapshots.userxattr
            contents, nodes = result.contents, result.nodes
            return pack(
                fd, blobs, userxattr=userxattr, epoch=self._epoch, contents=contents, nodes=nodes, places=places
            )
        finally:
            os.close(fd)

    def _image(self, image: Image) -> State:
        from sampan.layers.write import Layer

        manifest = manifests.parse(self._stores.blobs.read(image.manifest.digest), image.manifest.media_type)
        assert isinstance(manifest, Manifest)
        diff_ids = configs.parse(self._stores.blobs.read(image.id)).diff_ids
        layers = (Layer(diff_id, layer, 0) for diff_id, layer in zip(diff_ids, manifest.layers, strict=True))
        return State(image.chain, tuple(Dated(layer, "") for layer in layers))


def timestamp(epoch: int | None) -> str:
    """A time (seconds since 1970; None: now) in RFC 3339, as image configs have it."""
    now = time.time() if epoch is None else epoch
    fraction = "" if epoch is not None else f".{int(now % 1 * 1_000_000_000):09d}"
    return time.strftime(f"%Y-%m-%dT%H:%M:%S{fraction}Z", time.gmtime(now))


def _upon(parent: State, built: Built) -> State:
    return State(built.chain, (*parent.layers, Dated(built.layer, built.created)))


def _key(*parts: object) -> str:
    # repr() of texts, numbers, bytes and tuples of them is unambiguous: every text is quoted.
    return sha256(repr(parts).encode()).encoded


def _state(step: Step, origin: Step, inputs: Sequence[State]) -> State:
    """The input of ``step`` that its ``origin`` is."""
    return next(state for needed, state in zip(step.inputs, inputs, strict=True) if needed is origin)


def _at(mounts: Iterable[tuple[Mount, object]]) -> dict[str, object]:
    return {f"the mount at {mount.target}": key for mount, key in mounts}


def _find(mount: Mount, view: View) -> Selected:
    try:
        return sources.find(view, mount.source)
    except NotFound:
        from sampan.build.context import Directory, missing

        if isinstance(mount.origin, Directory):
            raise missing(mount.origin, mount.source) from None
        raise


def _select(step: Copy, view: View, source: str) -> list[Selected]:
    try:
        return sources.select(view, source)
    except NotFound:
        from sampan.build.context import Directory, missing

        if isinstance(step.origin, Directory):
            raise missing(step.origin, source) from None
        raise


def _matches(step: Copy, view: View, source: str) -> list[tuple[View, Selected]]:
    """What ``source`` means, each match with the view that it is to be read through."""
    found = [_with_parents(step, view, source)] if step.parents else [(view, m) for m in _select(step, view, source)]
    return _without_excluded(step, found)


def _without_excluded(step: Copy, found: Sequence[tuple[View, Selected]]) -> list[tuple[View, Selected]]:
    if not step.exclude:
        return list(found)
    from sampan.build import ignore
    from sampan.build.filtered import Excluding

    patterns = ignore.compiled(step.exclude)
    return [
        (Excluding(seen, match.path, patterns) if match.is_directory else seen, match)
        for seen, match in found
        if match.is_directory or not patterns.excludes(os.fsdecode(match.name))
    ]


def _with_parents(step: Copy, view: View, source: str) -> tuple[View, Selected]:
    """The directory that paths count from, with nothing but what ``source`` matches. Raises NotFound for a plain path
    that is not there."""
    from sampan.build.filtered import Only, deep_matches

    base, pivot, pattern = source.partition("/./")
    if not pivot:
        base, pattern = ".", source
    (root,) = _select(step, view, base)
    if pattern == ".":
        return view, root
    matched = list(deep_matches(view, root.path, pattern))
    if not matched and not sources.is_pattern(pattern):
        _select(step, view, source if base == "." else f"{base}/{pattern}")
    return Only(view, matched), root


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
