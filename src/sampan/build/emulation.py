"""Whether this machine can execute programs of another processor: by itself, or through the kernel's binfmt_misc.

Documentation/admin-guide/binfmt-misc.rst: a file of /proc/sys/fs/binfmt_misc tells of one handler: ``enabled``, its
flags, and the bytes that a program of its kind begins with.
"""

import os

from sampan.errors import Unsupported
from sampan.oci import platform as platforms
from sampan.oci.platform import Platform

DIRECTORY = "/proc/sys/fs/binfmt_misc"
_NATIVE = {"amd64": ("amd64", "386"), "arm64": ("arm64",)}
_MACHINES = {  # GOARCH → e_machine, 64 bits, big endian (elf(5))
    "386": (3, False, False),
    "amd64": (62, True, False),
    "arm": (40, False, False),
    "arm64": (183, True, False),
    "loong64": (258, True, False),
    "mips64le": (8, True, False),
    "ppc64le": (21, True, False),
    "riscv64": (243, True, False),
    "s390x": (22, True, True),
}


def check(platform: Platform, directory: str = DIRECTORY) -> None:
    """Raises Unsupported, saying how it could be done, unless programs for ``platform`` can be executed here."""
    own = platforms.host().architecture
    wanted = platform.architecture
    if platform.os != "linux":
        raise Unsupported(f"steps for {platform} cannot be run on Linux")
    if wanted in _NATIVE.get(own, (own,)) or any(_handles(handler, wanted) for handler in _handlers(directory)):
        return
    raise Unsupported(
        f"a step for {platform} cannot be run on this machine, which is linux/{own} and has no emulator registered",
        hint="install one (on Debian: apt install qemu-user-static binfmt-support), or do the work in a stage that "
        "begins with FROM --platform=$BUILDPLATFORM and copy the result",
    )


def _handlers(directory: str) -> list[dict[str, str]]:
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    return [_handler(f"{directory}/{name}") for name in names if name not in ("register", "status")]


def _handler(path: str) -> dict[str, str]:
    """What one handler's file says, by its words; the first line is "enabled" or "disabled"."""
    with open(path) as file:
        return {word.rstrip(":"): value for word, _, value in (line.strip().partition(" ") for line in file)}


def _handles(handler: dict[str, str], architecture: str) -> bool:
    # Without the flag F the interpreter would be looked for in the image.
    if "enabled" not in handler or "F" not in handler.get("flags", "") or architecture not in _MACHINES:
        return False
    offset, magic = int(handler.get("offset", "0")), bytes.fromhex(handler.get("magic", ""))
    mask = bytes.fromhex(handler.get("mask", "ff" * len(magic)))
    head = _elf_header(*_MACHINES[architecture])[offset : offset + len(magic)]
    return (
        bool(magic)
        and len(head) == len(magic)
        and all((a ^ b) & m == 0 for a, b, m in zip(head, magic, mask, strict=True))
    )


def _elf_header(machine: int, wide: bool, big: bool) -> bytes:
    """How an executable for a processor begins."""
    ident = b"\x7fELF" + bytes((2 if wide else 1, 2 if big else 1, 1)) + bytes(9)
    order = "big" if big else "little"
    return ident + b"".join(number.to_bytes(size, order) for number, size in ((2, 2), (machine, 2), (1, 4)))  # type: ignore[arg-type]
