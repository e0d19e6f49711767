"""What a build gets of the machine that it takes place on."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sampan.runtime.defaults import SHM_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    from sampan.build.hostpip import HostPip
    from sampan.build.mounts import Secret
else:
    from sampan.values import NamedTuple


class Limit(NamedTuple):
    """A resource limit; ``name`` is the kernel's (RLIMIT_NOFILE), -1 stands for no limit."""

    name: str
    soft: int
    hard: int


class Host(NamedTuple):
    """What commands get of the machine. ``temporary`` and ``networks`` are directories of the store."""

    temporary: str
    networks: str
    rootless: bool
    network: str = "default"
    """For steps that do not say: one of default, none, host."""
    pip: HostPip | None = None
    caches: str = ""
    """The directory of the store that cache mounts lie in."""
    secrets: Mapping[str, Secret] = MappingProxyType({})
    agents: Mapping[str, str] = MappingProxyType({})
    """Sockets of ssh agents by id."""
    hosts: tuple[tuple[str, str], ...] = ()
    """What a step's hosts file has besides: names and addresses."""
    package_cache: bool = False
    """Whether steps see the cache of pip and uv (``packages``)."""
    shm_bytes: int = SHM_BYTES
    """The size of /dev/shm."""
    limits: tuple[Limit, ...] = ()
    """setrlimit(2): what is not among them is as the builder has it."""
    hostname: str = ""
    """Empty for the usual one."""
    isolation: str = "default"
    """Or "chroot": see there."""
