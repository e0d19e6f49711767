"""A container's cgroup: one directory in each hierarchy that it joins."""

from __future__ import annotations

import errno
import os
import time

from sampan.errors import SampanError, Unavailable
from sampan.runtime.cgroups import choose, v1, v2
from sampan.runtime.cgroups.choose import PARENT, Hierarchy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple

Cgroup = tuple["Membership", ...]
_HINT = "limits need root, or cgroups v2 and a session with systemd (loginctl enable-linger)"
_REALTIME_PERIOD = 1_000_000  # microseconds, what a group is born with
_SWAP = ("memory.memsw.limit_in_bytes", "memory.swap.max")
_WISHES = (
    "memory.swappiness", "memory.oom_control", "memory.soft_limit_in_bytes", "memory.low", "cpu.rt_period_us",
    "cpu.rt_runtime_us", "io.weight", "io.max",
)  # fmt: skip
"""Files of what a container does without, as in Docker, where the kernel does, or a disk's scheduler; and "blkio.*"."""


class Membership(NamedTuple):
    """The directory of a container in one hierarchy."""

    hierarchy: Hierarchy
    directory: str


def plan(path: str, resources: dict[str, Any] | None = None, *, every: bool = False) -> Cgroup:
    """Where the container with cgroup path ``path`` ("/sampan/ID") belongs on this machine. Makes nothing.

    ``resources`` are its limits (runtime-spec ``linux.resources``); some need hierarchies that others do without.
    ``every`` is for whoever expects a container in all of them.
    """
    cpu = (resources or {}).get("cpu") or {}
    asked: tuple[str, ...] = ("cpuset",) if cpu.get("cpus") or cpu.get("mems") else ()
    if (resources or {}).get("blockIO"):
        asked += ("blkio",)
    if (resources or {}).get("devices"):
        asked += ("devices",)
    if every:
        asked = choose.CONTROLLERS
    return tuple(Membership(entry, entry.mount + path) for entry in choose.joined(choose.hierarchies(), asked))


def found(path: str) -> Cgroup:
    """Where the container with cgroup path ``path`` is, as far as this process may put others there."""
    places = (Membership(entry, entry.mount + path) for entry in choose.hierarchies())
    return tuple(place for place in places if os.access(place.directory, os.W_OK))


def make(cgroup: Cgroup, resources: dict[str, Any], *, required: bool, missing: list[str] | None = None) -> Cgroup:
    """Makes the directories and sets the limits, and gives those memberships that could be made.

    A hierarchy that this process may not write to is left out, unless ``required`` (a limit was asked for), which
    raises Unavailable. What the kernel was built without raises it too, but for wishes, which are done without where
    the caller hears of them: ``missing`` gets their names.
    """
    absent = choose.unserved([each.hierarchy for each in cgroup], resources) if required else []
    if absent:
        raise Unavailable(f"cannot set the limits asked for: there is no cgroup controller {', '.join(absent)} here")
    made: list[Membership] = []
    for membership in cgroup:
        try:
            _make_directory(membership)
            _limit(membership, resources, missing)
            if membership.hierarchy.version == 2 and resources.get("devices"):
                from sampan.runtime.cgroups import devices

                devices.attach(membership.directory, devices.compile(resources["devices"]))
        except SampanError:
            remove((*made, membership))
            raise
        except OSError as error:
            _remove_directory(membership.directory)
            if required:
                remove(tuple(made))
                raise Unavailable(
                    f"cannot set the limits asked for: {error.strerror}: {error.filename or membership.directory}",
                    hint=_HINT if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT) else None,
                ) from None
            continue
        made.append(membership)
    return tuple(made)


def join(cgroup: Cgroup) -> None:
    """Moves the calling process, which must have a single thread, into the container's cgroup.

    If that has no real-time budget, and a new one has none, the process is scheduled as most are from then on.
    """
    for membership in cgroup:
        try:
            _join(membership)
        except OSError as error:
            # What sampan itself was started with (chrt) is not asked for the container: Docker's know nothing of it.
            if error.errno != errno.EINVAL or os.sched_getscheduler(0) not in (os.SCHED_FIFO, os.SCHED_RR):
                raise
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
            _join(membership)


def _join(membership: Membership) -> None:
    (v1 if membership.hierarchy.version == 1 else v2).join(membership.directory)


def remove(cgroup: Cgroup) -> None:
    """Removes the directories once their last process is gone; those that are not there are no error."""
    for membership in cgroup:
        for directory in _tree(membership.directory):
            _remove_directory(directory)


def remove_path(path: str) -> None:
    """Removes what is left of a container's cgroup in any hierarchy, for instance after its monitor was killed."""
    for mount in choose.mounts():
        _remove_directory(mount + path)


def oom_kills(cgroup: Cgroup) -> int:
    """How many processes of the container the kernel has killed because its memory was used up."""
    for membership in cgroup:
        two = membership.hierarchy.version == 2
        if not two and "memory" not in membership.hierarchy.controllers:
            continue
        try:
            with open(f"{membership.directory}/{'memory.events' if two else 'memory.oom_control'}") as file:
                counts = dict(line.split() for line in file)
        except FileNotFoundError:
            continue
        return int(counts.get("oom_kill", "0"))
    return 0


def freeze(cgroup: Cgroup, *, frozen: bool) -> None:
    """Stops all processes of the container where they are, or lets them go on. Raises Unavailable without a freezer."""
    for membership in cgroup:
        if membership.hierarchy.version == 2:
            _write(f"{membership.directory}/cgroup.freeze", "1" if frozen else "0")
            return
        if "freezer" in membership.hierarchy.controllers:
            _write(f"{membership.directory}/freezer.state", "FROZEN" if frozen else "THAWED")
            return
    raise Unavailable("this machine's cgroups cannot freeze processes")


def is_frozen(cgroup: Cgroup) -> bool:
    """Whether ``freeze`` has stopped the container."""
    for membership in cgroup:
        two = membership.hierarchy.version == 2
        if two or "freezer" in membership.hierarchy.controllers:
            name = "cgroup.freeze" if two else "freezer.state"
            try:
                with open(f"{membership.directory}/{name}") as file:
                    return file.read().strip() in ("1", "FROZEN", "FREEZING")
            except FileNotFoundError:
                continue
    return False


def processes(cgroup: Cgroup) -> list[int]:
    """The ids of all processes of the container, also those in cgroups that it made for itself."""
    for membership in cgroup:
        found: list[int] = []
        for directory in _tree(membership.directory):
            try:
                found += v1.processes(directory)
            except (FileNotFoundError, OSError):
                continue  # it went away meanwhile, or is of threads (ENOTSUP)
        return found
    return []


def change(cgroup: Cgroup, resources: dict[str, Any]) -> None:
    """Sets other limits for a running container. Raises Unavailable naming the file that could not be written."""
    for membership in cgroup:
        try:
            _write_limits(membership, resources)
        except OSError as error:
            raise Unavailable(f"cannot change the limits: {error.strerror}: {error.filename}") from None


def _tree(directory: str) -> list[str]:
    """A cgroup and all below it, from the bottom up."""
    found = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    found += _tree(entry.path)
    except FileNotFoundError:
        return found
    return [*found, directory]


def _make_directory(membership: Membership) -> None:
    for last in (False, True):
        try:
            os.makedirs(membership.directory, exist_ok=True)
            if membership.hierarchy.version == 2:
                _delegate(membership.hierarchy.mount, os.path.dirname(membership.directory))
            break
        except FileNotFoundError:  # the last container of before took the parent with it just now
            if last:
                raise
    if "cpuset" in membership.hierarchy.controllers:
        v1.inherit_cpuset(membership.hierarchy.mount, membership.directory)


def _limit(membership: Membership, resources: dict[str, Any], missing: list[str] | None) -> None:
    cpu = resources.get("cpu") or {}
    if "cpu" in membership.hierarchy.controllers and cpu.get("realtimeRuntime"):
        runtime, period = cpu["realtimeRuntime"], cpu.get("realtimePeriod") or _REALTIME_PERIOD
        v1.budget_realtime(membership.hierarchy.mount, membership.directory, runtime, period)
    _write_limits(membership, resources, missing)


def _delegate(mount: str, parent: str) -> None:
    """Turns on, from ``mount`` down to the children of ``parent``, every controller that is on offer."""
    directory = mount
    for part in ("", *os.path.relpath(parent, mount).split("/")):
        directory = os.path.normpath(f"{directory}/{part}")
        missing = _words(f"{directory}/cgroup.controllers") - _words(f"{directory}/cgroup.subtree_control")
        for name in missing & {*choose.CONTROLLERS, "io"}:
            try:
                _write(f"{directory}/cgroup.subtree_control", f"+{name}")
            except OSError:
                continue  # a controller that cannot be had here is missed only when a limit asks for it


def _words(path: str) -> set[str]:
    with open(path) as file:
        return set(file.read().split())


def _write_limits(membership: Membership, resources: dict[str, Any], missing: list[str] | None = None) -> None:
    if membership.hierarchy.version == 1:
        writes = v1.limits(resources, membership.hierarchy.controllers)
    else:
        writes = v2.limits(resources)
        if missing is not None:
            missing += v2.lacking(resources)
    # The limit of memory with swap may not be below that of memory: what is refused at first may fit after the rest.
    again = []
    for file, text in writes:
        try:
            if not _written(membership.directory, file, text, patient=True):
                again.append((file, text))
        except OSError as error:
            if missing is None or not _is_wish(file) or error.errno not in (errno.ENOENT, errno.EOPNOTSUPP):
                raise
            missing.append(file)
    for file, text in again:
        _written(membership.directory, file, text)


def _is_wish(file: str) -> bool:
    return file in _WISHES or file.startswith("blkio.")


def _written(directory: str, file: str, text: str, *, patient: bool = False) -> bool:
    try:
        _write(f"{directory}/{file}", text)
    except FileNotFoundError:
        if file not in _SWAP:  # a kernel may count no swap; then there is nothing to limit
            raise
    except OSError as error:
        if not patient or error.errno != errno.EINVAL:
            raise OSError(error.errno, os.strerror(error.errno or 0), f"{directory}/{file}") from None
        return False
    return True


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _remove_directory(directory: str) -> None:
    """rmdir(2), patiently: the kernel says EBUSY until it has buried the last process."""
    for _ in range(200):
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.005)
            continue
        parent = os.path.dirname(directory)
        if os.path.basename(parent) == PARENT:
            try:
                os.rmdir(parent)
            except OSError:
                return  # another container is in it
        return
