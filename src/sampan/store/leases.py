"""Leases: what an operation has put into the store stays until a name, a container or the build cache keeps it.

A lease is a shared lock on one file, held for the length of an operation; the collector wants it for itself alone. The
kernel drops it when the holder dies, so a lease can neither leak nor expire too early.
"""

from sampan.linux import locks
from sampan.paths import Paths, make


def lease(paths: Paths) -> locks.held:
    """Keeps the collector away for the length of a ``with`` block."""
    return locks.held(_path(paths), shared=True)


def sole(paths: Paths) -> locks.held:
    """A ``with`` block that gets True if nobody held a lease, and nobody gets one then; False if someone does."""
    return locks.held(_path(paths), wait=False)


def _path(paths: Paths) -> str:
    make(paths.locks)
    return f"{paths.locks}/content"
