"""Id maps of user namespaces (user_namespaces(7); runtime-spec, config-linux.md, "User namespace mappings")."""

from __future__ import annotations

import os

from sampan.errors import Invalid, Unavailable
from sampan.linux import namespaces, sockets, syscalls
from sampan.linux.namespaces import IdRange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple

_LARGEST = 2**32 - 1


class Maps(NamedTuple):
    """The ids of users and of groups."""

    uids: tuple[IdRange, ...] = ()
    gids: tuple[IdRange, ...] = ()


def of(holder: dict[str, Any]) -> Maps:
    """The ``uidMappings`` and ``gidMappings`` of the spec's ``linux``, or of one of its mounts. Raises Invalid."""
    return Maps(_ranges(holder.get("uidMappings") or ()), _ranges(holder.get("gidMappings") or ()))


def _ranges(entries: list[dict[str, int]] | tuple[()]) -> tuple[IdRange, ...]:
    found = []
    for entry in entries:
        values = [entry.get(key, 0) for key in ("containerID", "hostID", "size")]
        if not all(isinstance(value, int) and 0 <= value <= _LARGEST for value in values) or not values[2]:
            raise Invalid(f"an id mapping makes no sense: {entry}")
        found.append(IdRange(*values))
    return tuple(found)


def write(pid: int, maps: Maps) -> None:
    """Gives the new user namespace of process ``pid``, a child of the caller's namespace, its maps.

    Without privileges one's own id can be mapped, and more by newuidmap (which reads /etc/subuid). Raises Unavailable.
    """
    own = maps.uids[0].outside, maps.gids[0].outside
    single = [each.length for each in (*maps.uids, *maps.gids)] == [1, 1] and own == (os.geteuid(), os.getegid())
    try:
        if os.geteuid() and single:
            _put(pid, "setgroups", "deny")
        if not os.geteuid() or single:
            for name, ranges in (("uid_map", maps.uids), ("gid_map", maps.gids)):
                _put(pid, name, "".join(f"{each.inside} {each.outside} {each.length}\n" for each in ranges))
            return
    except OSError as error:
        raise Unavailable(f"cannot map the ids of the container's user namespace: {error.strerror}") from None
    for tool, ranges in (("newuidmap", maps.uids), ("newgidmap", maps.gids)):
        namespaces.map_by_tool(tool, pid, ranges)


def namespace(maps: Maps) -> int:
    """A descriptor of a new user namespace with these maps that nothing lives in, for mounts to be mapped by."""
    ours, theirs = sockets.pair()
    child = os.fork()
    if not child:
        try:
            ours.close()
            syscalls.unshare(syscalls.CLONE_NEWUSER)
            theirs.send(b"made")
            theirs.recv(1)  # the end of file: the namespace is held by its descriptor now
        finally:
            os._exit(0)
    theirs.close()
    try:
        if not ours.recv(8):
            raise Unavailable("cannot make a user namespace for the mapped mounts")
        write(child, maps)
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        ours.close()
        os.waitpid(child, 0)


def _put(pid: int, name: str, text: str) -> None:
    fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
