"""What a registry says when it does not do what was asked, as errors (OCI distribution-spec, "Error Codes")."""

import json
from typing import Any

from sampan.errors import Conflict, Corrupt, Denied, Invalid, NotFound, SampanError, Unavailable, Unsupported

_CODES: dict[str, type[SampanError]] = {
    "UNAUTHORIZED": Denied,
    "DENIED": Denied,
    "BLOB_UNKNOWN": NotFound,
    "MANIFEST_UNKNOWN": NotFound,
    "NAME_UNKNOWN": NotFound,
    "NAME_INVALID": Invalid,
    "MANIFEST_INVALID": Invalid,
    "TAG_INVALID": Invalid,
    "DIGEST_INVALID": Corrupt,
    "SIZE_INVALID": Corrupt,
    "UNSUPPORTED": Unsupported,
}
_STATUSES: dict[int, type[SampanError]] = {
    400: Invalid,
    401: Denied,
    403: Denied,
    404: NotFound,
    405: Unsupported,
    409: Conflict,
    413: Invalid,
    415: Unsupported,
}


def refusal(status: int, body: bytes, registry: str, what: str) -> SampanError:
    """The error for an answer that is none of the expected ones. ``what`` finishes "the registry HOST refuses …"."""
    code, text = _first(body)
    kind = _STATUSES.get(status) if status in (401, 403) else _CODES.get(code) or _STATUSES.get(status)
    message = f"the registry {registry} refuses {what}: {text or f'status {status}'}"
    if kind is Denied:
        return Denied(message, hint=f"sampan login {registry}")
    return (kind or Unavailable)(message)


def reason(status: int, body: bytes) -> str:
    """A short text for why: the registry's own message, if there is one, and the status."""
    _, text = _first(body)
    return f"{text} (status {status})" if text else f"status {status}"


def _first(body: bytes) -> tuple[str, str]:
    """Code and message of the first error in a JSON body; empty texts where there is none."""
    try:
        value: Any = json.loads(body)
        entry = value["errors"][0]
        return _plain(entry.get("code")), _plain(entry.get("message") or entry.get("code"))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "", ""


def _plain(text: object) -> str:
    """One line without control characters: it will be printed on a terminal, and a stranger wrote it."""
    words = str(text or "").split()
    return "".join(letter for letter in " ".join(words) if letter.isprintable())[:300]
