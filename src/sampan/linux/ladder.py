"""The privilege ladder: how much a user may do here, why, and what would give him more.

root             all of the machine's ids
many ids         a user namespace with subordinate ids (subuid(5), newuidmap(1))
one id           a user namespace with his own id alone, which pretends to have all (runtime/pretence)
no namespaces    nothing is isolated and nothing can be run: builds without RUN
"""

from __future__ import annotations

import os

from sampan.errors import SampanError, Unavailable
from sampan.linux import ids, namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple


_RANGE = 65_536
"""As many ids as the images of the world use, and useradd(8) gives to a new user."""


class Rung(NamedTuple):
    """``lift`` is what an administrator can do; empty where nothing is lacking."""

    name: str
    reason: str
    lift: str = ""


def rung() -> Rung:
    """Where this process stands. It stays what it is: what it may do is tried in a child."""
    user = f"run by user {os.geteuid()}" if os.geteuid() else "run by root, but without CAP_SYS_ADMIN"
    if ids.is_root():
        if not namespaces.may_pivot():
            return Rung("no namespaces", f"run by root; {namespaces.NO_PIVOT}", namespaces.SECCOMP_HINT)
        if ids.in_initial_user_namespace():
            return Rung("root", "run by root")
        count = ids.mapped_ids()
        return Rung("many ids" if count > 1 else "one id", f"run by the root of a user namespace with {count} ids")
    count, refusal = _try()
    if count > 1:
        return Rung("many ids", f"{user}; containers have {count} ids")
    if count == 1:
        return Rung("one id", f"{user}; containers have 1 id: {_why_one_id()}", _lift_to_ranges())
    return Rung("no namespaces", f"{user}; {refusal.message}", refusal.hint or "")


def require_namespaces(what: str, instead: str = "") -> None:
    """Raises Unavailable, with the rung that is missing and why, where ``what`` can be given no namespaces; ``instead``
    is what a root can do. For processes that are root of a user namespace if they can be."""
    hint = f"; {instead}" if os.geteuid() == 0 and ids.may(ids.CAP_SYS_CHROOT) else ""
    if ids.is_root():
        if not namespaces.may_pivot():
            raise Unavailable(f"{what} cannot be isolated: {namespaces.NO_PIVOT}", hint=namespaces.SECCOMP_HINT + hint)
        return
    lacking = "root has no CAP_SYS_ADMIN, and " if os.geteuid() == 0 else ""
    lacking += "this machine does not let users make user namespaces"
    raise Unavailable(f"{what} needs namespaces to be isolated in: {lacking}", hint=namespaces.why_refused() + hint)


def _try() -> tuple[int, SampanError]:
    """How many ids a user namespace of this user has; 0, with the reason, where he cannot have one."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            namespaces.enter_user_namespace()
            found = f"{ids.mapped_ids()}\0\0"
        except SampanError as error:
            found = f"0\0{error.message}\0{error.hint or ''}"
        except BaseException as error:
            found = f"0\0{error}\0"
        os.write(writing, found.encode())
        os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as file:
        count, message, hint = file.read().split("\0")
    os.waitpid(child, 0)
    return int(count), SampanError(message, hint=hint or None)


def _why_one_id() -> str:
    missing = [path for path in ("/etc/subuid", "/etc/subgid") if not namespaces.subordinate_ids(path)]
    if missing:
        return f"there is no line for this user in {' and '.join(missing)}"
    if not namespaces.has_map_tools():
        return "newuidmap and newgidmap are not installed"
    return "newuidmap or newgidmap refused the ids of /etc/subuid and /etc/subgid"


def _lift_to_ranges() -> str:
    steps = []
    if not all(namespaces.subordinate_ids(path) for path in ("/etc/subuid", "/etc/subgid")):
        start = namespaces.first_free_id()
        free = f"{start}-{start + _RANGE - 1}"
        steps.append(f"usermod --add-subuids {free} --add-subgids {free} {_login()}")
    if not namespaces.has_map_tools():
        steps.append("install the package uidmap")
    return " and ".join(steps) or "check that newuidmap and newgidmap are set-user-ID and the ranges are free"


def _login() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
