"""From what was asked and what the image says to a runtime spec."""

from __future__ import annotations

import os

from sampan.containers.options import ImageMount, Limits, Mount, Namespaces, Options, Security
from sampan.errors import Invalid
from sampan.oci.config import ContainerConfig
from sampan.runtime import defaults
from sampan.snapshots.users import User

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple

FILES = ("hostname", "hosts", "resolv.conf")
"""Files of /etc that the engine makes for each container and mounts."""


class Request(NamedTuple):
    """All that decides a container's spec. ``mounts`` have their sources resolved to absolute paths;
    ``files`` is the directory of the files of /etc that the engine makes."""

    options: Options
    config: ContainerConfig
    user: User
    mounts: tuple[Mount, ...]
    hostname: str
    files: str
    cgroup: str
    rootless: bool


def compose(request: Request) -> dict[str, Any]:
    """The runtime spec (config.json). Raises Invalid when there is no command to run."""
    options, config, user = request.options, request.config, request.user
    spec = defaults.base_spec(
        command(options, config),
        environment(options, config, user, request.hostname),
        options.workdir or config.working_dir or "/",
        uid=user.uid,
        gid=user.gid,
        groups=user.groups,
        hostname="" if options.namespaces.uts else request.hostname,
        rootless=request.rootless,
        network=options.network,
        cgroup=request.cgroup,
        terminal=options.terminal,
        shm_bytes=options.shm_bytes or defaults.SHM_BYTES,
    )
    spec["process"]["user"]["umask"] = options.umask
    spec["domainname"] = options.domainname
    spec["annotations"] = dict(options.annotations)
    spec["linux"]["sysctl"].update(options.sysctls)
    spec["mounts"] += [defaults.tmpfs(target, words) for target, words in options.tmpfs]
    spec["mounts"] += [defaults.bind(f"{request.files}/{name}", f"/etc/{name}", "bind") for name in FILES]
    binds = [_bind(mount) for mount in request.mounts] + [_image(mount) for mount in options.images]
    spec["mounts"] += sorted(binds, key=lambda mount: mount["destination"].count("/"))
    _confine(options, spec, rootless=request.rootless)
    if options.namespaces.user:
        from sampan.containers import keptids

        keptids.apply(options.namespaces.user, spec, user.uid, user.gid, user.groups)
    return spec


def _confine(options: Options, spec: dict[str, Any], *, rootless: bool) -> None:
    """What is seldom asked for, so that its modules are seldom loaded."""
    if options.limits != Limits():
        from sampan.containers import limits

        limits.apply(options.limits, spec)
    if options.security != Security():
        from sampan.containers import security

        security.apply(options.security, spec, rootless=rootless)
    if options.namespaces != Namespaces():
        from sampan.containers import sharing

        sharing.apply(options.namespaces, spec, rootless=rootless)
    if options.init:
        spec["process"]["init"] = True


def command(options: Options, config: ContainerConfig) -> list[str]:
    """What to execute: an entrypoint that was asked for also puts the image's command out of force, as in Docker."""
    if options.entrypoint is not None:
        words = [*options.entrypoint, *(options.command or ())]
    else:
        words = [*(config.entrypoint or ()), *(options.command or config.cmd or ())]
    if not words:
        raise Invalid(
            "no command was given, and the image has none", hint="write it after the image: run IMAGE COMMAND"
        )
    return words


def environment(options: Options, config: ContainerConfig, user: User, hostname: str) -> list[str]:
    """The environment, later entries over earlier ones. One without a name or "=" is dropped.

    A value is never drawn from the host's environment.
    """
    entries = [f"PATH={defaults.PATH}", f"HOSTNAME={hostname}"]
    if options.terminal:
        entries.append("TERM=xterm")
    entries += (*config.env, *options.env)
    values = dict(entry.split("=", 1) for entry in entries if entry.find("=") > 0)
    values.setdefault("HOME", user.home)
    return [f"{key}={value}" for key, value in values.items()]


def check_target(target: str) -> str:
    """``target``, unless a mount there would put an image's files in the kernel's place (CVE-2019-16884)."""
    normal = os.path.normpath(target)
    if normal.startswith("//"):  # which POSIX lets mean something else
        normal = normal[1:]
    in_proc = normal == "/proc" or normal.startswith("/proc/")
    if not normal.startswith("/") or normal == "/" or (in_proc and normal not in defaults.REPLACEABLE):
        raise Invalid(f"{target!r} cannot be a volume")
    return normal


def _bind(mount: Mount) -> dict[str, Any]:
    # Read-only means all of it, also what is mounted below (recursive read-only, as Docker since 25).
    read_only = "rro" if mount.deep else "ro"
    entry = defaults.bind(
        mount.source,
        mount.target,
        "rbind" if mount.recursive else "bind",
        mount.propagation,
        read_only if mount.read_only else "rw",
    )
    return {**entry, "subpath": mount.subpath} if mount.subpath else entry


def _image(mount: ImageMount) -> dict[str, Any]:
    """What is mounted is said at the start (``imagemounts.fill``)."""
    options = ["ro"] if mount.read_only else []
    return {"destination": mount.target, "type": "layers", "options": options, "subpath": mount.subpath}
