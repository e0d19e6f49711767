"""Paths that never leave their root: the one way in which a foreign name is ever opened.

Every function takes the descriptor of a root directory and a path from an image, a layer, a build context or a user, as
bytes. ``..`` and symbolic links, also absolute ones, are resolved as if the directory were ``/`` (openat2(2),
RESOLVE_IN_ROOT), and work goes on with descriptors, never with a path string joined from both.
"""

import errno
import os
import stat

from sampan.linux import syscalls
from sampan.linux.syscalls import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS

_IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
O_PATH = os.O_PATH
_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MAX_LINKS = 40  # as the kernel's own limit


def open_root(path: str | bytes) -> int:
    """A descriptor (O_PATH) of the directory that is to be a root. ``path`` is the host's own, not foreign."""
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def open_in(root_fd: int, path: bytes, flags: int = os.O_RDONLY, mode: int = 0, *, links: bool = True) -> int:
    """Opens ``path`` below ``root_fd``; the last component is followed unless O_NOFOLLOW is among ``flags``.

    With ``links=False`` no component may be a symbolic link (ELOOP). Raises OSError.
    """
    resolve = _IN_ROOT if links else _IN_ROOT | RESOLVE_NO_SYMLINKS
    return syscalls.openat2(root_fd, path.lstrip(b"/") or b".", flags, resolve, mode)


def open_directory(root_fd: int, path: bytes) -> int:
    """Opens a directory below ``root_fd``, following links inside the root. Raises OSError (ENOTDIR, ENOENT …)."""
    return open_in(root_fd, path, os.O_PATH | os.O_DIRECTORY)


def read_file(root_fd: int, path: bytes, limit: int) -> bytes:
    """The content of a regular file below the root, at most ``limit`` bytes of it.

    Never blocks on a FIFO or a device: anything but a regular file raises FileNotFoundError.
    """
    fd = open_in(root_fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise FileNotFoundError(f"{os.fsdecode(path)} is not a regular file")
        with open(fd, "rb", closefd=False) as file:
            return file.read(limit)
    finally:
        os.close(fd)


def make_directories(root_fd: int, path: bytes, mode: int = 0o755, owner: tuple[int, int] | None = None) -> int:
    """Makes ``path`` and its missing parents below the root, and opens it (O_PATH).

    Links inside the root are followed, and where they dangle what they point at is made; only directories made here
    get ``mode`` and ``owner``. Raises OSError, NotADirectoryError when a component exists and is something else.
    """
    current = os.dup(root_fd)
    try:
        walked, links = b"", 0
        pending = path.split(b"/")[::-1]
        while pending:
            part = pending.pop()
            if part in (b"", b"."):
                continue
            try:
                following = _step(root_fd, walked, current, part)
            except FileNotFoundError:
                try:
                    os.mkdir(part, mode, dir_fd=current)
                except FileExistsError:  # a dangling link: mkdirat(2) does not follow it
                    links += 1
                    target = os.readlink(part, dir_fd=current)
                    if links > MAX_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path) from None
                    pending += target.split(b"/")[::-1]
                    if target.startswith(b"/"):
                        os.close(current)
                        walked, current = b"", os.dup(root_fd)
                    continue
                following = os.open(part, _STEP, dir_fd=current)
                magic = f"/proc/self/fd/{following}"
                if owner:
                    os.chown(magic, *owner)
                os.chmod(magic, mode)
            walked = walked + b"/" + part
            os.close(current)
            current = following
        return current
    except BaseException:
        os.close(current)
        raise


def _step(root_fd: int, walked: bytes, current: int, part: bytes) -> int:
    """Opens directory ``part`` of ``current``, which is ``walked``; all of the path is resolved only for a link."""
    if part != b"..":
        try:
            return os.open(part, _STEP, dir_fd=current)
        except NotADirectoryError:
            pass  # a link, or no directory
    return open_directory(root_fd, walked + b"/" + part)


def remove_tree(dir_fd: int, name: bytes) -> None:
    """Removes the directory ``name`` of ``dir_fd`` with all that is in it; links are removed, never followed.

    However deep the tree is, no recursion and a handful of descriptors: subdirectories are first moved up to the top,
    then emptied one by one. Raises OSError.
    """
    top = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        found = _unlink_files(top)
        taken, count = set(found), 0
        while found:
            directory = found.pop()
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
            try:
                for child in _unlink_files(fd):
                    while (moved := b"%d" % count) in taken:
                        count += 1
                    count += 1
                    os.rename(child, moved, src_dir_fd=fd, dst_dir_fd=top)
                    found.append(moved)
            finally:
                os.close(fd)
            os.rmdir(directory, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=dir_fd)


def _unlink_files(fd: int) -> list[bytes]:
    """Unlinks all that is not a directory in ``fd``; returns the names of the directories."""
    with os.scandir(fd) as entries:
        children = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
    for child, is_directory in children:
        if not is_directory:
            os.unlink(child, dir_fd=fd)
    return [child for child, is_directory in children if is_directory]


def reopen(fd: int, flags: int) -> int:
    """Another open file for what an O_PATH descriptor names, with real access."""
    return os.open(f"/proc/self/fd/{fd}", flags | os.O_CLOEXEC)
