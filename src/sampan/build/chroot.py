"""RUN with less isolation than namespaces give (``--isolation=chroot``, as buildah has it): for builds in containers
that forbid these. What a step executes can reach whatever its builder can.

Who may make namespaces, but is not let mount a new /proc, shares his processes, network and /proc with the step. A root
who may make none has the step in a copy of its file system, by chroot(2): there is no /proc, nothing is mounted, and
what the step needs of the machine lies in the copy, from where it gets into no layer.
"""

from __future__ import annotations

import os
import stat

from sampan.build.destination import Destination
from sampan.errors import Unavailable, Unsupported
from sampan.linux import capabilities, ids, namespaces
from sampan.runtime import defaults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from sampan.build.graph import Run
    from sampan.build.host import Host
    from sampan.snapshots.overlay import Rootfs

_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}


def is_all(step: Run, host: Host, warn: Callable[[str], None]) -> bool:
    """Whether there is nothing but chroot(2). Raises Unavailable if not even that, and Unsupported for what a step
    cannot have then."""
    if ids.is_root() and namespaces.may_pivot():
        warn("RUN is not isolated: it shares the builder's processes and network (--isolation=chroot)")
        return False
    if os.geteuid() or not ids.may(ids.CAP_SYS_CHROOT):
        message = "RUN can be performed neither in namespaces nor by chroot, which only root may use"
        raise Unavailable(message, hint=namespaces.why_refused())
    lacking = [f"--mount=type={mount.kind}" for mount in step.mounts if mount.kind != "script"]
    if (host.network if step.network == "default" else step.network) == "none":
        lacking.append("--network=none")
    if host.pip:
        lacking.append("--host-pip")
    if lacking:
        raise Unsupported(f"RUN cannot have {lacking[0]} where there are no namespaces")
    warn("RUN is not isolated: it is performed as the builder itself, by chroot (--isolation=chroot)")
    return True


def share(spec: dict[str, Any]) -> None:
    """Has a step use the processes and the /proc and /sys that there are."""
    linux = spec["linux"]
    linux["namespaces"] = [each for each in linux["namespaces"] if each["type"] != "pid"]
    linux["sysctl"] = {}
    shown = {path: defaults.bind(path, path, "rbind", "nosuid", "noexec", "nodev") for path in ("/proc", "/sys")}
    spec["mounts"] = [shown.get(mount["destination"], mount) for mount in spec["mounts"]]


def furnish(
    spec: dict[str, Any], bundle: str, stack: Sequence[str], rootfs: Rootfs, *, rootless: bool
) -> tuple[Rootfs, set[bytes]]:
    """``rootfs`` with a directory above the parent's that has the files which would be mounted, and devices; and their
    paths, since whatever becomes of them is no part of the layer. The spec keeps nothing that takes namespaces."""
    stubs = f"{bundle}/stubs"
    os.mkdir(stubs, 0o755)
    mounted = [mount for mount in spec["mounts"] if mount["type"] == "bind" and os.path.isfile(mount["source"])]
    placed = set()
    with Destination(stubs, tuple(stack), rootless=rootless, now=0) as to:
        for mount in mounted:
            path = to.tree.resolve(os.fsencode(mount["destination"])).path
            with open(mount["source"], "rb") as source:
                _place(to, stubs, path, source.read(), os.fstat(source.fileno()).st_mode)
            placed.add(path)
        os.close(to.directory(b"proc", (0, 0), 0o555))
        placed |= _place_devices(to, stubs)
    _strip(spec)
    return rootfs._replace(lower=(stubs, *rootfs.lower)), placed


def _place(to: Destination, stubs: str, path: bytes, content: bytes, mode: int) -> None:
    to.make_stub(path, is_file=True)
    with open(os.path.join(os.fsencode(stubs), path), "wb") as file:  # made by us, and free of links
        file.write(content)
        os.fchmod(file.fileno(), stat.S_IMODE(mode))


def _place_devices(to: Destination, stubs: str) -> set[bytes]:
    directory = to.tree.resolve(b"dev").path
    above = to.directory(directory, (0, 0), 0o755)
    try:
        for name, number in _DEVICES.items():
            to.make_node(name.encode(), above, stat.S_IFCHR, os.makedev(*number), 0o666)
        os.close(os.open("null", os.O_RDWR, dir_fd=above))
    except OSError:
        # There may be none, or not on this file system. Programs cannot do without this one: a file is better.
        for name in set(os.listdir(above)) & _DEVICES.keys():
            os.unlink(name, dir_fd=above)
        _place(to, stubs, directory + b"/null", b"", 0o666)
    finally:
        os.close(above)
    return {directory + b"/" + name.encode() for name in _DEVICES}


def _strip(spec: dict[str, Any]) -> None:
    spec["mounts"] = []
    spec["hostname"] = ""
    spec["linux"] |= {"namespaces": [], "sysctl": {}, "maskedPaths": [], "readonlyPaths": []}
    # Without the right to chroot a step has less than its builder: it neither leaves its root by the oldest of tricks
    # nor traces the builder (ptrace(2) wants all rights that the other one has).
    own = capabilities.effective() & ~capabilities.mask(["CAP_SYS_CHROOT"])
    sets = spec["process"]["capabilities"]
    for kind, names in sets.items():
        sets[kind] = [name for name in names if own >> capabilities.NUMBERS[name] & 1]
