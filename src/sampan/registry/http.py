"""Requests out, responses in: what the registry protocol needs of HTTP, on urllib3.

Knows connections, proxies, certificates, time limits and when to try again; no word about images. Redirects are
handed back as they come and nothing adds an Authorization header here, so no credential can travel by accident.
"""

import socket
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import urllib3
from urllib3 import exceptions

from sampan.errors import Corrupt, Invalid, Unavailable
from sampan.registry import certificates, refusals
from sampan.registry.outages import Cut, Explained, Patience

CHUNK = 1 << 20
"""Bytes that are read or sent at a time: with 16 KiB a push over loopback takes twice as long."""
MAX_ERROR_BYTES = 64 << 10

_BUSY = frozenset((408, 429, 500, 502, 503, 504))
_USER_AGENT = "sampan"

T = TypeVar("T")


class Origin(NamedTuple):
    """Scheme, host and port of a URL: credentials belong to exactly one (RFC 6454)."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        usual = {"http": 80, "https": 443}[self.scheme]
        return self.host if self.port == usual else f"{self.host}:{self.port}"


class Request(NamedTuple):
    """``body`` is the whole body, or gives its chunks, from the first one each time it is called.

    ``repeatable`` says that sending it once more does no harm and needs nothing from before.
    """

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes | Callable[[], Iterable[bytes | memoryview]] | None = None
    repeatable: bool = True

    def with_header(self, name: str, value: str) -> "Request":
        return self._replace(headers={**self.headers, name: value})


class Response:
    """A status, headers (names in lower case) and a body that is still on its way: read it or close it."""

    __slots__ = ("_read", "close", "headers", "status")

    def __init__(
        self, status: int, headers: Mapping[str, str], read: Callable[[int], bytes], close: Callable[[], None]
    ) -> None:
        self.status = status
        self.headers = headers
        self._read = read
        self.close = close

    def __enter__(self) -> "Response":
        return self

    def __exit__(self, *rest: object) -> None:
        self.close()

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces of at most CHUNK bytes. Raises Cut, and Unavailable if it stalls."""
        while data := self._read(CHUNK):
            yield data

    def read(self, limit: int, what: str = "the answer") -> bytes:
        """The whole body. Raises Corrupt if it has more than ``limit`` bytes."""
        with self:
            data = b""
            for chunk in self.chunks():
                data += chunk
                if len(data) > limit:
                    raise Corrupt(f"{what} has more than {limit} bytes")
            return data

    def excerpt(self) -> bytes:
        """As much of an error's body as anyone wants to see; the connection is given up if there is more."""
        with self:
            data = b""
            for chunk in self.chunks():
                data += chunk
                if len(data) >= MAX_ERROR_BYTES:
                    break
            return data[:MAX_ERROR_BYTES]


class Busy(Unavailable):
    """A server asks, by its status, to be asked again; ``after`` is in how many seconds, if it said so."""

    def __init__(self, message: str, *, after: float | None) -> None:
        super().__init__(message)
        self.after = after


class Transport:
    """Connections to a registry and to the hosts that it points at. Safe for several threads; ``stop`` ends it for all.

    ``home`` is how the registry's own host is called in messages and in certs.d; from there any certificate is taken if
    it is ``insecure``.
    """

    def __init__(
        self,
        home: str,
        *,
        connections: int = 8,
        patience: Patience = Patience(),  # noqa: B008
        insecure: bool = False,
    ) -> None:
        self._home = home
        self._insecure = insecure
        self._connections = connections
        self._patience = patience
        self._pools: dict[Origin, urllib3.PoolManager] = {}
        self._open: weakref.WeakSet[Any] = weakref.WeakSet()
        self._guard = threading.Lock()
        self._stopped = threading.Event()

    def send(self, request: Request) -> Response:
        """The response to ``request``; asks again after cut connections and busy answers if it is repeatable.

        Raises Unavailable when the server cannot be reached, stalls, or stays busy.
        """
        if request.repeatable:
            return self.persist(lambda: self._exchange(request))
        return self._exchange(request)

    def persist(self, action: Callable[[], T], progress: Callable[[], int] = lambda: 0) -> T:
        """The result of ``action``, which is called again, after growing pauses, while it raises Cut or Busy.

        Attempts are counted anew whenever ``progress()`` has grown.
        """
        tried, before = 0, progress()
        while True:
            try:
                return action()
            except (Cut, Busy) as error:
                tried, before = (1 if progress() > before else tried + 1), progress()
                pause = self._pause_after(error, tried)
                if pause is None:
                    raise
            if self._stopped.wait(pause):
                raise Unavailable("the transfer was stopped")

    def stop(self) -> None:
        """Ends every transfer, in whatever thread: the next read or write there raises Unavailable. Idempotent."""
        self._stopped.set()
        with self._guard:
            connections = list(self._open)
        for connection in connections:
            _shut(connection)

    def close(self) -> None:
        """Closes idle connections."""
        with self._guard:
            for pool in self._pools.values():
                pool.clear()

    def _pause_after(self, error: Cut | Busy, tried: int) -> float | None:
        import random

        if tried >= self._patience.attempts or self._stopped.is_set():
            return None
        after = error.after if isinstance(error, Busy) else None
        if after is not None:
            return after if after <= self._patience.longest_pause else None
        # Spread, so that the threads of one transfer do not all come back at the same moment.
        pause: float = self._patience.first_pause * 2 ** (tried - 1) * random.uniform(0.75, 1.25)
        return min(pause, self._patience.longest_pause)

    def _exchange(self, request: Request) -> Response:
        where = origin(request.url)
        if self._stopped.is_set():
            raise Unavailable("the transfer was stopped")
        headers = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", **request.headers}
        # urllib3 sends under the time limit for connecting, and a registry's disk may well pause for longer.
        connect = self._patience.silence if callable(request.body) else self._patience.connect
        with self._explained(where):
            raw = self._pool(where).urlopen(
                request.method,
                request.url,
                body=request.body() if callable(request.body) else request.body,
                headers=headers,
                timeout=urllib3.Timeout(connect=connect, read=self._patience.silence),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        response = self._response(raw, where)
        if response.status in _BUSY:
            raise self._busy(response, where)
        return response

    def _response(self, raw: urllib3.BaseHTTPResponse, where: Origin) -> Response:
        def read(amount: int) -> bytes:
            with self._explained(where):
                return raw.read(amount, decode_content=False)

        def close() -> None:
            # What was not read of a body would be taken for the next response.
            if raw.length_remaining == 0:
                raw.drain_conn()
                raw.release_conn()
            else:
                raw.close()

        return Response(raw.status, {name.lower(): value for name, value in raw.headers.items()}, read, close)

    def _busy(self, response: Response, where: Origin) -> Busy:
        after = _retry_after(response.headers.get("retry-after", ""))
        reason = refusals.reason(response.status, response.excerpt())
        return Busy(f"{self._called(where)} cannot do it now: {reason}", after=after)

    def _called(self, where: Origin) -> str:
        return f"the {'registry' if str(where) == self._home else 'server'} {where}"

    def _explained(self, where: Origin) -> Explained:
        return Explained(self._called(where), self._patience)

    def _pool(self, where: Origin) -> urllib3.PoolManager:
        with self._guard:
            if where not in self._pools:
                self._pools[where] = self._new_pool(where)
            return self._pools[where]

    def _new_pool(self, where: Origin) -> urllib3.PoolManager:
        options: dict[str, Any] = {"num_pools": 1, "maxsize": self._connections}
        if where.scheme == "https":
            insecure = self._insecure and str(where) == self._home
            if insecure:
                urllib3.disable_warnings(exceptions.InsecureRequestWarning)  # the settings say so
            options["ssl_context"] = certificates.tls_context(str(where), verify=not insecure)
        proxy = _proxy(where)
        manager = _proxied(proxy, options) if proxy else urllib3.PoolManager(**options)
        pool: Any = manager.connection_from_host(where.host, where.port, where.scheme)
        pool.ConnectionCls = self._remembering(pool.ConnectionCls)
        return manager

    def _remembering(self, make: Callable[..., T]) -> Callable[..., T]:
        """``make``, with every connection noted, so that ``stop`` reaches those in use too."""

        def connect(*args: Any, **options: Any) -> T:
            connection = make(*args, **options)
            with self._guard:
                self._open.add(connection)
            return connection

        return connect


def origin(url: str) -> Origin:
    """Where a request to ``url`` goes, read with the same parser that will connect. Raises Invalid."""
    try:
        parts = urllib3.util.parse_url(url)
    except ValueError:
        parts = urllib3.util.Url()
    if parts.scheme not in ("http", "https") or not parts.host:
        raise Invalid(f"a server points at {url[:200]!r}, which is not an HTTP address")
    return Origin(parts.scheme, parts.host, parts.port or {"http": 80, "https": 443}[parts.scheme])


def is_loopback(host: str) -> bool:
    """Whether a host name or address (an IPv6 one in brackets or not) can only mean this machine."""
    import ipaddress

    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _retry_after(text: str) -> float | None:
    """Seconds from now (RFC 9110, section 10.2.3: a number, or a date)."""
    import time
    from email.utils import parsedate_to_datetime

    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _proxy(where: Origin) -> str | None:
    from urllib.request import getproxies_environment, proxy_bypass

    proxies = getproxies_environment()
    if not proxies or is_loopback(where.host) or proxy_bypass(f"{where.host}:{where.port}"):
        return None
    return proxies.get(where.scheme) or proxies.get("all")


def _proxied(proxy: str, options: dict[str, Any]) -> urllib3.ProxyManager:
    url = proxy if "://" in proxy else f"http://{proxy}"
    try:
        user = urllib3.util.parse_url(url).auth
        headers = urllib3.make_headers(proxy_basic_auth=user) if user else None
        return urllib3.ProxyManager(url, proxy_headers=headers, **options)
    except (ValueError, AssertionError):
        # Its address may hold a password, so it is not shown.
        raise Invalid("the proxy named in the environment is not an http:// or https:// address") from None


def _shut(connection: Any) -> None:
    sock = connection.sock
    if sock is None:
        return
    try:
        # Not SSLSocket's own method, which drops the encryption first: another thread may be about to write.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        return  # it was closed meanwhile, and that is all that was wanted
