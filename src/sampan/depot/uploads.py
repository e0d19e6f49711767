"""Blobs that clients are sending, in one request or in several."""

import threading
import time
from collections.abc import Iterable

from sampan.errors import Conflict, Invalid, NotFound, Unavailable
from sampan.oci.digest import Digest
from sampan.store.blobs import Blobs
from sampan.store.writer import Writer

_AT_MOST = 500  # each has an open file
_IDLE_SECONDS = 3600.0


class Upload:
    """One of them. Only one request at a time may add to it."""

    __slots__ = ("_turn", "broken", "identifier", "touched", "writer")

    def __init__(self, identifier: str, writer: Writer) -> None:
        self.identifier = identifier
        self.touched = time.monotonic()
        self.writer = writer
        self.broken = False
        self._turn = threading.Lock()

    def __enter__(self) -> "Upload":
        if not self._turn.acquire(blocking=False):
            raise Conflict("another request adds to this upload")
        return self

    def __exit__(self, *rest: object) -> None:
        self.touched = time.monotonic()
        self._turn.release()

    @property
    def busy(self) -> bool:
        return self._turn.locked()

    @property
    def size(self) -> int:
        """The bytes that are here."""
        return self.writer.size

    def add(self, body: Iterable[bytes]) -> None:
        """Appends what comes. When the client breaks off it may go on from there; when the disk fails it may not."""
        for data in body:
            try:
                self.writer.write(data)
            except OSError:
                self.broken = True
                raise


class Uploads:
    """All that are under way; a context manager that drops them at its end. Safe among threads."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._all: dict[str, Upload] = {}
        self._guard = threading.Lock()

    def __enter__(self) -> "Uploads":
        return self

    def __exit__(self, *rest: object) -> None:
        for upload in list(self._all.values()):
            self.drop(upload)

    def begin(self) -> Upload:
        """Raises Unavailable if there are too many."""
        import secrets

        with self._guard:
            idle = [each for each in self._all.values() if time.monotonic() - each.touched > _IDLE_SECONDS]
        for each in idle:
            if not each.busy:
                self.drop(each)
        with self._guard:
            if len(self._all) >= _AT_MOST:
                raise Unavailable("too many uploads are under way")
            upload = Upload(secrets.token_hex(16), self._blobs.writer())
            self._all[upload.identifier] = upload
            return upload

    def find(self, identifier: str) -> Upload:
        """Raises NotFound."""
        with self._guard:
            upload = self._all.get(identifier)
        if upload and upload.broken:
            self.drop(upload)
        if upload is None or upload.broken:
            raise NotFound("there is no such upload; it may have been given up")
        return upload

    def finish(self, upload: Upload, expected: Digest) -> None:
        """Makes a blob of what came. Raises Corrupt if that does not have the digest; it is dropped then."""
        if expected.algorithm != "sha256":
            raise Invalid(f"a blob's digest is to be sha256, not {expected.algorithm}")
        try:
            upload.writer.commit(expected)
        finally:
            self.drop(upload)

    def drop(self, upload: Upload) -> None:
        """Forgets what came, unless it was made a blob."""
        with self._guard:
            self._all.pop(upload.identifier, None)
        upload.writer.abandon()
