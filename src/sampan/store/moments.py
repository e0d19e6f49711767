"""Moments as people give them: ``--filter until=24h``, ``--since 2024-01-02``."""

import time

from sampan.errors import Invalid

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_HINT = "a span of time (10m, 1h30m), a date (2024-01-02, 2024-01-02T15:04:05Z) or Unix seconds"


def parse(text: str, now: float | None = None) -> float:
    """A moment in seconds since the epoch: a span before ``now`` (Go's time.ParseDuration), RFC 3339 or a part of it
    (local time without a zone), or Unix seconds. Raises Invalid."""
    span = _duration(text)
    if span is not None:
        return (time.time() if now is None else now) - span
    if text.replace(".", "", 1).isascii() and text.replace(".", "", 1).isdigit() and text[:1] != ".":
        return float(text)
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise Invalid(f"invalid time {text!r}", hint=_HINT) from None


def of_record(text: str) -> float:
    """Seconds since the epoch of what a record says (RFC 3339, UTC without a zone); 0.0 when it says nothing."""
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _duration(text: str) -> float | None:
    """Seconds; None if ``text`` is no span."""
    total, rest = 0.0, text
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        unit = next((unit for unit in sorted(_UNITS, key=len, reverse=True) if rest[digits:].startswith(unit)), None)
        if not rest[:digits].isascii() or unit is None or not rest[:digits].strip(".") or rest[:digits].count(".") > 1:
            return None
        total += float(rest[:digits]) * _UNITS[unit]
        rest = rest[digits + len(unit) :]
    return total if text else None
