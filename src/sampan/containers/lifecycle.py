"""A container's life as its users see it: create, start, remove (``ending`` has what stops it)."""

from __future__ import annotations

import os

from sampan import plainjson
from sampan.containers import ending, names, spec, streams
from sampan.containers.options import Healthcheck, Logging, Mount, Namespaces, Options
from sampan.containers.prelaunch import Monitor, prelaunch
from sampan.containers.record import Container, Containers
from sampan.containers.state import read_state
from sampan.errors import Conflict, NotFound
from sampan.runtime import defaults, handshake
from sampan.volumes import Volumes, anonymous_name, is_anonymous

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple

    from sampan.networks.record import Networks
    from sampan.oci.config import ImageConfig
    from sampan.paths import Paths
    from sampan.snapshots.overlay import Overlay
    from sampan.store.images import Image
else:
    from sampan.values import NamedTuple


class Stores(NamedTuple):
    """The stores that containers need."""

    paths: Paths
    containers: Containers
    snapshots: Overlay
    volumes: Volumes
    rootless: bool
    networks: Networks | None
    """None for who starts no container."""


def create(
    options: Options, image: Image, image_name: str, config: ImageConfig, stores: Stores, name: str = ""
) -> Container:
    """Makes a container that is not running yet. What it made is gone again when it raises.

    Raises Conflict if the name is taken, Invalid and NotFound for what cannot be done with this image.
    """
    from sampan.containers import logs

    identifier = os.urandom(32).hex()
    containers = stores.containers
    container = Container(
        identifier, name, image.id, image_name, logs.timestamp(), options, containers.directory(identifier)
    )
    container = record(container, containers)
    made: list[str] = []
    try:
        os.makedirs(container.directory, mode=0o700)
        os.mkdir(f"{container.directory}/rootfs", 0o700)
        stores.snapshots.prepare(container.snapshot, image.chain)
        if options.storage_bytes:
            from sampan.containers import sizes

            sizes.limit(container, stores.snapshots)
        if options.images:
            from sampan.containers import imagemounts

            imagemounts.prepare(container, stores.snapshots)
        return _furnish(container, image, config, stores, made)
    except BaseException:
        _discard(container, stores, made)
        raise


def record(container: Container, containers: Containers) -> Container:
    """Puts a container into the table, with a name of ours if it has none. Raises Conflict if its name is taken."""
    if container.name:
        names.check(container.name)
        containers.add(container)
        return container
    while True:
        named = container._replace(name=names.invent(containers.names()))
        try:
            containers.add(named)
        except Conflict:  # another process, of many that start at once, invented the same one
            continue
        return named


def start(container: Container, stores: Stores, monitor: Monitor | None = None, *, attach: bool = False) -> Monitor:
    """Lets a container run, with the ``monitor`` given or a new one, and stays connected with that.

    With ``attach`` its output arrives there (see ``streams``). Raises Conflict if it runs already, CommandMissing and
    NotExecutable if its command cannot be executed, and other kinds of SampanError; it is not running then.
    """
    if container.state().alive:
        raise Conflict(f"container {container.name} is running already")
    monitor = monitor or prelaunch()
    options = container.options
    job = {
        **_making(container, stores),
        "id": container.id,
        "name": container.name,
        "directory": container.directory,
        "log": _log(container),
        "restart": options.restart,
        "health": options.health._asdict() if options.health.command else None,
        "hostname": hostname(container),
        "network": options.network,
        "networks": stores.paths.networks,
        "joined": _places(container, stores),
        "hosts": options.hosts,
        "dns": options.dns,
        "ports": options.ports,
        "interactive": options.interactive,
        "auto_remove": options.auto_remove,
        "attach": attach,
        "root": stores.paths.root,
        "rootless": stores.rootless,
        "runtime": _other_runtime(options),
    }
    try:
        monitor.end.send(plainjson.dumps(job).encode())
        message, _ = handshake.expect(monitor.end, streams.RUNNING)
        monitor.warning = message.removeprefix(streams.RUNNING).decode()
    except BaseException:
        monitor.close()
        os.waitpid(monitor.pid, 0)
        raise
    return monitor


def _places(container: Container, stores: Stores) -> list[Any]:
    """The bridge networks that it is in, as ``Attachment.join_bridges`` takes them."""
    if stores.rootless or not container.options.is_bridged:
        return []
    from sampan.containers import places

    return places.of(container, stores.networks)


def _making(container: Container, stores: Stores) -> dict[str, Any]:
    """What the container is made from. The filter of system calls is compiled here, while the monitor still starts."""
    from sampan.runtime import launch

    with open(f"{container.directory}/config.json", "rb") as file:
        spec: dict[str, Any] = plainjson.loads(file.read())
    if any(value.startswith("container:") for value in container.options.namespaces):
        from sampan.containers import sharing

        sharing.join(container.options.namespaces, spec, lambda name: _running(name, stores))
    security = container.options.security
    if security.cdi:
        from sampan.containers import cdi

        cdi.apply(security.cdi, security.cdi_directories, spec)
    if container.options.images:
        from sampan.containers import imagemounts

        imagemounts.fill(container, spec, stores.snapshots)
    # The profile itself is as long as all the rest, and only another runtime reads it again.
    filter_ = "" if container.options.runtime else launch.compiled((spec.get("linux") or {}).pop("seccomp", None))
    return {"spec": spec, "filter": filter_, "overlay": stores.snapshots.mountable(container.snapshot)}


def _log(container: Container) -> tuple[object, ...]:
    """What the monitor's ``logs.Writer`` is to be made with."""
    if container.options.logging == Logging():
        return (container.log,)
    from sampan.containers import logdrivers

    return logdrivers.writer(container.options.logging, container.log)


def _other_runtime(options: Options) -> str:
    """The program of the runtime that was asked for in sampan's place. Raises NotFound."""
    if not options.runtime:
        return ""
    from sampan.runtime import foreign

    return foreign.find(options.runtime)


def _running(name: str, stores: Stores) -> tuple[str, int, Namespaces]:
    """A container's name, its first process (0 if it does not run) and its namespaces. Raises NotFound."""
    found = stores.containers.find(name)
    state = found.state()
    return found.name, state.pid if state.status == "running" else 0, found.options.namespaces


def remove(container: Container, stores: Stores, *, force: bool = False, volumes: bool = False) -> None:
    """Removes a container and all that is its own; ``volumes`` also its anonymous ones.

    Raises Conflict if it is running, unless ``force``, which kills it first.
    """
    state = container.state()
    if state.alive:
        if not force:
            raise Conflict(
                f"container {container.name} is {state.status}", hint=f"stop it first, or sampan rm -f {container.name}"
            )
        try:
            ending.send_signal(container, ending.KILL)
        except Conflict:
            pass  # it ended by itself meanwhile
    _discard(container, stores, _own_volumes(container, stores) if volumes else [])


def remove_from_monitor(root: str, identifier: str, *, rootless: bool) -> None:
    """Removes a container whose command line is gone; called by its monitor as its last act."""
    from sampan.paths import Paths
    from sampan.snapshots.overlay import Overlay
    from sampan.store import database

    paths = Paths(root)
    db = database.connect(paths.database)
    containers = Containers(db, paths.containers)
    stores = Stores(
        paths, containers, Overlay(paths.snapshots, db, userxattr=rootless), Volumes(paths.volumes), rootless, None
    )
    container = containers.find(identifier)
    _discard(container, stores, _own_volumes(container, stores))


def _own_volumes(container: Container, stores: Stores) -> list[str]:
    """Its anonymous volumes, but for those that another container has from it (``--volumes-from``)."""
    anonymous = {mount.source for mount in container.options.mounts if is_anonymous(mount.source)}
    if anonymous:
        others = (each for each in stores.containers.all() if each.id != container.id)
        anonymous -= {mount.source for other in others for mount in other.options.mounts}
    return sorted(anonymous)


def _furnish(container: Container, image: Image, config: ImageConfig, stores: Stores, made: list[str]) -> Container:
    """Writes what the container's directory holds: the spec and the files of /etc that the engine makes.

    Gives the container with what was settled here, such as the names of its volumes.
    """
    from sampan.networks import dns
    from sampan.snapshots import users
    from sampan.snapshots.lookup import Tree

    options = container.options
    with Tree(stores.snapshots.stack(image.chain), stores.snapshots.userxattr) as tree:
        user = users.resolve(_user(options, config), tree.read_file, options.groups)
        mounts = _resolve_mounts(options, config, stores, tree, made)
        has_apt = tree.resolve(os.path.dirname(os.fsencode(defaults.APT_SETTING[0]))).is_directory
    extra: dict[str, str] = {}
    asked = mounts
    if has_apt and defaults.pretends(rootless=stores.rootless):
        target, text = defaults.APT_SETTING
        extra["apt.conf"] = text
        mounts = (*mounts, Mount(f"{container.directory}/apt.conf", target, read_only=True))
    own_name = hostname(container)
    request = spec.Request(
        options, config.config, user, mounts, own_name, _files_of(container, stores), container.cgroup, stores.rootless
    )
    files = {
        "config.json": plainjson.dumps(spec.compose(request)),
        "hostname": f"{own_name}\n",
        "hosts": dns.hosts(options.hosts, base=dns.host_s_own("/etc/hosts") if options.network == "host" else ""),
        "resolv.conf": dns.resolv_conf(*options.dns, own_network=options.network != "host"),
        **extra,
    }
    for name, text in files.items():
        with open(f"{container.directory}/{name}", "w") as file:
            file.write(text)
    stop_signal = options.stop_signal or config.config.stop_signal
    args = tuple(spec.command(options, config.config))
    if options.health != Healthcheck() or config.config.healthcheck:
        from sampan.containers import healthchecks

        asked_health = healthchecks.settle(options.health, config.config.healthcheck, config.config.shell)
        options = options._replace(health=asked_health)
    if options.logging.options:
        from sampan.containers import logdrivers

        labels = {**config.config.labels, **dict(options.labels)}
        environment = spec.environment(options, config.config, user, own_name)
        options = options._replace(logging=logdrivers.settle(options.logging, labels, environment))
    settled = options._replace(mounts=mounts_as_recorded(asked, stores), stop_signal=stop_signal, args=args)
    stores.containers.update(container.id, settled)
    return container._replace(options=settled)


def _user(options: Options, config: ImageConfig) -> str:
    if options.user or not options.namespaces.user:
        return options.user or config.config.user
    from sampan.containers import keptids

    return keptids.user(options.namespaces.user)


def _files_of(container: Container, stores: Stores) -> str:
    """The directory with the files of /etc that it sees: of the container that has its network, if it shares one."""
    network = container.options.network
    if not network.startswith("container:"):
        return container.directory
    return _files_of(stores.containers.find(network.removeprefix("container:")), stores)


def mounts_as_recorded(mounts: tuple[Mount, ...], stores: Stores) -> tuple[Mount, ...]:
    """Mounts with volumes by their names again, so that it is seen later which were made for this container."""
    prefix = stores.volumes.root + "/"
    return tuple(mount._replace(source=mount.source.removeprefix(prefix).removesuffix("/_data")) for mount in mounts)


def _resolve_mounts(
    options: Options, config: ImageConfig, stores: Stores, tree: Any, made: list[str]
) -> tuple[Mount, ...]:
    """The mounts asked for and the image's volumes, with sources as directories; new volumes get what the image has."""
    mounts = [mount._replace(target=spec.check_target(mount.target)) for mount in options.mounts]
    taken = {mount.target for mount in mounts}
    mounts += [Mount("", target) for target in map(spec.check_target, config.config.volumes) if target not in taken]
    resolved = []
    for mount in mounts:
        source = mount.source
        if not source.startswith("/"):
            source = _volume(mount, stores.volumes, tree, made)
        elif not os.path.exists(source):
            os.makedirs(source)  # as Docker does for -v
        resolved.append(mount._replace(source=source))
    return tuple(resolved)


def _volume(mount: Mount, volumes: Volumes, tree: Any, made: list[str]) -> str:
    from sampan.snapshots.copyout import copy_directory

    anonymous = not mount.source
    name = mount.source or anonymous_name()
    if volumes.create(name, dict(mount.labels)):
        if anonymous:
            made.append(name)
        if not mount.fill:
            return volumes.path(name)
        fd = os.open(volumes.path(name), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            copy_directory(tree, os.fsencode(mount.target), fd)
        finally:
            os.close(fd)
    return volumes.path(name)


def _discard(container: Container, stores: Stores, volumes: list[str]) -> None:
    """Removes everything of a container, however far it had come."""
    from sampan.store.trees import remove_tree

    if read_state(container.directory).status == "running":
        from sampan.containers import orphans

        orphans.release(container, stores)
    if container.options.storage_bytes:
        from sampan.containers import sizes

        sizes.forget(container, stores.snapshots)
    stores.snapshots.remove(container.snapshot)
    if container.options.images:
        from sampan.containers import imagemounts

        imagemounts.remove(container, stores.snapshots)
    remove_tree(container.directory)
    stores.containers.forget(container)
    for name in volumes:
        try:
            stores.volumes.remove(name)
        except NotFound:
            continue  # another container's, or gone already


def hostname(container: Container) -> str:
    """The host name that it sees."""
    options = container.options
    if options.namespaces.uts or (options.network == "host" and not options.hostname):
        return os.uname().nodename
    return options.hostname or container.id[:12]


def take_over_removal(monitor: Monitor) -> None:
    """Tells the monitor of a container that has ended, and that was to be removed then, that we do it."""
    try:
        monitor.end.send(streams.KEEP)
    except OSError:
        return
