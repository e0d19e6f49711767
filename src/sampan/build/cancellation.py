"""How a build that is given up ends what its threads are doing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sampan.errors import SampanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.layers.window import Data
    from sampan.oci.digest import Digest
    from sampan.store.blobs import Blobs
    from sampan.store.writer import Writer


class Cancellation:
    """One build's; used from several threads."""

    def __init__(self) -> None:
        self._cancelled = False
        self._ends: list[Callable[[], object]] = []

    def cancel(self) -> None:
        """Ends what is under way, and lets nothing begin any more."""
        self._cancelled = True
        for end in list(self._ends):
            end()

    def check(self) -> None:
        """Raises SampanError once the build was given up. To be called every so often by what may take long."""
        if self._cancelled:
            raise SampanError("the build was cancelled")

    @contextmanager
    def ending(self, end: Callable[[], object]) -> Iterator[None]:
        """Calls ``end``, from another thread, if the build is given up during the ``with`` block."""
        self._ends.append(end)
        try:
            self.check()
            yield
        finally:
            self._ends.remove(end)


class CancellableBlobs:
    """A store for blobs (``layers.write.BlobStore``) whose writers stop when the build does."""

    def __init__(self, blobs: Blobs, cancellation: Cancellation) -> None:
        self._blobs = blobs
        self._cancellation = cancellation

    @contextmanager
    def writer(self) -> Iterator[_CheckedWriter]:
        with self._blobs.writer() as writer:
            yield _CheckedWriter(writer, self._cancellation)


class _CheckedWriter:
    def __init__(self, writer: Writer, cancellation: Cancellation) -> None:
        self._writer = writer
        self._cancellation = cancellation

    def write(self, data: Data) -> int:
        self._cancellation.check()
        return self._writer.write(data)

    def commit(self) -> Digest:
        return self._writer.commit()
