"""Why a server cannot be reached, or does not go on, as errors with one sentence each."""

import os
from typing import NamedTuple

from urllib3 import exceptions

from sampan.errors import Unavailable

_PLAIN_HTTP = "only registries on this machine, and those that the settings call insecure, may use plain HTTP"
_IS_IT_THERE = "is it running, and is its address right?"


class Cut(Unavailable):
    """A connection ended in the middle of something; the next one may do better."""


class Patience(NamedTuple):
    """How long to wait for what, in seconds, and how often to try."""

    connect: float = 10.0
    silence: float = 60.0
    attempts: int = 5
    first_pause: float = 0.25
    longest_pause: float = 60.0


class Explained:
    """Turns urllib3's errors into ours, for the length of a ``with`` block; ``who`` is the server."""

    __slots__ = ("_patience", "_who")

    def __init__(self, who: str, patience: Patience) -> None:
        self._who = who
        self._patience = patience

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        if isinstance(error, exceptions.HTTPError | OSError | ValueError):
            raise self._explain(error) from None

    def _explain(self, error: Exception) -> Unavailable:
        who = self._who
        match error:
            case exceptions.NameResolutionError():
                hint = "is its name right, and this machine online?"
                return Unavailable(f"{who} does not answer: its name cannot be resolved", hint=hint)
            case exceptions.ProxyError(original_error=original):
                return Unavailable(f"{who} cannot be reached through the proxy: {_system_text(original)}")
            case exceptions.NewConnectionError():
                return Unavailable(f"{who} does not answer: {_system_text(error)}", hint=_IS_IT_THERE)
            case exceptions.ConnectTimeoutError():
                seconds = f"{self._patience.connect:g} seconds"
                return Unavailable(f"{who} does not answer: no connection in {seconds}", hint=_IS_IT_THERE)
            case exceptions.ReadTimeoutError() | TimeoutError():
                return Cut(f"{who} stalled: it sent nothing for {self._patience.silence:g} seconds")
            case exceptions.SSLError() if "EOF" not in str(error):
                return _tls_failure(who, error)
            case exceptions.ProtocolError(args=(_, TimeoutError())):
                return Cut(f"{who} stalled: it took nothing for {self._patience.silence:g} seconds")
            case exceptions.ProtocolError(args=(_, cause)) if _is_nonsense(cause):
                return Unavailable(f"{who} does not speak HTTP as it should: {type(cause).__name__}")
            case exceptions.SSLError() | exceptions.ProtocolError() | OSError():
                return Cut(f"{who} closed the connection before it had answered")
        return Unavailable(f"{who} does not speak HTTP as it should: {error}")


def _system_text(error: BaseException) -> str:
    """What the kernel said ("connection refused"), or else the error's own text."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno:
            return (os.strerror(seen.errno) if seen.errno > 0 else str(seen.strerror)).lower()
        seen = seen.__cause__ or seen.__context__
    return str(error)


def _is_nonsense(cause: object) -> bool:
    from http.client import HTTPException, IncompleteRead

    return isinstance(cause, HTTPException) and not isinstance(cause, IncompleteRead | ConnectionError)


def _tls_failure(who: str, error: Exception) -> Unavailable:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        reason = text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0] or "not trusted"
        hint = "put its authority's certificate into /etc/docker/certs.d/HOST:PORT/ca.crt, or name it in SSL_CERT_FILE"
        return Unavailable(f"{who} shows a certificate that does not hold: {reason}", hint=hint)
    if "WRONG_VERSION_NUMBER" in text or "HTTP_REQUEST" in text:
        return Unavailable(f"{who} does not speak TLS", hint=_PLAIN_HTTP)
    return Unavailable(f"{who} does not agree on TLS: {text}")
