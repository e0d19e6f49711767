"""Which processors' programs this machine can execute."""

from pathlib import Path

import pytest

from sampan.build import emulation
from sampan.errors import Unsupported
from sampan.oci import platform as platforms
from sampan.oci.platform import Platform

# What the packages qemu-user-static and binfmt-support register on Debian 12.
AARCH64 = """enabled
interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
flags: POCF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
"""
S390X = """enabled
interpreter /usr/bin/qemu-s390x-static
flags: F
offset 0
magic 7f454c4602020100000000000000000000020016
mask ffffffffffffff00fffffffffffffffffffeffff
"""


@pytest.fixture
def handlers(tmp_path: Path) -> Path:
    (tmp_path / "register").touch()
    (tmp_path / "status").write_text("enabled\n")
    (tmp_path / "qemu-aarch64").write_text(AARCH64)
    (tmp_path / "s390").write_text(S390X)
    (tmp_path / "jar").write_text("enabled\ninterpreter /usr/bin/jexec\nflags: \noffset 0\nmagic 504b0304\n")
    (tmp_path / "python3.11").write_text("enabled\ninterpreter /x\nflags: \nextension .py\n")
    return tmp_path


def check(architecture: str, directory: Path) -> None:
    emulation.check(Platform("linux", architecture), str(directory))


def test_own_programs_need_nothing(tmp_path: Path) -> None:
    emulation.check(platforms.host(), str(tmp_path / "nowhere"))


def test_what_is_registered(handlers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platforms, "host", lambda: Platform("linux", "amd64"))
    check("386", handlers)
    check("arm64", handlers)
    check("s390x", handlers)
    for other in ("riscv64", "arm", "ppc64le", "nosuch"):
        with pytest.raises(Unsupported, match="no emulator registered") as caught:
            check(other, handlers)
        assert "qemu-user-static" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("old", "new"), [("enabled", "disabled"), ("POCF", "POC"), ("0200b7", "0200b8"), ("offset 0", "offset 300")]
)
def test_what_does_not_count(handlers: Path, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platforms, "host", lambda: Platform("linux", "amd64"))
    (handlers / "qemu-aarch64").write_text(AARCH64.replace(old, new, 1))
    with pytest.raises(Unsupported):
        check("arm64", handlers)


def test_windows() -> None:
    with pytest.raises(Unsupported, match="cannot be run on Linux"):
        emulation.check(Platform("windows", "amd64"))
