"""Why an image is big: its Python packages, what layers replaced again, and what is left of caches."""

import os
from collections.abc import Callable
from typing import NamedTuple

from sampan.snapshots.contents import Contents

_LIMIT = 16 << 20
_CACHES = {  # where package managers keep what an image does not need → how not to have it there
    b"var/lib/apt/lists": "rm -rf /var/lib/apt/lists/* in the same RUN, or RUN --mount=type=cache",
    b"var/cache/apt": "apt-get clean in the same RUN, or RUN --mount=type=cache,target=/var/cache/apt",
    b"var/cache/dnf": "dnf clean all in the same RUN",
    b"var/cache/apk": "apk add --no-cache",
    b"root/.cache/pip": "RUN --mount=type=cache,target=/root/.cache/pip, or pip --no-cache-dir",
    b"root/.cache/uv": "RUN --mount=type=cache,target=/root/.cache/uv, or uv --no-cache",
    b"root/.cache": "RUN --mount=type=cache,target=/root/.cache",
    b"root/.npm": "RUN --mount=type=cache,target=/root/.npm",
    b"var/log": "remove logs in the RUN that writes them",
    b"tmp": "remove temporary files in the RUN that writes them",
    b"var/tmp": "remove temporary files in the RUN that writes them",
}
_ANYWHERE = {
    b".git": "name .git in .dockerignore",
    b"__pycache__": "PYTHONDONTWRITEBYTECODE=1 while building, if start-up time does not matter",
    b"node_modules/.cache": "remove it in the RUN that makes it",
}

ReadFile = Callable[[bytes, int], bytes | None]


class Package(NamedTuple):
    """An installed Python distribution, and the bytes of its files."""

    name: str
    version: str
    size: int


class Leftover(NamedTuple):
    """A directory that an image does not need; ``advice`` is how not to have it."""

    path: str
    size: int
    advice: str


def packages(contents: Contents, read: ReadFile) -> list[Package]:
    """The Python packages by their RECORD (packaging.python.org, "Recording installed projects"), the largest first."""
    found = []
    for path in contents.visible:
        directory, _, name = path.rpartition(b"/")
        if name == b"RECORD" and directory.endswith(b".dist-info"):
            above, _, title = directory.rpartition(b"/")
            package, _, version = os.fsdecode(title.removesuffix(b".dist-info")).rpartition("-")
            size = sum(_size(contents, above, line) for line in (read(path, _LIMIT) or b"").splitlines())
            found.append(Package(package, version, size))
    return sorted(found, key=lambda package: (-package.size, package.name))


def leftovers(contents: Contents) -> list[Leftover]:
    """Caches and the like in what a container sees, the largest first."""
    sizes: dict[tuple[str, str], int] = {}
    for path, file in contents.visible.items():
        place = _place(path)
        if place:
            sizes[place] = sizes.get(place, 0) + file.size
    found = [Leftover(path, size, advice) for (path, advice), size in sizes.items() if size]
    return sorted(found, key=lambda leftover: (-leftover.size, leftover.path))


def _size(contents: Contents, above: bytes, line: bytes) -> int:
    """The bytes of the file that a line of a RECORD names."""
    name = line.rsplit(b",", 2)[0].strip(b'"')
    path = os.path.normpath(b"/" + above + b"/" + name).lstrip(b"/")
    file = contents.visible.get(path)
    return file.size if file else 0


def _place(path: bytes) -> tuple[str, str] | None:
    """The directory of a kind that is not needed which a file lies in."""
    for prefix, advice in _CACHES.items():
        if path.startswith(prefix + b"/"):
            return "/" + os.fsdecode(prefix), advice
    for name, advice in _ANYWHERE.items():
        before, found, _ = (b"/" + path).partition(b"/" + name + b"/")
        if found:
            collected = name == b"__pycache__"  # one line for all of them
            return ("**/__pycache__" if collected else os.fsdecode(before + b"/" + name)), advice
    return None
