"""From the layers of an image to snapshots: each verified, several at once, each chain only once on a machine."""

import os
import stat
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sampan.errors import Invalid, SampanError, Unsupported
from sampan.events import LayerExists, Report, Unpacked
from sampan.layers import owners, xattrs
from sampan.linux import beneath, ownership
from sampan.oci import media
from sampan.oci.config import ImageConfig
from sampan.oci.digest import Digest, chain_ids
from sampan.oci.manifest import Manifest
from sampan.snapshots.overlay import Overlay
from sampan.store.blobs import Blobs

if TYPE_CHECKING:
    from sampan.layers.apply import Applied
    from sampan.layers.window import Source
    from sampan.snapshots.lookup import Tree


class Unpacking:
    """One image being unpacked.

    Layers may arrive in any order and from several threads. overlayfs stacks directories only when a container starts,
    so a layer needs nothing of those below it while it is applied, only when it is committed: ``arrived`` applies,
    ``finish`` commits from the lowest up. Call ``abandon`` (or use ``with``) when it does not come to that.
    """

    def __init__(
        self, manifest: Manifest, config: ImageConfig, blobs: Blobs, snapshots: Overlay, report: Report
    ) -> None:
        if len(manifest.layers) != len(config.diff_ids):
            raise Invalid(f"the image has {len(manifest.layers)} layers and its config {len(config.diff_ids)} diff ids")
        for layer in manifest.layers:
            if media.compression(layer.media_type) is None:
                raise Unsupported(f"layer {layer.digest} is of an unknown kind: {layer.media_type}")
        self._layers = manifest.layers
        self._diff_ids = config.diff_ids
        self._chain = chain_ids(config.diff_ids)
        self._blobs = blobs
        self._snapshots = snapshots
        self._report = report
        self._applied: dict[int, tuple[str, Applied]] = {}
        self._guard = threading.Lock()

    def __enter__(self) -> "Unpacking":
        return self

    def __exit__(self, *rest: object) -> None:
        self.abandon()

    def needed(self, index: int) -> bool:
        """Whether layer ``index`` (0 is the lowest) has yet to be unpacked."""
        return not self._snapshots.has(self._chain[index])

    def arrived(self, index: int, source: "Source | None" = None) -> None:
        """Applies layer ``index``, whose blob is in the store now, or arrives through ``source``.

        Raises Corrupt if what it inflates to does not have its diff id, and Invalid for a malformed tar.
        """
        if not self.needed(index):
            self._report(LayerExists(self._layers[index].digest))
            return
        # Written without a parent, and put upon it in finish(): the parent may not be committed yet.
        key = f"unpack-{os.getpid()}-{os.urandom(8).hex()}"
        directory = self._snapshots.prepare(key, None)
        try:
            applied = self._apply(index, directory, source)
        except BaseException:
            self._snapshots.remove(key)
            raise
        with self._guard:
            self._applied[index] = (key, applied)
        self._report(Unpacked(self._layers[index].digest))

    def finish(self) -> Digest | None:
        """Commits every layer upon the one below it, for good, and gives the chain id of the top one (None without)."""
        for index, chain in enumerate(self._chain):
            if not self._snapshots.has(chain):
                if index not in self._applied:
                    self.arrived(index)
                if index in self._applied:
                    key, applied = self._applied[index]
                    parent = self._chain[index - 1] if index else None
                    self._inherit(key, applied.implied, parent)
                    self._snapshots.commit(key, chain, applied.size, parent)
                    del self._applied[index]
        self.abandon()
        self._snapshots.settle()
        return self._chain[-1] if self._chain else None

    def abandon(self) -> None:
        """Drops what was applied and not committed."""
        while self._applied:
            _, (key, _) = self._applied.popitem()
            self._snapshots.remove(key)

    def _inherit(self, key: str, implied: Sequence[bytes], parent: Digest | None) -> None:
        """Gives directories that the layer does not describe the owner, mode and times that they have below: on top of
        the stack they would otherwise change them (a /tmp with one more file in it would be closed to all but root)."""
        if not implied or parent is None:
            return
        from sampan.snapshots.lookup import Tree

        upper = beneath.open_root(self._snapshots.directory(key))
        try:
            with Tree(self._snapshots.stack(parent), self._snapshots.userxattr) as tree:
                for path in implied:
                    below = tree.stat(path)
                    if below is not None and stat.S_ISDIR(below.st_mode):
                        _make_like(upper, path, below, _owner(tree, path, below))
        finally:
            os.close(upper)

    def _apply(self, index: int, directory: str, source: "Source | None") -> "Applied":
        from contextlib import nullcontext

        from sampan.layers import apply

        layer, diff_id = self._layers[index], self._diff_ids[index]
        how = media.compression(layer.media_type) or "none"
        userxattr = self._snapshots.userxattr
        root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with nullcontext(source) if source else self._blobs.open(layer.digest) as blob:
                return apply.unpack(blob, root, diff_id, how=how, userxattr=userxattr, rootless=userxattr)
        except SampanError as error:
            error.message = f"layer {layer.digest.short}: {error.message}"
            raise
        finally:
            os.close(root)


def _owner(tree: "Tree", path: bytes, status: os.stat_result) -> tuple[int, int]:
    fd = tree.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return ownership.noted(fd, xattrs.names(fd)) or ownership.owner(status)
    finally:
        os.close(fd)


def _make_like(root_fd: int, path: bytes, status: os.stat_result, owner: tuple[int, int]) -> None:
    try:
        fd = beneath.open_in(root_fd, path, os.O_RDONLY | os.O_DIRECTORY, links=False)
    except OSError:  # the layer itself replaced it later
        return
    try:
        owners.where_allowed(fd, *owner)
        os.fchmod(fd, stat.S_IMODE(status.st_mode))
        os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))
    finally:
        os.close(fd)


def begin(manifest: Manifest, config: ImageConfig, blobs: Blobs, snapshots: Overlay, report: Report) -> Unpacking:
    """Begins to unpack an image. Raises Invalid if its manifest and config contradict each other."""
    return Unpacking(manifest, config, blobs, snapshots, report)
