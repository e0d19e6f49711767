"""Two threads for one stream: what inflates, compresses or hashes releases the interpreter's lock, so it overlaps."""

from contextlib import suppress

from sampan.layers.window import Data, Sink, Source

CHUNK = 1 << 18
_AHEAD = 32
_BEHIND = 8
"""Chunks that may wait between the two threads: enough to even out small files and large ones, within 8 MiB."""


class Ahead:
    """A source that reads ``source`` in a thread of its own, a little ahead. A context manager.

    What reading ``source`` raises is raised by ``read``, in its place in the stream.
    """

    def __init__(self, source: Source) -> None:
        import queue
        import threading

        self._source = source
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(_AHEAD)
        self._rest = b""
        self._ended = False
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="layer-ahead", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stopped:
                data = self._source.read(CHUNK)
                self._queue.put(data)
                if not data:
                    return
        except BaseException as error:
            self._queue.put(error)

    def read(self, size: int, /) -> bytes:
        if not self._rest and not self._ended:
            item = self._queue.get()
            if not isinstance(item, bytes):
                self._ended = True
                raise item
            self._rest, self._ended = item, not item
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def __enter__(self) -> "Ahead":
        return self

    def __exit__(self, *_: object) -> None:
        import queue

        self._stopped = True
        while self._thread.is_alive():
            with suppress(queue.Empty):
                self._queue.get(timeout=0.02)  # room for a thread that waits to put its last chunk


class Behind:
    """Calls ``write`` in a thread of its own with what is given to ``put``, in order, a little behind.

    A context manager: leaving it waits until all is written, and raises what ``write`` raised. Left by an exception it
    gives up what still waits.
    """

    def __init__(self, write: Sink) -> None:
        import queue
        import threading

        self._write = write
        self._queue: queue.Queue[Data | None] = queue.Queue(_BEHIND)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="layer-behind", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (data := self._queue.get()) is not None:
            if self._error is None:  # after an error the rest is only taken off the queue
                try:
                    self._write(data)
                except BaseException as error:
                    self._error = error

    def put(self, data: Data) -> None:
        if self._error is not None:
            raise self._error
        self._queue.put(data)

    def __enter__(self) -> "Behind":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._error = self._error or error
        self._queue.put(None)
        self._thread.join()
        if error is None and self._error is not None:
            raise self._error
