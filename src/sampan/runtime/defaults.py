"""What a container gets when nothing else is asked for, as an OCI runtime spec (runtime-spec 1.2, config.md and
config-linux.md). The defaults are those of today's Docker, or stricter."""

from __future__ import annotations

import os

from sampan.linux import ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)
MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
REPLACEABLE = frozenset(
    f"/proc/{name}" for name in ("cpuinfo", "diskstats", "loadavg", "meminfo", "slabinfo", "stat", "swaps", "uptime")
)
"""Files that may be mounted over, as with runc, to give a container numbers of its own (lxcfs)."""
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
SHM_BYTES = 64 << 20
APT_SETTING = ("/etc/apt/apt.conf.d/zz-sampan", 'APT::Sandbox::User "root";\n')
"""A file, and its text, for images with apt where there is one user id: apt makes sure that it became another user to
fetch files, and no pretence (``pretends``) would do."""


def masked_paths() -> list[str]:
    """The paths that a container must not even read, with what each processor has of them."""
    paths = list(MASKED_PATHS)
    for number in range(os.cpu_count() or 0):
        path = f"/sys/devices/system/cpu/cpu{number}/thermal_throttle"
        if os.path.isdir(path):
            paths.append(path)
    return paths


def mounts(*, own_network: bool, rootless: bool = False, shm_bytes: int = SHM_BYTES) -> list[dict[str, Any]]:
    """The file systems that Linux programs expect (runtime-spec, config-linux.md, "Default Filesystems").

    Without a network namespace of its own a rootless container may not mount sysfs, so it gets the host's, read-only.
    """
    if own_network or not rootless:
        sysfs = _mount("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro")
    else:
        sysfs = _mount("/sys", "bind", "rbind", "nosuid", "noexec", "nodev", "rro", source="/sys")
    return [
        _mount("/proc", "proc", "nosuid", "noexec", "nodev"),
        _mount("/dev", "tmpfs", "nosuid", "noexec", "strictatime", "mode=755", "size=65536k"),
        _mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        sysfs,
        _mount("/sys/fs/cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"),
        _mount("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        _mount("/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", f"size={shm_bytes}"),
    ]


def sysctls(*, rootless: bool) -> dict[str, str]:
    """Settings of a network namespace of its own, as Docker has them: what is privileged elsewhere is not in there."""
    settings = {"net.ipv4.ip_unprivileged_port_start": "0"}
    if not rootless:  # groups that do not exist in the user namespace cannot be named
        settings["net.ipv4.ping_group_range"] = "0 2147483647"
    return settings


def seccomp(capabilities: Sequence[str], given: object = None) -> dict[str, Any]:
    """The profile of a container with these capabilities: the default, or one ``given`` in Docker's form or the runtime
    spec's. Raises Invalid, and Unsupported where there is no table of the machine's system calls."""
    from sampan.runtime import profile

    machine = os.uname().machine
    return profile.seccomp(capabilities, machine) if given is None else profile.resolve(given, capabilities, machine)


def open_up(spec: dict[str, Any]) -> None:
    """Gives a container all the privileges of whoever starts it."""
    from sampan.runtime import privileged

    privileged.open_up(spec)


def all_capabilities(*, uid: int) -> dict[str, list[str]]:
    """The sets of a process that has all which this one can give; one that is not root gets none at once."""
    from sampan.runtime import privileged

    names = privileged.known()
    effective = names if uid == 0 else []
    return {"bounding": names, "effective": effective, "permitted": effective, "inheritable": [], "ambient": []}


def device_nodes(source: str, target: str) -> list[tuple[str, str]]:
    """The devices below ``source``, or itself, with their paths inside. Raises Invalid if it is neither."""
    from sampan.runtime import nodes

    return nodes.below(source, target)


def device_rules() -> list[dict[str, Any]]:
    """The device list of a container that may use what every container may, and nothing else."""
    from sampan.runtime import nodes

    return [{"allow": False, "access": "rwm"}, *nodes.allowed()]


def device_rule(path: str, access: str) -> dict[str, Any]:
    """The rule that allows ``access`` ("rwm") to the device behind a node of the host."""
    from sampan.runtime import nodes

    return nodes.rule(path, access)


def bind(source: str, destination: str, *options: str) -> dict[str, Any]:
    """A bind mount of a path of the host."""
    return _mount(destination, "bind", *(options or ("rbind", "rprivate")), source=source)


def tmpfs(destination: str, words: str = "") -> dict[str, Any]:
    """A file system in memory with Docker's options of --tmpfs, which ``words`` (comma-separated) change."""
    options = ["nosuid", "nodev", "noexec", "mode=1777", *filter(None, words.split(","))]
    return _mount(destination, "tmpfs", *options)


def base_spec(
    args: Sequence[str],
    env: Sequence[str],
    cwd: str,
    *,
    uid: int = 0,
    gid: int = 0,
    groups: Sequence[int] = (),
    hostname: str = "",
    rootless: bool = False,
    network: str = "none",
    capabilities: Sequence[str] = CAPABILITIES,
    cgroup: str = "",
    terminal: bool = False,
    shm_bytes: int = SHM_BYTES,
) -> dict[str, Any]:
    """The runtime spec of a container with the defaults.

    ``network`` "host" leaves out the network namespace; "bridge" and "none" both have one of their own, which is wired
    by someone else. ``cgroup`` is the path below each hierarchy. ``uid``, ``gid`` and ``groups`` are numbers inside.
    """
    own_network = network != "host"
    kinds = ["pid", "mount", "ipc", "uts", "cgroup", *(["network"] if own_network else [])]
    # Only a process that changes its user keeps capabilities off: as root it has all of the set, otherwise none.
    effective = list(capabilities) if uid == 0 else []
    spec: dict[str, Any] = {
        "ociVersion": "1.2.0",
        "process": {
            "terminal": terminal,
            "user": {"uid": uid, "gid": gid, "additionalGids": list(groups), "umask": 0o022},
            "args": list(args),
            "env": list(env),
            "cwd": cwd or "/",
            "capabilities": {
                "bounding": list(capabilities),
                "effective": effective,
                "permitted": effective,
                "inheritable": [],
                "ambient": [],
            },
            "noNewPrivileges": rootless,
        },
        "root": {"path": "rootfs", "readonly": False},
        "hostname": hostname,
        "mounts": mounts(own_network=own_network, rootless=rootless, shm_bytes=shm_bytes),
        "linux": {
            "namespaces": [{"type": kind} for kind in kinds],
            "cgroupsPath": cgroup,
            "resources": {},
            "sysctl": sysctls(rootless=rootless) if own_network else {},
            "seccomp": seccomp(capabilities),
            "maskedPaths": masked_paths(),
            "readonlyPaths": list(READONLY_PATHS),
        },
    }
    if pretends(rootless=rootless):
        from sampan.runtime import pretence

        pretence.prepare(spec["process"])
    return spec


def pretends(*, rootless: bool) -> bool:
    """Whether containers have one user id and are told that they have all (see ``pretence``)."""
    return rootless and ids.mapped_ids() == 1


def _mount(destination: str, kind: str, *options: str, source: str = "") -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source or kind, "options": list(options)}
