"""Images made without a build: a layer, and a config upon those of another image or of none."""

from sampan.layers.compression import CHUNK, Deflate, Hashing
from sampan.layers.pipeline import Ahead, Behind
from sampan.layers.window import Source
from sampan.layers.write import Layer
from sampan.oci import media
from sampan.oci.config import ImageConfig
from sampan.oci.descriptor import Descriptor
from sampan.oci.manifest import Manifest
from sampan.store.blobs import Blobs


def layer_of(archive: Source, blobs: Blobs) -> Layer:
    """Stores an uncompressed tar as a layer. It is held against the rules of layers when it is unpacked."""
    plain = Hashing()
    with Ahead(archive) as ahead, blobs.writer() as writer:
        deflate = Deflate(writer.write, "gzip")
        with Behind(deflate.write) as behind:
            while data := ahead.read(CHUNK):
                plain.update(data)
                behind.put(data)
        deflate.finish()
        descriptor = Descriptor(media.OCI_LAYER_GZIP, writer.commit(), writer.size)
    return Layer(plain.digest(), descriptor, plain.size)


def put(config: ImageConfig, base: Manifest | None, layer: Layer, blobs: Blobs) -> Descriptor:
    """Stores config and manifest of an image that has the layers of ``base``, and above them ``layer``."""
    layers = (*(base.layers if base else ()), layer.descriptor)
    data = config._replace(diff_ids=(*config.diff_ids, layer.diff_id)).encode()
    described = Descriptor(media.OCI_CONFIG, blobs.put(data), len(data))
    manifest = Manifest(media.OCI_MANIFEST, described, tuple(_as_oci(each) for each in layers)).encode()
    return Descriptor(media.OCI_MANIFEST, blobs.put(manifest), len(manifest))


_OCI = {"none": media.OCI_LAYER, "gzip": media.OCI_LAYER_GZIP, "zstd": media.OCI_LAYER_ZSTD}


def _as_oci(layer: Descriptor) -> Descriptor:
    return layer._replace(media_type=_OCI.get(media.compression(layer.media_type) or "", layer.media_type))
