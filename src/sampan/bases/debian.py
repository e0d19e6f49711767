"""An image from the package mirror that this machine's apt is configured for, made by mmdebstrap or debootstrap.

apt itself says which mirrors those are (apt-get indextargets), so every form of its sources and settings counts, and
what it needs to reach them (proxies, credentials) is lent to it and does not get into the image.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, NamedTuple

from sampan.bases import layer
from sampan.errors import Invalid, NotFound, Unavailable
from sampan.layers import write
from sampan.layers.write import Layer
from sampan.oci.config import ContainerConfig
from sampan.store.blobs import Blobs

if TYPE_CHECKING:
    import subprocess

VARIANTS = ("minbase", "essential", "apt", "required", "buildd", "important", "standard")
CONFIG = ContainerConfig(env=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",), cmd=("bash",))

_POCKETS = ("", "-updates", "-security", "/updates")
_WITHOUT_POCKETS = ("sid", "unstable", "experimental", "rc-buggy")
_SUITE = re.compile(r"[a-z][a-z0-9.-]*")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(?::[a-z0-9]+)?(?:[=/][A-Za-z0-9.+:~-]+)?")
_LENT = re.compile(r"Acquire::(?:https?|ftp|tor|Retries|Check-Valid-Until|Check-Date)\b.*;")
# apt's own paths are those of the image while mmdebstrap works, but the credentials are this machine's.
_NETRC = 'Dir::Etc::netrc "/etc/apt/auth.conf";\nDir::Etc::netrcparts "/etc/apt/auth.conf.d";\n'


class Repository(NamedTuple):
    """One line of sources: where it is, which release of it, and what components."""

    uri: str
    release: str
    components: tuple[str, ...]

    def line(self) -> str:
        """In apt's one-line style (sources.list(5))."""
        return f"deb {self.uri} {self.release} {' '.join(self.components)}"


def build(suite: str, include: Iterable[str], variant: str, blobs: Blobs, say: Callable[[str], None]) -> Layer:
    """Stores a layer with ``suite``, its minimal set of packages by ``variant``, and the packages of ``include``.

    ``say`` gets lines about what is being done. Raises Invalid for names that are none, NotFound when neither tool is
    installed or apt knows no mirror, and Unavailable when the tool fails.
    """
    packages = [name for text in include for name in text.replace(",", " ").split()]
    _check(suite, packages, variant)
    mirrors = for_suite(configured(), suite, _codename())
    for mirror in mirrors:
        if "@" in mirror.uri:
            raise Invalid(
                "apt's sources hold a password, which would get into the image",
                hint="move it from the address into a file in /etc/apt/auth.conf.d (apt_auth.conf(5))",
            )
        say(f"from {mirror.uri} {mirror.release} {' '.join(mirror.components)}")
    tool = _find("mmdebstrap")
    if tool:
        return _mmdebstrap(tool, suite, packages, variant, mirrors, blobs)
    tool = _find("debootstrap")
    if tool:
        return _debootstrap(tool, suite, packages, variant, mirrors[0], blobs)
    raise NotFound("neither mmdebstrap nor debootstrap is installed", hint="apt-get install mmdebstrap")


def configured() -> list[Repository]:
    """The repositories of binary packages that apt is configured for. Raises NotFound without apt or any of them."""
    apt = _find("apt-get")
    if not apt:
        raise NotFound("this machine has no apt", hint="sampan base host makes a base image of what is here")
    form = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(CREATED_BY)"
    found = parse_targets(_output([apt, "indextargets", "--format", form]))
    if not found:
        raise NotFound("apt is configured for no mirror", hint="see /etc/apt/sources.list and /etc/apt/sources.list.d")
    return found


def parse_targets(text: str) -> list[Repository]:
    """Repositories from lines of URI, release, component and kind of index; components of one are put together."""
    components: dict[tuple[str, str], list[str]] = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 4 and fields[3] == "Packages":
            known = components.setdefault((fields[0], fields[1]), [])
            if fields[2] not in known:
                known.append(fields[2])
    return [Repository(uri, release, tuple(names)) for (uri, release), names in components.items()]


def for_suite(repositories: Iterable[Repository], suite: str, own: str) -> list[Repository]:
    """Which of the repositories have ``suite``, its updates included, and with it first.

    If none has, those of this machine's ``own`` release are taken: a mirror holds all releases side by side. Raises
    NotFound when even that one is not there.
    """
    known = list(repositories)
    names = {entry.release for entry in known}
    basis = suite if suite in names else own if own in names else _plain(known)
    chosen = []
    for pocket in _POCKETS:
        if pocket and suite in _WITHOUT_POCKETS:
            break
        chosen += [entry._replace(release=suite + pocket) for entry in known if entry.release == basis + pocket]
    if not chosen:
        raise NotFound(f"apt is configured for no mirror of {suite}")
    return chosen


def _plain(repositories: list[Repository]) -> str:
    return next((entry.release for entry in repositories if not re.search("[-/]", entry.release)), "")


def _check(suite: str, packages: list[str], variant: str) -> None:
    if not _SUITE.fullmatch(suite):
        raise Invalid(f"{suite!r} is not the name of a suite", hint="for example bookworm or stable")
    for name in packages:
        if not _PACKAGE.fullmatch(name):
            raise Invalid(f"{name!r} is not the name of a package")
    if variant not in VARIANTS:
        raise Invalid(f"there is no variant {variant!r}", hint=f"choose one of {', '.join(VARIANTS)}")


def _mmdebstrap(
    tool: str, suite: str, packages: list[str], variant: str, mirrors: list[Repository], blobs: Blobs
) -> Layer:
    command = [tool, f"--variant={variant}", "--format=tar", "--skip=output/dev"]
    command += [f"--include={','.join(packages)}"] if packages else []
    # By way of the environment, since other users can read command lines.
    command.append('--setup-hook=printf %s "$SAMPAN_APT_SETTINGS" >>"$MMDEBSTRAP_APT_CONFIG"')
    command += [suite, "-", *(mirror.line() for mirror in mirrors)]
    with _running(command, {"SAMPAN_APT_SETTINGS": _lent_settings() + _NETRC}) as output:
        return layer.import_archive(output, blobs)


def _debootstrap(tool: str, suite: str, packages: list[str], variant: str, mirror: Repository, blobs: Blobs) -> Layer:
    import tempfile

    if os.geteuid() != 0:
        raise Unavailable(
            "debootstrap works only for root", hint="apt-get install mmdebstrap, which does not need root"
        )
    if variant not in ("minbase", "buildd"):
        raise Invalid(f"debootstrap knows no variant {variant!r}", hint="install mmdebstrap, or choose minbase")
    with tempfile.TemporaryDirectory(prefix="sampan-debian-") as directory:
        command = [tool, f"--variant={variant}", f"--components={','.join(mirror.components)}"]
        command += [f"--include={','.join(packages)}"] if packages else []
        with _running([*command, suite, directory, mirror.uri], {}) as output:
            output.read()
        # The runtime makes a container's devices; packages that are installed, and lists that grow old, only take room.
        for place in ("dev", "var/cache/apt/archives", "var/lib/apt/lists"):
            for name in os.listdir(f"{directory}/{place}"):
                _remove(f"{directory}/{place}/{name}")
        root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return write.pack(root, blobs, userxattr=False)
        finally:
            os.close(root)


def _remove(path: str) -> None:
    import shutil

    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


class _Output:
    """The standard output of a program. Its end is not reached before the program has succeeded: read raises else."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", errors: IO[bytes]) -> None:
        self._name = name
        self._process = process
        self._errors = errors

    def read(self, size: int = -1, /) -> bytes:
        """Raises Unavailable when the program fails."""
        assert self._process.stdout
        data = self._process.stdout.read(size)
        if (not data or size < 0) and self._process.wait():
            self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - (1 << 14)))
            raise _failure(self._name, self._errors.read().decode(errors="replace"))
        return data


@contextmanager
def _running(command: list[str], environment: dict[str, str]) -> Iterator[_Output]:
    """Runs a program, and ends it when the block is left early."""
    import subprocess
    import tempfile

    whole = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", **environment}
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=whole
        ) as process,
    ):
        try:
            yield _Output(os.path.basename(command[0]), process, errors)
        except BaseException:
            process.terminate()
            raise


def _failure(tool: str, text: str) -> Unavailable:
    """From what the tool said: its first complaint tells the cause, the later ones what came of it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    complaints = [line.removeprefix("E: ") for line in lines if line.startswith("E: ")]
    complaint = next(iter(complaints or lines[-1:]), "it does not say why")
    hint = None
    if "chroot mode" in complaint or "subuid" in text:
        hint = "an ordinary user needs an entry in /etc/subuid and /etc/subgid, or the package fakechroot"
    return Unavailable(f"{tool} failed: {complaint}", hint=hint)


def _lent_settings() -> str:
    apt_config = _find("apt-config")
    text = _output([apt_config, "dump"]) if apt_config else ""
    return "".join(f"{line}\n" for line in text.splitlines() if _LENT.fullmatch(line))


def _output(command: list[str]) -> str:
    with _running(command, {}) as output:
        return output.read().decode(errors="replace")


def own_suite() -> str:
    """The code name of this machine's release. Raises NotFound where it does not say."""
    name = _codename()
    if not name:
        raise NotFound("this machine does not say which release it is", hint="give one with --suite")
    return name


def _codename() -> str:
    import platform

    try:
        return platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    except OSError:
        return ""


def _find(program: str) -> str | None:
    import shutil

    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
