"""Every way to fail, as one sentence and an exit code. Imported when something has gone wrong."""

import errno
import os
from typing import NamedTuple

from sampan.cli.flags import UsageError
from sampan.errors import SampanError

SIGNALLED = 128  # and the number of the signal, as shells have it
INTERRUPTED = 130  # by SIGINT
PIPE_CLOSED = 141  # 128 + SIGPIPE

_SENTENCES = {
    errno.ENOSPC: ("the disk is full", "sampan rmi removes images that are not needed"),
    errno.EDQUOT: ("the disk quota is used up", None),
    errno.EROFS: ("the file system is read-only", "--root DIR chooses another directory"),
    errno.EACCES: ("permission denied", None),
    errno.EPERM: ("operation not permitted", None),
    errno.EMFILE: ("too many open files", "ulimit -n shows how many a process may open"),
    errno.ENFILE: ("too many open files on this machine", None),
    errno.ENOMEM: ("out of memory", None),
    errno.EIO: ("the disk reports an error", "the kernel's log says more: dmesg"),
}


class Failure(NamedTuple):
    """What the user is told; ``usage`` is whether it is about how the command was written."""

    message: str
    hint: str | None
    exit_code: int
    usage: bool = False


def explain(error: BaseException) -> Failure:
    """What to tell the user about ``error``."""
    if isinstance(error, SampanError):
        return Failure(error.message, error.hint, error.exit_code, isinstance(error, UsageError))
    if isinstance(error, KeyboardInterrupt):
        return Failure("interrupted", None, SIGNALLED + error.args[0] if error.args else INTERRUPTED)
    if isinstance(error, BrokenPipeError):
        return Failure("", None, PIPE_CLOSED)
    if isinstance(error, OSError) and error.errno:
        return _system(error)
    if type(error).__module__ == "sqlite3":
        return _database(error)
    if isinstance(error, MemoryError):
        return Failure("out of memory", None, 1)
    return Failure(f"internal error: {type(error).__name__}: {error}", "run it again with --debug to see where", 1)


def _system(error: OSError) -> Failure:
    sentence, hint = _SENTENCES.get(error.errno or 0, ((error.strerror or str(error)).lower(), None))
    names = [os.fsdecode(name) if isinstance(name, bytes) else str(name) for name in _names(error)]
    return Failure(f"{sentence}: {' and '.join(names)}" if names else sentence, hint, 1)


def _names(error: OSError) -> list[object]:
    return [name for name in (error.filename, error.filename2) if name is not None]


def _database(error: BaseException) -> Failure:
    text = str(error)
    if "full" in text or getattr(error, "sqlite_errorname", "") == "SQLITE_IOERR_SHMSIZE":
        return Failure(*_SENTENCES[errno.ENOSPC], 1)
    if "readonly" in text:
        return Failure("the store cannot be written", "--root DIR chooses another directory", 1)
    if "unable to open" in text:
        return Failure("the store cannot be opened", "is it yours? --root DIR chooses another directory", 1)
    if "locked" in text:
        return Failure("another sampan holds the store", "try again when it is done", 1)
    if "malformed" in text or "not a database" in text:
        return Failure(f"the store's database is damaged: {text}", "sampan.db in the root directory is the file", 1)
    return Failure(f"the store's database failed: {text}", None, 1)
