"""What becomes of a container's output: the language of ``--log-driver`` and ``--log-opt``.

json-file is Docker's. local is the same file with Docker's limits for a driver of that name: it takes turns from the
start, and how it is written is nobody else's business.
"""

from __future__ import annotations

import re

from sampan.containers.options import Logging
from sampan.errors import Invalid, Unsupported

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d+)?) ?([kmgtp]?)b?", re.ASCII)
_ELSEWHERE = "syslog journald gelf fluentd awslogs splunk etwlogs gcplogs logentries".split()
_SHARED = ("max-size", "max-file", "compress", "mode", "max-buffer-size")
_KNOWN = {"json-file": (*_SHARED, "labels", "labels-regex", "env", "env-regex", "tag"), "local": _SHARED, "none": ()}
_LOCAL_SIZE, _LOCAL_FILES = 20 * 10**6, 5


def parse(driver: str, texts: list[str]) -> Logging:
    """Raises Invalid for what makes no sense, and Unsupported for what only Docker's daemon does."""
    driver = driver or "json-file"
    if driver in _ELSEWHERE:
        raise Unsupported(f"--log-driver {driver} is not built", hint="json-file, local or none")
    if driver not in _KNOWN:
        raise Invalid(f"{driver!r} is not a log driver", hint="json-file, local or none")
    given: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise Invalid(f"invalid --log-opt {text!r}", hint="write it as NAME=VALUE, for example max-size=10m")
        if name not in _KNOWN[driver]:
            raise Invalid(f"--log-opt {name} is not an option of the log driver {driver}", hint=_hint(driver))
        given[name] = value
    _check(given)
    logging = Logging(driver, tuple(given.items()))
    _limits(logging)
    return logging


def settle(logging: Logging, labels: dict[str, str], environment: list[str]) -> Logging:
    """With what goes with every line: labels and variables that the options name, or that match their expressions."""
    options, values = dict(logging.options), dict(entry.split("=", 1) for entry in environment)
    found: dict[str, str] = {}
    for name, source in (("labels", labels), ("env", values)):
        wanted = [word.strip() for word in options.get(name, "").split(",")]
        pattern = options.get(f"{name}-regex")
        found |= {key: value for key, value in source.items() if key in wanted or (pattern and re.search(pattern, key))}
    return logging._replace(attributes=tuple(sorted(found.items())))


def writer(logging: Logging, path: str) -> tuple[object, ...]:
    """The arguments of ``logs.Writer``."""
    if logging.driver == "none":
        return ("",)
    return (path, *_limits(logging), dict(logging.attributes))


def _hint(driver: str) -> str:
    return f"it has {', '.join(_KNOWN[driver])}" if _KNOWN[driver] else "it has none"


def _check(given: dict[str, str]) -> None:
    if given.get("compress", "false").lower() not in ("false", "0", "f"):
        raise Unsupported("--log-opt compress is not built: old files of a log stay as they are")
    if given.get("mode", "blocking") != "blocking":
        raise Unsupported(
            f"--log-opt mode={given['mode']} is not built: no line is dropped", hint="mode=blocking is what there is"
        )
    for name in ("tag", "max-buffer-size"):
        if name in given:
            raise Unsupported(f"--log-opt {name} is not built")
    for name in ("labels-regex", "env-regex"):
        try:
            re.compile(given.get(name, ""))
        except re.error as error:
            raise Invalid(f"invalid --log-opt {name}={given[name]}: {error}") from None


def _limits(logging: Logging) -> tuple[int, int]:
    """The bytes of a file (0: no limit), and how many files there are."""
    options = dict(logging.options)
    local = logging.driver == "local"
    size, count = options.get("max-size"), options.get("max-file")
    files = (_LOCAL_FILES if local else 1) if count is None else int(count) if re.fullmatch(r"[0-9]{1,4}", count) else 0
    if files < 1:
        raise Invalid(f"invalid --log-opt max-file={count}", hint="a number of files, 1 at least")
    if size is None:
        return (_LOCAL_SIZE if local else 0), files
    if not local and size == "-1":
        return 0, files
    match = _SIZE.fullmatch(size.lower())
    most = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if most < 1:
        raise Invalid(f"invalid --log-opt max-size={size}", hint="a number of bytes, or with a unit: 10m, 1g")
    return most, files
