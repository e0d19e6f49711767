"""A file's content copied by the kernel."""

from __future__ import annotations

import errno
import os

_CHUNK = 1 << 20


def copy_data(reading: int, writing: int) -> None:
    """Copies all of a file: inside the kernel, and as a reference to the same blocks where the file system can."""
    try:
        while os.copy_file_range(reading, writing, 1 << 30):
            pass
        return
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
    while data := os.read(reading, _CHUNK):
        left = memoryview(data)
        while left:
            left = left[os.write(writing, left) :]
