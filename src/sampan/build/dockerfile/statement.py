"""A line taken apart into its instruction word, flags and arguments, before anyone knows what these mean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sampan import plainjson
from sampan.build.dockerfile import lines, words
from sampan.build.dockerfile.lines import Line
from sampan.errors import SampanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple, TypeVar

    Item = TypeVar("Item")
else:
    from sampan.values import NamedTuple

TEXT, TEXTS, SWITCH = "text", "texts", "switch"
"""Kinds of flags: given once, given any number of times, and on or off."""

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_AMOUNT = r"(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})(ns|us|µs|μs|ms|s|m|h)"

_USAGE = {
    "ARG": "ARG NAME[=DEFAULT]",
    "ENV": "ENV NAME=VALUE",
    "EXPOSE": "EXPOSE 8000",
    "HEALTHCHECK": "HEALTHCHECK CMD COMMAND",
    "LABEL": "LABEL NAME=VALUE",
    "MAINTAINER": "MAINTAINER NAME",
    "ONBUILD": "ONBUILD INSTRUCTION",
    "RUN": "RUN COMMAND",
    "SHELL": 'SHELL ["/bin/bash", "-c"]',
    "STOPSIGNAL": "STOPSIGNAL SIGTERM",
    "USER": "USER NAME[:GROUP]",
    "VOLUME": "VOLUME /DIRECTORY",
    "WORKDIR": "WORKDIR /DIRECTORY",
}


class Statement(NamedTuple):
    """``flags`` are by name without dashes; a switch is "true" or "false". ``rest`` is what follows them, stripped."""

    line: Line
    keyword: str
    flags: Mapping[str, tuple[str, ...]]
    rest: str
    escape: str

    def fault(self, message: str, at: str = "", hint: str | None = None) -> SampanError:
        return self.line.fault(message, at, hint=hint)

    def text(self, flag: str) -> str:
        return self.flags[flag][0] if flag in self.flags else ""

    def switch(self, flag: str) -> bool | None:
        return self.flags[flag][0] == "true" if flag in self.flags else None

    def duration(self, flag: str) -> int:
        """A duration as Go writes it (``1m30s``), in nanoseconds. Raises Invalid."""
        text = self.text(flag)
        if text in ("", "0"):
            return 0
        amounts = re.findall(_AMOUNT, text, re.ASCII)
        if "".join(number + unit for number, unit in amounts) != text.removeprefix("+"):
            raise self.fault(f"--{flag} is not a duration: {text}", text, "write it as 30s or 1m30s")
        total = sum(round(float(number) * _UNITS[unit]) for number, unit in amounts)
        if 0 < total < _UNITS["ms"]:
            raise self.fault(f"--{flag} cannot be less than 1ms", text)
        return total

    def argument(self) -> str:
        """The rest as one argument. Raises Invalid if there is none."""
        if not self.rest:
            raise self.fault(f"{self.keyword} requires exactly one argument", hint=_USAGE.get(self.keyword))
        return self.rest

    def some(self, found: list[Item]) -> list[Item]:
        """``found``. Raises Invalid if that is empty."""
        if not found:
            raise self.fault(f"{self.keyword} requires at least one argument", hint=_USAGE.get(self.keyword))
        return found

    def arguments(self) -> list[str]:
        """The rest as a JSON array, else split at white space; quotes do not matter."""
        found = self.json_array()
        return words.fields(self.rest) if found is None else found

    def json_array(self) -> list[str] | None:
        """The rest as a JSON array of texts, or None if it is no JSON array. Raises Invalid for other arrays."""
        if not lines.is_exec_form(self.rest):
            return None
        found = plainjson.loads(self.rest)
        if not all(isinstance(word, str) for word in found):
            raise self.fault("the JSON array may hold only texts", "[", "put double quotes around each of them")
        if any("\0" in word for word in found):
            raise self.fault("the JSON array holds a NUL character", "[")
        return [re.sub("[\ud800-\udfff]", "�", word) for word in found]


def did_you_mean(word: str, known: Sequence[str], template: str = "{}") -> str | None:
    """A hint that names the entry of ``known`` that is most like ``word``."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, 1, 0.6)
    return f"did you mean {template.format(close[0])}?" if close else None


def check_flags(line: Line, given: Sequence[str], known: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The flags of ``line`` by name; ``known`` gives the kind of each. Raises Invalid."""
    found: dict[str, tuple[str, ...]] = {}
    for flag in given:
        dashed, equals, value = flag.partition("=")
        name = dashed[2:]
        if name not in known:
            raise line.fault(f"unknown flag: {dashed}", dashed, hint=did_you_mean(name, list(known), "--{}"))
        if known[name] == SWITCH:
            value = value.lower() if equals else "true"
            if value not in ("true", "false"):
                raise line.fault(f"{dashed} is either true or false, not {value!r}", dashed)
        elif not equals:
            raise line.fault(f"{dashed} lacks a value", dashed, hint=f"write it as {dashed}=VALUE")
        if name in found and known[name] != TEXTS:
            raise line.fault(f"{dashed} is given twice", dashed)
        found[name] = (*found.get(name, ()), value)
    return found
