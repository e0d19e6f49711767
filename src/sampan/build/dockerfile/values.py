"""Values of arguments after expansion: ports, modes, signals, paths; and how the history writes some of them.

Errors are Invalid or Unsupported without a place; who knows the line adds it (``Line.showing``).
"""

import json
import posixpath
import re
from collections.abc import Sequence

from sampan.build import modes
from sampan.build.dockerfile.statement import did_you_mean
from sampan.errors import Invalid


def ports(text: str) -> list[str]:
    """``first[-last][/protocol]`` as ``port/protocol`` for each port. Docker lets a host's part stand before."""
    match = re.fullmatch(r"(?:.*:)?(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp)?)?", text, re.ASCII | re.IGNORECASE)
    first = int(match[1]) if match else 0
    last = int(match[2] or first) if match else 0
    if not match or not first <= last <= 65535:
        raise Invalid(f"invalid port: {text}", hint="a number up to 65535, for example 8000 or 53/udp")
    return [f"{port}/{(match[3] or 'tcp').lower()}" for port in range(first, last + 1)]


def mode(text: str) -> str:
    """A mode for --chmod in four octal digits, or symbolic; an empty text for none."""
    if not text:
        return ""
    parsed = modes.parse(text)
    return parsed if isinstance(parsed, str) else f"{parsed:04o}"


def checksum(text: str) -> str:
    """What ADD --checksum says of a file: ``sha256:HEX``; an empty text for nothing."""
    if text and not re.fullmatch("sha256:[0-9a-f]{64}", text):
        raise Invalid(f"{text!r} is not the checksum of a file", hint="it is sha256: and 64 hexadecimal digits")
    return text


def check_signal(name: str) -> None:
    """Raises Invalid for a STOPSIGNAL that is neither a signal's name nor its number."""
    from signal import SIGRTMAX, SIGRTMIN, Signals

    short = name.upper().removeprefix("SIG")
    real_time = re.fullmatch(r"RT(?:MIN(?:\+(\d{1,2}))?|MAX(?:-(\d{1,2}))?)", short, re.ASCII)
    if real_time and int(real_time[1] or real_time[2] or 0) <= SIGRTMAX - SIGRTMIN:
        return
    known = [signal.name.removeprefix("SIG") for signal in Signals]
    if short not in known and not re.fullmatch(r"[1-9][0-9]?", name):
        raise Invalid(f"unknown signal: {name}", hint=did_you_mean(short, known, "SIG{}") or "SIGTERM, for example")


def joined(directory: str, path: str) -> str:
    """``path`` as seen from ``directory``, absolute and cleaned."""
    # normpath() alone would keep two slashes at the beginning, which POSIX allows to mean something else.
    return posixpath.normpath("/" + posixpath.join(directory, path).lstrip("/"))


def destination(directory: str, dest: str) -> str:
    """The same, with a slash at the end if ``dest`` says that it is a directory."""
    path = joined(directory, dest)
    return path + "/" if path != "/" and (dest in ("", ".") or dest.endswith(("/", "/."))) else path


def inside(source: str) -> str:
    """A source relative to its root, which ``..`` does not leave."""
    return joined("/", source)[1:] or "."


def quoted(argv: Sequence[str]) -> str:
    """As Go prints a list of quoted texts."""
    return f"[{' '.join(json.dumps(word, ensure_ascii=False) for word in argv)}]"


def go_duration(span: int) -> str:
    """Nanoseconds as Go's ``time.Duration`` prints them: ``1m30s``."""
    if 0 < span < 10**9:
        return f"{_decimal(span, 6)}ms"
    minutes, rest = divmod(span, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{_decimal(rest, 9)}s"


def _decimal(value: int, places: int) -> str:
    whole, fraction = divmod(value, 10**places)
    return f"{whole}.{fraction:0{places}d}".rstrip("0") if fraction else str(whole)
