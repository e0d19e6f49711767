"""The engines, as values: how each is called, and what differs in their command lines."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

DOCKER_LIKE = frozenset({"version", "run", "exec", "ps", "build", "push", "pull", "images", "save", "load"})
_CAP_SYS_RESOURCE = 24
PEERS = ("docker", "podman", "buildah", "skopeo", "crun")
_PROGRAMS = {
    "docker": ("docker", "dockerd"),
    "podman": ("podman",),
    "buildah": ("buildah",),
    "skopeo": ("skopeo",),
    "crun": ("crun",),
}


class Engine(NamedTuple):
    """``command`` comes before every verb, the flags after theirs. ``offers`` says what it can do at all."""

    name: str
    command: tuple[str, ...]
    offers: frozenset[str]
    environment: Mapping[str, str] = {}
    run_flags: tuple[str, ...] = ()
    build_verb: tuple[str, ...] = ("build", "-q")
    version: tuple[str, ...] = ("--version",)

    def words(self, *arguments: str) -> tuple[str, ...]:
        """A whole command line."""
        return (*self.command, *arguments)


def program(name: str) -> str | None:
    """Where a program is. Debian's docker first: a newer client may hide it, without BuildKit's plugin."""
    usual = f"/usr/bin/{name}"
    if name == "docker" and os.access(usual, os.X_OK):
        return usual
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def missing(peer: str) -> list[str]:
    """The programs of a peer that are not installed."""
    return [name for name in _PROGRAMS[peer] if program(name) is None]


def sampan(path: str, root: Path) -> Engine:
    """``path`` is the console script, ``root`` the store."""
    return Engine("sampan", (path, "--root", str(root)), DOCKER_LIKE)


def docker(address: str) -> Engine:
    """Docker's client, which talks to the daemon at ``address``; builds with BuildKit."""
    environment = {"DOCKER_HOST": address, "DOCKER_BUILDKIT": "1"}
    return Engine("docker", (program("docker") or "docker",), DOCKER_LIKE, environment)


def containers_tools(memory: Path, registries: Sequence[str], names: Sequence[str]) -> list[Engine]:
    """podman, buildah and skopeo: one store, one configuration."""
    environment = _containers_configuration(memory, registries)
    # podman raises limits as far as root may, and fails where root may not.
    limits = () if _may_raise_limits() else ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
    found = {
        "podman": Engine(
            "podman",
            (program("podman") or "", "--cgroup-manager=cgroupfs"),
            DOCKER_LIKE - {"images"},  # an archive of a thousand takes it longer than all other cases together
            environment,
            run_flags=limits,
            build_verb=("build", "-q", "--pull=false", *limits),
        ),
        "buildah": Engine(
            "buildah",
            (program("buildah") or "",),
            frozenset({"version", "build", "push", "pull"}),
            environment,
            build_verb=("bud", "-q", "--layers", "--pull=false", *limits),
        ),
        "skopeo": Engine("skopeo", (program("skopeo") or "",), frozenset({"version", "copy"}), environment),
    }
    return [engine for name, engine in found.items() if name in names]


def _containers_configuration(memory: Path, addresses: Sequence[str]) -> dict[str, str]:
    storage, settings = memory / "storage.conf", memory / "home/.config/containers"
    settings.mkdir(parents=True)
    registries = "".join(f'[[registry]]\nlocation = "{each}"\ninsecure = true\n' for each in addresses)
    (settings / "registries.conf").write_text(registries)
    (settings / "policy.json").write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    store = f'graphroot = "{memory}/containers"\nrunroot = "{memory}/containers-run"\n'
    storage.write_text(f'[storage]\ndriver = "overlay"\n{store}')
    return {"CONTAINERS_STORAGE_CONF": str(storage)}


def _may_raise_limits() -> bool:
    """Whether CAP_SYS_RESOURCE is in the bounding set (proc(5), status)."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return bool(int(status["CapBnd"], 16) >> _CAP_SYS_RESOURCE & 1)


def crun() -> Engine:
    """The runtime alone: the floor of what the kernel's part of a container costs."""
    return Engine("crun", (program("crun") or "",), frozenset({"version", "bundle"}))


def python(path: str) -> Engine:
    """No engine: the start of a bare interpreter, below which nothing in Python can get."""
    return Engine("python", (path,), frozenset({"version"}), version=("-I", "-S", "-c", "pass"))
