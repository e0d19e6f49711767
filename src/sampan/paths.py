"""Where things live, as root and rootless.

Everything lasting lies under one root (``--root DIR``, ``SAMPAN_ROOT``, else ``/var/lib/sampan`` or
``$XDG_DATA_HOME/sampan``), so that removing one directory removes sampan's whole state.
"""

from __future__ import annotations

import errno
import os

from sampan.errors import Denied, Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

_ELSEWHERE = "choose another place with --root DIR or the variable SAMPAN_ROOT"


class Paths(NamedTuple):
    """Absolute paths of one store. None of them need exist."""

    root: str

    @property
    def database(self) -> str:
        return f"{self.root}/sampan.db"

    @property
    def blobs(self) -> str:
        return f"{self.root}/blobs"

    @property
    def snapshots(self) -> str:
        return f"{self.root}/snapshots"

    @property
    def containers(self) -> str:
        return f"{self.root}/containers"

    @property
    def volumes(self) -> str:
        return f"{self.root}/volumes"

    @property
    def networks(self) -> str:
        return f"{self.root}/networks"

    @property
    def caches(self) -> str:
        """What ``RUN --mount=type=cache`` keeps."""
        return f"{self.root}/caches"

    @property
    def locks(self) -> str:
        return f"{self.root}/locks"

    @property
    def storage(self) -> str:
        """Says whether overlayfs works here (``Engine.snapshots``)."""
        return f"{self.root}/storage"

    @property
    def temporary(self) -> str:
        return f"{self.root}/tmp"


def default_root(uid: int | None = None) -> str:
    """The root directory when nothing else was asked for (XDG Base Directory Specification for ordinary users, where
    a relative path is none at all). Raises Invalid for a user without a home."""
    chosen = os.environ.get("SAMPAN_ROOT")
    if chosen:
        return os.path.abspath(chosen)
    if (os.geteuid() if uid is None else uid) == 0:
        return "/var/lib/sampan"
    data = os.environ.get("XDG_DATA_HOME", "")
    if data.startswith("/"):
        return f"{data}/sampan"
    directory = home()
    if not directory:
        raise Invalid(f"user {os.getuid()} has no home directory to keep things in", hint=f"set HOME, or {_ELSEWHERE}")
    return f"{directory}/.local/share/sampan"


def home() -> str:
    """The user's home directory: what HOME says, else the list of users (passwd(5)); empty if neither does."""
    given = os.environ.get("HOME", "")
    if given.startswith("/"):
        return given
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""


def check_owner(root: str) -> None:
    """Raises Denied for a store of somebody else, who could have anything executed here: in /tmp everybody can make a
    directory of a name that another one is going to use. To be called while ids are the machine's."""
    try:
        owner = os.stat(root).st_uid
    except OSError:
        return  # there is none, or nothing of it can be used
    if owner not in (os.geteuid(), 0):
        raise Denied(f"the store {root} belongs to another user", hint=_ELSEWHERE)


def make(directory: str) -> None:
    """Makes a directory of the store, and those above it that are missing: nobody else may look into any of them.
    Raises Denied."""
    above = os.path.dirname(directory)
    if not os.path.isdir(above):
        make(above)
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT):
            raise
        reason = os.strerror(error.errno).lower()
        raise Denied(f"the store's directory {directory} cannot be made: {reason}", hint=_ELSEWHERE) from None
