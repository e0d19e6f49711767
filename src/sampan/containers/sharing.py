"""Namespaces that a container shares with the host or with another one (``--pid host``, ``--pid container:X``)."""

from __future__ import annotations

from sampan.containers.options import Namespaces
from sampan.errors import Conflict
from sampan.runtime import defaults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_PROC_NAMES = {"network": "net"}


def apply(namespaces: Namespaces, spec: dict[str, Any], *, rootless: bool) -> None:
    """Takes the namespaces that are the host's out of a runtime spec; others' are for ``join``, at the start."""
    linux = spec["linux"]
    hosts = {field for field, value in namespaces._asdict().items() if value == "host"}
    linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] not in hosts]
    if "ipc" in hosts:  # message queues are of the namespace that they are mounted in
        _replace(spec, "/dev/shm", defaults.bind("/dev/shm", "/dev/shm", "rbind", "nosuid", "noexec", "nodev"))
        if rootless:  # only who owns an ipc namespace may mount its queues
            spec["mounts"] = [each for each in spec["mounts"] if each["destination"] != "/dev/mqueue"]
    if namespaces.ipc == "none":
        spec["mounts"] = [each for each in spec["mounts"] if each["destination"] != "/dev/shm"]
    if "pid" in hosts and rootless:
        # Only who owns a pid namespace may mount its /proc.
        _replace(spec, "/proc", defaults.bind("/proc", "/proc", "rbind", "nosuid", "noexec", "nodev"))
    if namespaces.uts:
        spec["hostname"] = ""
    if namespaces.network.startswith("container:"):
        linux["sysctl"] = {}


def join(namespaces: Namespaces, spec: dict[str, Any], find: Callable[[str], tuple[str, int, Namespaces]]) -> None:
    """Puts the paths of other containers' namespaces into a spec; ``find`` gives a container's name, its first process
    (0 if it does not run) and its own namespaces. Raises NotFound, and Conflict if one is not running or not to be
    joined."""
    for field, value in namespaces._asdict().items():
        if not value.startswith("container:"):
            continue
        name, pid, theirs = find(value.removeprefix("container:"))
        if not pid:
            raise Conflict(f"container {name}, whose {field} namespace is to be joined, is not running")
        if field == "ipc":
            _share_memory(name, pid, theirs.ipc, spec)
        path = f"/proc/{pid}/ns/{_PROC_NAMES.get(field, field)}"
        entries = [entry for entry in spec["linux"]["namespaces"] if entry["type"] != field]
        spec["linux"]["namespaces"] = [*entries, {"type": field, "path": path}]


def _share_memory(name: str, pid: int, ipc: str, spec: dict[str, Any]) -> None:
    if ipc in ("", "none"):
        raise Conflict(
            f"container {name} does not share its ipc namespace", hint="sampan run --ipc shareable makes one that does"
        )
    memory = defaults.bind("/dev/shm", "/dev/shm", "bind", "nosuid", "noexec", "nodev")
    _replace(spec, "/dev/shm", {**memory, "process": pid})


def _replace(spec: dict[str, Any], destination: str, mount: dict[str, Any]) -> None:
    spec["mounts"] = [mount if each["destination"] == destination else each for each in spec["mounts"]]
