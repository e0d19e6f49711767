"""The container's file system as a plan: mount operations as values, made from the spec alone, which can be printed and
tested without root. ``mounting`` performs them."""

from __future__ import annotations

import os

from sampan.errors import Invalid
from sampan.linux import mounts, namespaces
from sampan.linux.mounts import MOUNT_ATTR_NODEV

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple


class Filesystem(NamedTuple):
    """Mount a new file system of ``kind``; with ``copy_up`` it begins with what is in the directory below it."""

    target: str
    kind: str
    options: tuple[tuple[str, str | None], ...]
    attributes: int
    propagation: tuple[int, bool] | None = None
    copy_up: bool = False


class Bind(NamedTuple):
    """Show a path of the host, or of the mount namespace of ``process``, if that is not 0; or of it ``subpath``, which
    stays below it. ``set_``/``clear`` are mount attributes, of all mounts below it where ``deep``.

    ``fd`` is the detached copy of the source once that is opened, ``ids`` a user namespace that maps its owners (-1: as
    they are), for all mounts below it where ``deep_ids``.
    """

    target: str
    source: str
    recursive: bool
    set_: int
    clear: int
    deep: bool
    propagation: tuple[int, bool]
    ids: int = -1
    deep_ids: bool = False
    process: int = 0
    subpath: str = ""
    fd: int = -1


class Layers(NamedTuple):
    """Show a stack of layers, or ``subpath`` of it: ``lower`` directories, topmost first, and what takes changes."""

    target: str
    lower: tuple[str, ...]
    upper: str
    work: str
    userxattr: bool
    subpath: str
    attributes: int


class Device(NamedTuple):
    """Show a device node of the host. A bound node, unlike a made one, works on a ``nodev`` file system."""

    target: str
    source: str


class Node(NamedTuple):
    """Make a device node or a FIFO (mknod(2)), unless something is there. ``mode`` includes the file type."""

    target: str
    mode: int
    device: int
    owner: tuple[int, int]


class Link(NamedTuple):
    """Make a symbolic link unless something is there."""

    target: str
    to: str


class Cgroups(NamedTuple):
    """Show the container's own cgroup below ``target``; ``namespace`` is whether it is its namespace's root."""

    target: str
    attributes: int
    namespace: bool = True


class Mask(NamedTuple):
    """Make a path unreadable: an empty read-only directory, or /dev/null."""

    target: str


class ReadOnly(NamedTuple):
    """Make a path read-only."""

    target: str


class Sysctl(NamedTuple):
    """Set a kernel setting of the container's own namespaces. ``target`` is its file below /proc/sys."""

    target: str
    value: str


Operation = Filesystem | Bind | Layers | Device | Node | Link | Cgroups | Mask | ReadOnly | Sysctl

DEVICE_LINKS = (
    ("/dev/ptmx", "pts/ptmx"),
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
)
# Kept by the ipc namespace (runtime-spec, config-linux.md, "Sysctl"; net.* by the network namespace).
_OWN_SYSCTLS = (
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
    "kernel.shmmni", "kernel.shm_rmid_forced",
)  # fmt: skip


BIND_WORDS = {"bind", "rbind", "idmap", "ridmap", "remount", *mounts.OF_FILESYSTEMS}
SILENT = ("defaults", "silent", "loud", "nomand", "iversion", "noiversion", "acl", "noacl")


def plan(spec: dict[str, Any], devices: tuple[str, ...]) -> list[Operation]:
    """The operations that turn an image's tree into the container's root, in order. Raises Invalid.

    ``devices`` are the names in /dev that every container of the engine's has, shown on the spec's own tmpfs there.
    Nodes that are made inside are of no use, but with the spec's ``linux.ownNodes``.
    """
    operations: list[Operation] = []
    own_nodes = (spec.get("linux") or {}).get("ownNodes")
    for mount in spec.get("mounts") or ():
        operations.append(planned(mount) if own_nodes else _without_devices(planned(mount)))
        if mount["destination"] == "/dev" and mount["type"] == "tmpfs":
            operations += [Device(f"/dev/{name}", f"/dev/{name}") for name in devices]
            operations += [Link(*link) for link in DEVICE_LINKS]
    linux = spec.get("linux") or {}
    operations += [Device(entry["path"], entry.get("source", entry["path"])) for entry in linux.get("devices") or ()]
    return operations + hidden(linux)


def hidden(linux: dict[str, Any]) -> list[Operation]:
    """The operations that come last: settings, then what is read-only and what is out of sight."""
    kinds = namespaces.apart(linux.get("namespaces") or []) if linux.get("sysctl") else set()
    return [
        *(_sysctl(key, value, kinds) for key, value in (linux.get("sysctl") or {}).items()),
        *(ReadOnly(path) for path in linux.get("readonlyPaths") or ()),
        *(Mask(path) for path in linux.get("maskedPaths") or ()),
    ]


def propagation(word: str) -> int:
    """``rootfsPropagation`` as mount(2)'s flags, 0 for none. Raises Invalid."""
    if not word:
        return 0
    if word not in mounts.PROPAGATION:
        raise Invalid(f"unknown rootfsPropagation {word!r}")
    flag, recursive = mounts.PROPAGATION[word]
    return flag | (mounts.MS_REC if recursive else 0)


def planned(mount: dict[str, Any], *, cgroup_namespace: bool = True) -> Operation:
    """One entry of the spec's mounts as an operation (runtime-spec, config.md, "Mounts"). Raises Invalid."""
    target, kind = mount["destination"], mount.get("type") or "bind"
    if not target.startswith("/"):
        raise Invalid(f"a mount's destination is not absolute: {target!r}")
    set_, clear, deep, propagation, data = _options(mount.get("options") or ())
    words = {key for key, _ in data}
    if kind == "bind" or words & {"bind", "rbind"}:
        if words - BIND_WORDS:
            raise Invalid(f"unknown option {min(words - BIND_WORDS)!r} of the bind mount at {target}")
        source = mount.get("source")
        if not source:
            raise Invalid(f"the bind mount at {target} has no source")
        recursive = "rbind" in words or not words & {"bind"}
        propagation = propagation or (mounts.MS_PRIVATE, True)
        ids, own = mount.get("ids", -1), (mount.get("process", 0), mount.get("subpath", ""))
        return Bind(target, source, recursive, set_, clear, deep, propagation, ids, "ridmap" in words, *own)
    if kind == "layers" and "layers" in mount:
        lower, upper, work, userxattr = mount["layers"]
        return Layers(target, tuple(lower), upper, work, userxattr, mount["subpath"], set_)
    if kind == "cgroup":
        return Cgroups(target, set_, cgroup_namespace)
    options = tuple(pair for pair in data if pair[0] != "tmpcopyup")
    source = mount.get("source") or kind
    if len(os.fsencode(source)) <= mounts.LONGEST_OPTION:
        options = (("source", source), *options)
    return Filesystem(target, kind, options, set_, propagation, copy_up="tmpcopyup" in words)


def _without_devices(operation: Operation) -> Operation:
    """What a container makes on its file systems, or on a directory shared with it, is no way to the host's devices."""
    if isinstance(operation, Layers):
        return operation._replace(attributes=operation.attributes | MOUNT_ATTR_NODEV)
    if isinstance(operation, Filesystem) and operation.kind != "devpts":
        return operation._replace(attributes=operation.attributes | MOUNT_ATTR_NODEV)
    if isinstance(operation, Bind):
        return operation._replace(set_=operation.set_ | MOUNT_ATTR_NODEV)
    return operation


def _sysctl(key: str, value: str, kinds: set[str]) -> Sysctl:
    """A setting, if it is one that a namespace of the container's keeps to itself (CVE-2022-0811: nothing smuggled into
    key or value)."""
    if key.startswith("net."):
        keeper = "network"
    elif key in ("kernel.domainname", "kernel.hostname"):
        keeper = "uts"
    else:
        keeper = "ipc" if key.startswith("fs.mqueue.") or key in _OWN_SYSCTLS else ""
    if not keeper or any(character in key + value for character in "+=\n\0/"):
        raise Invalid(f"the setting {key} is not one that a container may change")
    if keeper not in kinds:
        raise Invalid(f"the setting {key} would be the host's: the container has no {keeper} namespace of its own")
    return Sysctl("/proc/sys/" + key.replace(".", "/"), value)


def _options(
    words: list[str] | tuple[str, ...],
) -> tuple[int, int, bool, tuple[int, bool] | None, tuple[tuple[str, str | None], ...]]:
    """Mount options as (attributes set, cleared, recursively, propagation, what is left for the file system)."""
    set_ = clear = 0
    deep = False
    propagation = None
    data: list[tuple[str, str | None]] = []
    for word in words:
        name = word[1:] if word.startswith("r") and word[1:] in mounts.ATTRIBUTES else word
        if word in mounts.ATTRIBUTES or name in mounts.ATTRIBUTES:
            deep = deep or word not in mounts.ATTRIBUTES
            adds, removes = mounts.ATTRIBUTES[word if word in mounts.ATTRIBUTES else name]
            set_, clear = set_ & ~removes | adds, clear & ~adds | removes
        elif word in mounts.PROPAGATION:
            propagation = mounts.PROPAGATION[word]
        elif word not in SILENT:
            key, equals, value = word.partition("=")
            data.append((key, value if equals else None))
    return set_, clear, deep, propagation, tuple(data)
