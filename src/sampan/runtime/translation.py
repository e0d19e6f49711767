"""A container's spec in words that every OCI runtime takes (see ``foreign``): this runtime understands a few of its
own, and leaves to itself what others want to be told."""

from __future__ import annotations

import os

from sampan.errors import Unsupported
from sampan.linux import ids
from sampan.runtime import defaults, nodes
from sampan.runtime.cgroups import container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Layers = tuple[tuple[str, ...], str, str, bool]

_VERSION = "1.0.2"  # Of the specification: crun refuses what is later than itself, needed or not.
_PROCESS = frozenset(
    "terminal consoleSize user args env cwd capabilities rlimits noNewPrivileges apparmorProfile oomScoreAdj scheduler "
    "selinuxLabel ioPriority".split()
)
_LINUX = frozenset(
    "uidMappings gidMappings sysctl resources cgroupsPath namespaces devices seccomp rootfsPropagation maskedPaths "
    "readonlyPaths mountLabel intelRdt personality timeOffsets".split()
)
_MOUNT = frozenset("destination type source options uidMappings gidMappings".split())
_FLAGS = {"init": "--init", "keptIds": "--userns keep-id"}
_DISPENSABLE = frozenset(("pretence", "ownNodes"))
"""What a container is poorer without, but the same."""


def translated(spec: dict[str, Any], root: str, place: str) -> tuple[dict[str, Any], list[tuple[str, Layers]]]:
    """The spec, and the layers that have to be mounted at paths below ``place`` for it.

    ``root`` is where the container's own are mounted. Raises Unsupported for what only this runtime can do.
    """
    entries = [_mount(mount, f"{place}/layers-{number}") for number, mount in enumerate(spec["mounts"])]
    made = {
        **spec,
        "ociVersion": _VERSION,
        "root": {**spec["root"], "path": root},
        "process": process(spec["process"]),
        "mounts": [entry for entry, _ in entries],
        "linux": _linux(spec.get("linux") or {}, spec.get("domainname") or ""),
    }
    return made, [(entry["source"], layers) for entry, layers in entries if layers]


def process(values: dict[str, Any]) -> dict[str, Any]:
    """The runtime-spec ``process``. Raises Unsupported."""
    return _known(values, _PROCESS, "a process")


def _known(values: dict[str, Any], words: frozenset[str], what: str) -> dict[str, Any]:
    own = {key for key, value in values.items() if value} - words - _DISPENSABLE
    if own:
        asked = ", ".join(sorted(_FLAGS.get(key, key) for key in own))
        raise Unsupported(f"{what} takes sampan's own runtime, for {asked}")
    return {key: value for key, value in values.items() if key in words}


def _linux(values: dict[str, Any], domainname: str) -> dict[str, Any]:
    linux = _known(values, _LINUX, "the container")
    if not _may_make_cgroup(linux):
        linux.pop("cgroupsPath", None)
    sources = [(entry["path"], entry.get("source", entry["path"])) for entry in linux.get("devices") or ()]
    linux["devices"] = [{**nodes.described(source), "path": path} for path, source in sources]
    # Nodes that are there may be used, and what every container has. Else each runtime has an idea of its own.
    rules = [*defaults.device_rules(), *(nodes.rule(source, "rwm") for _, source in sources)]
    resources = {"devices": rules, **(linux.get("resources") or {})}
    linux["resources"] = {**resources, "devices": [_without_wildcards(rule) for rule in resources["devices"]]}
    if domainname and ids.in_initial_user_namespace():  # a newer part of the specification, which else is left out
        linux["sysctl"] = {**(linux.get("sysctl") or {}), "kernel.domainname": domainname}
    return linux


def _without_wildcards(rule: dict[str, Any]) -> dict[str, Any]:
    """Not every runtime takes -1 for any number."""
    return {key: value for key, value in rule.items() if value != -1}


def _may_make_cgroup(linux: dict[str, Any]) -> bool:
    """Whether there is a cgroup where sampan wants it, or has to be, for the limits that were asked for."""
    places = [os.path.dirname(place.directory) for place in container.plan(linux.get("cgroupsPath") or "/")]
    writable = (os.access(place if os.path.isdir(place) else os.path.dirname(place), os.W_OK) for place in places)
    return bool(linux.get("resources")) or any(writable)


def _mount(mount: dict[str, Any], place: str) -> tuple[dict[str, Any], Layers | None]:
    """An entry of the spec's mounts, and the layers that it shows."""
    layers = mount.get("layers")
    words = {key: value for key, value in mount.items() if key != "layers"}
    entry = _known(words, _MOUNT, f"the mount at {mount['destination']}")
    options = [option for option in entry.get("options") or () if not _is_missing_group(option)]
    if not layers:
        return {**entry, "options": options}, None
    return {**entry, "type": "bind", "source": place, "options": ["bind", *options]}, layers


def _is_missing_group(option: str) -> bool:
    """Whether the kernel would refuse it: such a group does not exist in this user namespace."""
    name, _, number = option.partition("=")
    if name != "gid":
        return False
    with open("/proc/self/gid_map") as file:
        ranges = [(int(first), int(count)) for first, _, count in map(str.split, file)]
    return not any(first <= int(number) < first + count for first, count in ranges)
