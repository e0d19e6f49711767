"""Namespaces: which ones there are, and how an ordinary user gets one in which he is root.

An ordinary user's command enters a user namespace of its own at its start and goes on as uid 0 in it: with his
subordinate ids mapped when /etc/subuid gives him some and newuidmap is installed, else with his own id alone.
"""

from __future__ import annotations

import os

from sampan.errors import Unavailable
from sampan.linux import syscalls
from sampan.linux.syscalls import CLONE_NEWNS, CLONE_NEWUSER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

FLAGS = {  # runtime-spec, config-linux.md "Namespaces": type → flag
    "time": syscalls.CLONE_NEWTIME,
    "mount": syscalls.CLONE_NEWNS,
    "cgroup": syscalls.CLONE_NEWCGROUP,
    "uts": syscalls.CLONE_NEWUTS,
    "ipc": syscalls.CLONE_NEWIPC,
    "user": syscalls.CLONE_NEWUSER,
    "pid": syscalls.CLONE_NEWPID,
    "network": syscalls.CLONE_NEWNET,
}
PROC_NAMES = {"mount": "mnt", "network": "net"}  # /proc/PID/ns/NAME where it differs from the type


_FIRST_SUBORDINATE = 100_000


class IdRange(NamedTuple):
    """``length`` ids from ``inside`` on are those from ``outside`` on in the parent namespace."""

    inside: int
    outside: int
    length: int


def enter_user_namespace() -> None:
    """Makes this process root of a new user and mount namespace; does nothing for one that is uid 0 already.

    Must be called while the process has a single thread. Raises Unavailable where the kernel does not let users do it.
    """
    if os.geteuid() == 0:
        return
    uid, gid = os.geteuid(), os.getegid()
    uids, gids = _maps("/etc/subuid", uid), _maps("/etc/subgid", gid)
    if len(uids) > 1 and len(gids) > 1 and _enter_with_ranges(uids, gids):
        return
    _unshare_user()
    _write_single_map(uid, gid)


def _unshare_user() -> None:
    try:
        syscalls.unshare(CLONE_NEWUSER | CLONE_NEWNS)
    except OSError as error:
        raise Unavailable(
            f"this machine does not let users make user namespaces: {error.strerror}", hint=why_refused()
        ) from None


def why_refused() -> str:
    """What keeps a process from making namespaces, as far as can be told: one sentence without its full stop."""
    reasons = (
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0"),
        ("/proc/sys/user/max_user_namespaces", "0"),
    )
    for path, refusing in reasons:
        try:
            with open(path) as file:
                if file.read().strip() == refusing:
                    name = path.removeprefix("/proc/sys/").replace("/", ".")
                    return f"the setting {name} is {refusing}: an administrator can change it with sysctl"
        except OSError:
            continue
    with open("/proc/self/status") as file:
        is_filtered = "\nSeccomp:\t2\n" in file.read()
    if is_filtered:
        return (
            "a seccomp filter forbids it, as that of a container does: --security-opt seccomp=unconfined lifts it there"
        )
    return "a chroot or a security module forbids it"


def may_mount() -> bool:
    """Whether root has the capability that namespaces and mounts take (CAP_SYS_ADMIN)."""
    from sampan.linux import capabilities

    return bool(capabilities.effective() & capabilities.mask(["CAP_SYS_ADMIN"]))


def has_map_tools() -> bool:
    """Whether newuidmap(1) and newgidmap(1) are installed."""
    return bool(_find("newuidmap") and _find("newgidmap"))


def subordinate_ids(path: str) -> int:
    """How many ids ``path`` (/etc/subuid or /etc/subgid) gives this user."""
    return sum(count for _, count in _subordinate(path, os.geteuid()))


def first_free_id() -> int:
    """The lowest id, as useradd(8) counts them, above all that /etc/subuid and /etc/subgid give to anybody."""
    given = (entry for path in ("/etc/subuid", "/etc/subgid") for _, *entry in _lines(path))
    return max((int(start) + int(count) for start, count in given), default=_FIRST_SUBORDINATE)


def processes(first: int) -> list[int]:
    """The ids of the processes in the pid namespace that process ``first`` began; of it alone if it began none
    (pid_namespaces(7)). Empty if it is gone."""
    try:
        with open(f"/proc/{first}/status") as file:
            ids = next(line.split()[1:] for line in file if line.startswith("NSpid:"))
        if len(ids) == 1 or ids[-1] != "1":
            return [first]
        wanted = os.readlink(f"/proc/{first}/ns/pid")
    except (FileNotFoundError, ProcessLookupError):
        return []
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.readlink(f"/proc/{name}/ns/pid") == wanted:
                found.append(int(name))
        except OSError:  # it ended just now, or is another's
            continue
    return sorted(found)


def _write_single_map(uid: int, gid: int) -> None:
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _enter_with_ranges(uids: list[IdRange], gids: list[IdRange]) -> bool:
    """Unshares, and has newuidmap and newgidmap, which are privileged, write the maps. False if they are not there.

    Only a process outside the new namespace may write the maps, so a child that stays behind calls them.
    """
    tools = [_find(name) for name in ("newuidmap", "newgidmap")]
    if not all(tools):
        return False
    ready_read, ready_write = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.read(ready_read, 1)
        ok = all(_write_map(tool, parent, ranges) for tool, ranges in zip(tools, (uids, gids), strict=True))
        os._exit(0 if ok else 1)
    os.close(ready_read)
    try:
        _unshare_user()
    finally:
        os.write(ready_write, b"!")
        os.close(ready_write)
        status = os.waitpid(child, 0)[1]
    if status:
        # The namespace is made, so there is no way back; its map is still empty, and the single one fits.
        with open("/proc/self/uid_map") as file:
            if not file.read():
                uid, gid = uids[0].outside, gids[0].outside
                _write_single_map(uid, gid)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    return True


def map_by_tool(name: str, pid: int, ranges: tuple[IdRange, ...]) -> None:
    """Has newuidmap(1) or newgidmap(1) write a map of process ``pid``'s user namespace. Raises Unavailable."""
    tool = _find(name)
    if not tool:
        raise Unavailable(f"mapping more than one's own id needs {name}", hint="install the package uidmap")
    if not _write_map(tool, pid, ranges):
        raise Unavailable(
            f"{name} refused the container's id map", hint="/etc/subuid and /etc/subgid list what is ours"
        )


def _write_map(tool: str, pid: int, ranges: list[IdRange] | tuple[IdRange, ...]) -> bool:
    arguments = [tool, str(pid), *(str(number) for entry in ranges for number in entry)]
    child = os.posix_spawn(tool, arguments, os.environ)
    return os.waitpid(child, 0)[1] == 0


def _maps(path: str, own: int) -> list[IdRange]:
    """The id map for a user: himself as 0, then his subordinate ids from 1 on (subuid(5))."""
    ranges = [IdRange(0, own, 1)]
    following = 1
    for start, count in _subordinate(path, os.geteuid()):
        ranges.append(IdRange(following, start, count))
        following += count
    return ranges


def _subordinate(path: str, uid: int) -> list[tuple[int, int]]:
    lines = _lines(path)
    owners = {str(uid)}
    if any(not owner.isdigit() for owner, _, _ in lines):
        import pwd

        try:
            owners.add(pwd.getpwuid(uid).pw_name)
        except KeyError:
            pass
    return [(int(start), int(count)) for owner, start, count in lines if owner in owners]


def _lines(path: str) -> list[tuple[str, str, str]]:
    """Owner, first id and count of each range in a file of subuid(5); what is no such line gives nobody anything."""
    try:
        with open(path) as file:
            found = [tuple(line.strip().split(":")) for line in file]
    except OSError:
        return []
    return [line for line in found if len(line) == 3 and line[1].isdecimal() and line[2].isdecimal()]


def _find(name: str) -> str:
    for directory in os.environ.get("PATH", os.defpath).split(":"):
        path = f"{directory}/{name}"
        if os.access(path, os.X_OK):
            return path
    return ""
