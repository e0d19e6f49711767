"""Directories as skopeo's ``dir:`` has them: one image, its blobs by their bare hexadecimal digests, for looking into.

containers/image, docs/containers-transports.5.md, "dir:path": ``manifest.json``, ``version``, and a file for each blob;
an index's manifests are called ``HEX.manifest.json``.
"""

from collections.abc import Sequence

from sampan.archives import layout
from sampan.archives.places import Offer, closure
from sampan.oci import manifest as manifests
from sampan.oci import media
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import sha256
from sampan.store.blobs import Blobs

VERSION = b"Directory Transport Version: 1.1\n"


class Directory:
    """The one image in such a directory (a ``places.Place``); to be closed."""

    def __init__(self, root: int, blobs: Blobs) -> None:
        self._root = root
        self._blobs = blobs
        data = layout.read_small(root, "manifest.json")
        document = manifests.parse(data)
        self._target = Descriptor(document.media_type, sha256(data), len(data))
        self.offers: Sequence[Offer] = (Offer(self._target),)

    def fetch(self, wanted: Sequence[Descriptor]) -> None:
        """See ``places.Place``."""
        for blob in wanted:
            layout.copy_in(blob, self._root, _name(blob, self._target), self._blobs)


def write(root: int, target: Descriptor, blobs: Blobs) -> None:
    """Writes an image into the empty directory behind ``root``. Raises Invalid if it is not empty."""
    layout.check_empty(root)
    for blob in closure(target, blobs):
        if blob.digest != target.digest:
            layout.copy_out(blob, root, _name(blob, target), blobs)
    layout.write_small(root, "version", VERSION)
    layout.write_small(root, "manifest.json", blobs.read(target.digest))


def _name(blob: Descriptor, target: Descriptor) -> str:
    if blob.digest == target.digest:
        return "manifest.json"
    is_manifest = blob.media_type in media.MANIFESTS + media.INDEXES
    return f"{blob.digest.encoded}.manifest.json" if is_manifest else blob.digest.encoded
