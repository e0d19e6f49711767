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

    def satisfies(self, wanted: Platform) -> bool:
        """Whether an image for this platform is what someone who wants ``wanted`` should get.

        An absent variant matches every one, and arm64 without a variant is arm64/v8.
        """
        if (self.os, self.architecture) != (wanted.os, wanted.architecture):
            return False
        default = {"arm64": "v8"}.get(self.architecture, "")
        mine, theirs = self.variant or default, wanted.variant or default
        return mine == theirs or not mine or not theirs


def from_json(value: dict[str, Any]) -> Platform:
    """A platform from an index entry or an image config; unknown or missing fields become empty texts."""
    return Platform(*(str(value.get(key) or "") for key in ("os", "architecture", "variant")))


def host() -> Platform:
    """The platform of this machine."""
    machine = os.uname().machine
    architecture, variant = _ARCHITECTURES.get(machine, (machine, ""))
    return Platform("linux", architecture, variant)


def parse(text: str) -> Platform:
    """``linux/arm64/v8``, ``linux/amd64`` or a bare architecture, aliases included. Raises Invalid."""
    parts = text.lower().split("/")
    if len(parts) == 1:
        if parts[0] == "linux":
            return host()
        parts = ["linux", parts[0]]
    if len(parts) > 3 or not all(_is_word(part) for part in parts):
        raise Invalid(f"not a platform: {text!r}", hint="write it as os/architecture, for example linux/arm64")
    architecture, variant = _ARCHITECTURES.get(parts[1], (parts[1], ""))
    return Platform(parts[0], architecture, parts[2] if len(parts) == 3 else variant)


def _is_word(text: str) -> bool:
    return text.isascii() and text.replace("-", "").replace("_", "").isalnum()
