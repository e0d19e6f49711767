"""Mount operations performed on file descriptors, inside the container's mount namespace, while the host is in view.

Every target is opened below the root's descriptor with openat2(RESOLVE_IN_ROOT), so whatever links an image contains,
nothing lands outside.
"""

from __future__ import annotations

import errno
import os
import stat

from sampan.errors import Invalid, SampanError
from sampan.linux import beneath, ids, mounts
from sampan.linux.mounts import MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY
from sampan.runtime import copyup
from sampan.runtime.cgroups.container import Cgroup
from sampan.runtime.defaults import REPLACEABLE
from sampan.runtime.rootfs import (
    Bind,
    Cgroups,
    Device,
    Filesystem,
    Layers,
    Link,
    Mask,
    Node,
    Operation,
    ReadOnly,
    Sysctl,
)  # fmt: skip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Never through a link: an image that has one there would have its own files taken for the kernel's (CVE-2019-19921).
_KERNEL = ("proc", "sysfs")
# mount_namespaces(7): what is out of sight in all that there is of such a file system must not come to light in a new.
_HIDDEN = (
    "a container in which parts of /proc and /sys are hidden may not have new ones mounted: start that one with "
    "--security-opt systempaths=unconfined, share its processes (--pid host), or build with --isolation=chroot"
)


def opened(operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """The operations with the sources of bind mounts opened by this process, as far as it may.

    On the host itself, so that a source that the container's root may not reach can be shown, and one that is to follow
    the host's mounts still belongs to them.
    """
    return tuple(_opened(each) if isinstance(each, Bind) else each for each in operations)


def perform(operations: list[Operation], root_fd: int, cgroup: Cgroup) -> None:
    """Performs a plan on the tree behind ``root_fd``. Raises SampanError naming the operation that failed."""
    for operation in operations:
        try:
            _PERFORM[type(operation)](operation, root_fd, cgroup)
        except OSError as error:
            is_new = isinstance(operation, Filesystem) and operation.kind in _KERNEL
            hint = _HIDDEN if is_new and error.errno == errno.EPERM else None
            raise SampanError(f"cannot set up {operation.target} in the container: {error}", hint=hint) from error


def mount_overlay(target: bytes, lower: tuple[str, ...], upper: str, work: str, userxattr: bool, flags: int) -> None:
    """Mounts a snapshot's directories. Raises SampanError.

    overlayfs takes one page of options, so directories are named relative to the one that holds them all.
    """
    if not lower:  # a single directory needs no overlay, and overlayfs refuses it
        mounts.mount(os.fsencode(upper), target, None, mounts.MS_BIND)
        return
    base = os.path.dirname(os.path.dirname(upper))
    os.chdir(base)
    below = ":".join(os.path.relpath(path, base) for path in lower)
    options = f"lowerdir={below},upperdir={os.path.relpath(upper, base)},workdir={os.path.relpath(work, base)}"
    if userxattr:
        options += ",userxattr"
    try:
        mounts.mount(b"overlay", target, b"overlay", flags, options.encode())
    except OSError as error:
        raise SampanError(
            f"cannot mount the container's file system (overlayfs): {os.strerror(error.errno or 0)}"
        ) from None


def _filesystem(operation: Filesystem, root_fd: int, cgroup: Cgroup) -> None:
    if operation.kind in _KERNEL:
        target = _real_directory(root_fd, operation.target)
    else:
        target = beneath.make_directories(root_fd, os.fsencode(operation.target))
    try:
        if operation.kind not in _KERNEL:
            _refuse_proc(target, operation.target)
        fd = _new(operation)
        try:
            if operation.copy_up:
                copyup.copy(target, fd)
            mounts.attach(fd, target)
            if operation.propagation:
                mounts.set_attributes(fd, propagation=operation.propagation[0], recursive=operation.propagation[1])
        finally:
            os.close(fd)
    finally:
        os.close(target)


def _new(operation: Filesystem) -> int:
    options = operation.options
    try:
        return mounts.filesystem(operation.kind, options, operation.attributes)
    except OSError:
        # A user namespace with a single id knows no group 5: terminals then belong to the only group that there is.
        missing = ("uid", "gid") if ids.mapped_ids() == 1 else ("gid",)
        without = tuple(each for each in options if each[0] not in missing or not str(each[1]).isdecimal())
        if without == options:
            raise
        return mounts.filesystem(operation.kind, without, operation.attributes)


def _real_directory(root_fd: int, target: str) -> int:
    """Opens a directory of which no component is a link, making it if it is missing."""
    path = os.fsencode(target)
    try:
        return beneath.open_in(root_fd, path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, links=False)
    except FileNotFoundError:
        return beneath.make_directories(root_fd, path)


def _opened(operation: Bind) -> Bind:
    try:
        with mounts.seen_by(operation.process):
            source = _tree(operation)
    except PermissionError:
        return operation  # without privileges here: the container's own process opens it, as root of its namespace
    except OSError as error:
        raise SampanError(
            f"cannot mount {os.path.join(operation.source, operation.subpath).rstrip('/')} at {operation.target}: "
            f"{os.strerror(error.errno or 0)}"
        ) from None
    mounts.set_attributes(source, operation.set_, operation.clear, recursive=operation.recursive and operation.deep)
    if operation.ids >= 0:
        mounts.map_ids(source, operation.ids, recursive=operation.deep_ids)
    flags, recursive = operation.propagation
    mounts.set_attributes(source, propagation=flags, recursive=recursive)
    return operation._replace(fd=source)


def _tree(operation: Bind) -> int:
    if not operation.subpath:
        return mounts.open_tree(os.fsencode(operation.source), recursive=operation.recursive)
    root = beneath.open_root(operation.source)
    try:
        return _below(root, operation.subpath, recursive=operation.recursive)
    finally:
        os.close(root)


def _below(root: int, subpath: str, *, recursive: bool) -> int:
    """A detached copy of what ``subpath`` leads to below ``root``."""
    place = beneath.open_in(root, os.fsencode(subpath), os.O_PATH)
    try:
        return mounts.open_tree(b"", dir_fd=place, recursive=recursive)
    finally:
        os.close(place)


def _layers(operation: Layers, root_fd: int, cgroup: Cgroup) -> None:
    if operation.lower:
        stack = mounts.overlay(operation.lower, operation.upper, operation.work, userxattr=operation.userxattr)
    else:  # overlayfs wants something below; without it this directory is all there is
        stack = mounts.open_tree(os.fsencode(operation.upper))
    try:
        mounts.set_attributes(stack, operation.attributes)
        if not operation.subpath:
            _attach(stack, root_fd, operation.target)
            return
        # What is attached nowhere cannot be copied in part before Linux 6.15: it is, for this moment, at the root.
        place = beneath.open_directory(root_fd, b"/")
        mounts.attach(stack, place)
        os.close(place)
        part = _below(stack, operation.subpath, recursive=False)
        mounts.umount(b"/proc/self/fd/%d" % stack, mounts.MNT_DETACH)
        try:
            _attach(part, root_fd, operation.target)
        finally:
            os.close(part)
    finally:
        os.close(stack)


def _bind(operation: Bind, root_fd: int, cgroup: Cgroup) -> None:
    if operation.fd < 0:
        operation = _opened(operation)
    if operation.fd < 0:
        raise PermissionError(errno.EPERM, f"cannot open {operation.source}")
    try:
        _attach(operation.fd, root_fd, operation.target)
    finally:
        os.close(operation.fd)


def _device(operation: Device, root_fd: int, cgroup: Cgroup) -> None:
    source = mounts.open_tree(os.fsencode(operation.source))
    try:
        mode = os.fstat(source).st_mode
        if not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)):
            raise Invalid(f"{operation.source} is not a device")
        # The node is the host's own: read-only, so that nobody inside changes its mode or owner. Reading from and
        # writing to the device itself is not a matter of the mount.
        mounts.set_attributes(source, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC)
        _attach(source, root_fd, operation.target)
    finally:
        os.close(source)


def _attach(source: int, root_fd: int, target: str) -> None:
    """Puts a detached mount on ``target``, which is made like it (a file or a directory) if it is missing."""
    path = os.fsencode(target)
    is_directory = stat.S_ISDIR(os.fstat(source).st_mode)
    fd = beneath.make_directories(root_fd, path) if is_directory else _make_file(root_fd, path)
    try:
        if is_directory or os.path.normpath(target) not in REPLACEABLE:
            _refuse_proc(fd, target)
        mounts.attach(source, fd)
    finally:
        os.close(fd)


def _refuse_proc(fd: int, target: str) -> None:
    """By way of a link of the image's too: its files would be taken for the kernel's (CVE-2019-16884)."""
    if mounts.filesystem_type(fd) == mounts.PROC_SUPER_MAGIC:
        raise Invalid(f"{target} leads into the container's /proc, where nothing can be mounted")


def _make_file(root_fd: int, path: bytes) -> int:
    try:
        return beneath.open_in(root_fd, path, os.O_PATH)
    except FileNotFoundError:
        os.close(beneath.make_directories(root_fd, os.path.dirname(path)))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        os.close(beneath.open_in(root_fd, path, flags, 0o644))
        return beneath.open_in(root_fd, path, os.O_PATH)


def _node(operation: Node, root_fd: int, cgroup: Cgroup) -> None:
    directory, _, name = operation.target.rpartition("/")
    if name in ("", ".", ".."):
        raise Invalid(f"{operation.target!r} is no name for a device")
    fd = beneath.make_directories(root_fd, os.fsencode(directory))
    try:
        os.mknod(name, operation.mode, operation.device, dir_fd=fd)
        os.chown(name, *operation.owner, dir_fd=fd, follow_symlinks=False)
        # By way of the node itself: the name could be a link by now, and fchmodat(2) follows one.
        node = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        os.chmod(f"/proc/self/fd/{node}", stat.S_IMODE(operation.mode))
        os.close(node)
    except FileExistsError:
        return
    finally:
        os.close(fd)


def _link(operation: Link, root_fd: int, cgroup: Cgroup) -> None:
    directory, _, name = operation.target.rpartition("/")
    fd = beneath.open_directory(root_fd, os.fsencode(directory))
    try:
        os.symlink(operation.to, name, dir_fd=fd)
    except FileExistsError:
        return
    finally:
        os.close(fd)


def _cgroups(operation: Cgroups, root_fd: int, cgroup: Cgroup) -> None:
    path = os.fsencode(operation.target)
    if not cgroup:
        return
    if cgroup[0].hierarchy.version == 2:
        _filesystem(Filesystem(operation.target, "cgroup2", (), operation.attributes), root_fd, cgroup)
        return
    # The directory for v1's hierarchies must still be writable while their mount points are made.
    writable = operation.attributes & ~MOUNT_ATTR_RDONLY
    _filesystem(Filesystem(operation.target, "tmpfs", (("mode", "755"),), writable), root_fd, cgroup)
    for hierarchy, directory in cgroup:
        options = tuple((controller, None) for controller in hierarchy.controllers)
        target = f"{operation.target}/{hierarchy.name}"
        if operation.namespace:
            _filesystem(Filesystem(target, "cgroup", options, operation.attributes), root_fd, cgroup)
        else:
            _bind(
                Bind(target, directory, False, operation.attributes, 0, False, (mounts.MS_PRIVATE, False)),
                root_fd,
                cgroup,
            )
        for controller in hierarchy.controllers:
            if controller != hierarchy.name:
                _link(Link(f"{operation.target}/{controller}", hierarchy.name), root_fd, cgroup)
    fd = beneath.open_directory(root_fd, path)
    try:
        mounts.set_attributes(fd, operation.attributes)
    finally:
        os.close(fd)


def _read_only(operation: ReadOnly, root_fd: int, cgroup: Cgroup) -> None:
    target = _existing(root_fd, operation.target)
    if target < 0:
        return
    try:
        clone = mounts.open_tree(b"", dir_fd=target, recursive=True)
        try:
            mounts.set_attributes(clone, MOUNT_ATTR_RDONLY, recursive=True)
            mounts.attach(clone, target)
        finally:
            os.close(clone)
    finally:
        os.close(target)


def _mask(operation: Mask, root_fd: int, cgroup: Cgroup) -> None:
    target = _existing(root_fd, operation.target)
    if target < 0:
        return
    try:
        if stat.S_ISDIR(os.fstat(target).st_mode):
            attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
            cover = mounts.filesystem("tmpfs", (("size", "4k"),), attributes)
        else:
            cover = _host_null()
        try:
            mounts.attach(cover, target)
        finally:
            os.close(cover)
    finally:
        os.close(target)


def _existing(root_fd: int, target: str) -> int:
    """Opens what is to be hidden, -1 if it is not there. Raises OSError where it is a link, or behind one."""
    try:
        fd = beneath.open_in(root_fd, os.fsencode(target), os.O_PATH | os.O_NOFOLLOW, links=False)
    except (FileNotFoundError, NotADirectoryError):
        return -1
    if stat.S_ISLNK(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return fd


def _set(operation: Sysctl, root_fd: int, cgroup: Cgroup) -> None:
    fd = beneath.open_in(root_fd, os.fsencode(operation.target), os.O_WRONLY | os.O_NOFOLLOW, links=False)
    try:
        if mounts.filesystem_type(fd) != mounts.PROC_SUPER_MAGIC:
            raise SampanError(f"{operation.target} in the container is not the kernel's")
        os.write(fd, operation.value.encode())
    finally:
        os.close(fd)


def _host_null() -> int:
    """The host's /dev/null, checked: an image's own could be a link to what is to be masked (CVE-2025-31133)."""
    fd = mounts.open_tree(b"/dev/null")
    status = os.fstat(fd)
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(1, 3):
        os.close(fd)
        raise SampanError("the host's /dev/null is not the null device")
    mounts.set_attributes(fd, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC)
    return fd


_PERFORM: dict[type, Any] = {
    Filesystem: _filesystem,
    Bind: _bind,
    Layers: _layers,
    Device: _device,
    Node: _node,
    Link: _link,
    Cgroups: _cgroups,
    Mask: _mask,
    ReadOnly: _read_only,
    Sysctl: _set,
}
