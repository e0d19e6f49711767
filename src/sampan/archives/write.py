"""Archives of images, written as a stream: equal images give equal bytes."""

import os
from collections.abc import Sequence

from sampan.archives import docker, layout
from sampan.archives.places import Offer, closure
from sampan.layers.tarball import DIRECTORY, Entry
from sampan.layers.tarwriter import Writer
from sampan.layers.window import Sink
from sampan.store.blobs import Blobs

_DIRECTORIES = (b"blobs", b"blobs/sha256")


def write(offered: Sequence[Offer], blobs: Blobs, sink: Sink, *, for_docker: bool = True) -> None:
    """Writes an OCI image layout as a tar, with docker's ``manifest.json`` in it unless ``for_docker`` is false.

    What says what is in the archive stands in front, so that a reader need not wait for its end. Raises NotFound if
    the store lacks a blob, before anything is written.
    """
    found = {blob.digest: blob for offer in offered for blob in closure(offer.target, blobs)}
    small = {"oci-layout": layout.VERSION, "index.json": layout.index(offered)}
    if for_docker:
        small["manifest.json"] = docker.encode(offered, blobs)
    writer = Writer(sink)
    for name, data in small.items():
        writer.add(Entry(name.encode(), size=len(data)), data)
    for directory in _DIRECTORIES:
        writer.add(Entry(directory, DIRECTORY, 0o755))
    for blob in found.values():
        with blobs.open(blob.digest) as file:
            writer.add(Entry(os.fsencode(layout.path(blob)), size=blob.size), file.fileno())
    writer.finish()
