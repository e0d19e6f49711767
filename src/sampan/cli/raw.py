"""A build as it goes, for programs."""

from __future__ import annotations

from base64 import b64encode
from threading import Lock

from sampan import events, plainjson
from sampan.containers.logs import timestamp
from sampan.oci.digest import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO


class Raw:
    """Writes what happens as JSON lines, in the form of BuildKit's ``--progress rawjson`` (client.SolveStatus)."""

    def __init__(self, stream: TextIO, labels: Sequence[str]) -> None:
        self._stream = stream
        self._vertexes: list[dict[str, object]] = [
            {"digest": sha256(f"{number} {label}".encode()), "name": label} for number, label in enumerate(labels, 1)
        ]
        self._lock = Lock()

    def __enter__(self) -> Raw:
        if self._vertexes:
            self._write({"vertexes": self._vertexes})
        return self

    def __exit__(self, *rest: object) -> None:
        self._stream.flush()

    def __call__(self, event: events.Event) -> None:
        """Takes an event, from any thread."""
        with self._lock:
            if isinstance(event, events.StepStarted):
                self._change(event.number, started=timestamp())
            elif isinstance(event, events.StepCached):
                now = timestamp()
                self._change(event.number, started=now, completed=now, cached=True)
            elif isinstance(event, events.StepFinished):
                self._change(event.number, completed=timestamp())
            elif isinstance(event, events.StepOutput):
                text = b64encode(event.data).decode()
                vertex = self._vertexes[event.number - 1]["digest"]
                log = {"vertex": vertex, "stream": event.stream, "data": text, "timestamp": timestamp()}
                self._write({"logs": [log]})
            elif isinstance(event, events.Warned):
                self._write({"warnings": [{"level": 1, "short": b64encode(event.message.encode()).decode()}]})

    def failed(self) -> None:
        """Tells that the build failed: each step under way did."""
        with self._lock:
            for number, vertex in enumerate(self._vertexes, 1):
                if "started" in vertex and "completed" not in vertex:
                    self._change(number, completed=timestamp(), error="the step failed, or was ended")

    def note(self, text: str) -> None:
        """What is said of the build as a whole is a step without inputs."""
        digest, now = sha256(text.encode()), timestamp()
        self._write({"vertexes": [{"digest": digest, "name": text, "started": now, "completed": now}]})

    def _change(self, number: int, **fields: object) -> None:
        vertex = self._vertexes[number - 1]
        vertex |= fields
        self._write({"vertexes": [vertex]})

    def _write(self, value: object) -> None:
        self._stream.write(plainjson.dumps(value) + "\n")
        self._stream.flush()
