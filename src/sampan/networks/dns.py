"""What a container reads as /etc/resolv.conf and /etc/hosts."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RESOLV_CONF = "/etc/resolv.conf"
SYSTEMD_RESOLV_CONF = "/run/systemd/resolve/resolv.conf"
OWN = "127.0.0.11"
"""Where a container's own name server answers (``resolver``)."""
FALLBACK = ("8.8.8.8", "8.8.4.4")  # as Docker's
FORWARDED = "10.0.2.3"
"""Where the programs that connect an ordinary user's container answer for the host's name servers, wherever these are:
slirp4netns of itself, pasta because it is told to."""
_LIMIT = 1 << 16

_HOSTS = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


def resolv_conf(
    servers: Sequence[str] = (),
    search: Sequence[str] = (),
    options: Sequence[str] = (),
    path: str = RESOLV_CONF,
    *,
    own_network: bool = True,
    forwarded: bool = False,
) -> str:
    """The text of a container's resolv.conf (resolv.conf(5)): what is given, and for the rest what the host has.

    Name servers on the host's loopback cannot be reached from a network of the container's own: those behind
    systemd-resolved take their place, else, where that is ``forwarded``, who asks them, or public ones.
    """
    lines = _read(path)
    present = _values(lines, "nameserver")
    found = list(servers) or ([] if own_network else present) or reachable(path)
    out = [f"nameserver {server}" for server in found or ((FORWARDED,) if forwarded else FALLBACK)]
    for keyword, given in (("search", search), ("options", options)):
        words = list(given) or [word for values in _values(lines, keyword)[-1:] for word in values.split()]
        if words and words != ["."]:
            out.append(f"{keyword} {' '.join(words)}")
    return "\n".join(out) + "\n"


def reachable(path: str = RESOLV_CONF) -> list[str]:
    """The host's name servers, or those behind systemd-resolved, that a network of a container's own can reach."""
    found = _reachable(_values(_read(path), "nameserver"))
    if not found and path != SYSTEMD_RESOLV_CONF:
        found = _reachable(_values(_read(SYSTEMD_RESOLV_CONF), "nameserver"))
    return found


def host_nameservers(path: str = RESOLV_CONF) -> list[str]:
    """The host's own name servers, without zones."""
    return [words.split("%")[0] for words in _values(_read(path), "nameserver")]


def host_s_own(path: str) -> str:
    """The host's own file, for a container that is in its network."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_LIMIT)
    except OSError:
        return ""


def hosts(extra: Iterable[tuple[str, str]] = (), address: str = "", names: Sequence[str] = (), base: str = "") -> str:
    """The text of a container's hosts file (hosts(5)): ``extra`` are (name, address), ``names`` its own; ``base`` takes
    the place of what every machine has."""
    own = f"{address}\t{' '.join(names)}\n" if address and names else ""
    return (base or _HOSTS) + "".join(f"{where}\t{name}\n" for name, where in extra) + own


def _read(path: str) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(_LIMIT)
    except OSError:
        return []
    return [line.split(None, 1) for line in text.splitlines() if line[:1] not in ("#", ";")]


def _values(lines: list[list[str]], keyword: str) -> list[str]:
    return [words[1].strip() for words in lines if len(words) == 2 and words[0] == keyword]


def _reachable(servers: list[str]) -> list[str]:
    # An address with a zone (fe80::1%eth0) names an interface of the host.
    return [server for server in servers if not server.startswith("127.") and server != "::1" and "%" not in server]
