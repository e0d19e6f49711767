"""The host's pip settings for RUN steps (``--host-pip``): where packages come from and whom to trust.

They are put together in one configuration file that is mounted, with the certificates and the local directories it
names, for the length of a step. Nothing of it is part of the image, its history, a cache key or a log; index URLs may
hold passwords, so they are in the file and not in the environment, which commands like to print.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from urllib.parse import quote, unquote, urlsplit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

PLACE = "/run/sampan/pip"
"""Where the step sees all of it."""
_CONFIG = f"{PLACE}/pip.conf"
_BUNDLE = f"{PLACE}/ca-certificates.crt"
_SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
_BUNDLE_VARIABLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
_LOCATIONS = ("index-url", "extra-index-url", "find-links")
# Only what is about reaching an index: a host's "user", "target" or "require-virtualenv" is about the host.
_KEPT = (
    *_LOCATIONS, "no-index", "trusted-host", "proxy", "timeout", "default-timeout", "retries", "prefer-binary",
    "disable-pip-version-check",
)  # fmt: skip
_SECTIONS = ("global", "install")


class HostPip(NamedTuple):
    """``config`` is the text of a pip.conf as the step is to see it, ``mounts`` are (path of the host, path inside)."""

    config: str
    mounts: tuple[tuple[str, str], ...]

    def environment(self) -> dict[str, str]:
        """The variables that make pip, and what else uses TLS, look there."""
        values = {"PIP_CONFIG_FILE": _CONFIG}
        if any(inside == _BUNDLE for _, inside in self.mounts):
            values |= dict.fromkeys(_BUNDLE_VARIABLES, _BUNDLE)
        return values

    def binds(self, directory: str) -> list[tuple[str, str]]:
        """What to mount, as (path of the host, path inside); the configuration is written into ``directory``."""
        path = f"{directory}/pip.conf"
        with open(path, "w") as file:
            file.write(self.config)
        os.chmod(path, 0o644)  # whoever the step runs as has to read it; the directory itself keeps others out
        return [(path, _CONFIG), *self.mounts]


def read(environment: Mapping[str, str], home: str) -> HostPip:
    """The settings of this host's pip for a user with that environment and home directory.

    Precedence is pip's: global, user's, PIP_CONFIG_FILE, variables (pip documentation, "Configuration").
    """
    settings: dict[str, str] = {}
    for path in _files(environment, home):
        settings |= _parse(path)
    for name, value in environment.items():
        key = name[4:].lower().replace("_", "-")
        if name.startswith("PIP_") and key in _KEPT and value:
            settings[key] = value
    directories: list[str] = []
    lines = ["[global]"]
    for key in sorted(settings.keys() & set(_KEPT)):
        value = settings[key]
        words = [_moved(word, key, home, directories) for word in value.split()] if key in _LOCATIONS else [value]
        lines.append(f"{key} = " + "\n    ".join(words))
    mounts = [(path, _inside(number)) for number, path in enumerate(directories)]
    named = [environment.get(variable, "") for variable in _BUNDLE_VARIABLES]
    bundle = next((path for path in (*named, settings.get("cert", ""), _SYSTEM_BUNDLE) if os.path.isfile(path)), None)
    if bundle:
        mounts.append((os.path.realpath(bundle), _BUNDLE))
    return HostPip("\n".join(lines) + "\n", tuple(mounts))


def _files(environment: Mapping[str, str], home: str) -> Iterator[str]:
    """pip's configuration files, the most important last."""
    chosen = environment.get("PIP_CONFIG_FILE")
    if chosen == os.devnull:  # pip's way to say: none at all
        return
    for directory in reversed((environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")):
        yield f"{directory}/pip/pip.conf"
    yield "/etc/pip.conf"
    yield f"{home}/.pip/pip.conf"
    yield f"{environment.get('XDG_CONFIG_HOME') or f'{home}/.config'}/pip/pip.conf"
    if chosen:
        yield chosen


def _parse(path: str) -> dict[str, str]:
    """The settings in one file that apply to installing; none if it cannot be read as one."""
    from configparser import Error, RawConfigParser

    parser = RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    except (OSError, Error, UnicodeDecodeError):
        return {}
    return {
        key.replace("_", "-"): value
        for section in _SECTIONS
        if parser.has_section(section)
        for key, value in parser.items(section)
    }


def _moved(word: str, key: str, home: str, directories: list[str]) -> str:
    """``word`` as the step is to see it: a directory of the host is mounted, anything else stays as it is."""
    is_url = word.startswith("file:")
    if not is_url and (key != "find-links" or "://" in word):
        return word
    path = unquote(urlsplit(word).path) if is_url else home + word[1:] if word.startswith("~/") else word
    path = os.path.realpath(path)
    if not os.path.isdir(path):
        return word
    # The pages of an index link to files beside it: ../../files/NAME (PEP 503 leaves that open).
    above, _, last = path.rpartition("/")
    mounted, rest = (above, "/simple") if last == "simple" and above else (path, "")
    if mounted not in directories:
        directories.append(mounted)
    inside = _inside(directories.index(mounted)) + rest
    return f"file://{quote(inside)}" if is_url else inside


def _inside(number: int) -> str:
    return f"{PLACE}/{number}"
