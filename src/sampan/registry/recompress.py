"""Layers compressed in another way than they are stored in; the image stays the same, its manifest does not."""

from collections.abc import Iterable
from typing import NamedTuple

from sampan.errors import Invalid, Unsupported
from sampan.layers.compression import CHUNK, COMPRESSOR, Deflate, inflate
from sampan.layers.pipeline import Ahead
from sampan.oci import media
from sampan.oci.descriptor import Descriptor
from sampan.oci.manifest import Manifest
from sampan.store.blobs import Blobs
from sampan.store.conversions import Conversions

_LEVELS = {"gzip": range(1, 10), "zstd": range(1, 23), "none": range(0)}
_OCI = {"gzip": media.OCI_LAYER_GZIP, "zstd": media.OCI_LAYER_ZSTD, "none": media.OCI_LAYER}
_DOCKER = {"gzip": media.DOCKER_LAYER_GZIP, "none": media.DOCKER_LAYER}  # it has no zstd


class Compression(NamedTuple):
    """``how`` is "gzip", "zstd" or "none"; ``level`` None takes what is fast."""

    how: str
    level: int | None = None

    def __str__(self) -> str:
        return self.how if self.level is None else f"{self.how}:{self.level}"


def parse(text: str) -> Compression:
    """``gzip``, ``zstd:9``, ``none`` (or ``uncompressed``). Raises Invalid."""
    how, colon, level = text.partition(":")
    how = "none" if how == "uncompressed" else how
    levels = _LEVELS.get(how)
    if levels is None or (colon and not (level.isdecimal() and int(level) in levels)):
        hint = "write gzip, zstd or none, and a level if need be: gzip:1 to gzip:9, zstd:1 to zstd:22"
        raise Invalid(f"layers cannot be compressed with {text!r}", hint=hint)
    return Compression(how, int(level) if colon else None)


def convert(layer: Descriptor, wanted: Compression, blobs: Blobs, conversions: Conversions) -> Descriptor:
    """The layer, compressed as is wanted; as it is if it is that already. What is made is stored, and found again.

    Raises Unsupported for what is no layer, NotFound, Corrupt.
    """
    how = media.compression(layer.media_type)
    if how is None:
        raise Unsupported(f"layer {layer.digest} is of an unknown kind: {layer.media_type}")
    if how == wanted.how and wanted.level is None:
        return layer
    # Which library made what is sent instead is not kept, and must not be told wrong.
    told = {name: text for name, text in layer.annotations.items() if name != COMPRESSOR}
    layer = layer._replace(annotations=told)
    done = conversions.find(layer.digest, str(wanted))
    if done and blobs.has(done[0]):
        return layer._replace(media_type=_OCI[wanted.how], digest=done[0], size=done[1])
    made = layer._replace(media_type=_OCI[wanted.how])
    with blobs.open(layer.digest) as stored, Ahead(inflate(stored, how)) as plain, blobs.writer() as writer:
        deflate = Deflate(writer.write, wanted.how, wanted.level)
        while data := plain.read(CHUNK):
            deflate.write(data)
        deflate.finish()
        made = made._replace(size=writer.size, digest=writer.commit())
    conversions.keep(layer.digest, str(wanted), made)
    return made


def rewrite(manifest: Manifest, converted: Iterable[Descriptor]) -> Manifest:
    """The manifest with these layers in place of its own; Docker's kind becomes OCI's where it has no such layers."""
    layers = tuple(converted)
    ways = [media.compression(layer.media_type) or "" for layer in layers]
    kinds = _DOCKER if manifest.media_type == media.DOCKER_MANIFEST and all(way in _DOCKER for way in ways) else _OCI
    typed = tuple(layer._replace(media_type=kinds[way]) for layer, way in zip(layers, ways, strict=True))
    if kinds is _DOCKER:
        return manifest._replace(layers=typed)
    config = manifest.config
    if config.media_type == media.DOCKER_CONFIG:
        config = config._replace(media_type=media.OCI_CONFIG)
    return manifest._replace(media_type=media.OCI_MANIFEST, config=config, layers=typed)
