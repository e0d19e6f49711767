"""What each step is made of, and the keys that follow from it.

A key says all that a step's result depends on, by the chain ids of its inputs and not by how these came about. A COPY
from a stage has two: one by the stage's chain id, which costs nothing, and one by the content that it selects; so a
stage that was built anew, and came out the same where it matters, invalidates nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property

from sampan.build import selection
from sampan.build import source as sources
from sampan.build.cache import FileDigests
from sampan.build.cancellation import Cancellation
from sampan.build.graph import STEPS, Copy, MakeDirectory, Mount, Run, Step
from sampan.build.source import ContextFiles, Digester, read_digest
from sampan.build.state import State, Stores
from sampan.oci.digest import Digest, sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from sampan.build.graph import Context
    from sampan.build.host import Host
    from sampan.build.reasons import Facts, Inputs
    from sampan.build.remotes import Remotes
    from sampan.snapshots.lookup import View


class Keys:
    """The keys of one build's steps; a context manager. ``epoch`` (seconds since 1970) is the time of what is made."""

    def __init__(self, stores: Stores, host: Host, cancellation: Cancellation, epoch: int | None) -> None:
        self._stores = stores
        self._host = host
        self._cancellation = cancellation
        self._epoch = epoch
        self._opened = ExitStack()
        self._contexts: dict[int, tuple[Context, Digester]] = {}
        self._digests: list[FileDigests] = []
        self.seen: dict[int, tuple[dict[str, object], Facts]] = {}
        """By step (its id()): what it is shown or fetches, by what people call it; and the files that it copies."""
        self.lasting = True
        """Whether the keys say all, so that nobody has to ask servers again."""

    def __enter__(self) -> Keys:
        return self

    def __exit__(self, *rest: object) -> None:
        for digests in self._digests:
            digests.save()
        self._opened.close()

    @cached_property
    def remotes(self) -> Remotes:
        from sampan.build.remotes import Remotes

        stores, host = self._stores, self._host
        return self._opened.enter_context(
            Remotes(stores.database, stores.blobs, host.temporary, host.secrets, host.agents, self._cancellation)
        )

    def make(self, step: Step, inputs: Sequence[State]) -> Iterator[str]:
        """The keys of a step, the cheapest to make first."""
        about: tuple[object, ...] = (type(step).__name__, self._epoch, inputs[0].chain)
        if isinstance(step, Run):
            mounts = [self._mount_key(step, mount, inputs) for mount in step.mounts]
            self.seen[id(step)] = (_at(zip(step.mounts, mounts, strict=True)), [])
            command = (step.argv, step.env, step.args, step.user, step.cwd, step.network, self._host.network)
            opened = ("insecure",) if step.insecure else ()
            yield _key(*about, *command, self._host.hosts, *mounts, *self._unusual(), *opened)
        elif isinstance(step, MakeDirectory):
            self.seen[id(step)] = ({}, [])
            yield _key(*about, step.path, step.user)
        elif isinstance(step, Copy):
            about = (*about, step.dest, step.chown, step.chmod, step.link, step.unpack, step.inline)
            from_stage = isinstance(step.origin, STEPS)
            if from_stage:
                yield _key(*about, inputs[1].chain, step.sources, step.exclude, step.parents)
            remote = {each: self.remotes.identity(each) for each in step.sources if not isinstance(each, str)}
            if not all(each.is_fixed for each in remote):
                self.lasting = False
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
        with self.view(step, step.origin, inputs) as (view, digest):
            for source in step.sources:
                matches = selection.matches(step, view, source) if isinstance(source, str) else []
                keys = [
                    sources.content_key(seen, [one], digest, attributes=from_stage, noted=noted)
                    for seen, one in matches
                ]
                contents.append(keys if isinstance(source, str) else remote.get(source))
        told = {f"what {each.shown} gives": identity for each, identity in remote.items()}
        self.seen[id(step)] = (told, noted)
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
            with self.view(step, mount.origin, inputs) as (view, digest):
                selected = [selection.find(mount, view)]
                content = sources.content_key(view, selected, digest, attributes=isinstance(mount.origin, STEPS))
        return (*mount._replace(origin=None), content)

    @contextmanager
    def view(self, step: Step, origin: Context | Step, inputs: Sequence[State]) -> Iterator[tuple[View, Digester]]:
        """The files that are copied from, and how their digests are found."""
        if isinstance(origin, STEPS):
            from sampan.snapshots.lookup import Tree

            snapshots = self._stores.snapshots
            with Tree(snapshots.stack(input_of(step, origin, inputs).chain), snapshots.userxattr) as tree:
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

    def describe(self, step: Step, chain: Digest | None) -> Inputs:
        """What ``step``, upon ``chain``, was found to be made of when its key was."""
        from sampan.build import reasons

        around: dict[str, object] = {"SOURCE_DATE_EPOCH": self._epoch}
        if isinstance(step, Run):
            around |= {"build --network": self._host.network, "build --add-host": self._host.hosts}
        return reasons.describe(step, chain, around, *self.seen.get(id(step), ({}, [])))

    def survey(self, step: Step, inputs: Sequence[State | None]) -> None:
        """Finds out what ``step`` is made of as far as that can be told before all ``inputs`` are there."""
        known = [each or State(None, ()) for each in inputs]
        if isinstance(step, Copy) and not isinstance(step.origin, STEPS):
            self._contents(step, known)
        elif isinstance(step, Run):
            mounts = [mount for mount in step.mounts if not isinstance(mount.origin, STEPS)]
            self.seen[id(step)] = (_at((mount, self._mount_key(step, mount, known)) for mount in mounts), [])
        else:
            self.seen[id(step)] = ({}, [])

    def digests(self, step: Copy) -> Mapping[bytes, str]:
        """Of the regular files that are copied from a context, by their paths in it."""
        if isinstance(step.origin, STEPS):
            return {}
        return {path: facts[2] for path, facts in self.seen[id(step)][1] if isinstance(facts[2], str)}

    @property
    def contexts(self) -> list[Context]:
        """Those that something was copied from or mounted."""
        return [context for context, _ in self._contexts.values()]


def _key(*parts: object) -> str:
    # repr() of texts, numbers, bytes and tuples of them is unambiguous: every text is quoted.
    return sha256(repr(parts).encode()).encoded


def input_of(step: Step, origin: Step, inputs: Sequence[State]) -> State:
    """The input of ``step`` that its ``origin`` is."""
    return next(state for needed, state in zip(step.inputs, inputs, strict=True) if needed is origin)


def _at(mounts: Iterable[tuple[Mount, object]]) -> dict[str, object]:
    return {f"the mount at {mount.target}": key for mount, key in mounts}
