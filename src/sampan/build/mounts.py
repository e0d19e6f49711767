"""What ``RUN --mount`` shows to one command, prepared outside of the container as mounts of its runtime spec.

Nothing of the user's directories is mounted itself: of a build context a copy is, as .dockerignore lets it be seen, so
what a command writes never reaches it (CVE-2025-4953). The files of a stage are seen through an overlay whose upper
directory is thrown away. Sources are resolved inside their root (CVE-2024-1753), and a cache's id only ever names a
directory by its digest.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

from sampan.build import source as sources
from sampan.build.cancellation import Cancellation
from sampan.build.copy import Attributes, place
from sampan.build.destination import Destination
from sampan.build.graph import Context, Mount, Step
from sampan.build.source import Selected
from sampan.errors import Invalid, NotFound, SampanError
from sampan.linux import ids, locks
from sampan.runtime import defaults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple

    from sampan.snapshots.lookup import View
else:
    from sampan.values import NamedTuple

MAX_SECRET = 500 << 10
"""Bytes; as in BuildKit."""
_INTERVAL = 0.05


class Secret(NamedTuple):
    """Where a secret comes from: a file of the user's, or a variable of the builder's environment."""

    path: str = ""
    variable: str = ""

    def read(self, name: str) -> bytes:
        """Raises NotFound or Invalid; what they say holds nothing of the content."""
        if self.variable:
            return os.environb.get(os.fsencode(self.variable), b"")
        try:
            with open(self.path, "rb") as file:
                content = file.read(MAX_SECRET + 1)
        except OSError as error:
            raise NotFound(f"the secret {name} cannot be read: {error.strerror}: {self.path}") from None
        if len(content) > MAX_SECRET:
            raise Invalid(f"the secret {name} is larger than {MAX_SECRET >> 10} KiB")
        return content


class Origin(NamedTuple):
    """An origin's files. ``stack`` are the directories of a step's file system, topmost first; None for a context."""

    view: View
    stack: tuple[str, ...] | None
    chain: str
    """What names the content of a step; empty for a context."""


class Place(NamedTuple):
    """Where things are for the length of a step. ``bundle`` is the step's own directory, ``caches`` lasts."""

    bundle: str
    caches: str
    rootless: bool
    copies: bool = False
    """Whether overlayfs cannot be mounted."""


Origins = Callable[[Context | Step], AbstractContextManager[Origin]]


class Prepared:
    """What the spec gets: ``mounts``, ``environment``, and ``passing`` files to be removed once the command runs."""

    __slots__ = ("environment", "mounts", "passing")

    def __init__(self) -> None:
        self.mounts: list[dict[str, Any]] = []
        self.environment: dict[str, str] = {}
        self.passing: list[str] = []


@contextmanager
def prepared(
    mounts: Sequence[Mount],
    place: Place,
    origins: Origins,
    secrets: Mapping[str, Secret],
    agents: Mapping[str, str],
    cancellation: Cancellation,
) -> Iterator[Prepared]:
    """Gets ready what ``mounts`` ask for, and keeps it so for the length of a ``with`` block; waits for locked caches.

    Mounts come in the order of their targets, so that one may lie in another. Raises SampanError.
    """
    found = Prepared()
    with ExitStack() as held:
        directories = _caches(mounts, place, origins, cancellation, held)
        for number, mount in enumerate(sorted(mounts, key=lambda mount: mount.target)):
            if mount.kind == "bind":
                found.mounts.append(_bind(mount, place, number, origins))
            elif mount.kind == "cache":
                found.mounts.append(_shown(directories[id(mount)], mount))
            elif mount.kind == "tmpfs":
                found.mounts.append(_tmpfs(mount))
            elif mount.kind == "script":
                found.mounts.append(_script(mount, place, number))
            elif mount.kind == "secret":
                _secret(mount, place, number, secrets, found)
            else:
                _agent(mount, place, number, agents, found, held)
        yield found


def _shown(path: str, mount: Mount) -> dict[str, Any]:
    shown = defaults.bind(path, mount.target, "rbind", "nosuid", *(("rro",) if mount.readonly else ()))
    # What is in a cache may change at any time: only the runtime, on descriptors, can follow a path there.
    return {**shown, "subpath": mount.source} if mount.origin is None and mount.source != "." else shown


def _script(mount: Mount, place: Place, number: int) -> dict[str, Any]:
    path = f"{place.bundle}/script{number}"
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(mount.content)
    _give(path, mount)
    # The store may lie where nothing is to be executed; only its owner, root, can lift that for a mount.
    return defaults.bind(path, mount.target, "bind", "ro", "nosuid", *(() if place.rootless else ("exec",)))


def _tmpfs(mount: Mount) -> dict[str, Any]:
    size = (f"size={mount.size}",) if mount.size else ()
    options = ["nosuid", "nodev", "mode=1777", *size, *(("ro",) if mount.readonly else ())]
    return {"destination": mount.target, "type": "tmpfs", "source": "tmpfs", "options": options}


# -- bind -----------------------------------------------------------------------------------------------------------


def _bind(mount: Mount, place: Place, number: int, origins: Origins) -> dict[str, Any]:
    assert mount.origin is not None
    with origins(mount.origin) as origin:
        match = sources.find(origin.view, mount.source)
        if origin.stack is not None and match.is_directory and not place.copies:
            return _overlay(mount, match, origin.view, origin.stack, f"{place.bundle}/bind{number}", place.rootless)
        copied = f"{place.bundle}/bind{number}"
        _copy(origin, match, copied, place.rootless)
    return _shown(f"{copied}/it", mount)


def _copy(origin: Origin, match: Selected, directory: str, rootless: bool) -> None:
    """Copies a file, or what a directory holds, to ``it`` in a new directory."""
    os.mkdir(directory, 0o700)
    from_step = origin.stack is not None
    attributes = Attributes(None, None, original=from_step)
    with Destination(directory, (), rootless=rootless, now=time.time()) as to:
        if match.is_directory:
            mode = stat.S_IMODE(match.status.st_mode)
            owner = (match.status.st_uid, match.status.st_gid) if from_step else (0, 0)
            os.close(to.directory(b"it", owner, mode))
        place(origin.view, match, "/it", to, attributes)


def _overlay(
    mount: Mount, match: Selected, view: View, stack: Sequence[str], scratch: str, rootless: bool
) -> dict[str, Any]:
    """A directory of a step's file system; what is written to it goes to ``scratch``."""
    from sampan.snapshots.lookup import Tree

    assert isinstance(view, Tree)
    for name in ("", "/upper", "/work"):
        os.mkdir(scratch + name, 0o700)
    os.chmod(f"{scratch}/upper", stat.S_IMODE(match.status.st_mode))
    os.chown(f"{scratch}/upper", match.status.st_uid, match.status.st_gid)
    # The paths are free of links and lie in snapshots, which never change.
    inside = os.fsdecode(match.path)
    lower = [os.path.join(stack[layer], inside) for layer in view.layers(match.path)]
    options = [*_lower(lower), f"upperdir={scratch}/upper", f"workdir={scratch}/work", "nosuid", "nodev"]
    options += ["userxattr"] if rootless else []
    options += ["ro"] if mount.readonly else []
    return {"destination": mount.target, "type": "overlay", "source": "overlay", "options": options}


def _lower(directories: Sequence[str]) -> list[str]:
    major, minor = (int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
    if (major, minor) >= (6, 8):  # each as an option of its own, for a single one holds 255 bytes
        return [f"lowerdir+={directory}" for directory in directories]
    return ["lowerdir=" + ":".join(directory.replace("\\", "\\\\").replace(":", "\\:") for directory in directories)]


# -- cache ----------------------------------------------------------------------------------------------------------


def _caches(
    mounts: Sequence[Mount], place: Place, origins: Origins, cancellation: Cancellation, held: ExitStack
) -> dict[int, str]:
    """The directory of each cache, by the mount's ``id``, locked as its sharing says."""
    wanted: dict[str, list[Mount]] = {}
    for mount in mounts:
        if mount.kind == "cache":
            wanted.setdefault(_name(mount, origins), []).append(mount)
    found = {}
    for name in sorted(wanted):  # in one order, or two steps may wait for each other
        sharing = {mount.sharing for mount in wanted[name]}
        directory = _locked(f"{place.caches}/{name}", sharing, cancellation, held)
        for mount in wanted[name]:
            found[id(mount)] = _filled(directory, mount, place, origins)
    return found


def _name(mount: Mount, origins: Origins) -> str:
    """A cache is another one if it begins with something else."""
    from hashlib import sha256

    chain = ""
    if mount.origin is not None:
        with origins(mount.origin) as origin:
            chain = origin.chain or f"context {mount.source}"
    parts = (mount.id, chain, mount.source if chain else "")
    return sha256(repr(parts).encode(errors="surrogateescape")).hexdigest()


def _locked(directory: str, sharing: set[str], cancellation: Cancellation, held: ExitStack) -> str:
    os.makedirs(os.path.dirname(directory), mode=0o700, exist_ok=True)
    number = 0
    while True:
        candidate = f"{directory}.{number}" if number else directory
        lock = locks.held(f"{candidate}.lock", shared=sharing == {"shared"}, wait=False)
        if held.enter_context(lock):
            os.utime(f"{candidate}.lock")  # the time of the last use, for ``cachemounts``
            return candidate
        cancellation.check()
        if "private" in sharing:
            number += 1
        else:
            time.sleep(_INTERVAL)


def _filled(directory: str, mount: Mount, place: Place, origins: Origins) -> str:
    """The directory itself, made with its first content if it is not there: aside first, so it is never half made.

    ``about`` beside it says which it is, for people.
    """
    if os.path.isdir(directory):
        return f"{directory}/it"
    made = f"{directory}.{os.urandom(8).hex()}"
    if mount.origin is None:
        os.mkdir(made, 0o700)
        os.mkdir(f"{made}/it")
    else:
        with origins(mount.origin) as origin:
            match = sources.find(origin.view, mount.source)
            if not match.is_directory:
                raise Invalid(f"the source of a cache is not a directory: {mount.source}")
            _copy(origin, match, made, place.rootless)
    _give(f"{made}/it", mount)
    with open(f"{made}/about", "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(mount.id)
    try:
        os.rename(made, directory)
    except OSError:  # another step that shares it was faster
        from sampan.store.trees import remove_tree

        remove_tree(made)
    return f"{directory}/it"


# -- secret and ssh -------------------------------------------------------------------------------------------------


def _secret(mount: Mount, place: Place, number: int, secrets: Mapping[str, Secret], found: Prepared) -> None:
    secret = secrets.get(mount.id)
    if secret is None:
        if mount.required:
            raise NotFound(f"the secret {mount.id} is required", hint=f"--secret id={mount.id},src=FILE or ,env=NAME")
        return
    content = secret.read(mount.id)
    if mount.env:
        if b"\0" in content:
            raise Invalid(f"the secret {mount.id} holds a NUL byte and cannot be a variable")
        found.environment[mount.env] = os.fsdecode(content)
    if mount.target:
        path = f"{place.bundle}/secret{number}"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            found.passing.append(path)
            file.write(content)
        _give(path, mount)
        found.mounts.append(defaults.bind(path, mount.target, "bind", "ro", "nosuid", "noexec"))


def _agent(
    mount: Mount, place: Place, number: int, agents: Mapping[str, str], found: Prepared, held: ExitStack
) -> None:
    from sampan.build.agent import Agent

    if mount.id not in agents:
        if mount.required:
            raise NotFound(f"the ssh agent {mount.id} is required", hint=f"give it to the build: --ssh {mount.id}")
        return
    directory = f"{place.bundle}/agent{number}"
    os.mkdir(directory, 0o700)
    held.enter_context(Agent(directory, agents[mount.id]))
    _give(f"{directory}/socket", mount)
    found.environment.setdefault("SSH_AUTH_SOCK", mount.target)
    found.mounts.append(defaults.bind(f"{directory}/socket", mount.target, "bind", "nosuid", "noexec"))


def _give(path: str, mount: Mount) -> None:
    """Sets the owner and mode that the mount asks for, of a file that only the builder has seen so far."""
    count = ids.mapped_ids()
    if count > 1:  # else the command is executed as the only user there is, whose it is already
        try:
            os.chown(path, mount.uid, mount.gid)
        except OSError as error:
            raise SampanError(
                f"{mount.target} cannot belong to {mount.uid}:{mount.gid}: {error.strerror}",
                hint=f"there are {count} user ids here",
            ) from None
    os.chmod(path, mount.mode)
