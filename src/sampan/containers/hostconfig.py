"""What was asked of a container, in the words of the Docker Engine API (API 1.43, HostConfig)."""

from __future__ import annotations

from sampan.containers.options import ImageMount, Limits, Mount, Options, Security
from sampan.runtime import defaults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NANO = 10**9
_THROTTLES = {
    "device-read-bps": "BlkioDeviceReadBps",
    "device-write-bps": "BlkioDeviceWriteBps",
    "device-read-iops": "BlkioDeviceReadIOps",
    "device-write-iops": "BlkioDeviceWriteIOps",
}


def describe(options: Options) -> dict[str, Any]:
    """HostConfig, with Docker's zero values for what was not asked for."""
    servers, search, words = options.dns
    namespaces = options.namespaces
    return {
        "Binds": [_bind(mount) for mount in options.mounts if mount.source] or None,
        "Mounts": [_image(mount) for mount in options.images],
        "LogConfig": {"Type": options.logging.driver, "Config": dict(options.logging.options)},
        "NetworkMode": options.network,
        "PortBindings": _ports(options.ports),
        "StorageOpt": {"size": str(options.storage_bytes)} if options.storage_bytes else None,
        "RestartPolicy": {"Name": options.restart.name, "MaximumRetryCount": options.restart.most},
        "AutoRemove": options.auto_remove,
        "Runtime": options.runtime or "sampan",
        "Annotations": dict(options.annotations),
        "CgroupnsMode": namespaces.cgroup or "private",
        "PidMode": namespaces.pid,
        "IpcMode": namespaces.ipc or "private",
        "UTSMode": namespaces.uts,
        "UsernsMode": namespaces.user,
        "CgroupParent": options.cgroup_parent,
        "Dns": list(servers),
        "DnsSearch": list(search),
        "DnsOptions": list(words),
        "ExtraHosts": [f"{name}:{address}" for name, address in options.hosts] or None,
        "GroupAdd": list(options.groups) or None,
        "Init": options.init or None,
        "Isolation": "",
        "Links": None,
        "ShmSize": options.shm_bytes or defaults.SHM_BYTES,
        "Sysctls": dict(options.sysctls),
        "Tmpfs": dict(options.tmpfs),
        "VolumeDriver": "",
        "VolumesFrom": None,
        **_security(options.security),
        **_limits(options.limits),
    }


def _security(security: Security) -> dict[str, Any]:
    said = ["no-new-privileges"] if security.no_new_privileges else []
    if security.seccomp:
        said.append(f"seccomp={security.seccomp}")
    opened = security.privileged or security.open_system_paths
    requests = [{"Driver": "cdi", "DeviceIDs": list(security.cdi)}] if security.cdi else None
    return {
        "Privileged": security.privileged,
        "ReadonlyRootfs": security.read_only,
        "CapAdd": list(security.cap_add) or None,
        "CapDrop": list(security.cap_drop) or None,
        "SecurityOpt": said or None,
        "MaskedPaths": [] if opened else defaults.masked_paths(),
        "ReadonlyPaths": [] if opened else list(defaults.READONLY_PATHS),
        "Devices": [
            {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": access}
            for source, target, access in security.devices
        ],
        "DeviceCgroupRules": list(security.device_rules) or None,
        "DeviceRequests": requests,
    }


def _limits(limits: Limits) -> dict[str, Any]:
    throttles: dict[str, list[dict[str, Any]]] = {}
    for flag, path, rate in limits.throttles:
        throttles.setdefault(_THROTTLES[flag], []).append({"Path": path, "Rate": rate})
    return {
        "Memory": limits.memory,
        "MemorySwap": limits.swap,
        "MemoryReservation": limits.reservation,
        "MemorySwappiness": limits.swappiness,
        "KernelMemory": 0,
        "NanoCpus": 0,
        "CpuShares": limits.shares,
        "CpuPeriod": limits.period,
        "CpuQuota": limits.quota,
        "CpuRealtimePeriod": limits.realtime_period,
        "CpuRealtimeRuntime": limits.realtime_runtime,
        "CpusetCpus": limits.cpus,
        "CpusetMems": limits.mems,
        "PidsLimit": limits.pids or None,
        "OomKillDisable": limits.oom_kill_disable,
        "OomScoreAdj": limits.oom_score_adj or 0,
        "BlkioWeight": limits.blkio_weight,
        "BlkioWeightDevice": [{"Path": path, "Weight": weight} for path, weight in limits.device_weights],
        **{name: throttles.get(name, []) for name in _THROTTLES.values()},
        "Ulimits": [{"Name": name, "Soft": soft, "Hard": hard} for name, soft, hard in limits.ulimits],
        **_as_cpus(limits),
    }


def _as_cpus(limits: Limits) -> dict[str, int]:
    """``--cpus`` is a quota of the usual period here; Docker tells it as billionths of a processor."""
    if limits.quota <= 0 or limits.period != 100_000:
        return {}
    return {"NanoCpus": limits.quota * _NANO // limits.period, "CpuPeriod": 0, "CpuQuota": 0}


def _ports(texts: tuple[str, ...]) -> dict[str, list[dict[str, str]]]:
    from sampan.networks import ports

    found: dict[str, list[dict[str, str]]] = {}
    for port in ports.parse_all(texts):
        number = str(port.host_port) if port.host_port else ""
        binding = {"HostIp": port.host_ip, "HostPort": number}
        found.setdefault(f"{port.container_port}/{port.protocol}", []).append(binding)
    return found


def _bind(mount: Mount) -> str:
    return f"{mount.source}:{mount.target}" + (":ro" if mount.read_only else "")


def _image(mount: ImageMount) -> dict[str, Any]:
    described = {"Type": "image", "Source": mount.image, "Target": mount.target, "ReadOnly": mount.read_only}
    return {**described, "ImageOptions": {"Subpath": mount.subpath}} if mount.subpath else described
