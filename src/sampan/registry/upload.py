"""One blob on its way to a registry (OCI distribution-spec 1.1, "Pushing blobs").

In one piece at first, which is the fastest. A large blob whose transfer is cut off, or refused as too large for one
request, goes in chunks from then on; and those go on behind what the registry says it has.
"""

from collections.abc import Callable, Iterable
from urllib.parse import urlencode

from sampan.oci.digest import Digest
from sampan.registry.http import Request, Response
from sampan.registry.outages import Cut

CHUNK = 16 << 20
"""Bytes of one request when a blob goes in chunks; a registry may want more."""
MOST_CHUNK = 1 << 30

_NO_CHUNKS = frozenset((404, 405, 501))
"""What registries answer to PATCH that do not know it."""

Body = Callable[[int, int], Iterable[bytes | memoryview]]
"""Gives pieces of the blob: from an offset, so many bytes."""


class Upload:
    """``send`` makes a request and gives the response, ``begin`` that of a new upload session, and ``located`` the
    absolute URL of a response's Location. ``check`` raises what a status other than the wanted one means."""

    def __init__(
        self,
        digest: Digest,
        size: int,
        body: Body,
        *,
        send: Callable[[Request], Response],
        begin: Callable[[], tuple[str, int]],
        located: Callable[[Request, Response], str],
        check: Callable[[Response, int], Response],
        location: str | None = None,
    ) -> None:
        self.sent = 0
        self._digest = digest
        self._size = size
        self._body = body
        self._send = send
        self._begin = begin
        self._located = located
        self._check = check
        self._location = location
        self._chunk = CHUNK
        self._in_chunks = False
        self._may_chunk = True

    def attempt(self) -> None:
        """Sends what is missing. To be called again after Cut and Busy (``Transport.persist``)."""
        if self._in_chunks:
            self._send_chunks()
            return
        where = self._location or self._new_session()
        self._location = None
        self._in_chunks = self._may_chunk and self._size > self._chunk  # the next time, if there is one
        response = self._send(self._request("PUT", self._ending(where), 0, self._size))
        if response.status == 413 and self._in_chunks:
            response.excerpt()
            self._send_chunks()
        else:
            self._check(response, 201).close()

    def _new_session(self) -> str:
        where, least = self._begin()
        self._chunk = min(max(self._chunk, least), MOST_CHUNK)
        return where

    def _send_chunks(self) -> None:
        self._find_place()
        while self.sent < self._size:
            assert self._location
            count = min(self._chunk, self._size - self.sent)
            request = self._request("PATCH", self._location, self.sent, count)
            response = self._send(request.with_header("Content-Range", f"{self.sent}-{self.sent + count - 1}"))
            if response.status == 416:
                response.excerpt()
                raise Cut(f"the registry has lost count of blob {self._digest}")
            if response.status in _NO_CHUNKS:
                response.excerpt()
                self._may_chunk = self._in_chunks = False
                self._location = None
                raise Cut(f"the registry takes blob {self._digest} in one piece only, and that was cut off")
            with self._check(response, 202):
                self._location = self._located(request, response)
            self.sent += count
        assert self._location
        self._check(self._send(self._request("PUT", self._ending(self._location), 0, 0)), 201).close()

    def _find_place(self) -> None:
        """Asks how much the registry has of an upload that was begun, or begins one."""
        if self._location:
            request = Request("GET", self._location)
            with self._send(request) as response:
                have = _end(response.headers.get("range", "")) if response.status == 204 else None
                if have is not None and have <= self._size:
                    self.sent, self._location = have, self._located(request, response)
                    return
        self.sent, self._location = 0, self._new_session()

    def _request(self, method: str, url: str, start: int, count: int) -> Request:
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(count)}
        body = (lambda: self._body(start, count)) if count else b""
        # Not repeatable: after a failure it has to be found out first what arrived.
        return Request(method, url, headers, body, repeatable=False)

    def _ending(self, location: str) -> str:
        return f"{location}{'&' if '?' in location else '?'}{urlencode({'digest': self._digest})}"


def _end(text: str) -> int | None:
    """The bytes that a Range header of an upload tells of: ``0-N``, both of them included; "0-0" is none."""
    first, dash, last = text.removeprefix("bytes=").partition("-")
    if first != "0" or not dash or not (last.isascii() and last.isdigit()) or len(last) > 18:
        return None
    return int(last) + 1 if last != "0" else 0
