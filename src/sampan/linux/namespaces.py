"""Namespaces: which ones there are, and how an ordinary user gets one in which he is root.

An ordinary user's command enters a user namespace of its own at its start and goes on as uid 0 in it: with his
subordinate ids mapped when /etc/subuid gives him some and newuidmap is installed, else with his own id alone.
"""

from __future__ import annotations

import errno
import os

from sampan.errors import Unavailable
from sampan.linux import ids, syscalls
from sampan.linux.syscalls import CLONE_NEWNS, CLONE_NEWUSER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
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
APPARMOR = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
_REFUSED = "this machine does not let users make user namespaces"
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
NO_PIVOT = "the system call pivot_root is forbidden here"
SECCOMP_HINT = (
    "a seccomp filter forbids it, as that of a container does: --security-opt seccomp=unconfined lifts it there"
)


def apart(entries: list[dict[str, str]]) -> set[str]:
    """The types of those namespaces (runtime-spec, config-linux.md, "Namespaces") that are not this process's own: to
    be made, or given by a path that leads to another one."""
    return {entry["type"] for entry in entries if not entry.get("path") or not _is_own(entry["type"], entry["path"])}


def _is_own(kind: str, path: str) -> bool:
    try:
        return os.path.samefile(path, f"/proc/self/ns/{PROC_NAMES.get(kind, kind)}")
    except OSError:
        return False


class IdRange(NamedTuple):
    """``length`` ids from ``inside`` on are those from ``outside`` on in the parent namespace."""

    inside: int
    outside: int
    length: int


def enter_user_namespace(owner: int = 0) -> None:
    """Makes this process root of a new user and mount namespace, or of the one that process ``owner`` is in; does
    nothing for one that is root already.

    Must be called while the process has a single thread. Raises Unavailable where the kernel does not let users do it.
    """
    if ids.is_root():
        return
    if owner:
        _join_user(owner)
        return
    if _reads(APPARMOR, "1") and _would_be_powerless():
        raise Unavailable(f"{_REFUSED}: AppArmor allows nothing in them", hint=why_refused())
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        _enter_with_all()
        return
    uids, gids = _maps("/etc/subuid", uid), _maps("/etc/subgid", gid)
    if len(uids) > 1 and len(gids) > 1 and has_map_tools():
        _enter_with_ranges(uids, gids)
    else:
        _unshare_user()
        _write_single_map(uid, gid)


def _would_be_powerless() -> bool:
    """Whether nothing may be done in a user namespace, or none be made (Ubuntu 24.04): tried in a child."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            syscalls.unshare(CLONE_NEWUSER | CLONE_NEWNS)
            syscalls.named("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] != 0


def _join_user(owner: int) -> None:
    try:
        fd = os.open(f"/proc/{owner}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.setns(fd, CLONE_NEWUSER)
        finally:
            os.close(fd)
        syscalls.unshare(CLONE_NEWNS)
    except OSError as error:
        raise Unavailable(f"the user namespace of process {owner} cannot be joined: {error.strerror}") from None
    try:
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    except OSError:
        raise Unavailable(
            "a container whose user keeps his own id (--userns keep-id) shares nothing",
            hint="run the one that is to be joined without --userns keep-id",
        ) from None


def _unshare_user() -> None:
    try:
        syscalls.unshare(CLONE_NEWUSER | CLONE_NEWNS)
    except OSError as error:
        # user_namespaces(7): ENOSPC is no matter of disks.
        reason = "there are as many as there may be" if error.errno == errno.ENOSPC else error.strerror
        message = f"{_REFUSED}: {reason}"
        raise Unavailable(message, hint=why_refused()) from None


def why_refused() -> str:
    """What keeps a process from making namespaces, as far as can be told: one sentence without its full stop."""
    reasons = (
        (APPARMOR, "1"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0"),
        ("/proc/sys/user/max_user_namespaces", "0"),
    )
    for path, refusing in reasons:
        if _reads(path, refusing):
            name = path.removeprefix("/proc/sys/").replace("/", ".")
            return f"the setting {name} is {refusing}: an administrator can change it with sysctl"
    with open("/proc/self/status") as file:
        is_filtered = "\nSeccomp:\t2\n" in file.read()
    if is_filtered:
        return SECCOMP_HINT
    return "a chroot or a security module forbids it"


def _reads(path: str, text: str) -> bool:
    try:
        with open(path) as file:
            return file.read().strip() == text
    except OSError:
        return False


def may_pivot() -> bool:
    """Whether a root may change the root of its mount namespace: Docker's profile forbids that even to one who may make
    namespaces."""
    try:
        syscalls.pivot_root(b"", b"")
    except PermissionError:
        return False
    except FileNotFoundError:
        pass
    return True


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
    except PermissionError:  # it is being set up, and keeps out whoever is not root (PR_SET_DUMPABLE)
        return [first]
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
        try:
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        except OSError as error:
            message = f"this machine does not let users map their id into a user namespace: {error.strerror}"
            raise Unavailable(message, hint=why_refused()) from None


def _enter_with_ranges(uids: list[IdRange], gids: list[IdRange]) -> None:
    """Unshares, and has newuidmap and newgidmap, which are privileged, write the maps."""

    def write(pid: int) -> bool:
        maps = (("newuidmap", uids), ("newgidmap", gids))
        return all(_write_map(_find(name), pid, ranges) for name, ranges in maps)

    if not _unshare_while(write):
        # The namespace is made, so there is no way back; its map is still empty, and the single one fits.
        with open("/proc/self/uid_map") as file:
            if not file.read():
                _write_single_map(uids[0].outside, gids[0].outside)
    _become_root()


def _enter_with_all() -> None:
    """Unshares as a root without CAP_SYS_ADMIN, as that of a container is: who may take any id may map all."""
    if not ids.may(ids.CAP_SETUID, ids.CAP_SETGID, ids.CAP_SETFCAP):
        hint = "it takes CAP_SETUID, CAP_SETGID and CAP_SETFCAP, or CAP_SYS_ADMIN"
        raise Unavailable("root may not map its ids into a user namespace here", hint=hint)
    texts = {name: _all_ids(name) for name in ("uid_map", "gid_map")}

    def write(pid: int) -> bool:
        for name, text in texts.items():
            with open(f"/proc/{pid}/{name}", "w") as file:
                file.write(text)
        return True

    if not _unshare_while(write):
        raise Unavailable("the kernel does not let root map its ids into a user namespace")
    _become_root()


def _all_ids(name: str) -> str:
    """A map of the ids that exist here onto themselves; but one, for it to differ from that of the machine itself."""
    with open(f"/proc/self/{name}") as file:
        ranges = [(int(inside), int(count)) for inside, _, count in map(str.split, file)]
    return "".join(f"{inside} {inside} {min(count, 0xFFFFFFFE)}\n" for inside, count in ranges)


def _unshare_while(write: Callable[[int], bool]) -> bool:
    """Unshares; only a process outside the new namespace may ``write`` the maps, so a child that stays behind does.

    Gives what that says.
    """
    ready_read, ready_write = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        code = 1
        os.close(ready_write)
        try:
            if os.read(ready_read, 1):
                code = 0 if write(parent) else 1
        finally:
            os._exit(code)
    os.close(ready_read)
    is_made = False
    try:
        _unshare_user()
        is_made = True
    finally:
        if is_made:
            os.write(ready_write, b"!")
        os.close(ready_write)
        status = os.waitpid(child, 0)[1]
    return not status


def _become_root() -> None:
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


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
    return [line for line in found if len(line) == 3 and line[1].isdecimal() and line[2].isdecimal() and int(line[2])]


def _find(name: str) -> str:
    for directory in os.environ.get("PATH", os.defpath).split(":"):
        path = f"{directory}/{name}"
        if os.access(path, os.X_OK):
            return path
    return ""
