"""A virtual machine to run tests in: Debian's cloud kernel with systemd and control groups v2 alone, under QEMU's
software emulation, from packages of the mirrors that this machine's apt is configured for.

The image is made once and kept; what a boot changes is thrown away. Tests get in as a tar archive on a second disk, and
what they report comes out by a serial port, a line of JSON for each.
"""

import compileall
import contextlib
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from sampan.bases import debian

CHECKOUT = Path(__file__).parents[1]
PROGRAMS = ("qemu-system-x86_64", "mmdebstrap", "mke2fs")
PATIENCE = 300
"""Seconds without news after which the machine is ended, whatever it does; idle, this one takes 20 to boot."""
_BOOTS = 3
"""An emulated machine can lose an interrupt, and hangs then: what it has not reported is left to a new one."""

_SEARCH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
_PACKAGES = (
    "linux-image-cloud-amd64 initramfs-tools zstd kmod udev systemd-sysv dbus dbus-user-session libpam-systemd python3 "
    "uidmap busybox-static passt slirp4netns iproute2 nftables procps podman"
).split()
_DISTRIBUTIONS = "h11 isal urllib3 zstandard pytest pluggy iniconfig packaging pygments".split()
_MEGABYTES = 1500
_UNIT = """\
[Unit]
After=dbus.service systemd-logind.service systemd-user-sessions.service
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=exec
ExecStart=/bin/sh -c 'tar -xf /dev/vdb -C / && exec sh /sampan/tests/vm/guest.sh'
StandardOutput=journal+console
StandardError=journal+console
[Install]
WantedBy=multi-user.target
"""
_FILES = {
    "etc/initramfs-tools/conf.d/sampan": "MODULES=list\n",
    "usr/share/initramfs-tools/modules.d/sampan": "virtio_pci\nvirtio_blk\next4\n",
    "etc/systemd/system/sampan-tests.service": _UNIT,
}
_SETUP = (
    "systemctl --root $1 enable sampan-tests.service",
    "useradd --root $1 --create-home many",
    "useradd --root $1 --create-home one",
    "sed -i /^one:/d $1/etc/subuid $1/etc/subgid",
)
_KERNEL_WORDS = "root=/dev/vda rw console=ttyS0 panic=-1 net.ifnames=0 systemd.show_status=0"


class Image(NamedTuple):
    """What the machine boots from; ``python`` is the version in it, such as "3.11"."""

    kernel: Path
    initrd: Path
    disk: Path
    python: str


class Outcome(NamedTuple):
    """How a test ended in the machine: "passed", "failed" or "skipped", and what is to be said of that."""

    outcome: str
    text: str


def image(cache: Path) -> Image:
    """The image, made if there is none of the same contents in ``cache`` yet. Needs root."""
    suite = debian.own_suite()
    mirrors = [mirror.line() for mirror in debian.for_suite(debian.configured(), suite, suite)]
    inputs = json.dumps([mirrors, _PACKAGES, _FILES, _SETUP, _MEGABYTES])
    place = cache / hashlib.sha256(inputs.encode()).hexdigest()[:16]
    if not place.is_dir():
        with tempfile.TemporaryDirectory(prefix="making-", dir=cache) as directory:
            _make_image(Path(directory), suite, mirrors)
            if not place.is_dir():  # another run may have made the same meanwhile
                os.rename(f"{directory}/image", place)
    return Image(place / "kernel", place / "initrd", place / "disk", (place / "python").read_text())


def _make_image(directory: Path, suite: str, mirrors: list[str]) -> None:
    root, made, files = directory / "root", directory / "image", directory / "files"
    made.mkdir()
    for name, text in _FILES.items():
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        (files / name).write_text(text)
    _run(
        "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory", "--skip=output/dev",
        f"--include={','.join(_PACKAGES)}", "--aptopt=APT::Install-Recommends false",
        f"--essential-hook=cp -r {files}/. $1", *(f"--customize-hook={command}" for command in _SETUP),
        suite, str(root), *mirrors,
    )  # fmt: skip
    for name, pattern in (("kernel", "vmlinuz-*"), ("initrd", "initrd.img-*")):
        shutil.copy(next((root / "boot").glob(pattern)), made / name)
    (made / "python").write_text((root / "usr/bin/python3").readlink().name.removeprefix("python"))
    _run("mke2fs", "-q", "-t", "ext4", "-d", str(root), str(made / "disk"), f"{_MEGABYTES}M")


def _run(program: str, *arguments: str) -> None:
    words = [shutil.which(program, path=_SEARCH) or program, *arguments]
    done = subprocess.run(words, check=False, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode:
        pytest.fail(f"{program} failed:\n{done.stderr.decode(errors='replace')[-4000:]}", pytrace=False)


def run(image: Image, tests: Sequence[str]) -> tuple[dict[str, Outcome], str]:
    """Has a machine run tests, given by their node ids. What it reported, and the console's output."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    if own != image.python:
        pytest.fail(f"the machine has Python {image.python}, and these tests run on {own}: they share libraries")
    outcomes: dict[str, Outcome] = {}
    for _ in range(_BOOTS):
        left = [test for test in tests if test not in outcomes]
        with tempfile.TemporaryDirectory(prefix="sampan-test-machine-") as name:
            more, console = _boot(image, left, Path(name))
        outcomes |= more
        if all(test in outcomes for test in tests):
            break
    return outcomes, console


def _boot(image: Image, tests: Sequence[str], directory: Path) -> tuple[dict[str, Outcome], str]:
    console, results, payload = (directory / each for each in ("console", "results", "payload"))
    _pack(payload, tests)
    with _booted(image, payload, console, results) as machine:
        size, heard = 0, time.monotonic()
        while machine.poll() is None and time.monotonic() < heard + PATIENCE:
            with contextlib.suppress(subprocess.TimeoutExpired):
                machine.wait(1)
            if results.exists() and results.stat().st_size != size:
                size, heard = results.stat().st_size, time.monotonic()
    return _outcomes(results.read_text(errors="replace").splitlines()), console.read_text(errors="replace")


def _outcomes(lines: list[str]) -> dict[str, Outcome]:
    found = {}
    for line in lines:
        if line.startswith("{") and line.endswith("}"):  # the last one may have been cut off
            report = json.loads(line)
            found[report["test"]] = Outcome(report["outcome"], report["text"])
    return found


@contextlib.contextmanager
def _booted(image: Image, payload: Path, console: Path, results: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The machine's process, ended with the block."""
    command = [
        "qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot", "-m", "2048", "-smp", "2",
        "-accel", "tcg,thread=multi", "-cpu", "max",
        "-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", _KERNEL_WORDS,
        "-drive", f"file={image.disk},format=raw,if=virtio,snapshot=on",
        "-drive", f"file={payload},format=raw,if=virtio,readonly=on",
        "-serial", f"file:{console}", "-serial", f"file:{results}",
        "-nic", "user,model=virtio,restrict=on",
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def _pack(payload: Path, tests: Sequence[str]) -> None:
    """Writes the archive of the second disk: sampan, its tests, and what both import."""
    with tarfile.open(payload, "w") as archive, tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for part in ("src", "tests"):
            shutil.copytree(CHECKOUT / part, directory / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(CHECKOUT / "pyproject.toml", directory)
        for distribution in _DISTRIBUTIONS:
            _copy_distribution(distribution, directory / "site")
        (directory / "selected").write_text("".join(f"{test}\n" for test in tests))
        compileall.compile_dir(directory, quiet=2, workers=1, stripdir=name, prependdir="/sampan")
        archive.add(directory, "sampan", filter=_as_roots)


def _copy_distribution(name: str, target: Path) -> None:
    for file in importlib.metadata.files(name) or ():
        source = Path(str(file.locate()))
        if source.is_file() and ".." not in file.parts and "__pycache__" not in file.parts:
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target / file)


def _as_roots(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.mode |= 0o755 if member.isdir() else 0o644
    return member
