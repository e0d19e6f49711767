"""COPY and ADD: files placed into a destination by BuildKit's rules."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from sampan.build import modes
from sampan.build.destination import NEW_FILE, Destination, resolve_destination, shown
from sampan.build.modes import Mode
from sampan.build.source import Selected, join, same_file, unchanged
from sampan.errors import Denied, Invalid, Unsupported
from sampan.linux import ownership
from sampan.linux.copying import copy_data
from sampan.snapshots.lookup import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

_SMALL = 1 << 16


class Attributes(NamedTuple):
    """What a copy changes on what it copies: ``owner`` (user and group id) and ``mode`` (permission bits) unless None.

    ``original`` says whether owners and extended attributes come along; those of a context mean nothing in an image.
    """

    owner: tuple[int, int] | None
    mode: Mode | None
    original: bool

    @property
    def for_parents(self) -> tuple[tuple[int, int] | None, int]:
        """Owner and mode of directories that are made on the way (since 2025 BuildKit's follow --chmod, too)."""
        return self.owner, 0o755 if self.mode is None else modes.apply(self.mode, 0o755, True)


def copy(view: View, selected: list[Selected], dest: str, to: Destination, attributes: Attributes) -> None:
    """Places what was selected at ``dest`` (absolute; a trailing slash means a directory), by BuildKit's rules.

    A directory's contents are merged into the destination, which is made if need be; a file replaces what has its name
    but a directory. Raises Invalid when that is in the way.
    """
    for match in selected:
        place(view, match, dest, to, attributes)


def place(view: View, match: Selected, dest: str, to: Destination, attributes: Attributes) -> None:
    """Places one match; see ``copy``. Hard links are kept within a directory, not from match to match."""
    to.forget_links()
    if not match.is_directory:
        with _directory_for(match.name, dest, to, attributes) as (above, path):
            _place_file(view, match.path, match.status, path, False, above, to, attributes)
        return
    target = resolve_destination(to, dest)
    if target.is_directory and not view.children(match.path):
        return  # nothing changes, so the directory itself is not to be in the layer
    _merge(view, match.path, target.path, to, attributes)


def place_text(name: str, content: bytes, dest: str, to: Destination, attributes: Attributes) -> None:
    """Places a file of the frontend's own making (a here-document)."""
    with _directory_for(os.fsencode(name), dest, to, attributes) as (above, path):
        to.free(above, path)
        with open(os.open(path.rpartition(b"/")[2], NEW_FILE, 0o600, dir_fd=above), "wb") as file:
            file.write(content)
            file.flush()
            mode = 0o644 if attributes.mode is None else modes.apply(attributes.mode, 0o644, False)
            to.describe(file.fileno(), attributes.owner or (0, 0), mode)
            to.set_made_now(file.fileno())


@contextmanager
def _directory_for(name: bytes, dest: str, to: Destination, attributes: Attributes) -> Iterator[tuple[int, bytes]]:
    """The directory that a file called ``name`` comes to lie in, open, and the file's path."""
    target = resolve_destination(to, dest)
    into = target.is_directory or dest.endswith(("/", "/."))
    if into and not name:
        hint = "write the file's name behind the directory"
        raise Invalid(f"the source has no name that it could have in the directory {dest}", hint=hint)
    path = join(target.path, name) if into else target.path
    above = to.directory(path.rpartition(b"/")[0], *attributes.for_parents)
    try:
        yield above, path
    finally:
        os.close(above)


def _merge(view: View, origin: bytes, target: bytes, to: Destination, attributes: Attributes) -> None:
    """Copies what directory ``origin`` holds into ``target``. However deep that is, one directory is open at a time."""
    pending = [(origin, target, False)]
    while pending:
        origin, target, is_new = pending.pop()
        fd = to.directory(target, *attributes.for_parents)
        try:
            for name, status in view.children(origin).items():
                inner, path = join(origin, name), join(target, name)
                if stat.S_ISDIR(status.st_mode):
                    existing = None if is_new else to.tree.stat(path)
                    _place_directory(view, inner, status, path, existing, fd, to, attributes)
                    pending.append((inner, path, existing is None))
                else:
                    _place_file(view, inner, status, path, is_new, fd, to, attributes)
        finally:
            os.close(fd)


def _place_directory(
    view: View, origin: bytes, status: os.stat_result, path: bytes, existing: os.stat_result | None, above: int,
    to: Destination, attributes: Attributes,
) -> None:  # fmt: skip
    owner, mode = _wanted(status, attributes)
    times = to.times(status)
    if existing is None:
        fd = to.make_directory(above, path, owner, mode, times)
    elif stat.S_ISDIR(existing.st_mode):
        fd = to.directory(path, owner, mode)
        to.set_directory(fd, path, owner, mode, times)
    else:
        raise Invalid(f"cannot copy the directory {shown(origin)} to {shown(path)}: it is not a directory")
    try:
        if attributes.original:
            opened = view.open(origin, os.O_RDONLY | os.O_DIRECTORY)
            try:
                to.copy_xattrs(opened, fd, owner=attributes.owner is None)
            finally:
                os.close(opened)
    finally:
        os.close(fd)


def _place_file(
    view: View, origin: bytes, status: os.stat_result, path: bytes, is_new: bool, above: int,
    to: Destination, attributes: Attributes,
) -> None:  # fmt: skip
    """Places what is no directory; ``is_new`` says that nothing can be in its way."""
    to.check()
    if stat.S_ISSOCK(status.st_mode):
        return  # a socket means nothing without the process that listens on it, and a layer cannot hold one
    if not is_new:
        to.free(above, path)
    is_regular = stat.S_ISREG(status.st_mode)
    if is_regular and not to.linked(status, path, above):
        _place_regular(view, origin, status, path, above, to, attributes)
        return
    if not is_regular:
        _place_special(view, origin, status, path, above, to, attributes)
    to.settled = to.settled and unchanged(view, origin, status)


def _place_regular(
    view: View, origin: bytes, status: os.stat_result, path: bytes, above: int, to: Destination, attributes: Attributes
) -> None:
    owner, mode = _wanted(status, attributes)
    if not attributes.original and to.taken(origin, status, path, above, owner, mode):
        return
    try:
        reading = view.open(origin, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise Denied(f"{shown(origin)} cannot be read: {error.strerror}") from None
    try:
        writing = os.open(path.rpartition(b"/")[2], NEW_FILE, 0o600, dir_fd=above)
        try:
            content = _copy_small(reading, writing, status.st_size) if status.st_size <= _SMALL else None
            if content is None:
                copy_data(reading, writing)
            to.settled = to.settled and same_file(os.fstat(reading), status)
            to.describe(writing, owner, mode)
            if attributes.original:
                to.copy_xattrs(reading, writing, owner=attributes.owner is None)
            elif content is not None:
                to.remember(path, content, owner)
            os.utime(writing, ns=to.times(status))
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _place_special(
    view: View, origin: bytes, status: os.stat_result, path: bytes, above: int, to: Destination, attributes: Attributes
) -> None:
    name = path.rpartition(b"/")[2]
    owner, mode = _wanted(status, attributes)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(view.readlink(origin), name, dir_fd=above)
    else:
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            raise Invalid(f"{shown(origin)} is a device 0:0, which means a deleted file in a layer")
        if not to.make_node(name, above, stat.S_IFMT(status.st_mode), status.st_rdev, mode):
            raise Unsupported(f"the device {shown(origin)} cannot be copied without being root")
    to.own_node(name, above, owner)
    os.utime(name, ns=to.times(status), dir_fd=above, follow_symlinks=False)


def _copy_small(reading: int, writing: int, size: int) -> bytes | None:
    """Copies a file that has ``size`` bytes; None, and nothing is copied, if it has not."""
    content = os.read(reading, size + 1)
    if len(content) == size == os.write(writing, content):
        return content
    for fd in (reading, writing):
        os.lseek(fd, 0, os.SEEK_SET)
    return None


def _wanted(status: os.stat_result, attributes: Attributes) -> tuple[tuple[int, int], int]:
    mode = stat.S_IMODE(status.st_mode)
    if attributes.mode is not None:
        mode = modes.apply(attributes.mode, mode, stat.S_ISDIR(status.st_mode))
    owner = ownership.owner(status) if attributes.original else (0, 0)
    return attributes.owner or owner, mode
