"""Archives of images, read as a stream: what docker, podman, skopeo and buildx save, compressed or not.

What an archive says of itself stands anywhere in it, in docker's own at the end. So everything goes into the store's
blobs as it comes, hashed on the way, and is only then made sense of. Names in the archive are keys of a table and
never paths: nothing is ever extracted.
"""

import os
import posixpath
from collections.abc import Sequence

from sampan.archives import docker, layout
from sampan.archives.places import Offer, check
from sampan.errors import Corrupt, Invalid, NotFound, SampanError, Unsupported
from sampan.layers import packed, tarball
from sampan.layers.tarball import DIRECTORY, FILE, HARD_LINK, SYMLINK, Entry
from sampan.layers.window import Source
from sampan.oci import media
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest, sha256
from sampan.oci.manifest import MAX_BYTES, Manifest
from sampan.store.blobs import Blobs

LIMITS = tarball.Limits(entries=100_000)
_SMALL_IN_ALL = 64 << 20
_LAYER_TYPES = (
    (b"\x1f\x8b", media.OCI_LAYER_GZIP),
    (b"\x28\xb5\x2f\xfd", media.OCI_LAYER_ZSTD),
)
_ALIEN = {b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}
_MAX_LINKS = 8


class Archive:
    """The images in a tar stream (a ``places.Place``). Making one reads the stream to its end.

    Blobs that it brought and that nothing names go when the store is next collected. Raises Invalid and Corrupt for
    what is damaged or malformed, with nothing stored that was not verified.
    """

    def __init__(self, stream: Source, blobs: Blobs) -> None:
        self._blobs = blobs
        self._small: dict[str, bytes] = {}
        self._size = 0
        self._stored: dict[str, Descriptor] = {}
        self._links: dict[str, str] = {}
        try:
            for entry in tarball.read(packed.inflated(stream), LIMITS):
                self._take(entry)
            self.offers: Sequence[Offer] = self._find_offers()
        except SampanError as error:
            error.message = error.message.replace("the layer", "the archive")
            raise

    def fetch(self, wanted: Sequence[Descriptor]) -> None:
        """See ``places.Place``."""
        for blob in wanted:
            check(blob, self._blobs)

    def _take(self, entry: Entry) -> None:
        name = _clean(entry.name)
        if entry.kind == DIRECTORY or not name:
            return
        if entry.kind in (SYMLINK, HARD_LINK) and not name.startswith("blobs/"):
            above = "" if entry.kind == HARD_LINK else posixpath.dirname(name)
            self._links[name] = posixpath.normpath(posixpath.join(above, os.fsdecode(entry.link)))
        elif entry.kind != FILE or entry.sparse is not None:
            raise Invalid(f"{name} in the archive is not a regular file")
        elif name.startswith("blobs/"):
            self._take_blob(name, entry)
        elif entry.size <= MAX_BYTES and not name.endswith((".tar", ".tar.gz", ".tgz")):
            self._small[name] = b"".join(map(bytes, entry.chunks()))
            self._size += entry.size
            if self._size > _SMALL_IN_ALL:
                raise Invalid("the archive has too many small files")
        else:
            self._stored[name] = self._store(entry, None)

    def _take_blob(self, name: str, entry: Entry) -> None:
        algorithm, _, encoded = name.removeprefix("blobs/").partition("/")
        try:
            digest = Digest(f"{algorithm}:{encoded}")
        except Invalid:
            raise Invalid(f"{name} in the archive is not named by a digest") from None
        if self._blobs.has(digest):
            self._stored[name] = Descriptor("", digest, self._blobs.size(digest))
        else:
            self._stored[name] = self._store(entry, digest)

    def _store(self, entry: Entry, digest: Digest | None) -> Descriptor:
        with self._blobs.writer(digest, entry.size) as writer:
            for chunk in entry.chunks():
                writer.write(chunk)
            return Descriptor("", writer.commit(), entry.size)

    def _find_offers(self) -> Sequence[Offer]:
        """What the archive is about: by ``index.json`` if it is an OCI layout, else by docker's ``manifest.json``."""
        if "oci-layout" in self._small and "index.json" in self._small:
            offered = layout.offers(self._small["index.json"])
            if "manifest.json" not in self._small or all(self._blobs.has(offer.target.digest) for offer in offered):
                return offered
        if "manifest.json" in self._small:
            return tuple(self._image(saved) for saved in docker.parse(self._small["manifest.json"]))
        if "repositories" in self._small:
            raise Unsupported(
                "the archive is of the form that docker saved before 1.10", hint="load and save it with a newer docker"
            )
        raise Invalid("the archive has no images: it has neither index.json nor manifest.json")

    def _image(self, saved: docker.Saved) -> Offer:
        """A manifest for an image of a docker-archive, which has none."""
        config = self._found(saved.config)
        if config.size > MAX_BYTES:
            raise Invalid(f"the image config is larger than {MAX_BYTES >> 20} MiB")
        layers = tuple(self._layer(name) for name in saved.layers)
        data = Manifest(media.OCI_MANIFEST, config._replace(media_type=media.OCI_CONFIG), layers).encode()
        return Offer(Descriptor(media.OCI_MANIFEST, self._blobs.put(data), len(data)), saved.tags)

    def _layer(self, name: str) -> Descriptor:
        found = self._found(name)
        with self._blobs.open(found.digest) as file:
            head = file.read(8)
        for magic, how in _ALIEN.items():
            if head.startswith(magic):
                raise Unsupported(f"{name} in the archive is compressed with {how}, which no layer may be")
        kinds = (media_type for magic, media_type in _LAYER_TYPES if head.startswith(magic))
        return found._replace(media_type=next(kinds, media.OCI_LAYER))

    def _found(self, name: str) -> Descriptor:
        """The blob that a file of the archive is, links followed."""
        cleaned = posixpath.normpath(name)
        for _ in range(_MAX_LINKS):
            if cleaned not in self._links:
                break
            cleaned = self._links[cleaned]
        if cleaned in self._small:
            data = self._small[cleaned]
            self._check_name(cleaned, sha256(data))
            self._stored[cleaned] = Descriptor("", self._blobs.put(data), len(data))
        if cleaned not in self._stored:
            raise NotFound(f"the archive lacks {name}, which its manifest.json names")
        self._check_name(cleaned, self._stored[cleaned].digest)
        return self._stored[cleaned]

    def _check_name(self, name: str, found: Digest) -> None:
        """Config files are called by their digests; podman's and bazel's layers too (of what may be compressed)."""
        stem = name.removesuffix(".json").removeprefix("sha256:")
        if name != stem and len(stem) == 64 and stem != found.encoded:
            raise Corrupt(f"{name} in the archive is corrupt: its digest is {found}")


def _clean(name: bytes) -> str:
    """``name`` without "./" in front. Raises Invalid for one that leads elsewhere."""
    text = os.fsdecode(name)
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts or text.startswith("/"):
        raise Invalid(f"{text} in the archive points outside of it")
    return "/".join(parts)
