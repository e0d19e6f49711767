"""The laws in the module's description, and ownership."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.errors import Invalid
from sampan.layers import owners, whiteouts, xattrs

NAMES = st.sampled_from(
    [
        b"user.a", b"user.overlay.opaque", b"user.overlay.", b"user.overlay", b"user.overlayed", b"trusted.a",
        b"trusted.overlay.opaque", b"trusted.overlay.origin", b"security.capability", b"security.selinux",
        b"security.ima", b"system.posix_acl_access", b"system.posix_acl_default", b"system.nfs4_acl", b"user.",
    ]
) | st.binary(min_size=1, max_size=30)  # fmt: skip


@given(NAMES)
def test_laws(name):
    acl = name in (b"system.posix_acl_access", b"system.posix_acl_default")
    if name.startswith((b"user.overlay.", b"trusted.overlay.")):
        assert not xattrs.to_tar(name)
        assert not xattrs.to_disk(name)
    assert xattrs.to_disk(name) == (xattrs.to_tar(name) or acl)
    if name.startswith((b"security.", b"trusted.", b"system.")):
        assert xattrs.to_tar(name) == (name == b"security.capability")


def test_values_go_to_disk_and_back(tmp_path):
    (tmp_path / "f").touch()
    values = {b"user.a": b"1", b"user.b": b"\0\xff", b"user.overlay.x": b"no", b"security.selinux": b"no"}
    with open(tmp_path / "f") as file:
        xattrs.store(file.fileno(), values, rootless=True)
        assert xattrs.load(file.fileno(), xattrs.names(file.fileno())) == {b"user.a": b"1", b"user.b": b"\0\xff"}


@pytest.mark.root
def test_what_the_file_system_has_no_room_for_is_left_out():
    with open("/proc/self/status") as file:
        xattrs.store(file.fileno(), {b"user.a": b"1"}, rootless=False)
        assert xattrs.names(file.fileno()) == []


def test_owners(tmp_path):
    (tmp_path / "f").touch()
    (tmp_path / "l").symlink_to("f")
    fd = os.open(tmp_path, os.O_PATH)
    mine = os.geteuid(), os.getegid()
    try:
        for own in (owners.as_stored, owners.where_allowed):
            assert own(b"l", *mine, fd) is True
        assert owners.choose(True)(b"l", 4_294_967_294, 5, fd) == (os.geteuid() == 0)
        with pytest.raises(FileNotFoundError):
            owners.where_allowed(b"missing", *mine, fd)
    finally:
        os.close(fd)


@pytest.mark.parametrize("code", [errno.EPERM, errno.EINVAL])
def test_refused_owners(monkeypatch, code):
    """The kernel's refusals inside a user namespace: not permitted, and no such id there."""

    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "chown", refuse)
    assert owners.choose(True)(3, 1, 1, None) is False
    with pytest.raises(OSError):
        owners.choose(False)(3, 1, 1, None)


def test_names_of_whiteouts():
    assert whiteouts.target(b".wh.x") == b"x"
    assert whiteouts.target(b".wh..hidden") == b".hidden"
    for base in (b".wh.", b".wh..", b".wh..."):
        with pytest.raises(Invalid):
            whiteouts.target(base)
    assert whiteouts.is_reserved(b"a/.wh.b/c")
    assert not whiteouts.is_reserved(b"a.wh.b/c.wh.")
    assert whiteouts.is_meta(b".wh..wh.plnk/1")
    assert whiteouts.is_meta(b"a/.wh..wh.aufs")
    assert not whiteouts.is_meta(b"a/.wh..wh..opq")
    assert not whiteouts.is_meta(b"a/.wh.b")
