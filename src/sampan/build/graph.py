"""The build graph: the only language between frontends (a Dockerfile, a Python project) and the solver.

Steps are values that point at the steps they need. Paths and commands in them are final: variables are expanded,
destinations absolute, the environment complete. A frontend makes each step once and shares it, so that the solver can
go by identity; it never compares steps by value, which would walk a shared ancestor once for each path to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import stat_result
from types import MappingProxyType

from sampan.build.remote import Remote
from sampan.errors import SampanError
from sampan.oci.config import ImageConfig
from sampan.oci.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple, Protocol

    from sampan.store.images import Image
else:
    from sampan.values import NamedTuple

    Protocol = object


class Context(Protocol):
    """A directory of the user's that files are copied from, as .dockerignore lets it be seen."""

    @property
    def root(self) -> str:
        """Absolute path of the directory."""

    def children(self, path: bytes) -> Mapping[bytes, stat_result]:
        """The names in directory ``path`` that are let through, sorted, each with its lstat(2).

        ``path`` is relative to the root (``b""`` is the root itself), made of names that ``children`` gave before; no
        link is followed. A directory is read once: what was seen of it stays. An excluded directory is listed when
        something below it is let through again. Raises OSError when ``path`` is no directory.
        """


class Place(Protocol):
    """Where a step was written."""

    def fault(self, message: str, at: str = "", *, hint: str | None, kind: type[SampanError]) -> SampanError:
        """An error of ``kind`` that shows the place, and in it ``at`` if that is there."""


class Scratch(NamedTuple):
    """An empty file system."""

    stage: str = ""
    text: str = "FROM scratch"
    line: int = 0

    @property
    def inputs(self) -> tuple[Step, ...]:
        return ()


class Source(NamedTuple):
    """The file system of an image that the store holds."""

    image: Image
    stage: str = ""
    text: str = ""
    line: int = 0

    @property
    def inputs(self) -> tuple[Step, ...]:
        return ()


class Mount(NamedTuple):
    """What is mounted for one command, and is in no layer."""

    kind: str
    """One of bind, cache, tmpfs, secret, ssh, and script: an executable file that a here-document is."""
    target: str
    """Absolute; empty for a secret that is a variable only."""
    source: str = ""
    """bind and cache: a path relative to the root of ``origin``, or without one to that of the cache."""
    origin: Context | Step | None = None
    """bind: whose file it is; cache: what the first use begins with, None for nothing."""
    id: str = ""
    """Which cache, secret or agent."""
    readonly: bool = False
    """If not: what is written to a bind is thrown away, to a cache kept."""
    sharing: str = ""
    """cache: one of shared, private, locked."""
    required: bool = False
    """secret and ssh: whether it is an error that it was not given."""
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    """tmpfs: bytes; 0 for the kernel's default."""
    env: str = ""
    """secret: the variable that has it."""
    content: str = ""
    """script: its text."""


class Run(NamedTuple):
    """A command executed on the parent's file system."""

    parent: Step
    argv: tuple[str, ...]
    env: tuple[str, ...]
    """``NAME=value``: the image's ENV so far. Nothing of the builder's own environment."""
    user: str
    """As USER wrote it; empty for root."""
    cwd: str
    """Absolute."""
    args: tuple[tuple[str, str], ...] = ()
    """The ARGs in scope with their values: visible to the command (ENV wins) and part of the key."""
    unkeyed: tuple[tuple[str, str], ...] = ()
    """Predefined proxy ARGs that the Dockerfile does not declare: visible to the command, not part of the key."""
    network: str = "default"
    """One of default, none, host."""
    mounts: tuple[Mount, ...] = ()
    platform: Platform | None = None
    """What the command is a program for; None for this machine."""
    stage: str = ""
    text: str = ""
    line: int = 0
    insecure: bool = False
    """With all the privileges of whoever builds."""

    @property
    def inputs(self) -> tuple[Step, ...]:
        return (self.parent, *(mount.origin for mount in self.mounts if isinstance(mount.origin, STEPS)))


class Copy(NamedTuple):
    """Files copied onto the parent's file system: COPY and ADD."""

    parent: Step
    sources: tuple[str | Remote, ...]
    """Paths or patterns (Go's path/filepath.Match), relative to the root of ``origin``; a leading / means the same. For
    ADD also what is fetched."""
    origin: Context | Step
    dest: str
    """Absolute; a trailing slash is kept, for it means "a directory"."""
    chown: str = ""
    chmod: str = ""
    """Octal or symbolic."""
    exclude: tuple[str, ...] = ()
    """Patterns as in .dockerignore: relative to a directory that is copied, or the name of a file that is."""
    parents: bool = False
    """Sources keep the directories on the way to them, from the first ``/./`` on; ``**`` stands for any number."""
    link: bool = False
    """The layer is independent of what it lies on: links there are not followed."""
    unpack: bool = False
    """ADD: a source that is an archive is unpacked, if it is local."""
    unpack_remote: bool = False
    """The same for what is downloaded."""
    inline: tuple[tuple[str, bytes], ...] = ()
    """Here-documents: name and content of files that exist nowhere else."""
    stage: str = ""
    text: str = ""
    line: int = 0

    @property
    def inputs(self) -> tuple[Step, ...]:
        return (self.parent, self.origin) if isinstance(self.origin, STEPS) else (self.parent,)


class MakeDirectory(NamedTuple):
    """A directory made, with its parents, if it is not there: WORKDIR. For ``/`` there is no such step."""

    parent: Step
    path: str
    """Absolute."""
    user: str = ""
    """Who owns what is made, as USER wrote it; empty for root."""
    stage: str = ""
    text: str = ""
    line: int = 0

    @property
    def inputs(self) -> tuple[Step, ...]:
        return (self.parent,)


Step = Scratch | Source | Run | Copy | MakeDirectory
STEPS = (Scratch, Source, Run, Copy, MakeDirectory)


class Graph(NamedTuple):
    """What is to be built: the step whose file system is the image's, and the config to go with it.

    ``config`` is complete but for ``diff_ids`` and ``created``. Its history has an entry for each instruction, the base
    image's first; every entry whose ``empty_layer`` is not true stands for one layer, in order: each Run, Copy and
    MakeDirectory between the base and the target makes exactly one, even if nothing changed.
    """

    target: Step
    config: ImageConfig
    places: Mapping[int, Place] = MappingProxyType({})
    """By the steps' ``line``."""


def ordered(*targets: Step) -> list[Step]:
    """All steps that ``targets`` need and themselves, each once, inputs before what uses them, in the order written."""
    found: list[Step] = []
    seen: set[int] = set()
    waiting = [*reversed(targets)]
    while waiting:
        step = waiting[-1]
        missing = [needed for needed in step.inputs if id(needed) not in seen]
        if missing:
            waiting.extend(reversed(missing))
            continue
        waiting.pop()
        if id(step) not in seen:
            seen.add(id(step))
            found.append(step)
    return found
