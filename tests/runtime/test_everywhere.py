"""What a hostile program finds wherever sampan executes one: in run, in exec, in a step of a build and in bundles of
sampan-runtime, as root and as an ordinary user. It asks for everything at once, since a container for each would be
slow; each answer has a check of its own below."""

import platform
from collections.abc import Callable
from pathlib import Path

import pytest

import hostile
import images
from bundles import OURS, Bundle
from commands import Sampan
from inside import DOCKERS_CAPABILITIES, RUN, own_bounding
from residents import await_
from sampan.runtime import defaults

pytestmark = [
    pytest.mark.system,
    pytest.mark.needs("gcc", "busybox", "setpriv"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the machine is no x86_64, whose calls these are"),
]
MASKED = (*defaults.MASKED_PATHS, "/sys/devices/system/cpu/cpu0/thermal_throttle")
READ_ONLY = (
    "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger",
    "/proc/irq/default_smp_affinity", "/sys/kernel/uevent_helper", "/sys/kernel/mm/transparent_hugepage/enabled",
)  # fmt: skip
SCRIPT = f"""
exec 2>/dev/null
echo =calls 64; /ask64
echo =calls 32; /ask32
echo =status; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status
echo =descriptors; cd /proc/self/fd; for fd in *; do [ -e $fd ] || [ -L $fd ] && echo $fd; done; cd /
echo =cgroup; find /sys/fs/cgroup | while read f; do [ -f $f ] && (: >> $f) && echo $f; mkdir $f/made && echo $f; done
echo =masked; for p in {" ".join(MASKED)}; do [ -d $p ] && ls -A $p || cat $p; done
echo =seen; for p in {" ".join(MASKED)}; do [ -e $p ] && echo $p; done
echo =writable; for p in {" ".join(READ_ONLY)}; do (: >> $p) && echo $p; done
echo =end
"""


LEAKING = ("sh", "-c", 'exec 7</ 8</dev/null 9</; exec "$@"', "sh")
INHERITING = ("setpriv", "--inh-caps", "+chown,+kill")


class Careless(Sampan):
    """The command line of someone whose programs inherit open files, and root's capabilities too."""

    def command(self, *arguments: str | Path) -> list[str]:
        return [*LEAKING, *(() if self.account else INHERITING), *super().command(*arguments)]


def by_run(sampan: Sampan) -> str:
    return sampan(*RUN, "hostile", "sh", "-c", SCRIPT).stdout


def by_run_on_the_hosts_network(sampan: Sampan) -> str:
    return sampan("run", "--rm", "--network", "host", "hostile", "sh", "-c", SCRIPT).stdout


def by_init(sampan: Sampan) -> str:
    return sampan(*RUN, "--init", "hostile", "sh", "-c", SCRIPT).stdout


def by_exec(sampan: Sampan) -> str:
    sampan("run", "-d", "--network", "none", "--name", "hull", "hostile", "sleep", "1000")
    return sampan("exec", "hull", "sh", "-c", SCRIPT).stdout


def by_a_step_of_a_build(sampan: Sampan) -> str:
    context = sampan.root / "context"
    context.mkdir(mode=0o755)
    (context / "Dockerfile").write_text(f"FROM hostile\nRUN <<'EOF'\n{SCRIPT}\nEOF\n")
    done = sampan("build", "--network", "none", "--progress", "plain", "--no-cache", context)
    lines = [line.split(" ", 2)[2] for line in done.stderr.splitlines() if line.startswith("#") and line.count(" ") > 1]
    return "\n".join(lines[lines.index("=calls 64") : lines.index("=end") + 1])


Way = Callable[[Sampan], str]


Found = dict[str, list[str]]


def read(text: str) -> Found:
    """What the program found, by the word that it put before it."""
    found: Found = {}
    for line in text.splitlines():
        if line.startswith("="):
            found[line[1:]] = []
        else:
            found[list(found)[-1]].append(line)
    assert list(found)[-1] == "end", text
    return found


@pytest.mark.parametrize("way", [by_run, by_run_on_the_hosts_network, by_init, by_exec, by_a_step_of_a_build])
def test_what_an_image_finds(anyone: Sampan, way: Way) -> None:
    """Guards: each of those that the checks name."""
    images.put(anyone, "hostile", {"ask64": hostile.asker(64), "ask32": hostile.asker(32)})
    found = read(way(Careless(anyone.root, anyone.account)))
    check(found)
    # A user without privileges has no capability that a program could gain.
    assert any(line.split() == ["NoNewPrivs:", "1"] for line in found["status"]) or not anyone.account


def careless(bundle: Bundle) -> tuple[str, ...]:
    return (*LEAKING, *(() if bundle.account else INHERITING), *OURS)


def bundle_run(bundle: Bundle) -> str:
    return bundle.run("sh", "-c", SCRIPT, program=careless(bundle)).stdout


def bundle_create(bundle: Bundle) -> str:
    out = bundle.path.parent / "out"
    bundle.write("sh", "-c", SCRIPT)
    name = bundle.name()
    with open(out, "w") as file:
        bundle("create", "-b", bundle.path, name, stdout=file, program=careless(bundle))
    bundle("start", name)
    assert await_(lambda: bundle.status(name) == "stopped")
    return out.read_text()


def bundle_exec(bundle: Bundle) -> str:
    bundle.write("sleep", "1000")
    name = bundle.name()
    bundle("run", "-d", "-b", bundle.path, name)
    return bundle("exec", name, "sh", "-c", SCRIPT, program=careless(bundle)).stdout


@pytest.mark.parametrize("own_cgroups", [True, False], ids=["cgroupns", "no-cgroupns"])
@pytest.mark.parametrize("way", [bundle_run, bundle_create, bundle_exec])
def test_what_a_bundle_finds(anyones_bundle: Bundle, way: Callable[[Bundle], str], own_cgroups: bool) -> None:
    """Guards: each of those that the checks name. Without a cgroup namespace the host's whole tree is in the way
    (CVE-2023-25809), and a spec that asks to write there gets no more than its user may."""
    bundle = anyones_bundle
    for bits in (64, 32):
        program = bundle.root / f"ask{bits}"
        program.write_bytes(hostile.asker(bits))
        program.chmod(0o755)
    for name in ("grep", "find"):
        (bundle.root / "bin" / name).symlink_to("busybox")
    if own_cgroups:
        bundle.linux["namespaces"].append({"type": "cgroup"})
    bundle.mount("/sys/fs/cgroup", "cgroup", "nosuid", "noexec", "nodev", *([] if bundle.account else ["ro"]))
    check(read(way(bundle)))


# -- the checks -----------------------------------------------------------------------------------------------------


def check(found: Found) -> None:
    for one in CHECKS:
        one(found)


def calls_are_refused(found: Found) -> None:
    """CVE-2026-31431 (AF_ALG), CVE-2022-0492 (unshare, mount) and what else is a rich source of holes: by
    ``profile.seccomp``, also in the calls of 32-bit programs."""
    for bits in ("64", "32"):
        answers = dict(line.rsplit(" ", 1) for line in found[f"calls {bits}"])
        assert answers == dict.fromkeys(hostile.REFUSED, "-1") | dict.fromkeys(hostile.ENOSYS, "-38")


def nothing_is_inheritable(found: Found) -> None:
    """CVE-2022-29162, CVE-2022-24769, CVE-2022-27650: by ``identity.take_capabilities``."""
    status = dict(line.replace("\t", " ").split(": ") for line in found["status"])
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert int(status["CapBnd"], 16) == int(status["CapEff"], 16) == DOCKERS_CAPABILITIES & own_bounding()
    assert status["Seccomp"] == "2"


def no_descriptor_is_left(found: Found) -> None:
    """CVE-2024-21626: by ``close_range`` in ``init.finish``. The shell that lists them has one more, of the list."""
    assert set(found["descriptors"]) <= {"0", "1", "2", "3"}, found["descriptors"]


def cgroups_are_read_only(found: Found) -> None:
    """CVE-2023-25809, CVE-2022-0492 (release_agent): by ``mounting._cgroups``."""
    assert found["cgroup"] == []


def masked_paths_say_nothing(found: Found) -> None:
    """GHSA-jq35-85cj-fj4p (powercap) and the like: by ``mounting._mask`` and ``defaults.MASKED_PATHS``."""
    assert found["masked"] == []
    assert found["seen"]


def kernel_settings_are_read_only(found: Found) -> None:
    """By ``mounting._read_only`` and ``defaults.READONLY_PATHS``."""
    assert found["writable"] == []


CHECKS = (
    calls_are_refused, nothing_is_inheritable, no_descriptor_is_left, cgroups_are_read_only, masked_paths_say_nothing,
    kernel_settings_are_read_only,
)  # fmt: skip
