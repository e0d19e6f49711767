"""Directories of the store that foreign files lie in."""

import os


def remove_tree(path: str) -> None:
    """Removes a directory of the store and all that is in it, also where modes forbid it. No error if there is none.

    Works on descriptors and never follows a link: what a container wrote lies there.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _empty(fd)
    finally:
        os.close(fd)
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return


def tree_size(path: str) -> int:
    """The bytes of the regular files below a directory, each once however many names it has; never follows a link."""
    import stat

    seen: set[tuple[int, int]] = set()
    total = 0
    for _, _, files, fd in os.fwalk(path, follow_symlinks=False, onerror=None):
        for name in files:
            try:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:  # a running container removed it just now
                continue
            if stat.S_ISREG(status.st_mode) and (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_size
    return total


def _empty(fd: int) -> None:
    with os.scandir(fd) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in found:
        if not is_directory:
            os.unlink(name, dir_fd=fd)
            continue
        child = _open_to_empty(fd, name)
        try:
            _empty(child)
        finally:
            os.close(child)
        os.rmdir(name, dir_fd=fd)


def _open_to_empty(fd: int, name: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        child = os.open(name, flags, dir_fd=fd)
        writable = os.fstat(child).st_mode & 0o700 == 0o700
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=fd)
        return os.open(name, flags, dir_fd=fd)
    if not writable and os.geteuid() != 0:
        os.fchmod(child, 0o700)
    return child
