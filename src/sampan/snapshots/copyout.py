"""Copies a directory of an image to a directory of the host: what a new volume begins with."""

import os
import stat

from sampan.snapshots.lookup import Tree


def copy_directory(tree: Tree, path: bytes, destination_fd: int) -> None:
    """Copies what is in the directory that ``path`` leads to in ``tree`` into an empty directory, with owners, modes
    and times. Nothing happens if it is not there; devices, FIFOs and sockets are left out."""
    found = tree.resolve(path)
    if found.status is None or not stat.S_ISDIR(found.status.st_mode):
        return
    _copy_children(tree, found.path, destination_fd)
    _set_attributes(destination_fd, found.status)


def _copy_children(tree: Tree, path: bytes, destination: int) -> None:
    for name, status in tree.children(path).items():
        child = path + b"/" + name if path else name
        if stat.S_ISDIR(status.st_mode):
            os.mkdir(name, 0o700, dir_fd=destination)
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=destination)
            _copy_children(tree, child, fd)
            _set_attributes(fd, status)
            os.close(fd)
        elif stat.S_ISREG(status.st_mode):
            _copy_file(tree, child, name, status, destination)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(tree.readlink(child), name, dir_fd=destination)
            _own(name, status, destination)


def _copy_file(tree: Tree, path: bytes, name: bytes, status: os.stat_result, destination: int) -> None:
    source = tree.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    target = os.open(name, flags, 0o600, dir_fd=destination)
    try:
        while os.sendfile(target, source, None, 1 << 30):
            continue
        _set_attributes(target, status)
    finally:
        os.close(source)
        os.close(target)


def _set_attributes(fd: int, status: os.stat_result) -> None:
    try:
        os.chown(fd, status.st_uid, status.st_gid)
    except PermissionError:
        pass  # an owner that does not exist in this user namespace
    os.chmod(fd, stat.S_IMODE(status.st_mode))
    os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))


def _own(name: bytes, status: os.stat_result, directory: int) -> None:
    try:
        os.chown(name, status.st_uid, status.st_gid, dir_fd=directory, follow_symlinks=False)
    except PermissionError:
        pass
