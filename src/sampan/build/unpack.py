"""ADD of a local archive: recognised by its content, unpacked into the destination as Docker does it.

An archive is not a layer: names like ``.wh.x`` are ordinary ones (and cannot be stored in a layer, which its packing
says). Modes, times and, without --chown, owners are the archive's own. Links lead to where they would lead in the
image, never out of it.
"""

import os
import stat

from sampan.build.copy import Attributes
from sampan.build.destination import Destination, resolve_destination
from sampan.build.source import Selected, join
from sampan.errors import Corrupt, Invalid, SampanError
from sampan.layers import tarball
from sampan.layers.packed import inflated
from sampan.layers.tarball import DIRECTORY, FILE, HARD_LINK, SYMLINK, Entry
from sampan.layers.window import Source
from sampan.snapshots.lookup import View

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_COMPRESSED = (b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")
_KINDS = {tarball.CHAR: stat.S_IFCHR, tarball.BLOCK: stat.S_IFBLK, tarball.FIFO: stat.S_IFIFO}


def unpack(view: View, match: Selected, dest: str, to: Destination, attributes: Attributes) -> bool:
    """Unpacks ``match`` below ``dest`` if it is an archive, and gives whether it is.

    Raises Invalid for an archive that is damaged after its first entry or reaches out of ``dest``.
    """
    if not stat.S_ISREG(match.status.st_mode) or not is_archive(view, match.path):
        return False
    target = resolve_destination(to, dest).path
    os.close(to.directory(target, attributes.owner, 0o755))
    with open(view.open(match.path), "rb", buffering=0) as file:
        unpack_stream(file, os.fsdecode(match.name), target, to, attributes.owner)
    return True


def unpack_stream(
    stream: Source, name: str, target: bytes, to: Destination, owner: tuple[int, int] | None = None
) -> int:
    """Unpacks an archive below ``target``, which is there, for ``owner`` if that is given; ``name`` is how errors call
    it. Gives the latest time in it (seconds since 1970). Raises Invalid, Corrupt."""
    latest = 0
    try:
        for entry in tarball.read(inflated(stream)):
            to.check()
            latest = max(latest, entry.mtime)
            entry.uid, entry.gid = owner or (entry.uid, entry.gid)
            _place(entry, target, to)
    except OSError as error:
        raise Invalid(f"{name} cannot be unpacked: {error.strerror}: {error.filename}") from None
    except SampanError as error:
        error.message = f"{name}: {error.message.replace('the layer', 'the archive')}"
        raise
    return latest // 1_000_000_000


def begins_archive(head: bytes) -> bool:
    """Whether a file that begins with these (512) bytes is to be taken for an archive: it is compressed, or begins with
    a tar header, or with the zeros that end an empty tar."""
    if head.startswith(_COMPRESSED):
        return True
    checksum = head[148:156].strip(b" \0")
    if len(head) < 512 or not checksum:
        return len(head) == 512 and not any(head)
    return not checksum.strip(b"01234567") and int(checksum, 8) == sum(head) - sum(head[148:156]) + 8 * ord(" ")


def is_archive(view: View, path: bytes) -> bool:
    """Whether a file begins with a tar entry, once inflated. Its name does not matter."""
    with open(view.open(path), "rb", buffering=0) as file:
        try:
            return next(tarball.read(inflated(file)), None) is not None
        except (Invalid, Corrupt):
            return False


def _place(entry: Entry, root: bytes, to: Destination) -> None:
    name = _clean(entry.name)
    if not name:
        return  # "./" is the destination itself, which keeps what it has
    above_name, _, base = name.rpartition(b"/")
    parent = to.tree.resolve(join(root, above_name)).path
    path = join(parent, base)
    above = to.directory(parent, (0, 0), 0o755)
    try:
        if entry.kind == DIRECTORY:
            _directory(entry, path, above, to)
            return
        to.clear(above, path)
        if entry.kind == FILE:
            _file(entry, base, above, to)
        elif entry.kind == HARD_LINK:
            _hard_link(entry, root, base, above, to)
        elif entry.kind == SYMLINK:
            os.symlink(entry.link, base, dir_fd=above)
            _own_node(entry, base, above, to)
        else:
            _device(entry, base, above, to)
    finally:
        os.close(above)


def _directory(entry: Entry, path: bytes, above: int, to: Destination) -> None:
    existing = to.tree.stat(path)
    if existing is not None and stat.S_ISDIR(existing.st_mode):
        fd = to.directory(path, (0, 0), 0o755)
        to.set_directory(fd, path, (entry.uid, entry.gid), entry.mode, (entry.mtime, entry.mtime))
    else:
        to.clear(above, path)
        fd = to.make_directory(above, path, (entry.uid, entry.gid), entry.mode, (entry.mtime, entry.mtime))
        if existing is not None:
            to.make_opaque(fd)
    try:
        to.store_xattrs(fd, entry.xattrs)
    finally:
        os.close(fd)


def _file(entry: Entry, base: bytes, above: int, to: Destination) -> None:
    fd = os.open(base, _NEW_FILE, 0o600, dir_fd=above)
    try:
        entry.copy_to(fd)
        to.describe(fd, (entry.uid, entry.gid), entry.mode)
        to.store_xattrs(fd, entry.xattrs)
        os.utime(fd, ns=(entry.mtime, entry.mtime))
    finally:
        os.close(fd)


def _hard_link(entry: Entry, root: bytes, base: bytes, above: int, to: Destination) -> None:
    above_name, _, name = _clean(entry.link).rpartition(b"/")
    parent = to.tree.resolve(join(root, above_name)).path
    try:
        source = to.directory(parent, (0, 0), 0o755)
        try:
            os.link(name, base, src_dir_fd=source, dst_dir_fd=above, follow_symlinks=False)
        finally:
            os.close(source)
    except OSError:
        raise Invalid(
            f"{os.fsdecode(entry.name)} is a hard link to {os.fsdecode(entry.link)}, "
            "which is no file that the archive brought before"
        ) from None


def _device(entry: Entry, base: bytes, above: int, to: Destination) -> None:
    device = os.makedev(entry.major, entry.minor) if entry.kind != tarball.FIFO else 0
    if entry.kind == tarball.CHAR and device == 0:
        raise Invalid(f"{os.fsdecode(entry.name)} is a device 0:0, which means a deleted file in a layer")
    if to.make_node(base, above, _KINDS[entry.kind], device, entry.mode):
        _own_node(entry, base, above, to)


def _own_node(entry: Entry, base: bytes, above: int, to: Destination) -> None:
    to.own_node(base, above, (entry.uid, entry.gid))
    os.utime(base, ns=(entry.mtime, entry.mtime), dir_fd=above, follow_symlinks=False)


def _clean(name: bytes) -> bytes:
    """``name`` below the destination, as Go's filepath.Clean makes it. Raises Invalid if it leads out."""
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise Invalid(f"{os.fsdecode(name)} in the archive points outside of it")
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)
