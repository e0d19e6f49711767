"""Paths that never leave their root: the one way in which a foreign name is ever opened.

Every function takes the descriptor of a root directory and a path from an image, a layer, a build context or a user, as
bytes. ``..`` and symbolic links, also absolute ones, are resolved as if the directory were ``/`` (openat2(2),
RESOLVE_IN_ROOT), and work goes on with descriptors, never with a path string joined from both.
"""

import os
import stat

from sampan.linux import syscalls
from sampan.linux.syscalls import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS

_IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
O_PATH = os.O_PATH


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

    Links inside the root are followed where they lead to directories; only directories made here get ``mode`` and
    ``owner``. Raises OSError, NotADirectoryError when a component exists and is something else.
    """
    current = os.dup(root_fd)
    try:
        walked = b""
        for part in (part for part in path.split(b"/") if part not in (b"", b".")):
            walked = walked + b"/" + part
            try:
                following = open_directory(root_fd, walked)
            except FileNotFoundError:
                # A dangling link also ends here: mkdirat does not follow it and says EEXIST.
                os.mkdir(part, mode, dir_fd=current)
                following = open_in(root_fd, walked, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
                magic = f"/proc/self/fd/{following}"
                if owner:
                    os.chown(magic, *owner)
                os.chmod(magic, mode)
            os.close(current)
            current = following
        return current
    except BaseException:
        os.close(current)
        raise


def reopen(fd: int, flags: int) -> int:
    """Another open file for what an O_PATH descriptor names, with real access."""
    return os.open(f"/proc/self/fd/{fd}", flags | os.O_CLOEXEC)
