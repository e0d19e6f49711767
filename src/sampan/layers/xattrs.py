"""Which extended attributes travel between a disk and a layer.

Laws, for every name ``x`` and either value of ``userxattr``:

- ours (``user.sampan.*``, see linux.ownership) never travel either: a layer says owners and devices itself;
- overlay's own names (``trusted.overlay.*``, ``user.overlay.*``) never travel, in neither direction: what they mean is
  said by whiteouts, and one that came with a layer would let it speak to the kernel in overlay's name;
- ``to_tar(x)`` implies ``to_disk(x)``: what is written can be read back unchanged;
- ``to_disk(x)`` without ``to_tar(x)`` holds for POSIX ACLs alone: as in Docker they are applied where a layer brings
  them and not written, since their ids are those of one machine;
- ``security.selinux`` and all other names belong to the host, not to the image.
"""

import errno
import os
from collections.abc import Mapping

from sampan.linux import ownership

OVERLAY = (b"trusted.overlay.", b"user.overlay.")
_PRIVATE = (*OVERLAY, ownership.PREFIX)
_CAPABILITY = b"security.capability"
_ACLS = (b"system.posix_acl_access", b"system.posix_acl_default")
_REFUSALS = (errno.EPERM, errno.EINVAL)
_UNSUPPORTED = (errno.ENOTSUP, errno.EOPNOTSUPP)


def to_tar(name: bytes) -> bool:
    """Whether an attribute found on disk is written to a layer."""
    return name == _CAPABILITY or (name.startswith(b"user.") and not name.startswith(_PRIVATE))


def to_disk(name: bytes) -> bool:
    """Whether an attribute found in a layer is set on disk."""
    return to_tar(name) or name in _ACLS


def load(fd: int, names: list[bytes]) -> dict[bytes, bytes]:
    """The values of those ``names`` on ``fd`` that go into a layer. Raises OSError."""
    return {name: os.getxattr(fd, name) for name in names if to_tar(name)}


def store(fd: int, values: Mapping[bytes, bytes], *, rootless: bool) -> None:
    """Sets those ``values`` that go to disk on ``fd``. Raises OSError.

    Left out, as in Docker, is what the file system has no room for in kind (ENOTSUP), and, ``rootless``, what the
    kernel keeps for real root or what names ids that are not mapped (EPERM, EINVAL).
    """
    for name, value in values.items():
        if not to_disk(name):
            continue
        try:
            os.setxattr(fd, name, value)
        except OSError as error:
            if error.errno not in _UNSUPPORTED and not (rootless and error.errno in _REFUSALS):
                raise


def names(fd: int) -> list[bytes]:
    """The names of the attributes on ``fd``; none where the file system has none. Raises OSError."""
    try:
        return [os.fsencode(name) for name in os.listxattr(fd)]
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return []
        raise
