"""Which user ids exist here (user_namespaces(7)): apart from ``namespaces``, for nearly every command asks."""

from __future__ import annotations


def in_initial_user_namespace() -> bool:
    """Whether every id of the machine is mapped onto itself here."""
    with open("/proc/self/uid_map") as file:
        return file.read().split() == ["0", "0", "4294967295"]


def mapped_ids() -> int:
    """How many user ids exist in this user namespace."""
    with open("/proc/self/uid_map") as file:
        return sum(int(line.split()[2]) for line in file)
