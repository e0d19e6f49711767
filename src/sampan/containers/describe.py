"""A container as the Docker Engine API describes it (API 1.43, ContainerInspect)."""

from __future__ import annotations

from sampan import plainjson
from sampan.containers import hostconfig
from sampan.containers.options import Healthcheck, ImageMount, Joining, Mount, Options
from sampan.containers.record import Container
from sampan.containers.state import State
from sampan.errors import NotFound
from sampan.oci.config import ContainerConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.networks.endpoints import Endpoint
    from sampan.snapshots.overlay import Overlay

NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time, which clients of the API know to mean "not yet"."""


def inspect(
    container: Container, state: State, image: ContainerConfig, places: dict[str, Endpoint] | None = None
) -> dict[str, Any]:
    """What ``inspect`` says of a container; ``image`` is its image's own configuration, ``places`` where it is in
    networks (``networks.endpoints``)."""
    options = container.options
    path, *arguments = _command(options, image) or [""]
    directory = container.directory
    return {
        "Id": container.id,
        "Created": container.created,
        "Path": path,
        "Args": arguments,
        "State": _state(state, directory),
        "Image": container.image_id,
        "ResolvConfPath": f"{directory}/resolv.conf",
        "HostnamePath": f"{directory}/hostname",
        "HostsPath": f"{directory}/hosts",
        "LogPath": container.log if options.logging.driver == "json-file" else "",
        "Name": f"/{container.name}",
        "RestartCount": state.restarts,
        "Driver": "overlay",
        "Platform": "linux",
        "HostConfig": hostconfig.describe(options),
        "Mounts": [*map(_mount, options.mounts), *map(_image_mount, options.images)],
        "Config": _config(container, image),
        "NetworkSettings": _network(options, state, places or {}),
    }


def sizes(container: Container, snapshots: Overlay) -> tuple[int, int]:
    """The bytes that a container wrote, and those of all that it sees: with its image. None of a container that is
    being made or removed."""
    from sampan.store.trees import tree_size

    try:
        written = tree_size(snapshots.directory(container.snapshot))
        return written, written + snapshots.size_below(container.snapshot)
    except NotFound:
        return 0, 0


def _command(options: Options, image: ContainerConfig) -> list[str]:
    entrypoint, command = _entrypoint(options, image), _words(options, image)
    return [*(entrypoint or ()), *(command or ())]


def _entrypoint(options: Options, image: ContainerConfig) -> tuple[str, ...] | None:
    return image.entrypoint if options.entrypoint is None else options.entrypoint


def _words(options: Options, image: ContainerConfig) -> tuple[str, ...] | None:
    return options.command or (image.cmd if options.entrypoint is None else None)


def _healthcheck(options: Options) -> dict[str, Any] | None:
    if options.health == Healthcheck():
        return None
    from sampan.containers import healthchecks

    return healthchecks.describe(options.health)


def _health(state: State, directory: str) -> dict[str, Any]:
    """What is known of its health, if anybody asks for it."""
    if not state.health:
        return {}
    try:
        with open(f"{directory}/health.json") as file:
            return {"Health": {**plainjson.loads(file.read()), "Status": state.health}}
    except FileNotFoundError:
        return {"Health": {"Status": state.health, "FailingStreak": 0, "Log": []}}


def _state(state: State, directory: str) -> dict[str, Any]:
    return {
        "Status": state.word,
        "Running": state.alive,
        "Paused": state.paused,
        "Restarting": state.status == "restarting",
        "OOMKilled": state.oom_killed,
        "Dead": state.status == "dead",
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": state.started or NEVER,
        "FinishedAt": state.finished or NEVER,
        **_health(state, directory),
    }


def _config(container: Container, image: ContainerConfig) -> dict[str, Any]:
    options = container.options
    entrypoint, command = _entrypoint(options, image), _words(options, image)
    environment = dict(entry.partition("=")[::2] for entry in (*image.env, *options.env) if "=" in entry)
    return {
        "Hostname": options.hostname or container.id[:12],
        "Domainname": options.domainname,
        "User": options.user or image.user,
        "AttachStdin": "stdin" in options.attach or (options.interactive and not options.attach),
        "AttachStdout": not options.attach or "stdout" in options.attach,
        "AttachStderr": not options.attach or "stderr" in options.attach,
        "ExposedPorts": {port: {} for port in image.exposed_ports},
        "Tty": options.terminal,
        "OpenStdin": options.interactive,
        "Env": [f"{key}={value}" for key, value in environment.items()],
        "Cmd": None if command is None else list(command),
        "Image": container.image_name,
        "Volumes": {volume: {} for volume in image.volumes} or None,
        "WorkingDir": options.workdir or image.working_dir,
        "Entrypoint": None if entrypoint is None else list(entrypoint),
        "Labels": {**image.labels, **dict(options.labels)},
        "StopSignal": options.stop_signal or image.stop_signal or "SIGTERM",
        "StopTimeout": options.stop_seconds,
        "Healthcheck": _healthcheck(options),
    }


def _mount(mount: Mount) -> dict[str, Any]:
    named = not mount.source.startswith("/")
    value = {
        "Type": "volume" if named else "bind",
        "Source": mount.source,
        "Destination": mount.target,
        "Mode": "ro" if mount.read_only else "",
        "RW": not mount.read_only,
        "Propagation": "" if named else mount.propagation,
    }
    return {"Name": mount.source, **value} if named else value


def _image_mount(mount: ImageMount) -> dict[str, Any]:
    return {
        "Type": "image",
        "Source": mount.image,
        "Destination": mount.target,
        "Mode": "",
        "RW": not mount.read_only,
        "Propagation": "",
    }


def _network(options: Options, state: State, places: dict[str, Endpoint]) -> dict[str, Any]:
    ports: dict[str, list[dict[str, str]]] = {}
    for address, host_port, port, protocol in state.ports:
        ports.setdefault(f"{port}/{protocol}", []).append({"HostIp": address, "HostPort": str(host_port)})
    return {
        "Ports": ports,
        "IPAddress": state.address,
        "Networks": {
            joining.network: _place(joining, places.get(joining.network), state.address)
            for joining in options.networks or (Joining(options.network),)
        },
    }


def _place(joining: Joining, endpoint: Endpoint | None, address: str) -> dict[str, Any]:
    place: dict[str, Any] = {
        "IPAMConfig": {"IPv4Address": joining.address} if joining.address else None,
        "Aliases": list(joining.aliases) or None,
        "IPAddress": endpoint.address if endpoint else address,
    }
    if endpoint:
        place |= {
            "MacAddress": endpoint.mac,
            "Gateway": endpoint.gateway,
            "IPPrefixLen": endpoint.prefix,
            "DNSNames": list(endpoint.names) or None,
        }
    return place
