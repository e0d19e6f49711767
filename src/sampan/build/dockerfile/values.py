"""Values of arguments after expansion: ports, modes, signals, paths; and how the history writes some of them.

Errors are Invalid or Unsupported without a place; who knows the line adds it (``Line.showing``).
"""

import posixpath
import re
from collections.abc import Sequence

from sampan import plainjson
from sampan.build import modes
from sampan.build.dockerfile.statement import did_you_mean
from sampan.errors import Invalid


def ports(text: str) -> list[str]:
    """``first[-last][/protocol]`` as ``port/protocol`` for each port. A host's part, ``[address:]ports:``, may stand
    before, and means nothing."""
    place, _, inside = text.rpartition(":")
    numbers, _, protocol = inside.partition("/")
    found, protocol = _range(numbers), protocol.lower() or "tcp"
    if not found or protocol not in ("tcp", "udp", "sctp") or not _is_published(place, found):
        raise Invalid(f"invalid port: {text}", hint="a number up to 65535, for example 8000 or 53/udp")
    return [f"{port}/{protocol}" for port in found]


def _range(text: str) -> range:
    """``first[-last]``; nothing if it is no range of ports."""
    match = re.fullmatch(r"0*(\d{1,5})(?:-0*(\d{1,5}))?", text, re.ASCII)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    return range(first, last + 1) if last <= 65535 else range(0)


def _is_published(place: str, inside: range) -> bool:
    """Whether ``[address:]ports`` is where ports could be published: at one of the host's ports each, or at any."""
    address, _, outside = place.rpartition(":")
    published = _range(outside) if outside else inside
    if not published or len(inside) not in (1, len(published)):
        return False
    return not address or _is_address(address.removeprefix("[").removesuffix("]"))


def _is_address(text: str) -> bool:
    from _socket import AF_INET, AF_INET6, inet_pton  # socket itself takes long to import

    try:
        inet_pton(AF_INET6 if ":" in text else AF_INET, text)
    except OSError:
        return False
    return True


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
    return f"[{' '.join(map(plainjson.quote, argv))}]"


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
