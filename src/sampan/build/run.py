"""RUN: a command executed on a snapshot, in a container of its own with the engine's defaults.

What the container needs to be mounted on (/proc, /etc/resolv.conf …) and the image lacks lies in a directory that is
stacked between the parent and the new snapshot for the length of the step. So nothing of it is in the layer, and
nothing has to be removed from where the command could have put a link in its place (CVE-2024-23652).
"""

from __future__ import annotations

import os
import select
import selectors
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from types import MappingProxyType

from sampan import plainjson
from sampan.build import chroot, emulation, usernet
from sampan.build.cancellation import Cancellation
from sampan.build.destination import Destination
from sampan.build.graph import Mount, Run
from sampan.build.host import Host
from sampan.build.packages import offered
from sampan.build.solve import Output
from sampan.errors import CommandMissing, Invalid, NotExecutable, SampanError
from sampan.layers.changes import Nodes
from sampan.linux import ids, ladder, ownership
from sampan.networks import dns
from sampan.runtime import defaults, handshake, launch
from sampan.snapshots import copies, fused, users
from sampan.snapshots.lookup import Tree
from sampan.snapshots.overlay import Overlay, Rootfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.build.mounts import Prepared
    from sampan.build.packages import Packages
    from sampan.snapshots.users import User

HOSTNAME = "buildkitsandbox"
"""What BuildKit calls the machine in which a step runs."""
_CHUNK = 1 << 16
Prepare = Callable[[str, Sequence[Mount]], "AbstractContextManager[Prepared]"]
"""Gets mounts ready in a bundle."""


class CommandFailed(SampanError):
    """A step's command was executed, or could not be, and that is all that is wrong."""


def run(
    step: Run,
    key: str,
    stack: Sequence[str],
    snapshots: Overlay,
    host: Host,
    cancellation: Cancellation,
    output: Output,
    warn: Callable[[str], None],
    prepare: Prepare,
) -> Nodes:
    """Executes the command on snapshot ``key``, which lies on ``stack``, and gives the owners of links and devices that
    had no other place (``layers.changes.Nodes``).

    Raises CommandFailed if it fails, SampanError if something of ours does, and NotFound for a user that the image does
    not have.
    """
    if host.isolation == "default":
        ladder.require_namespaces("RUN", "--isolation=chroot performs it without any isolation")
    alone = host.isolation == "chroot" and chroot.is_all(step, host, warn)
    if step.platform:
        emulation.check(step.platform)
    bundle = f"{host.temporary}/{key}"
    os.makedirs(bundle, mode=0o700)
    try:
        user, packages, has_apt = _look(step, stack, host, alone=alone)
        network = _network(step, host, warn)
        if host.rootless and user.uid >= ids.mapped_ids():
            warn(f"RUN is executed as the only user id there is here, not as {step.user}; its files are {step.user}'s")
        with prepare(bundle, (*step.mounts, packages.mount) if packages else step.mounts) as prepared:
            spec = compose(step, user, network, host, prepared.environment, packages.environment if packages else {})
            pretends = "pretence" in spec["process"]
            if pretends and ownership.is_pretended():
                warn("owners that RUN gives to files are lost here: this is a container of a single id itself")
            spec["mounts"] += [*prepared.mounts, *_files(bundle, network, host, has_apt)]
            passing = [f"{bundle}/config.json", *prepared.passing]
            with _root(spec, bundle, key, stack, snapshots, host, alone=alone) as rootfs:
                code = _execute(spec, bundle, rootfs, network, host, cancellation, output, passing)
            nodes = _noted(bundle, snapshots.rootfs(key).upper, stack, user) if pretends else {}
    finally:
        _remove(bundle)
    cancellation.check()
    if code:
        raise CommandFailed(f"the command {shown(step)} failed with exit code {code}")
    return nodes


def _look(step: Run, stack: Sequence[str], host: Host, *, alone: bool) -> tuple[User, Packages | None, bool]:
    """What the image has to say: who the user is, which package cache is of use to him, and whether there is an apt."""
    with Tree(stack, host.rootless) as tree:
        user = users.resolve(step.user, tree.read_file)
        packages = offered(step, user, tree.read_file) if _has_package_cache(host, user) and not alone else None
        return user, packages, tree.resolve(os.path.dirname(os.fsencode(defaults.APT_SETTING[0]))).is_directory


@contextmanager
def _root(
    spec: dict[str, Any], bundle: str, key: str, stack: Sequence[str], snapshots: Overlay, host: Host, *, alone: bool
) -> Iterator[Rootfs]:
    """The file system that the command gets; what has become of it is in the snapshot once the ``with`` block is left.

    ``spec`` changes: its mounts get destinations that are there, or they are left out where nothing can be mounted.
    """
    rootfs = snapshots.rootfs(key)
    placed: set[bytes] = set()
    if alone:
        rootfs, placed = chroot.furnish(spec, bundle, stack, rootfs, rootless=host.rootless)
    else:
        if host.isolation == "chroot":
            chroot.share(spec)
        rootfs = _furnished(spec["mounts"], bundle, stack, rootfs, host.rootless)
    is_copied = snapshots.copies or alone
    yield copies.assemble(rootfs) if is_copied else rootfs._replace(fused=snapshots.fused)
    if is_copied:
        copies.harvest(rootfs, placed)
    elif snapshots.fused:
        fused.settle(rootfs)


def _noted(bundle: str, upper: str, stack: Sequence[str], user: User) -> Nodes:
    """What was noted of owners while the command ran as the only id there is, and is noted now (``made``)."""
    from sampan.build import made

    nodes = {}
    with suppress(FileNotFoundError), open(f"{bundle}/{handshake.NODES}") as file:
        nodes = {int(number): (uid, gid) for number, (uid, gid) in plainjson.loads(file.read()).items()}
    return {**made.settle(upper, stack, (user.uid, user.gid)), **nodes}


def compose(
    step: Run, user: User, network: str, host: Host, mounted: Mapping[str, str], packages: Mapping[str, str]
) -> dict[str, Any]:
    """The runtime spec for a step."""
    extra = {**packages, **(host.pip.environment() if host.pip else {})}
    spec = defaults.base_spec(
        step.argv,
        environment(step, user.home, extra, mounted),
        step.cwd,
        uid=user.uid,
        gid=user.gid,
        groups=user.groups,
        hostname="" if network == "host" else host.hostname or HOSTNAME,
        rootless=host.rootless,
        network=network,
        shm_bytes=host.shm_bytes,
    )
    if step.insecure:
        defaults.open_up(spec)
    if host.limits:
        spec["process"]["rlimits"] = [
            {"type": limit.name, "soft": limit.soft, "hard": limit.hard} for limit in host.limits
        ]
    return spec


def environment(
    step: Run, home: str, extra: Mapping[str, str], mounted: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """The command's environment, nothing of the builder's own: the image's ENV, over it the ARGs, and over all what
    ``--mount`` has ``mounted``."""
    values = {"PATH": defaults.PATH, "HOME": home, **extra, **dict(step.unkeyed)}
    values |= dict(entry.split("=", 1) for entry in step.env if "=" in entry)
    values |= dict(step.args)
    values |= mounted
    return [f"{name}={value}" for name, value in values.items()]


def _has_package_cache(host: Host, user: User) -> bool:
    """An ordinary user without subordinate ids can give a directory to nobody but himself."""
    return host.package_cache and not (host.rootless and user.uid >= ids.mapped_ids())


def shown(step: Run) -> str:
    """The command as a person would quote it: one line, and not endless."""
    text = " ".join(" ".join(step.argv).split())
    return f"'{text if len(text) <= 200 else text[:199] + '…'}'"


def _network(step: Run, host: Host, warn: Callable[[str], None]) -> str:
    wanted = host.network if step.network == "default" else step.network
    if wanted in ("none", "host"):
        return wanted
    if host.isolation == "chroot":
        return "host"
    reason = usernet.obstacle() if host.rootless else _lack_of_root()
    if not reason:
        return "bridge"
    warn(f"RUN uses the host's own network: {reason}")
    return "host"


def _lack_of_root() -> str | None:
    return None if ids.may(ids.CAP_NET_ADMIN) else "root has no CAP_NET_ADMIN"


def _files(bundle: str, network: str, host: Host, has_apt: bool) -> Iterator[dict[str, Any]]:
    """Mounts of what every step sees of its machine."""
    own = (host.hostname or HOSTNAME, "127.0.0.1")
    is_own = network != "host"
    servers = dns.resolv_conf(own_network=is_own, forwarded=is_own and host.rootless)
    files = [("/etc/resolv.conf", servers), ("/etc/hosts", dns.hosts((*host.hosts, own)))]
    if has_apt and defaults.pretends(rootless=host.rootless):
        files.append(defaults.APT_SETTING)
    for inside, text in files:
        path = f"{bundle}/{os.path.basename(inside)}"
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o644)
        yield defaults.bind(path, inside, "rbind", "rro")
    for path, inside in host.pip.binds(bundle) if host.pip else ():
        yield defaults.bind(path, inside, "rbind", "rro")


def _furnished(
    mounts: list[dict[str, Any]], bundle: str, stack: Sequence[str], rootfs: Rootfs, rootless: bool
) -> Rootfs:
    """``rootfs`` with a directory above the parent's that has every mount point which the image lacks.

    Destinations become free of links, as they are found now: a link that leads nowhere would be in the way.
    """
    stubs = f"{bundle}/stubs"
    os.mkdir(stubs, 0o755)
    covered: list[str] = []
    with Destination(stubs, tuple(stack), rootless=rootless, now=0) as to:
        for mount in mounts:
            wanted, is_bind = mount["destination"], mount["type"] == "bind"
            is_own = is_bind or (mount["type"] in ("overlay", "tmpfs") and wanted != "/dev")
            if wanted.startswith(tuple(f"{above}/" for above in covered)):
                continue  # lies in a file system that is mounted before
            try:
                found = to.tree.resolve(os.fsencode(wanted))
            except OSError as error:
                raise Invalid(f"the image has no place for {wanted}: {error.strerror}: {error.filename}") from None
            if is_own:
                mount["destination"] = "/" + os.fsdecode(found.path)
            elif os.fsencode(wanted) != b"/" + found.path:
                continue  # the runtime has its own opinion of a link in place of /proc
            covered.append(mount["destination"])
            if found.status is None:
                to.make_stub(found.path, is_file=is_bind and not os.path.isdir(mount["source"]))
    return rootfs._replace(lower=(stubs, *rootfs.lower))


def _execute(
    spec: dict[str, Any],
    bundle: str,
    rootfs: Rootfs,
    network: str,
    host: Host,
    cancellation: Cancellation,
    output: Output,
    passing: Sequence[str],
) -> int:
    """Runs the container to its end and gives the exit code. ``passing`` are files that are removed once it runs."""
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    pipes = [os.pipe(), os.pipe()]
    try:
        process = launch.create(spec, bundle, rootfs=rootfs, stdio=(null, pipes[0][1], pipes[1][1]))
    except BaseException:
        for reading, _ in pipes:
            os.close(reading)
        raise
    finally:
        os.close(null)
        for _, writing in pipes:
            os.close(writing)
    try:
        with closing(process), cancellation.ending(lambda: process.kill(signal.SIGKILL)):
            try:
                with _connected(process, network, host):
                    process.start()
                    for path in passing:
                        os.unlink(path)
                    _forward({pipes[0][0]: 1, pipes[1][0]: 2}, output)
                    return process.wait()
            except (CommandMissing, NotExecutable) as error:
                hint = error.hint or _way_out(error)
                raise CommandFailed(f"the command cannot be executed: {error.message}", hint=hint) from None
    finally:
        for reading, _ in pipes:
            os.close(reading)


def _way_out(error: SampanError) -> str | None:
    if "/bin/sh" not in error.message:
        return None
    return 'the image has no shell: write RUN ["PROGRAM"], or build in another stage and COPY --from it'


@contextmanager
def _connected(process: launch.Process, network: str, host: Host) -> Iterator[None]:
    """Gives a container that is being made its network, for the length of a ``with`` block."""
    if network != "bridge":
        yield
        return
    try:
        connection = usernet.Connection(process.pid) if host.rootless else _Bridged(host.networks, process.pid)
    except SampanError:
        _raise_failure(process)
        raise
    with closing(connection):
        yield


class _Bridged:
    """A container's place in the default bridge network, until it is closed."""

    def __init__(self, networks: str, pid: int) -> None:
        from sampan.networks import membership

        self._networks = networks
        self._identifier = os.urandom(32).hex()
        membership.attach(networks, self._identifier, pid)

    def close(self) -> None:
        from sampan.networks import membership

        membership.detach(self._networks, self._identifier)


def _raise_failure(process: launch.Process) -> None:
    """Raises what the making of the container failed with, if it did: then there is nothing to be connected."""
    if not os.path.exists(f"/proc/{process.pid}/ns/net") and select.select([process.end], [], [], 5)[0]:
        process.start()


def _forward(streams: dict[int, int], output: Callable[[int, bytes], None]) -> None:
    """Passes on what comes from descriptors, each under its stream's number, until all of them end."""
    with selectors.DefaultSelector() as selector:
        for fd in streams:
            selector.register(fd, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                data = os.read(key.fd, _CHUNK)
                if data:
                    output(streams[key.fd], data)
                else:
                    selector.unregister(key.fd)


def _remove(bundle: str) -> None:
    from sampan.store.trees import remove_tree

    remove_tree(bundle)
