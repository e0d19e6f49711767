"""The files of what was built, outside of any image: in a directory of the user's, or as a tar."""

import os
import stat
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sampan.layers.tarball import DIRECTORY, FILE, HARD_LINK, SYMLINK, Entry
from sampan.layers.write import write
from sampan.linux import beneath
from sampan.snapshots.flatten import Entries, entries
from sampan.snapshots.lookup import Tree

if TYPE_CHECKING:
    from sampan.layers.window import Sink
    from sampan.oci.digest import Digest
    from sampan.snapshots.overlay import Overlay

Trees = Sequence["tuple[str, Digest | None]"]
"""Names of directories ("" for none), and the chain id of what goes there."""
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def write_tar(trees: Trees, snapshots: "Overlay", sink: "Sink", epoch: int | None) -> None:
    """Writes all files, with owners and modes."""

    def all_entries() -> Iterator[tuple[Entry, int | None]]:
        for directory, chain in trees:
            if directory:
                yield Entry(directory.encode(), DIRECTORY, 0o755, mtime=(epoch or 0) * 1_000_000_000), None
            with Tree(snapshots.stack(chain), snapshots.userxattr) as tree:
                yield from _below(directory.encode(), entries(tree, epoch=epoch))

    write(all_entries(), sink)


def _below(directory: bytes, found: Entries) -> Entries:
    for entry, fd in found:
        if directory:
            entry.name = directory + b"/" + entry.name
            if entry.kind == HARD_LINK:
                entry.link = directory + b"/" + entry.link
        yield entry, fd


def write_directory(trees: Trees, snapshots: "Overlay", dest: str) -> None:
    """Writes all files below ``dest``, which is made if it is not there, as the caller's own.

    A file that is there is replaced; a directory is added to. No link is followed out of what is written. Devices are
    left out: they belong to a machine. Raises OSError.
    """
    os.makedirs(dest, exist_ok=True)
    root = beneath.open_root(dest)
    try:
        for directory, chain in trees:
            place = beneath.make_directories(root, directory.encode())
            try:
                with Tree(snapshots.stack(chain), snapshots.userxattr) as tree:
                    _write_entries(entries(tree), place)
            finally:
                os.close(place)
    finally:
        os.close(root)


def _write_entries(found: Entries, root: int) -> None:
    times: list[tuple[bytes, int]] = []
    for entry, fd in found:
        above, _, base = entry.name.rpartition(b"/")
        parent = beneath.open_in(root, above, os.O_PATH | os.O_DIRECTORY, links=False)
        try:
            if entry.kind == DIRECTORY:
                _directory(base, entry, parent)
                times.append((entry.name, entry.mtime))
                continue
            _clear(base, parent)
            if entry.kind == FILE and fd is not None:
                _file(base, entry, fd, parent)
            elif entry.kind == SYMLINK:
                os.symlink(entry.link, base, dir_fd=parent)
            elif entry.kind == HARD_LINK:
                _link(base, entry, parent, root)
        finally:
            os.close(parent)
    for name, mtime in reversed(times):
        place = beneath.open_in(root, name, os.O_RDONLY | os.O_DIRECTORY, links=False)
        os.utime(place, ns=(mtime, mtime))
        os.close(place)


def _directory(base: bytes, entry: Entry, parent: int) -> None:
    try:
        os.mkdir(base, 0o700, dir_fd=parent)
    except FileExistsError:
        if stat.S_ISDIR(os.stat(base, dir_fd=parent, follow_symlinks=False).st_mode):
            return
        os.unlink(base, dir_fd=parent)
        os.mkdir(base, 0o700, dir_fd=parent)
    place = os.open(base, _OPEN_DIRECTORY, dir_fd=parent)
    os.fchmod(place, (entry.mode & 0o777) | 0o700)  # its owner is another, who has to be able to remove it
    os.close(place)


def _file(base: bytes, entry: Entry, source: int, parent: int) -> None:
    target = os.open(base, _NEW_FILE, 0o600, dir_fd=parent)
    try:
        while os.sendfile(target, source, None, 1 << 30):
            continue
        os.fchmod(target, entry.mode & 0o777)
        os.utime(target, ns=(entry.mtime, entry.mtime))
    finally:
        os.close(target)


def _link(base: bytes, entry: Entry, parent: int, root: int) -> None:
    above, _, name = entry.link.rpartition(b"/")
    source = beneath.open_in(root, above, os.O_PATH | os.O_DIRECTORY, links=False)
    try:
        os.link(name, base, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
    finally:
        os.close(source)


def _clear(base: bytes, parent: int) -> None:
    """Makes room for a file."""
    try:
        os.unlink(base, dir_fd=parent)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        beneath.remove_tree(parent, base)
