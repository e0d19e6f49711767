"""Where an image is, as ``copy`` writes it: skopeo's words, and a plain name for the store.

docker://NAME  oci:DIR[:TAG]  oci-archive:FILE[:NAME]  docker-archive:FILE[:NAME]  dir:DIR  NAME
"""

from typing import NamedTuple

from sampan.errors import Invalid, Unsupported

KINDS = ("docker", "oci", "oci-archive", "docker-archive", "dir")
_OTHERS = ("containers-storage", "docker-daemon", "ostree", "sif", "tarball")


class Where(NamedTuple):
    """``kind`` is one of KINDS, or "store"; ``name`` of the image there, empty for the only one or for none."""

    kind: str
    path: str
    name: str

    def __str__(self) -> str:
        if self.kind == "docker":
            return f"docker://{self.name}"
        if self.kind == "store":
            return self.name
        return f"{self.kind}:{self.path}{f':{self.name}' if self.name else ''}"


def parse(text: str) -> Where:
    """Raises Invalid, and Unsupported for skopeo's other words."""
    kind, colon, rest = text.partition(":")
    if kind == "docker" and rest.startswith("//"):
        return Where("docker", "", _given(rest[2:], text))
    if colon and kind in _OTHERS:
        raise Unsupported(f"{text}: images cannot be copied from or to {kind}", hint=f"one of {', '.join(KINDS)}")
    if not colon or kind not in KINDS or kind == "docker":
        return Where("store", "", _given(text, text))
    path, _, name = rest.partition(":") if kind != "dir" else (rest, "", "")
    return Where(kind, _given(path, text), name)


def _given(part: str, text: str) -> str:
    if not part:
        raise Invalid(f"{text!r} does not say where", hint="for example oci:DIRECTORY:TAG or docker://NAME:TAG")
    return part
