"""Crafted layers (made by the standard library's tarfile: not by the code under test) and a place to unpack them."""

import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sampan.layers.apply import Applied, apply

USERXATTR = os.geteuid() != 0
OPAQUE = "user.overlay.opaque" if USERXATTR else "trusted.overlay.opaque"


class Member(NamedTuple):
    info: tarfile.TarInfo
    data: bytes = b""


def member(name: str, data: bytes = b"", kind: bytes | None = None, **fields: Any) -> Member:
    """One member; a name that ends with a slash is a directory, one with ``linkname`` a symbolic link."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.uid, info.gid = os.geteuid(), os.getegid()
    default = tarfile.DIRTYPE if name.endswith("/") else tarfile.SYMTYPE if "linkname" in fields else tarfile.REGTYPE
    info.type = kind or default
    info.mode = 0o755 if info.isdir() else 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return Member(info, data)


def archive(*members: Member, format: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Place:
    """A root directory to unpack layers into, with a canary beside it."""

    def __init__(self, above: Path) -> None:
        self.above = above
        self.path = above / "root"
        self.path.mkdir()
        self.fd = os.open(self.path, os.O_PATH | os.O_DIRECTORY)
        self.canary = above / "canary"
        self.canary.write_bytes(b"untouched")
        self.canary.chmod(0o640)
        self._before = self._look()

    def _look(self) -> tuple[Any, ...]:
        info = self.canary.lstat()
        return (
            self.canary.read_bytes(), info.st_mode, info.st_nlink, info.st_uid, info.st_gid, info.st_mtime_ns,
            info.st_ino, sorted(os.listdir(self.above)), os.listxattr(self.canary), os.lstat(self.above).st_mode,
        )  # fmt: skip

    def apply(self, *members: Member, **options: Any) -> Applied:
        return self.apply_bytes(archive(*members), **options)

    def apply_bytes(self, data: bytes, **options: Any) -> Applied:
        options = {"userxattr": USERXATTR, "rootless": USERXATTR} | options
        return apply(io.BytesIO(data), self.fd, **options)

    def tree(self) -> dict[str, str]:
        """Path → what is there, in a few letters: "-CONTENT", "dMODE", "d!MODE" (opaque), "lTARGET", "whiteout"."""
        found = {}
        for directory, names, files in os.walk(self.path):
            for name in names + files:
                path = Path(directory, name)
                found[str(path.relative_to(self.path))] = _shown(path)
        return found

    def close(self) -> None:
        os.close(self.fd)
        assert self._look() == self._before, "something outside the root was changed"


def _shown(path: Path) -> str:
    info = path.lstat()
    if stat.S_ISLNK(info.st_mode):
        return "l" + os.readlink(path)
    if stat.S_ISDIR(info.st_mode):
        return ("d!" if OPAQUE in os.listxattr(path) else "d") + f"{stat.S_IMODE(info.st_mode):o}"
    if stat.S_ISREG(info.st_mode):
        return "-" + path.read_bytes().decode()
    if stat.S_ISCHR(info.st_mode) and info.st_rdev == 0:
        return "whiteout"
    return stat.filemode(info.st_mode)[0]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


@pytest.fixture(name="member")
def _member() -> Callable[..., Member]:
    return member


@pytest.fixture(name="archive")
def _archive() -> Callable[..., bytes]:
    return archive
