"""Content-addressed files: ``ROOT/sha256/HEX`` holds the bytes with that digest and no others.

Laws. A blob that can be seen is whole and verified: it was written aside, hashed on the way, synced and renamed.
``put`` and ``commit`` are idempotent: success means "it is stored", not "I stored it". Nothing ever changes in place.
"""

import os
from types import TracebackType
from typing import BinaryIO

from sampan.errors import Corrupt, NotFound
from sampan.oci import digest as digests
from sampan.oci.digest import Digest
from sampan.oci.manifest import MAX_BYTES


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

    def writer(self, expected: Digest | None = None, size: int | None = None) -> "Writer":
        """A writer for a blob that is to have this digest and size, or any."""
        return Writer(self, expected, size)

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


class Writer:
    """One blob on its way in; a context manager. What is not committed leaves nothing behind."""

    __slots__ = ("_blobs", "_expected", "_fd", "_hash", "_limit", "_path", "_size", "size")

    def __init__(self, blobs: Blobs, expected: Digest | None, size: int | None) -> None:
        self._blobs = blobs
        self._expected = expected
        self._size = size
        self._limit = 1 << 62 if size is None else size
        self._hash = digests.hasher(expected)
        self.size = 0
        os.makedirs(blobs.aside, mode=0o700, exist_ok=True)
        # The name's first part is the writer's process: the collector removes what a dead one left.
        self._path = f"{blobs.aside}/{os.getpid()}-{os.urandom(8).hex()}"
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.abandon()

    def write(self, data: bytes | memoryview) -> int:
        """Appends ``data``. Raises Corrupt as soon as there is more than was announced."""
        length = len(data)
        if self.size + length > self._limit:
            raise Corrupt(f"blob {self._expected or ''} has more than the {self._size} bytes announced")
        self._hash.update(data)
        left = memoryview(data)
        while left:
            left = left[os.write(self._fd, left) :]
        self.size += length
        return length

    def commit(self) -> Digest:
        """Verifies and publishes. Raises Corrupt, and then nothing is stored."""
        algorithm = self._expected.algorithm if self._expected else "sha256"
        found = Digest(f"{algorithm}:{self._hash.hexdigest()}")
        if self._size is not None and self.size != self._size:
            raise Corrupt(f"blob {self._expected or found} has {self.size} bytes, not the {self._size} announced")
        if self._expected is not None and found != self._expected:
            raise Corrupt(f"a blob's digest is {found}, not {self._expected}: nothing was stored")
        path = self._blobs.path(found)
        os.fsync(self._fd)
        try:
            os.rename(self._path, path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            os.rename(self._path, path)
        os.close(self._fd)
        self._fd = -1
        return found

    def abandon(self) -> None:
        """Drops what was written, unless it was committed. May be called again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            os.unlink(self._path)
