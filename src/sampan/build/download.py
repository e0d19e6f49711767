"""Files that a build fetches by HTTP: kept as blobs, and asked for again only when the server says they changed.

A name of a file is never taken from a server. Credentials go to the host that they are for and to no other, wherever it
redirects; what is fetched has no Content-Encoding undone, so that a digest is that of the bytes as they are published.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from threading import Lock
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from sampan.build.cancellation import Cancellation
from sampan.build.mounts import Secret
from sampan.build.remote import Url
from sampan.errors import Corrupt, Denied, Invalid, NotFound, SampanError, Unavailable
from sampan.oci import digest as digests
from sampan.oci.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from typing import NamedTuple

    from sampan.registry.http import Response, Transport
    from sampan.store.blobs import Blobs
else:
    from sampan.values import NamedTuple

_MAX_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)

Output = Callable[[int, bytes], None]


def silent(stream: int, data: bytes) -> None:
    """The output that nobody sees."""


class Turns:
    """A lock for each of many things."""

    def __init__(self) -> None:
        self._locks: dict[object, Lock] = {}
        self._guard = Lock()

    def of(self, thing: object) -> Lock:
        """To be held while ``thing`` is made."""
        with self._guard:
            return self._locks.setdefault(thing, Lock())


class Downloaded(NamedTuple):
    """A file as it was fetched. ``etag`` and ``modified`` (Last-Modified) are as the server sent them, or empty."""

    digest: Digest
    etag: str = ""
    modified: str = ""

    @property
    def mtime(self) -> int:
        """Seconds since 1970; 0 if the server said nothing that can be read, as with BuildKit."""
        try:
            return max(0, int(parsedate_to_datetime(self.modified).timestamp()))
        except (ValueError, OverflowError):
            return 0


class Downloads:
    """What one build downloads. Safe for several threads."""

    def __init__(
        self, db: sqlite3.Connection, blobs: Blobs, secrets: Mapping[str, Secret], cancellation: Cancellation
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._secrets = secrets
        self._cancellation = cancellation
        self._current: dict[str, Downloaded] = {}
        self._turns = Turns()
        self._guard = Lock()
        self._made: Transport | None = None

    def identity(self, url: Url) -> Digest | None:
        """The digest of what is behind ``url``, if it can be told without fetching it: the URL has a checksum, or the
        server says that what was fetched before has not changed."""
        if url.checksum:
            return Digest(url.checksum)
        if url.url not in self._current:
            before = self._remembered(url)
            if before is None or not self._is_unchanged(url, before):
                return None
            self._current[url.url] = before
        return self._current[url.url].digest

    def fetch(self, url: Url, output: Output = silent) -> Downloaded:
        """The file, which is then in the store. Raises Corrupt if it is another than its checksum says."""
        with self._turns.of(url.url):
            found = self._current.get(url.url)
            if found is None and url.checksum:
                before = self._remembered(url)
                found = before if before and before.digest == url.checksum else None
            found = found or self._fetch(url, output)
        if url.checksum not in ("", found.digest):
            raise Corrupt(f"the digest of {url.shown} is {found.digest}, not {url.checksum}")
        return found

    def _fetch(self, url: Url, output: Output) -> Downloaded:
        transport = self._transport()
        with self._cancellation.ending(transport.stop):
            found = transport.persist(lambda: self._receive(url, output))
        size = self._blobs.size(found.digest)
        self._db.execute(
            "INSERT OR REPLACE INTO download VALUES (?,?,?,?,?,?)",
            (_row(url), found.digest, found.etag, found.modified, size, time.time()),
        )
        self._current[url.url] = found
        return found

    def _receive(self, url: Url, output: Output) -> Downloaded:
        with self._send("GET", url, {}) as response:
            if response.status != 200:
                raise _refused(url, response.status)
            expected = Digest(url.checksum) if url.checksum else None
            told = _Progress(output, response.headers.get("content-length", ""))
            with self._blobs.writer(expected) as writer:
                for chunk in response.chunks():
                    writer.write(chunk)
                    told(writer.size)
                try:
                    digest = writer.commit()
                except Corrupt as error:
                    error.message = error.message.replace("a blob's digest", f"the digest of {url.shown}")
                    raise
            headers = response.headers
            return Downloaded(digest, headers.get("etag", ""), headers.get("last-modified", ""))

    def _remembered(self, url: Url) -> Downloaded | None:
        row = self._db.execute("SELECT digest, etag, modified FROM download WHERE url=?", (_row(url),)).fetchone()
        found = Downloaded(Digest(row[0]), *row[1:]) if row else None
        if not found or not self._blobs.has(found.digest):
            return None
        self._db.execute("UPDATE download SET used=? WHERE url=?", (time.time(), _row(url)))
        return found

    def _is_unchanged(self, url: Url, before: Downloaded) -> bool:
        """Asks the server, by HEAD first: some do not understand If-None-Match and send all of it, or refuse HEAD."""
        headers = {"If-None-Match": before.etag} if before.etag else {"If-Modified-Since": before.modified}
        if not before.etag and not before.modified:
            return False
        with self._cancellation.ending(self._transport().stop):
            for method in ("HEAD", "GET"):
                with self._send(method, url, headers, repeatable=True) as response:
                    if response.status == 304:
                        return True
                    if response.status == 200:
                        return bool(before.etag) and response.headers.get("etag") == before.etag
        return False

    def _send(self, method: str, url: Url, headers: Mapping[str, str], *, repeatable: bool = False) -> Response:
        """The answer that redirects lead to."""
        from sampan.registry.http import Request, origin

        home, target = origin(url.url), url.url
        for _ in range(_MAX_REDIRECTS):
            own = self._authorization(url) if origin(target) == home else {}
            request = Request(method, target, {**headers, **own}, repeatable=repeatable)
            response = self._transport().send(request)
            if response.status not in _REDIRECTS:
                return response
            response.close()
            target = _redirected(url, target, response.headers.get("location", ""))
        raise Unavailable(f"{url.shown} redirects more than {_MAX_REDIRECTS} times")

    def _authorization(self, url: Url) -> dict[str, str]:
        host = urlsplit(url.url).hostname
        for name, scheme in ((f"HTTP_AUTH_TOKEN_{host}", "Bearer "), (f"HTTP_AUTH_HEADER_{host}", "")):
            if name in self._secrets:
                return {"Authorization": scheme + header_value(self._secrets[name], name)}
        return {"Authorization": basic(unquote(url.login))} if url.login else {}

    def _transport(self) -> Transport:
        from sampan.registry.http import Transport

        with self._guard:
            if self._made is None:
                self._made = Transport("")
            return self._made


def header_value(secret: Secret, name: str) -> str:
    """A secret that goes into a header, without the line break that a file ends in. Raises Invalid."""
    text = secret.read(name).decode("latin-1").strip("\r\n")
    if any(letter < " " or letter == "\x7f" for letter in text):
        raise Invalid(f"the secret {name} holds a control character and cannot be sent")
    return text


def basic(login: str) -> str:
    """``user:password`` as HTTP's Basic scheme has it (RFC 7617)."""
    from base64 import b64encode

    return "Basic " + b64encode((login if ":" in login else f"{login}:").encode()).decode()


class _Progress:
    """Says about once a second how much there is of a download."""

    def __init__(self, output: Output, size: str) -> None:
        self._output = output
        self._of = f" of {int(size) >> 20}" if size.isascii() and size.isdigit() else ""
        self._last = time.monotonic()

    def __call__(self, received: int) -> None:
        if time.monotonic() - self._last > 1:
            self._last = time.monotonic()
            self._output(1, f"{received >> 20}{self._of} MiB\n".encode())


def _row(url: Url) -> str:
    return digests.sha256(url.url.encode(errors="surrogateescape")).encoded


def _redirected(url: Url, target: str, location: str) -> str:
    parts = urlsplit(urldefrag(urljoin(target, location)).url)
    if not location or parts.scheme not in ("http", "https") or not parts.hostname:
        raise Unavailable(f"{url.shown} redirects to what is no HTTP address")
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _refused(url: Url, status: int) -> SampanError:
    if status in (401, 403):
        host = urlsplit(url.url).hostname
        return Denied(
            f"{url.shown} is not to be had: the server answers {status}",
            hint=f"give it a token with --secret id=HTTP_AUTH_TOKEN_{host},env=NAME",
        )
    if status in (404, 410):
        return NotFound(f"{url.shown} is not there: the server answers {status}")
    return Unavailable(f"{url.shown} is not to be had: the server answers {status}")
