"""A container made into an image: what it changed as a layer, and what it was started with as a config."""

from __future__ import annotations

import os

from sampan.containers import differences
from sampan.layers import whiteouts
from sampan.layers.write import Layer, pack_entries
from sampan.oci.config import ContainerConfig
from sampan.snapshots.flatten import entries
from sampan.snapshots.lookup import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.containers.options import Options
    from sampan.containers.record import Container
    from sampan.snapshots.flatten import Entries
    from sampan.snapshots.overlay import Overlay
    from sampan.store.blobs import Blobs


def pack(container: Container, snapshots: Overlay, blobs: Blobs) -> Layer:
    """Stores a layer of what the container changed; mount points that the runtime made are no such change."""
    rootfs = snapshots.rootfs(container.snapshot)
    changed = {path for _, path in differences.of_container(container, snapshots)}
    # Where the runtime made mount points, the directory's time changed; that alone is nothing to keep.
    changed -= {at for at in (b"/etc", b"/dev") if not any(path.startswith(at + b"/") for path in changed)}
    with (
        Tree((rootfs.upper, *rootfs.lower), rootfs.userxattr) as tree,
        Tree(rootfs.lower, rootfs.userxattr) as below,
    ):
        return pack_entries(_only(entries(tree, below if rootfs.lower else None), changed), blobs)


def _only(found: Entries, changed: set[bytes]) -> Entries:
    for entry, fd in found:
        above, _, base = entry.name.rpartition(b"/")
        path = b"/".join((b"", *filter(None, (above, base.removeprefix(whiteouts.PREFIX)))))
        if path in changed:
            yield entry, fd


def all_files(container: Container, snapshots: Overlay) -> Tree:
    """The container's file system as a tree; to be closed. What is mounted into it is not there."""
    rootfs = snapshots.rootfs(container.snapshot)
    return Tree((rootfs.upper, *rootfs.lower), rootfs.userxattr)


def config_of(options: Options, config: ContainerConfig) -> ContainerConfig:
    """The image's config, with what was asked of the container over it (moby daemon/commit.go, merge)."""
    env = dict(entry.partition("=")[::2] for entry in config.env)
    env |= {name: value for name, equals, value in (entry.partition("=") for entry in options.env) if equals}
    has_entrypoint = options.entrypoint is not None
    ports = (text.rpartition(":")[2] for text in options.ports)
    exposed = [port if "/" in port else f"{port}/tcp" for port in ports if "-" not in port]
    return config._replace(
        user=options.user or config.user,
        exposed_ports=tuple(dict.fromkeys((*config.exposed_ports, *exposed))),
        env=tuple(f"{name}={value}" for name, value in env.items()),
        entrypoint=options.entrypoint if has_entrypoint else config.entrypoint,
        cmd=options.command if options.command or has_entrypoint else config.cmd,
        working_dir=os.path.normpath(options.workdir) if options.workdir else config.working_dir,
        labels={**config.labels, **dict(options.labels)},
        stop_signal=options.stop_signal or config.stop_signal,
    )
