"""What is asked of a container's health: the ``--health-*`` flags over the image's HEALTHCHECK."""

from __future__ import annotations

import re

from sampan.containers.options import Healthcheck
from sampan.errors import Conflict, Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_LEAST = 10**6
_SHELL = ("/bin/sh", "-c")
_FIELDS = {  # the image's names (image-spec, config.md; Docker's extension), and ours
    "Interval": "interval",
    "Timeout": "timeout",
    "StartPeriod": "start_period",
    "StartInterval": "start_interval",
    "Retries": "retries",
}


def read(command: str | None, times: Mapping[str, str], retries: int | None, *, none: bool) -> Healthcheck:
    """What the flags ask for; what they leave open is the image's to say. Raises Invalid and Conflict."""
    if none:
        if command is not None or times or retries is not None:
            raise Conflict("--no-healthcheck and --health-… say opposite things")
        return Healthcheck(("NONE",))
    if retries is not None and retries < 0:
        raise Invalid("--health-retries cannot be negative")
    spans = {name: duration(text, f"--health-{name}") for name, text in times.items()}
    return Healthcheck(
        ("CMD-SHELL", command) if command else (),
        spans.get("interval", 0),
        spans.get("timeout", 0),
        spans.get("start-period", 0),
        spans.get("start-interval", 0),
        retries or 0,
    )


def settle(asked: Healthcheck, image: Mapping[str, Any] | None, shell: tuple[str, ...] | None) -> Healthcheck:
    """``asked`` with the image's own where nothing else is asked for, and ``command``, which is executed. Raises
    Invalid."""
    inherited = dict(image or {})
    test = asked.test or tuple(map(str, inherited.get("Test") or ()))
    numbers = {ours: getattr(asked, ours) or _number(inherited.get(theirs), theirs) for theirs, ours in _FIELDS.items()}
    return Healthcheck(test, **numbers, command=_command(test, shell or _SHELL))


def describe(check: Healthcheck) -> dict[str, Any] | None:
    """As the Engine API has it; None where nothing is said of health."""
    numbers = {theirs: value for theirs, ours in _FIELDS.items() if (value := getattr(check, ours))}
    return {**({"Test": list(check.test)} if check.test else {}), **numbers} or None


def duration(text: str, what: str) -> int:
    """Nanoseconds of a span of time as Go writes it: ``1m30s``, ``500ms`` (time.ParseDuration). Raises Invalid."""
    parts = _DURATION.findall(text)
    if (text != "0" and "".join(number + unit for number, unit in parts) != text) or not text:
        raise Invalid(f"invalid {what} {text!r}", hint="a number with a unit, for example 30s, 1m30s or 500ms")
    span = round(sum(float(number) * _UNITS[unit] for number, unit in parts))
    if 0 < span < _LEAST:
        raise Invalid(f"{what} cannot be less than a millisecond")
    return span


def _number(value: object, what: str) -> int:
    if value is None:
        return 0
    if not isinstance(value, int) or value < 0:
        raise Invalid(f"the image's HEALTHCHECK has no sensible {what}: {value!r}")
    return value


def _command(test: tuple[str, ...], shell: tuple[str, ...]) -> tuple[str, ...]:
    kind, *words = test or ("NONE",)
    if kind == "NONE":
        return ()
    if kind not in ("CMD", "CMD-SHELL") or not words:
        raise Invalid(f"the image's HEALTHCHECK is neither CMD nor CMD-SHELL: {' '.join(test)}")
    return (*shell, words[0]) if kind == "CMD-SHELL" else tuple(words)
