"""Deletions: in a layer they are names, in an overlay's upper directory devices and attributes.

    layer (OCI image-spec, layer.md, "Whiteouts")    overlay (kernel, filesystems/overlayfs.rst)
    an empty file ``DIR/.wh.NAME``                   ``DIR/NAME``, a character device 0:0
    an empty file ``DIR/.wh..wh..opq``               ``DIR`` with ``trusted.overlay.opaque`` (or ``user.…``) = "y"

All other names that begin with ``.wh..wh.`` are AUFS's own bookkeeping and mean nothing.

On an overlay, as in a container, the kernel lets nobody make such a device (fs/overlayfs/dir.c, ovl_mknod), nor does it
let users before Linux 5.8. What is copied there anyway (``snapshots.copies``), and read by nobody but sampan, has a
socket without any permission in its place: one of a container's own has no meaning once its process is gone.
"""

import errno
import os
import stat

from sampan.errors import Invalid

PREFIX = b".wh."
META = b".wh..wh."
OPAQUE = b".wh..wh..opq"


def opaque_xattr(userxattr: bool) -> bytes:
    """The attribute that makes a directory hide what lies below it."""
    return b"user.overlay.opaque" if userxattr else b"trusted.overlay.opaque"


def target(base: bytes) -> bytes:
    """The name that the whiteout ``base`` (".wh.NAME") deletes. Raises Invalid for one that could reach further."""
    name = base[len(PREFIX) :]
    if name in (b"", b".", b".."):
        raise Invalid(f"the layer has a whiteout of an impossible name: {base!r}")
    return name


def is_reserved(name: bytes) -> bool:
    """Whether any component of ``name`` begins as whiteouts do; no file of an image may be called so."""
    return name.startswith(PREFIX) or b"/" + PREFIX in name


def is_meta(name: bytes) -> bool:
    """Whether a cleaned entry name is, or lies below, AUFS's bookkeeping. The opaque marker is not."""
    return any(part.startswith(META) and part != OPAQUE for part in name.split(b"/"))


def is_whiteout(info: os.stat_result) -> bool:
    """Whether ``info`` is that of a whiteout in overlay's form, or of what takes its place."""
    return (stat.S_ISCHR(info.st_mode) and info.st_rdev == 0) or info.st_mode == stat.S_IFSOCK


def delete(name: bytes, dir_fd: int) -> None:
    """Makes a whiteout in overlay's form, or what takes its place. Raises OSError."""
    try:
        os.mknod(name, stat.S_IFCHR, 0, dir_fd=dir_fd)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
        os.mknod(name, stat.S_IFSOCK, 0, dir_fd=dir_fd)


def make_opaque(dir_fd: int, userxattr: bool) -> None:
    """Makes the directory behind ``dir_fd`` (opened for reading) hide what lies below it. Raises OSError."""
    os.setxattr(dir_fd, opaque_xattr(userxattr), b"y")
