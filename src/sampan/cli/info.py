"""``sampan info``: what is stored where, and what the machine lets sampan do."""

import os
from typing import NamedTuple

from sampan import __version__
from sampan.cli import listing, output
from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.linux import ladder

COMMAND = Command("[OPTIONS]", (Flag("-f, --format string", listing.TEMPLATE),))


_RUNGS = {
    "root": "root: all of the machine's ids",
    "many ids": "many ids: a user namespace with subordinate ids",
    "one id": "one id: a user namespace with a single id, in which chown and the like are noted for the layer",
    "no namespaces": "no namespaces: for builds only, and nothing is isolated (RUN: by root, with --isolation=chroot)",
}


class Fact(NamedTuple):
    """``title`` is for people, ``name`` is that of the Docker Engine API (SystemInfo) where it has one."""

    title: str
    name: str
    value: str | int | bool
    shown: str = ""


def main(arguments: Parsed, context: Context) -> int:
    facts = [*_contents(context), *_machine(), *_abilities(context)]
    template = arguments.text("format")
    if template is not None:
        context.print(listing.one({fact.name: fact.value for fact in facts}, template))
    else:
        for fact in facts:
            context.print(output.printable(f"{fact.title}: {fact.shown or fact.value}"))
    return 0


def _contents(context: Context) -> list[Fact]:
    from sampan.containers.record import Containers

    engine = context.engine
    states = [each.state().status for each in Containers(engine.database, engine.paths.containers).all()]
    running = states.count("running")
    return [
        Fact("Containers", "Containers", len(states)),
        Fact(" Running", "ContainersRunning", running),
        Fact(" Stopped", "ContainersStopped", len(states) - running),
        Fact("Images", "Images", len(engine.images.all())),
        Fact("Version", "ServerVersion", __version__),
        Fact("Root Dir", "DockerRootDir", engine.paths.root),
        Fact("Storage Driver", "Driver", engine.snapshots.driver),
    ]


def _machine() -> list[Fact]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return [
        Fact("Kernel Version", "KernelVersion", os.uname().release),
        Fact("Operating System", "OperatingSystem", _operating_system()),
        Fact("Architecture", "Architecture", os.uname().machine),
        Fact("CPUs", "NCPU", os.cpu_count() or 1),
        Fact("Total Memory", "MemTotal", memory, output.binary_size(memory)),
    ]


def _abilities(context: Context) -> list[Fact]:
    rootless, rung = context.engine.rootless, ladder.rung()
    unified = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    filtered = os.path.exists("/proc/sys/kernel/seccomp/actions_avail")
    return [
        Fact("Cgroup Version", "CgroupVersion", "2" if unified else "1"),
        Fact("Seccomp", "Seccomp", "builtin" if filtered else "the kernel has none"),
        Fact("Rootless", "Rootless", rootless, f"{'yes' if rootless else 'no'}: {rung.reason}"),
        Fact(" Rung", "Rung", rung.name, _RUNGS[rung.name]),
        *([Fact(" For more", "RungLift", rung.lift)] if rung.lift else ()),
    ]


def _operating_system() -> str:
    """The distribution's name for itself (os-release(5))."""
    try:
        with open("/etc/os-release", encoding="utf-8", errors="replace") as file:
            values = dict(line.rstrip("\n").partition("=")[::2] for line in file)
    except OSError:
        return "unknown"
    return values.get("PRETTY_NAME", "unknown").strip("\"'")
