"""A container's file system as a descriptor of its root: of a running one what its processes see, of another what they
would see.

The calling process enters namespaces of its own for that, so this is for commands that do one thing and end.
"""

from __future__ import annotations

import os

from sampan.errors import Unavailable
from sampan.linux import beneath, fuse, mounts, namespaces, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.containers.lifecycle import Stores
    from sampan.containers.record import Container

_MS_BIND = 0x1000


def open_root(container: Container, stores: Stores) -> int:
    """A descriptor (O_PATH) of the container's root. Paths from there are opened through ``linux.beneath`` only.

    Raises Unavailable where the kernel does not let this user see it.
    """
    state = container.state()
    if state.status == "running":
        return _of_running(state.pid, container, rootless=stores.rootless)
    namespaces.enter_user_namespace()
    syscalls.unshare(syscalls.CLONE_NEWNS)
    mounts.mount(b"", b"/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    return _of_stopped(container, stores)


def _of_running(pid: int, container: Container, *, rootless: bool) -> int:
    try:
        if rootless:
            # What is made there belongs to ids of the container's own user namespace.
            fd = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
            try:
                syscalls.setns(fd, syscalls.CLONE_NEWUSER)
            finally:
                os.close(fd)
        return beneath.open_root(f"/proc/{pid}/root")
    except OSError as error:
        raise Unavailable(
            f"the file system of container {container.name} cannot be reached: {error.strerror}"
        ) from None


def _of_stopped(container: Container, stores: Stores) -> int:
    """Mounts its layers where it has its root, in this process's own mount namespace, and on it what it mounts."""
    rootfs = stores.snapshots.mountable(container.snapshot)
    if rootfs.fused:
        rootfs = rootfs._replace(lower=(), upper=fuse.mount(*rootfs[:3]).path)
    base = stores.snapshots.root
    # Short names: all of them have to fit into one page (mount(2)).
    below = ":".join(os.path.relpath(directory, base) for directory in rootfs.lower)
    upper, work = (os.path.relpath(directory, base) for directory in (rootfs.upper, rootfs.work))
    target = f"{container.directory}/rootfs"
    if not below:
        # overlayfs wants something below; without it the container's own layer is all there is.
        mounts.mount(os.fsencode(rootfs.upper), os.fsencode(target), None, _MS_BIND)
    else:
        options = f"lowerdir={below},upperdir={upper},workdir={work}" + (",userxattr" if rootfs.userxattr else "")
        here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        os.chdir(base)
        try:
            mounts.mount(b"overlay", os.fsencode(target), b"overlay", mounts.MS_NODEV, options.encode())
        except OSError as error:
            raise Unavailable(
                f"the file system of container {container.name} cannot be mounted: {error.strerror}"
            ) from None
        finally:
            os.fchdir(here)
            os.close(here)
    root = beneath.open_root(target)
    for mount in container.options.mounts:
        _bind(root, mount.source if mount.source.startswith("/") else stores.volumes.path(mount.source), mount.target)
    return beneath.open_root(target)


def _bind(root: int, source: str, target: str) -> None:
    """Shows a volume or a path of the host where the container has it."""
    tree = mounts.open_tree(os.fsencode(source), recursive=True)
    try:
        if os.path.isdir(source):
            place = beneath.make_directories(root, os.fsencode(target))
        else:
            place = beneath.open_in(root, os.fsencode(target), os.O_PATH)
        try:
            mounts.attach(tree, place)
        finally:
            os.close(place)
    except FileNotFoundError:
        return  # a file that the container has not been started with yet
    finally:
        os.close(tree)
