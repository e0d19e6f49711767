"""The package cache (``--package-cache``): what pip and uv keep of what they fetched, shown to every RUN of all builds.

It is a cache mount beside those that the Dockerfile asks for, in a place that no image has and no ``rm -rf`` of a
Dockerfile reaches: nothing of it is in a layer, the image's environment or a cache key. There is one for each user, for
pip leaves alone what belongs to another, and one for each distribution: a wheel that was compiled here carries the
tags of the interpreter, and not of the C library (musl or glibc, old or new) that it was linked to.
"""

from __future__ import annotations

from sampan.build.graph import Mount, Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NamedTuple

    from sampan.snapshots.users import ReadFile, User
else:
    from sampan.values import NamedTuple

PLACE = "/dev/sampan/packages"
"""Where a step sees it. /dev is in memory and the step's own, so no mount point is left behind."""
_IDENTITY = (b"ID=", b"VERSION_ID=")
_MAX_BYTES = 1 << 16


class Packages(NamedTuple):
    """A cache mount, and the variables that lead there; an ENV or ARG of the same name comes before them."""

    mount: Mount
    environment: Mapping[str, str]


def offered(step: Run, user: User, read: ReadFile) -> Packages:
    """What ``step`` is shown. ``read`` reads files of its image."""
    environment = {
        name: f"{PLACE}/{tool}"
        for name, tool in (("PIP_CACHE_DIR", "pip"), ("UV_CACHE_DIR", "uv"))
        if not _has_own(step, f"{user.home}/.cache/{tool}")
    }
    if "UV_CACHE_DIR" in environment:
        environment["UV_LINK_MODE"] = "copy"  # no link leads from one mount to another: uv would warn, and then copy
    identity = f"sampan packages {user.uid} {_distribution(read)}"
    mount = Mount(
        "cache", PLACE, id=identity, sharing="shared", mode=0o700, uid=user.uid, gid=user.gid
    )  # both tools lock what they write
    return Packages(mount, environment)


def _has_own(step: Run, directory: str) -> bool:
    """Whether the Dockerfile itself mounts something where the tool would look without being told."""
    return any(f"{directory}/".startswith(f"{mount.target.rstrip('/')}/") for mount in step.mounts if mount.target)


def _distribution(read: ReadFile) -> str:
    """Name and version by os-release(5); empty for an image that does not say."""
    for path in (b"/etc/os-release", b"/usr/lib/os-release"):
        text = read(path, _MAX_BYTES)
        if text is not None:
            return b" ".join(line.strip() for line in text.splitlines() if line.startswith(_IDENTITY)).decode("latin-1")
    return ""
