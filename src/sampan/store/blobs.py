"""Content-addressed files: ``ROOT/sha256/HEX`` holds the bytes with that digest and no others.

Laws. A blob that can be seen is whole and verified: it was written aside, hashed on the way, synced and renamed.
``put`` and ``commit`` are idempotent: success means "it is stored", not "I stored it". Nothing ever changes in place.

A transfer that was cut off, or killed, leaves its part in ``ROOT/partial``; the next one hashes that again and goes on.
"""

from __future__ import annotations

import os

from sampan.errors import Corrupt, NotFound
from sampan.linux import locks
from sampan.oci import digest as digests
from sampan.oci.digest import Digest
from sampan.oci.manifest import MAX_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from sampan.store.writer import Writer


class Blobs:
    """The blobs below one directory. Instances hold no open files and may be used from several threads."""

    __slots__ = ("root",)

    def __init__(self, root: str) -> None:
        self.root = root

    def path(self, digest: Digest) -> str:
        """Where the blob is, or would be."""
        return f"{self.root}/{digest.algorithm}/{digest.encoded}"

    def has(self, digest: Digest) -> bool:
        return os.path.exists(self.path(digest))

    def size(self, digest: Digest) -> int:
        """Its size in bytes. Raises NotFound."""
        try:
            return os.stat(self.path(digest)).st_size
        except FileNotFoundError:
            raise NotFound(f"there is no blob {digest}") from None

    def open(self, digest: Digest) -> BinaryIO:
        """The blob as an unbuffered file. Raises NotFound."""
        try:
            return open(self.path(digest), "rb", buffering=0)
        except FileNotFoundError:
            raise NotFound(f"there is no blob {digest}") from None

    def read(self, digest: Digest, limit: int = MAX_BYTES) -> bytes:
        """The blob's bytes, verified. Raises NotFound, and Corrupt if it is larger than ``limit`` or damaged."""
        with self.open(digest) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise Corrupt(f"blob {digest} is larger than {limit} bytes")
        return digests.verify(data, digest, f"blob {digest}")

    def put(self, data: bytes) -> Digest:
        """Stores ``data`` and gives its digest."""
        with self.writer() as writer:
            writer.write(data)
            return writer.commit()

    def writer(self, expected: Digest | None = None, size: int | None = None) -> Writer:
        """A writer for a blob that is to have this digest and size, or any."""
        from sampan.store.writer import Writer

        # The name's first part is the writer's process: the collector removes what a dead one left.
        path = f"{self.aside}/{os.getpid()}-{os.urandom(8).hex()}"
        os.makedirs(self.aside, mode=0o700, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        return Writer(self.path, path, fd, expected, size)

    def resume(self, expected: Digest, size: int) -> Writer:
        """A writer for a blob that arrives in order: it begins (``Writer.size``) behind what is here of it already.

        What comes in is kept for the next one if the transfer breaks off. While another process is at it, this writer
        begins anew, with a file of its own.
        """
        path = f"{self.partial}/{expected.algorithm}-{expected.encoded}"
        os.makedirs(self.partial, mode=0o700, exist_ok=True)
        fd = locks.take(path)
        if fd is None:
            return self.writer(expected, size)
        from sampan.store.writer import Writer

        writer = Writer(self.path, path, fd, expected, size, keep=True)
        try:
            writer.take_over()
        except BaseException:
            writer.abandon()
            raise
        return writer

    def remove(self, digest: Digest) -> int:
        """Removes a blob and gives the bytes that it had; 0 if there was none."""
        path = self.path(digest)
        try:
            size = os.stat(path).st_size
            os.unlink(path)
        except FileNotFoundError:
            return 0
        return size

    def all(self) -> list[Digest]:
        """The digests of all blobs."""
        found = []
        for algorithm in ("sha256", "sha512"):
            try:
                names = os.listdir(f"{self.root}/{algorithm}")
            except FileNotFoundError:
                continue
            found += [Digest(f"{algorithm}:{name}") for name in names]
        return found

    @property
    def aside(self) -> str:
        """Where blobs are while they are being written."""
        return f"{self.root}/aside"

    @property
    def partial(self) -> str:
        """Where the parts of blobs are whose transfer broke off, for ``resume``."""
        return f"{self.root}/partial"

    def forget_partial(self, before: float) -> int:
        """Removes parts that were last written to before that time (seconds since 1970); the bytes that they had.

        To be called while nobody stores anything (``leases.sole``).
        """
        freed = 0
        try:
            entries = list(os.scandir(self.partial))
        except FileNotFoundError:
            return 0
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            if status.st_mtime < before:
                os.unlink(entry.path)
                freed += status.st_size
        return freed
