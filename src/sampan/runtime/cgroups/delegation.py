"""Where an ordinary user may make cgroups (Documentation/admin-guide/cgroup-v2.rst, "Delegation").

Limits are for groups without processes of their own ("No Internal Process Constraint"), and a process is moved only by
who may write to the group that both places have in common. So either the caller runs below a group that is his and has
no processes, as in a unit of his own systemd, or that systemd makes a scope and puts the caller into it.
"""

from __future__ import annotations

import os

from sampan.errors import SampanError
from sampan.runtime.cgroups import choose, systemd


def home(unit: str, *, required: bool) -> str:
    """The path below the mount of a cgroup of v2 in which this process may make others and join them; "" for none.

    ``unit`` names the scope that systemd makes where it must; this process is in it then, in a cgroup "monitor".
    What goes wrong with that is an error only where it is ``required`` (a limit was asked for): SampanError then.
    """
    found = choose.joined(choose.hierarchies())
    if not found or found[0].version != 2:
        return ""
    mount, own = found[0].mount, systemd.path_of("self")
    path = _above(mount, own)
    if path or not systemd.is_there():
        return path
    try:
        own = systemd.start_scope(unit, "", os.getpid(), [], "A container of sampan's, with its monitor")
        _step_down(f"{mount}{own}")
    except (SampanError, OSError):
        if required:
            raise
        return ""
    return own


def _above(mount: str, path: str) -> str:
    """The nearest group, from the process's own upwards, that is the user's and has no processes; "" if none is."""
    while path != "/" and _is_ours(f"{mount}{path}"):
        with open(f"{mount}{path}/cgroup.procs") as file:
            if not file.readline():
                return path
        path = os.path.dirname(path)
    return ""


def _is_ours(directory: str) -> bool:
    files = ("", "/cgroup.procs", "/cgroup.subtree_control")
    return all(os.access(f"{directory}{file}", os.W_OK) for file in files)


def _step_down(directory: str) -> None:
    """Leaves a group to what will be made in it."""
    os.makedirs(f"{directory}/monitor", exist_ok=True)
    with open(f"{directory}/monitor/cgroup.procs", "wb", buffering=0) as file:
        file.write(b"0")
