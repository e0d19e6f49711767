"""What this runtime can do (runtime-spec 1.2, features.md and features-linux.md)."""

from __future__ import annotations

import os

from sampan import __version__
from sampan.linux import capabilities, mounts, namespaces
from sampan.runtime import hooks, rootfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def features() -> dict[str, Any]:
    """The document that ``features`` prints."""
    recursive = [f"r{word}" for word in mounts.ATTRIBUTES]
    words = ["tmpcopyup", *rootfs.BIND_WORDS, *rootfs.SILENT, *mounts.PROPAGATION]
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.2.0",
        "hooks": list(hooks.KINDS),
        "mountOptions": sorted([*words, *mounts.ATTRIBUTES, *recursive]),
        "linux": {
            "namespaces": sorted(namespaces.FLAGS),
            "capabilities": list(capabilities.NAMES),
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
            "seccomp": _seccomp(),
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
        },
        "annotations": {"io.sampan.version": __version__},
    }


def _seccomp() -> dict[str, Any]:
    from sampan.linux import seccomp

    return {"enabled": os.uname().machine in seccomp.MACHINES, **seccomp.known()}
