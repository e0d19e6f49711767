"""Leases: what an operation has put into the store stays until a name, a container or the build cache keeps it.

A lease is a shared lock on one file, held for the length of an operation; the collector wants it for itself alone. The
kernel drops it when the holder dies, so a lease can neither leak nor expire too early.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from sampan.linux import locks
from sampan.paths import Paths


@contextmanager
def lease(paths: Paths) -> Iterator[None]:
    """Keeps the collector away for the length of a ``with`` block."""
    with locks.held(_path(paths), shared=True):
        yield


@contextmanager
def sole(paths: Paths) -> Iterator[bool]:
    """Gives True if nobody held a lease, and then nobody gets one during the block; False if someone does."""
    with locks.held(_path(paths), wait=False) as alone:
        yield alone


def _path(paths: Paths) -> str:
    os.makedirs(paths.locks, mode=0o700, exist_ok=True)
    return f"{paths.locks}/content"
