"""What the OCI runtime command remembers of its containers: a directory for each, below --root.

state.json    the record             config.json   the bundle's, as it was at creation
filter        the seccomp filter, compiled    gate   the socket at which the first process waits for ``start``
lock          held by who changes the container
"""

from __future__ import annotations

import os
import stat

from sampan import plainjson
from sampan.errors import Conflict, Corrupt, Denied, Invalid, NotFound
from sampan.linux import beneath, ids, locks
from sampan.runtime.cgroups import container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple

_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")
_LONGEST = 255


class Record(NamedTuple):
    """One container. ``started`` tells its first process from another one with the same pid (proc(5), starttime);
    ``scope`` is systemd's unit, if that made the cgroup."""

    id: str
    pid: int
    started: int
    bundle: str
    rootfs: str
    created: str
    cgroup: str
    owner: str
    version: str
    annotations: dict[str, str]
    scope: str = ""


def default_root() -> str:
    """Where containers are remembered unless --root says otherwise.

    Root of a user namespace is an ordinary user, unless he says that he is root, as in runc: so is Podman's.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    is_root = os.geteuid() == 0 and (ids.in_initial_user_namespace() or os.environ.get("USER") == "root")
    return f"{runtime}/sampan-runtime" if runtime and not is_root else "/run/sampan-runtime"


def check_id(name: str) -> str:
    """``name``, if it can be a container's. Raises Invalid: it becomes part of paths."""
    if not name or not _NAME.issuperset(name) or name in (".", "..") or len(name) > _LONGEST:
        raise Invalid(f"{name!r} is no container id: letters, digits and _ + - . only, {_LONGEST} at most")
    return name


def make(root: str, name: str) -> str:
    """Makes the directory of a new container. Raises Conflict if there is one of this name."""
    directory = os.path.join(root, check_id(name))
    try:
        os.makedirs(root, mode=0o700, exist_ok=True)
        os.mkdir(directory, 0o700)
    except PermissionError:
        hint = "--root names another; ordinary users have one where the variable XDG_RUNTIME_DIR is set"
        raise Denied(f"the directory {directory} for what is known of containers cannot be made", hint=hint) from None
    except FileExistsError:
        raise Conflict(
            f"container with id {name} exists already", hint=f"delete {name} removes it, if it has ended"
        ) from None
    return directory


def find(root: str, name: str) -> str:
    """The directory of a container. Raises NotFound."""
    directory = os.path.join(root, check_id(name))
    if not os.path.isdir(directory):
        raise NotFound(f"container {name} does not exist")
    return directory


def act_as_owner(root: str, name: str) -> None:
    """Has root go on as the user whose container it is, for good.

    What is remembered of it is that user's to write, hooks included; Slurm ends users' jobs as root.
    """
    try:
        owner = os.lstat(os.path.join(root, check_id(name)))
    except FileNotFoundError:
        return
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.setgroups(())
        os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
        os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)


def names(root: str) -> list[str]:
    """The ids of all containers."""
    try:
        return sorted(name for name in os.listdir(root) if _NAME.issuperset(name))
    except FileNotFoundError:
        return []


def held(directory: str) -> locks.held:
    """The lock of who changes the container."""
    try:
        return locks.held(f"{directory}/lock")
    except FileNotFoundError:
        raise NotFound(f"container {os.path.basename(directory)} does not exist") from None


def write(directory: str, record: Record) -> None:
    """Puts down the record, all at once."""
    put(f"{directory}/state.json", plainjson.dumps(record._asdict()).encode())


def put(path: str, content: bytes) -> None:
    """Writes a file under another name first, so that nobody reads half of it."""
    aside = f"{os.path.dirname(path) or '.'}/.{os.path.basename(path)}.{os.getpid()}"
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, content)
    finally:
        os.close(fd)
    os.rename(aside, path)


def read(directory: str) -> Record:
    """The record. Raises NotFound for a container whose making has not come so far, Corrupt for one that is damaged."""
    name = os.path.basename(directory)
    try:
        with open(f"{directory}/state.json", "rb") as file:
            return Record(**plainjson.loads(file.read()))
    except FileNotFoundError:
        raise NotFound(f"container {name} does not exist: it is being made, or that was broken off") from None
    except (ValueError, TypeError) as error:
        raise Corrupt(f"the state of container {name} is damaged: {error}") from None


def spec(directory: str) -> dict[str, Any]:
    """The spec that the container was made from."""
    with open(f"{directory}/config.json", "rb") as file:
        found: dict[str, Any] = plainjson.loads(file.read())
    return found


def remove(directory: str) -> None:
    """Forgets a container."""
    root, name = os.path.split(directory)
    fd = beneath.open_root(root)
    try:
        beneath.remove_tree(fd, os.fsencode(name))
    finally:
        os.close(fd)


def status(directory: str, record: Record) -> str:
    """created, running, paused or stopped (runtime-spec, runtime.md, "State")."""
    if not is_alive(record):
        return "stopped"
    if has_gate(directory):
        return "created"
    return "paused" if container.is_frozen(container.found(record.cgroup)) else "running"


def has_gate(directory: str) -> bool:
    """Whether the program still waits to be started."""
    try:
        return stat.S_ISSOCK(os.lstat(f"{directory}/gate").st_mode)
    except FileNotFoundError:
        return False


def is_alive(record: Record) -> bool:
    """Whether the first process runs; not if it has ended and nobody has asked for its exit code yet."""
    found = start_time(record.pid)
    return found is not None and found == record.started


def start_time(pid: int) -> int | None:
    """When a process began, in clock ticks since the machine did (proc(5), stat); None if it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def shown(directory: str, record: Record) -> dict[str, Any]:
    """What ``state`` and ``list`` print."""
    now = status(directory, record)
    return {
        "ociVersion": record.version,
        "id": record.id,
        "pid": 0 if now == "stopped" else record.pid,
        "status": now,
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
        "annotations": record.annotations,
        "owner": record.owner,
    }
