"""Directories of the store that foreign files lie in."""

import os

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: str) -> None:
    """Removes a directory of the store and all that is in it, also where modes forbid it. No error if there is none, or
    if someone else removes it at the same time.

    Works on descriptors, a handful of them however deep the tree is, and never follows a link: what a container wrote
    lies there.
    """
    try:
        fd = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return
    try:
        while not _empty(fd):
            continue
    finally:
        os.close(fd)
    _remove_directory(path)


def tree_size(path: str) -> int:
    """The bytes of the regular files below a directory, each once however many names it has; never follows a link.

    What is removed meanwhile, by a container or with the directory, does not count.
    """
    try:
        fd = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return 0
    try:
        return _size(fd)
    finally:
        os.close(fd)


def _size(top: int) -> int:
    import stat

    seen: set[tuple[int, int]] = set()
    total = 0
    for _, _, files, fd in os.fwalk(".", follow_symlinks=False, dir_fd=top):
        for name in files:
            try:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode) and (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_size
    return total


def _empty(top: int) -> bool:
    """Removes what is in the directory ``top``; False if another remover was at it too, and it is to be done again."""
    fd = os.dup(top)
    above: list[tuple[str, list[str]]] = []
    """From ``top`` down to ``fd``: the name of each directory, and those beside it that come after it."""
    try:
        left = _unlink_files(fd)
        while left or above:
            if left:
                name = left.pop()
                child = _open_to_empty(fd, name)
                above.append((name, left))
                os.close(fd)
                fd = child
                left = _unlink_files(fd)
            else:
                name, left = above.pop()
                parent = os.open("..", _DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = parent
                _remove_directory(name, fd)
    except FileNotFoundError:
        return False
    finally:
        os.close(fd)
    return True


def _unlink_files(fd: int) -> list[str]:
    """Unlinks all that is no directory in ``fd``, and gives the names of the directories."""
    with os.scandir(fd) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in found:
        if not is_directory:
            try:
                os.unlink(name, dir_fd=fd)
            except FileNotFoundError:
                continue
    return [name for name, is_directory in found if is_directory]


def _remove_directory(name: str, above: int | None = None) -> None:
    try:
        os.rmdir(name, dir_fd=above)
    except FileNotFoundError:
        return


def _open_to_empty(fd: int, name: str) -> int:
    try:
        child = os.open(name, _DIRECTORY, dir_fd=fd)
        writable = os.fstat(child).st_mode & 0o700 == 0o700
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=fd)
        return os.open(name, _DIRECTORY, dir_fd=fd)
    if not writable and os.geteuid() != 0:
        os.fchmod(child, 0o700)
    return child
