"""Platforms: for which operating system and processor an image is (OCI image-spec, image-index.md, "platform")."""

from __future__ import annotations

import os

from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple

_ARCHITECTURES = {  # what uname(2) and people say → GOARCH, GOARM
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "amd64": ("amd64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "386": ("386", ""),
    "aarch64": ("arm64", ""),
    "arm64": ("arm64", ""),
    "armv8l": ("arm64", ""),
    "armv7l": ("arm", "v7"),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv6l": ("arm", "v6"),
    "arm": ("arm", "v7"),
    "ppc64le": ("ppc64le", ""),
    "s390x": ("s390x", ""),
    "riscv64": ("riscv64", ""),
    "loongarch64": ("loong64", ""),
    "mips64le": ("mips64le", ""),
}
_OTHERS = frozenset(
    (
        "armbe",
        "arm64be",
        "loong64",
        "mips",
        "mipsle",
        "mips64",
        "ppc",
        "ppc64",
        "riscv",
        "s390",
        "sparc",
        "sparc64",
        "wasm",
    )
)
_SYSTEMS = frozenset(("linux", "windows", "darwin", "freebsd"))


class Platform(NamedTuple):
    """``os/architecture[/variant]`` with Go's names for each part."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in self if part)

    def to_json(self) -> dict[str, str]:
        value = {"architecture": self.architecture, "os": self.os}
        if self.variant:
            value["variant"] = self.variant
        return value

    def normal(self) -> Platform:
        """The form in which two platforms are compared: aliases resolved, and variants that go without saying."""
        architecture, default = _ARCHITECTURES.get(self.architecture.lower(), (self.architecture.lower(), ""))
        variant = self.variant.lower() or default
        if architecture.startswith("arm") and variant.isdigit():
            variant = f"v{variant}"
        if (architecture, variant) in (("arm64", "v8"), ("amd64", "v1")) or architecture == "386":
            variant = ""
        system = self.os.lower()
        return Platform("darwin" if system == "macos" else system, architecture, variant)

    def runnable(self) -> tuple[Platform, ...]:
        """What this platform runs, the best first: itself, and what came before it (containerd's rules)."""
        system, architecture, variant = wanted = self.normal()
        number = int(variant[1:]) if variant[1:].isdigit() else 0
        if architecture == "amd64":
            older = [Platform(system, "amd64", f"v{each}").normal() for each in range(number - 1, 0, -1)]
            return (wanted, *older, Platform(system, "386"))
        if architecture == "arm64":
            return (wanted, *Platform(system, "arm", variant or "v8").runnable())
        if architecture == "arm":
            return (wanted, *(Platform(system, "arm", f"v{each}") for each in range(number - 1, 4, -1)))
        return (wanted,)

    def satisfies(self, wanted: Platform) -> bool:
        """Whether an image for this platform runs on ``wanted``."""
        return self.normal() in wanted.runnable()


def from_json(value: dict[str, Any]) -> Platform:
    """A platform from an index entry or an image config; unknown or missing fields become empty texts."""
    return Platform(*(str(value.get(key) or "") for key in ("os", "architecture", "variant")))


def host() -> Platform:
    """The platform of this machine."""
    machine = os.uname().machine
    architecture, variant = _ARCHITECTURES.get(machine, (machine, ""))
    return Platform("linux", architecture, variant)


def parse(text: str) -> Platform:
    """``linux/arm64/v8``, ``linux/amd64``, a bare system or architecture, aliases included. Raises Invalid."""
    parts = text.lower().split("/")
    if parts[0] == "macos":
        parts[0] = "darwin"
    if len(parts) == 1:
        system = parts[0] in _SYSTEMS
        parts = [parts[0], host().architecture] if system else ["linux", parts[0]]
        if not system and parts[1] not in (*_ARCHITECTURES, *_OTHERS, host().architecture):
            parts = []  # what may be a misspelt word is no architecture that nobody knows (containerd/platforms, Parse)
    if not 1 < len(parts) <= 3 or not all(_is_word(part) for part in parts):
        raise Invalid(f"not a platform: {text!r}", hint="write it as os/architecture, for example linux/arm64")
    architecture, variant = _ARCHITECTURES.get(parts[1], (parts[1], ""))
    return Platform(parts[0], architecture, parts[2] if len(parts) == 3 else variant)


def _is_word(text: str) -> bool:
    return text.isascii() and text.replace("-", "").replace("_", "").isalnum()
