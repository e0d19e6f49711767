"""A blob on its way into the store: hashed as it comes, and nowhere to be seen before it is whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import TracebackType

from sampan.errors import Corrupt, Unavailable
from sampan.oci import digest as digests
from sampan.oci.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from threading import Condition

_CHUNK = 1 << 20
_WORTH_KEEPING = 1 << 20


class Writer:
    """One blob on its way in; a context manager. One thread writes, others may ``follow``.

    What is not committed leaves nothing behind; but with ``keep``, what has come so far stays for the next attempt when
    the transfer breaks off (Unavailable, an interruption, a killed process).
    """

    __slots__ = ("_expected", "_fd", "_grown", "_hash", "_keep", "_limit", "_path", "_place", "_size", "_state", "size")

    def __init__(
        self,
        place: Callable[[Digest], str],
        path: str,
        fd: int,
        expected: Digest | None,
        size: int | None,
        *,
        keep: bool = False,
    ) -> None:
        """Takes over ``fd``, the open file ``path``; ``place`` tells where a blob is to be seen."""
        self._place = place
        self._path = path
        self._fd = fd
        self._expected = expected
        self._size = size
        self._limit = 1 << 62 if size is None else size
        self._keep = keep
        self._hash = digests.hasher(expected)
        self._state = "open"
        self._grown: Condition | None = None
        self.size = 0

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.abandon(keep=isinstance(error, Unavailable | KeyboardInterrupt))

    def take_over(self) -> None:
        """Hashes what the file holds from before, and goes on behind it."""
        while data := os.pread(self._fd, _CHUNK, self.size):
            if self.size + len(data) > self._limit:
                self._hash, self.size = digests.hasher(self._expected), 0
                os.ftruncate(self._fd, 0)
                break
            self._hash.update(data)
            self.size += len(data)
        os.lseek(self._fd, self.size, os.SEEK_SET)

    def follow(self) -> Follower:
        """A source of the blob's bytes as they come. To be called before others write."""
        from threading import Condition

        self._grown = self._grown or Condition()
        return Follower(self, os.dup(self._fd))

    def write(self, data: bytes | memoryview) -> int:
        """Appends ``data``. Raises Corrupt as soon as there is more than was announced."""
        length = len(data)
        if self.size + length > self._limit:
            raise Corrupt(f"blob {self._expected or ''} has more than the {self._size} bytes announced")
        self._hash.update(data)
        left = memoryview(data)
        while left:
            left = left[os.write(self._fd, left) :]
        self._advance(length, "open")
        return length

    def commit(self, expected: Digest | None = None) -> Digest:
        """Verifies and publishes. Raises Corrupt, and then nothing is stored.

        ``expected`` (sha256) is for a digest that was not known before.
        """
        self._expected = self._expected or expected
        algorithm = self._expected.algorithm if self._expected else "sha256"
        found = Digest(f"{algorithm}:{self._hash.hexdigest()}")
        if self._size is not None and self.size != self._size:
            raise Corrupt(f"blob {self._expected or found} has {self.size} bytes, not the {self._size} announced")
        if self._expected is not None and found != self._expected:
            raise Corrupt(f"a blob's digest is {found}, not {self._expected}: nothing was stored")
        path = self._place(found)
        os.fsync(self._fd)
        try:
            os.rename(self._path, path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            os.rename(self._path, path)
        self._end("whole")
        return found

    def abandon(self, *, keep: bool = False) -> None:
        """Drops what was written, unless it was committed, or is worth it to ``keep``. May be called again."""
        if self._fd >= 0:
            if not (keep and self._keep and self.size >= _WORTH_KEEPING):
                os.ftruncate(self._fd, 0)  # a follower may have it open: the room is needed now
                os.unlink(self._path)
            self._end("broken off")

    def wait(self, position: int) -> int:
        """The number of bytes behind ``position``, as soon as there are some; 0 at the end of a verified blob.

        Raises Unavailable if it does not come to that.
        """
        assert self._grown is not None
        with self._grown:
            while self.size <= position and self._state == "open":
                self._grown.wait()
            if self._state == "broken off":
                raise self.broken_off()
            return self.size - position

    def broken_off(self) -> Unavailable:
        """The error for those who follow."""
        return Unavailable(f"the transfer of blob {self._expected or ''} broke off")

    def _end(self, state: str) -> None:
        os.close(self._fd)
        self._fd = -1
        self._advance(0, state)

    def _advance(self, count: int, state: str) -> None:
        if self._grown is None:
            self.size += count
            self._state = state
            return
        with self._grown:
            self.size += count
            self._state = state
            self._grown.notify_all()


class Follower:
    """Reads a blob from its beginning while it is being written; a context manager. Its end is only to be seen when
    the blob was verified: whoever reads on to there has read what the digest names."""

    __slots__ = ("_fd", "_position", "_writer")

    def __init__(self, writer: Writer, fd: int) -> None:
        self._writer = writer
        self._fd = fd
        self._position = 0

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *rest: object) -> None:
        os.close(self._fd)

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes, none at the end. Raises Unavailable when the writer gives up."""
        count = min(size, self._writer.wait(self._position))
        data = os.pread(self._fd, count, self._position)
        if count and not data:
            raise self._writer.broken_off()
        self._position += len(data)
        return data
