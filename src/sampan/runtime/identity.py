"""Who a program is: its user and groups, its capabilities, its keys.

Part of the first process; nothing is imported late.
"""

from __future__ import annotations

import errno
import os

from sampan.errors import SampanError
from sampan.linux import capabilities, syscalls
from sampan.linux.syscalls import named, prctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KEYCTL_JOIN_SESSION_KEYRING = 1


def become(user: dict[str, Any], *, keeps_groups: bool) -> None:
    """Changes to the program's user: groups first, then gid, then uid, while each is still allowed."""
    uid, gid = user.get("uid", 0), user.get("gid", 0)
    groups = list(user.get("additionalGids") or ())
    os.umask(user.get("umask", 0o022))
    try:
        # With a single group mapped there are no others to have or to lose.
        if not keeps_groups or set(groups) - {gid}:
            os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        prctl(syscalls.PR_SET_KEEPCAPS, 1)
        os.setresuid(uid, uid, uid)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise
        raise SampanError(
            f"cannot become user {uid}:{gid}: this id does not exist in the user namespace",
            hint="an administrator can give you subordinate ids: usermod --add-subuids 100000-165535 "
            "--add-subgids 100000-165535 USER, with the package uidmap installed",
        ) from None


def groups_are_kept() -> bool:
    """Whether this process's user namespace forbids setgroups(2) (user_namespaces(7)). To be asked before the pivot."""
    with open("/proc/self/setgroups", "rb", buffering=0) as file:
        return file.read().strip() == b"deny"


def take_capabilities(sets: dict[str, Any]) -> None:
    """Makes the five sets what the spec says, as far as the bounding set goes."""
    available = capabilities.bounding()
    effective, permitted, inheritable, ambient = (
        capabilities.mask(sets.get(name) or ()) & available
        for name in ("effective", "permitted", "inheritable", "ambient")
    )
    capabilities.set_all(effective, permitted, inheritable)
    # What runc's "spec" writes asks for more; the kernel would refuse it (capabilities(7)), and other runtimes drop it.
    capabilities.set_ambient(ambient & permitted & inheritable)


def own_keyring() -> None:
    """A session keyring of its own, so that the host's keys stay out of reach; not every kernel has keyrings."""
    try:
        named("keyctl", _KEYCTL_JOIN_SESSION_KEYRING, 0)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EDQUOT):
            raise
