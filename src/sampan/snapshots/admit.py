"""From blobs to an image that runs: a manifest that is in the store, unpacked."""

from concurrent.futures import ThreadPoolExecutor

from sampan.errors import Unsupported
from sampan.events import Report
from sampan.oci import config as configs
from sampan.oci import manifest as manifests
from sampan.oci import media
from sampan.oci.descriptor import Descriptor
from sampan.oci.manifest import Manifest
from sampan.snapshots import unpack
from sampan.snapshots.overlay import Overlay
from sampan.store.blobs import Blobs
from sampan.store.images import Image


def admit(entry: Descriptor, blobs: Blobs, snapshots: Overlay, report: Report, *, jobs: int = 4) -> Image:
    """The image whose manifest is ``entry`` and whose blobs are all here, unpacked; it is in no table yet.

    Raises Corrupt for a layer that is not what its diff id says, Invalid, and Unsupported for what is no image.
    """
    document = manifests.parse(blobs.read(entry.digest), entry.media_type)
    if not isinstance(document, Manifest):
        raise Unsupported(f"{entry.digest.short} is an index, which has no layers of its own")
    if document.config.media_type not in (media.OCI_CONFIG, media.DOCKER_CONFIG):
        raise Unsupported(f"{entry.digest.short} is not a container image but {document.config.media_type}")
    config = configs.parse(blobs.read(document.config.digest))
    with unpack.begin(document, config, blobs, snapshots, report) as unpacking, ThreadPoolExecutor(jobs) as threads:
        try:
            for done in [threads.submit(unpacking.arrived, index) for index in range(len(document.layers))]:
                done.result()
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
        chain = unpacking.finish()
    target = Descriptor(document.media_type, entry.digest, entry.size)
    return Image(document.config.digest, target, chain, config.platform, config.created, snapshots.size(chain))
