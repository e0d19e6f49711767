"""Changing what a container may use, and when it is started again, while it lives or before it does."""

from __future__ import annotations

import os

from sampan import plainjson
from sampan.containers import limits, streams
from sampan.containers.options import Limits, Restart
from sampan.containers.record import Container
from sampan.errors import Conflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.containers.record import Containers
    from sampan.containers.restarts import Restarts


def change(container: Container, table: Containers, wanted: dict[str, Any], restart: Restart | None) -> list[str]:
    """Gives a container other limits (``wanted``: fields of ``Limits``) and another restart policy, now and for all
    further starts. Sentences about what has to wait for one.

    Raises Invalid and Conflict for what does not fit together, and Unavailable if a limit cannot be set; then nothing
    is remembered.
    """
    options = container.options
    if restart and restart.name != "no" and options.auto_remove:
        raise Conflict(f"container {container.name} is removed when it ends, and so is not started again")
    settled = limits.check(options.limits._replace(**wanted))
    state = container.state()
    waiting = _set(container, wanted, settled) if wanted and state.status == "running" else []
    _write(container, limits.resources(settled))
    table.update(container.id, options._replace(limits=settled, restart=restart or options.restart))
    if state.alive:
        with streams.connect(container.socket) as end:
            end.send(streams.CHANGED + (restart or options.restart).text.encode())
    return waiting


def learn(job: dict[str, Any], policy: str, known: Restarts | None) -> Restarts:
    """What the monitor makes of a change: the limits of the next life are those that the spec has now, and its restarts
    are those of the new policy."""
    from sampan.containers import restarts

    with open(f"{job['directory']}/config.json", "rb") as file:
        job["spec"]["linux"]["resources"] = plainjson.loads(file.read())["linux"].get("resources")
    learnt = restarts.Restarts(*restarts.parse(policy))
    if known:
        learnt.count, learnt.stopped = known.count, known.stopped
    return learnt


def _set(container: Container, wanted: dict[str, Any], settled: Limits) -> list[str]:
    """Sets limits of a running container. It is in the hierarchies that its limits needed when it was started."""
    from sampan.runtime.cgroups import container as cgroups

    given = limits.resources(Limits(**{name: getattr(settled, name) for name in (*wanted, *_implied(wanted))}))
    if "pids" in wanted and not settled.pids:
        given["pids"] = {"limit": -1}
    places = cgroups.plan(container.state().cgroup or container.cgroup, given)
    there = tuple(place for place in places if os.path.isdir(place.directory))
    cgroups.change(there, given)
    return [
        f"{place.hierarchy.name}: the limit holds from the next start of {container.name} on"
        for place in places
        if place not in there
    ]


def _implied(wanted: dict[str, Any]) -> tuple[str, ...]:
    """Limits that are set together: swap counts memory, a quota is one of a period."""
    pairs = (("memory", "swap"), ("swap", "memory"), ("quota", "period"), ("period", "quota"))
    return tuple(other for name, other in pairs if name in wanted)


def _write(container: Container, resources: dict[str, Any]) -> None:
    """Puts limits into the spec; what else it says of resources, such as devices, stays."""
    path = f"{container.directory}/config.json"
    with open(path, "rb") as file:
        spec = plainjson.loads(file.read())
    rest = {key: value for key, value in (spec["linux"].get("resources") or {}).items() if key not in _LIMITED}
    spec["linux"]["resources"] = {**rest, **resources}
    with open(f"{path}.new", "w") as file:
        file.write(plainjson.dumps(spec))
    os.rename(f"{path}.new", path)


_LIMITED = ("memory", "cpu", "blockIO", "pids")
