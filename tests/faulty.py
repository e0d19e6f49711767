"""A registry that does what tests tell it to do wrong: one with an image of its own, or a proxy before a real one.

with faulty.registry(content) as registry, faulty.registry(upstream="127.0.0.1:5000") as proxy:
    registry.does("/blobs/", cut(after=100))
"""

import contextlib
import gzip
import http.client
import re
import socket
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import NamedTuple

import servers
from sampan.oci.digest import sha256


class Seen(NamedTuple):
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    """An answer before anything was done to it."""

    status: int
    headers: dict[str, str]
    body: bytes


_BOMB = gzip.compress(b"{" + b" " * (1 << 20)) * 1024

Fault = Callable[["Handler", Answer], None]
"""Sends something in place of the answer."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: "FaultyRegistry"

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        seen = Seen(self.command, self.path, {key.lower(): text for key, text in self.headers.items()}, body)
        fault = self.registry.fault_for(seen)
        if fault is lost:
            self.registry.seen.append(seen)
            hang_up(self, Answer(0, {}, b""))
            return
        answer = self.registry.answer(seen)
        with contextlib.suppress(ConnectionError):
            (fault or send)(self, answer)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


def send(handler: Handler, answer: Answer) -> None:
    """No fault at all."""
    handler.send_response(answer.status)
    for name, text in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
        handler.send_header(name, text)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(answer.body)


def cut(after: int) -> Fault:
    """The connection ends after so many bytes of the body."""

    def fault(handler: Handler, answer: Answer) -> None:
        headers = {**answer.headers, "Content-Length": str(len(answer.body))}
        send(handler, Answer(answer.status, headers, answer.body[:after]))
        hang_up(handler, answer)

    return fault


def hang_up(handler: Handler, answer: Answer) -> None:
    """The connection ends without an answer."""
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def lost(handler: Handler, answer: Answer) -> None:
    """The request never arrives where it should, and the connection ends."""
    raise AssertionError("it is seen to before there is an answer")


def stall(handler: Handler, answer: Answer, size: int = 0) -> None:
    """The headers come, and then nothing until the client goes away."""
    send(
        handler, Answer(answer.status, {**answer.headers, "Content-Length": str(len(answer.body))}, answer.body[:size])
    )
    handler.registry.stalled()
    handler.connection.settimeout(20)
    with contextlib.suppress(TimeoutError, ConnectionError):
        handler.connection.recv(1)
        handler.registry.left += 1
    handler.close_connection = True


def stalled_after(size: int) -> Fault:
    """So many bytes of the body come, and then nothing until the client goes away."""

    def fault(handler: Handler, answer: Answer) -> None:
        stall(handler, answer, size)

    return fault


def flip(handler: Handler, answer: Answer) -> None:
    """One bit is wrong."""
    send(handler, answer._replace(body=answer.body[:-1] + bytes([answer.body[-1] ^ 1])))


def instead(status: int, body: bytes = b"", **headers: str) -> Fault:
    """Another answer."""
    return lambda handler, answer: send(
        handler, Answer(status, {name.replace("_", "-"): text for name, text in headers.items()}, body)
    )


def longer(handler: Handler, answer: Answer) -> None:
    """A byte too many, honestly announced."""
    send(handler, answer._replace(body=answer.body + b"!"))


def twice(handler: Handler, answer: Answer) -> None:
    """Everything comes twice."""
    send(handler, answer._replace(body=answer.body * 2))


def truncated(handler: Handler, answer: Answer) -> None:
    """Half of it, honestly announced."""
    send(handler, answer._replace(body=answer.body[: len(answer.body) // 2]))


def mislabelled(handler: Handler, answer: Answer) -> None:
    """The announced length is too large, and the connection ends when no more comes."""
    longer = str(len(answer.body) + 1)
    send(handler, answer._replace(headers={**answer.headers, "Content-Length": longer}))
    hang_up(handler, answer)


def huge_header(handler: Handler, answer: Answer) -> None:
    """A header of a megabyte."""
    send(handler, answer._replace(headers={**answer.headers, "X-Huge": "x" * (1 << 20)}))


def many_headers(handler: Handler, answer: Answer) -> None:
    """Headers without end."""
    send(handler, answer._replace(headers={**answer.headers, **{f"X-{number}": "x" for number in range(10_000)}}))


def bomb(handler: Handler, answer: Answer) -> None:
    """What nobody asked for: a body compressed in transit, of a gigabyte."""
    packed = gzip.compress(b"{" + b" " * (64 << 20)) * 16
    send(
        handler, Answer(200, {**answer.headers, "Content-Encoding": "gzip", "Content-Length": str(len(packed))}, packed)
    )


def endless(handler: Handler, answer: Answer) -> None:
    """A body that does not end, of no announced length."""
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.close_connection = True
    with contextlib.suppress(OSError):
        handler.wfile.write(answer.body)
        while not handler.registry.over:
            handler.wfile.write(b"x" * 65536)
            handler.registry.endless_bytes += 65536


def nonsense(handler: Handler, answer: Answer) -> None:
    """Something that is not HTTP."""
    handler.wfile.write(b"220 smtp.example ESMTP\r\n")
    hang_up(handler, answer)


class FaultyRegistry:
    """``seen`` notes every request; ``stalled`` is called when a stall begins, ``left`` counts clients that left one.

    Pushed blobs are taken in, and wrong ones refused as real registries do. With ``upstream`` (host:port) all answers
    come from there.
    """

    def __init__(self, content: dict[str, Answer], upstream: str = "") -> None:
        self.address = ""
        self._upstream = upstream
        self.content = content
        self.seen: list[Seen] = []
        self.endless_bytes = 0
        self.stalled: Callable[[], None] = lambda: None
        self.left = 0
        self.over = False
        self._faults: list[tuple[str, list[Fault], bool]] = []

    def does(self, pattern: str, *faults: Fault, always: bool = False) -> None:
        """The next requests whose "METHOD path" matches are answered so, one fault each (or ``always`` the first)."""
        self._faults.append((pattern, list(faults), always))

    def requests(self, pattern: str) -> list[Seen]:
        return [each for each in self.seen if re.search(pattern, f"{each.method} {each.path}")]

    def fault_for(self, seen: Seen) -> Fault | None:
        for pattern, faults, always in self._faults:
            if faults and re.search(pattern, f"{seen.method} {seen.path}"):
                return faults[0] if always else faults.pop(0)
        return None

    def answer(self, seen: Seen) -> Answer:
        self.seen.append(seen)
        if self._upstream:
            return self._forward(seen)
        path, _, query = seen.path.partition("?")
        if path == "/v2/":
            return Answer(200, {}, b"{}")
        if seen.method == "POST":
            return Answer(202, {"Location": f"{path}{len(self.seen)}?state=kept"}, b"")
        if seen.method == "PUT" and "/uploads/" in path:
            digest = sha256(seen.body)
            right = query == f"state=kept&digest={digest.replace(':', '%3A')}"
            return self._keep(f"/blobs/{digest}", seen) if right else Answer(400, {}, error("DIGEST_INVALID"))
        if seen.method == "PUT":
            return self._keep(f"/manifests/{path.rpartition('/')[2]}", seen)
        found = next((answer for end, answer in self.content.items() if path.endswith(end)), None)
        if found is None:
            return Answer(404, {}, error("MANIFEST_UNKNOWN" if "manifests" in path else "BLOB_UNKNOWN"))
        start = re.fullmatch(r"bytes=(\d+)-", seen.headers.get("range", ""))
        if not start:
            return found
        first, whole = int(start[1]), len(found.body)
        return Answer(206, {"Content-Range": f"bytes {first}-{whole - 1}/{whole}"}, found.body[first:])

    def _forward(self, seen: Seen) -> Answer:
        connection = http.client.HTTPConnection(self._upstream, timeout=60)
        try:
            headers = {**seen.headers, "content-length": str(len(seen.body))} if seen.body else seen.headers
            connection.request(seen.method, seen.path, seen.body or None, headers)
            response = connection.getresponse()
            body = response.read()
            found = {name: text for name, text in response.getheaders() if name.lower() not in _HOP_BY_HOP}
            if seen.method != "HEAD":
                found["Content-Length"] = str(len(body))
            return Answer(response.status, found, body)
        finally:
            connection.close()

    def _keep(self, end: str, seen: Seen) -> Answer:
        self.content[end] = Answer(200, {"Content-Type": seen.headers.get("content-type", "")}, seen.body)
        return Answer(201, {"Location": end}, b"")


_HOP_BY_HOP = frozenset(("connection", "transfer-encoding", "keep-alive"))


def error(code: str) -> bytes:
    """The body of an error, as registries write it."""
    return b'{"errors":[{"code":"%s","message":"the message"}]}' % code.encode()


@contextlib.contextmanager
def registry(content: dict[str, Answer] | None = None, upstream: str = "") -> Iterator[FaultyRegistry]:
    """A running registry; ``content`` is what it answers to GET, by the end of the path."""
    faulty = FaultyRegistry(dict(content or {}), upstream)
    handler = type("Bound", (Handler,), {"registry": faulty})
    with servers.serving(handler) as faulty.address:
        try:
            yield faulty
        finally:
            faulty.over = True
