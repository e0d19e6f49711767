"""Advisory file locks: they need no daemon, and the kernel releases them when their holder dies, however it dies."""

import fcntl
import os


class held:
    """Holds a lock on the file ``path`` (made if absent, never removed) for the length of a ``with`` block.

    Gives whether the lock was got: always True when ``wait``, else False if someone holds it in a conflicting way.
    """

    __slots__ = ("_fd", "_flags", "_path")

    def __init__(self, path: str, *, shared: bool = False, wait: bool = True) -> None:
        self._path = path
        self._flags = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
        self._fd = -1

    def __enter__(self) -> bool:
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, self._flags)
        except BlockingIOError:
            return False
        except BaseException:
            self.__exit__()
            raise
        return True

    def __exit__(self, *rest: object) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)  # a process that was forked meanwhile has the descriptor too
        os.close(self._fd)


def is_held(path: str) -> bool:
    """Whether another open file holds an exclusive lock on ``path``; False if there is no such file."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def take(path: str) -> int | None:
    """An open descriptor of the file ``path``, made if absent, that holds the lock on it until it is closed.

    None if someone else has it. The file may be renamed or removed by its holder: what is locked here is what ``path``
    names now.
    """
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                return fd
        except BlockingIOError:
            os.close(fd)
            return None
        except FileNotFoundError:
            pass  # it was renamed between the two: there is a new one to be made
        os.close(fd)
