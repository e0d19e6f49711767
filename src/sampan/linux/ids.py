"""Who this process is, and which user ids exist here (user_namespaces(7)): apart from ``namespaces``, for nearly every
command asks."""

from __future__ import annotations

import os

CAP_SETGID, CAP_SETUID, CAP_NET_ADMIN, CAP_SYS_CHROOT = 6, 7, 12, 18
CAP_SYS_ADMIN, CAP_SYS_RESOURCE, CAP_SETFCAP = 21, 24, 31


def may(*capabilities: int) -> bool:
    """Whether this process has all of these capabilities (proc(5), status; ``linux.capabilities`` knows more)."""
    with open("/proc/self/status") as file:
        bits = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))
    return all(bits >> number & 1 for number in capabilities)


def is_root() -> bool:
    """Whether this process is root, of the machine or of a user namespace, and may make namespaces and mounts."""
    return os.geteuid() == 0 and may(CAP_SYS_ADMIN)


def may_raise_limits() -> bool:
    """Whether this process may raise a hard limit: the machine's root may (setrlimit(2)), not one of a namespace."""
    return in_initial_user_namespace() and may(CAP_SYS_RESOURCE)


def in_initial_user_namespace() -> bool:
    """Whether every id of the machine is mapped onto itself here."""
    with open("/proc/self/uid_map") as file:
        return file.read().split() == ["0", "0", "4294967295"]


def outer_uid() -> int:
    """Who this process is in the parent of its user namespace: for the root of one of his own, the user himself."""
    own = os.geteuid()
    with open("/proc/self/uid_map") as file:
        for line in file:
            inside, outside, count = map(int, line.split())
            if inside <= own < inside + count:
                return outside + own - inside
    return own


def mapped_ids() -> int:
    """How many user ids exist in this user namespace."""
    with open("/proc/self/uid_map") as file:
        return sum(int(line.split()[2]) for line in file)
