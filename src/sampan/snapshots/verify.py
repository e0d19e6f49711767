"""Whether what the store holds is what its names say: every digest, size and diff id, and every unpacked file."""

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from sampan.errors import Invalid, NotFound, SampanError
from sampan.layers import tarball, whiteouts
from sampan.layers.compression import Hashing, inflate
from sampan.layers.tarball import FILE, Entry
from sampan.linux import beneath
from sampan.oci import config as configs
from sampan.oci import digest as digests
from sampan.oci import manifest as manifests
from sampan.oci import media
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest, chain_ids
from sampan.oci.manifest import Index, Manifest
from sampan.snapshots.overlay import Overlay
from sampan.store import sqlite as sqlite3
from sampan.store.blobs import Blobs
from sampan.store.images import Image, Images

_CHUNK = 1 << 20


class Problem(NamedTuple):
    """``what`` is not as it should be; ``why`` is half a sentence."""

    what: str
    why: str


class Verifier:
    """Looks at everything once, however many images share it."""

    def __init__(self, images: Images, blobs: Blobs, snapshots: Overlay) -> None:
        self._images = images
        self._blobs = blobs
        self._snapshots = snapshots
        self._blobs_seen: dict[Digest, str] = {}
        self._layers_seen: dict[tuple[Digest, Digest], tuple[Problem, ...]] = {}

    def image(self, image: Image) -> Iterator[Problem]:
        """What is wrong with an image, its names and its layers; nothing if all is well."""
        for name in self._images.names(image.id):
            if name.target.digest != image.manifest.digest:
                yield from self._named(name.target, f"{name.reference.familiar()} ({name.target.digest.short})")
        try:
            content = manifests.parse(self._read(image.manifest), image.manifest.media_type)
            if isinstance(content, Index):
                raise Invalid("it is an index")
            config = configs.parse(self._read(content.config))
        except SampanError as error:
            yield Problem(f"manifest or config of {image.id.short}", error.message)
            return
        if content.config.digest != image.id:
            yield Problem(f"manifest {image.manifest.digest}", f"its config is {content.config.digest}, not {image.id}")
        if len(content.layers) != len(config.diff_ids):
            yield Problem(f"image {image.id}", f"{len(content.layers)} layers, and {len(config.diff_ids)} diff ids")
            return
        chain = chain_ids(config.diff_ids)
        if image.chain != (chain[-1] if chain else None):
            yield Problem(f"image {image.id}", f"its layers give the chain {chain[-1:]}, not {image.chain}")
        yield from self._all_layers(content, config.diff_ids, chain)

    def store(self, db: sqlite3.Connection) -> Iterator[Problem]:
        """What is wrong with the store besides its images: its database, blobs that no image has, snapshots."""
        for (line,) in db.execute("PRAGMA integrity_check"):
            if line != "ok":
                yield Problem("the database", line)
        for table, row, above, _ in db.execute("PRAGMA foreign_key_check"):
            yield Problem("the database", f"row {row} of {table} names what is not in {above}")
        for digest in self._blobs.all():
            if why := self._blob(Descriptor("", digest, self._blobs.size(digest))):
                yield Problem(f"blob {digest}", why)
        for chain in self._snapshots.lineage():
            if not all(os.path.isdir(directory) for directory in self._snapshots.stack(chain)):
                yield Problem(f"snapshot {chain}", "its directory is gone")

    def _named(self, target: Descriptor, shown: str) -> Iterator[Problem]:
        """An index that a name points at; of what it lists, the store need not have more than one image."""
        if why := self._blob(target):
            yield Problem(shown, why)

    def _read(self, target: Descriptor) -> bytes:
        data = self._blobs.read(target.digest)
        if len(data) != target.size:
            raise Invalid(f"{target.digest} has {len(data)} bytes, not the {target.size} announced")
        return data

    def _all_layers(
        self, content: Manifest, diff_ids: tuple[Digest, ...], chain: tuple[Digest, ...]
    ) -> Iterator[Problem]:
        for number, (layer, diff_id) in enumerate(zip(content.layers, diff_ids, strict=True)):
            if why := self._blob(layer):
                yield Problem(f"layer {layer.digest}", why)
                continue
            key = layer.digest, chain[number]
            if key not in self._layers_seen:
                self._layers_seen[key] = tuple(self._layer(layer, diff_id, chain[number]))
            yield from self._layers_seen[key]

    def _blob(self, target: Descriptor) -> str:
        """Why a blob is not what it should be; "" if it is."""
        if target.digest not in self._blobs_seen:
            self._blobs_seen[target.digest] = self._hash(target.digest)
        if why := self._blobs_seen[target.digest]:
            return why
        size = self._blobs.size(target.digest)
        return "" if size == target.size else f"it has {size} bytes, not the {target.size} announced"

    def _hash(self, digest: Digest) -> str:
        taken = digests.hasher(digest)
        try:
            with self._blobs.open(digest) as file:
                while data := file.read(_CHUNK):
                    taken.update(data)
        except NotFound:
            return "it is not there"
        except OSError as error:
            return f"it cannot be read: {error.strerror}"
        found = taken.hexdigest()
        return "" if found == digest.encoded else f"its digest is {digest.algorithm}:{found}"

    def _layer(self, layer: Descriptor, diff_id: Digest, chain: Digest) -> Iterator[Problem]:
        """Inflates a layer once: for its diff id, and to hold its files against the unpacked ones."""
        try:
            directory = self._snapshots.stack(chain)[0]
        except NotFound:
            yield Problem(f"layer {layer.digest}", f"it is not unpacked: there is no snapshot {chain}")
            return
        root = beneath.open_root(directory)
        try:
            with self._blobs.open(layer.digest) as blob:
                plain = Hashing(inflate(blob, media.compression(layer.media_type) or "auto"))
                differing = _differing(plain, root)
        except SampanError as error:
            yield Problem(f"layer {layer.digest}", error.message)
            return
        finally:
            os.close(root)
        if plain.digest() != diff_id:
            yield Problem(f"layer {layer.digest}", f"its diff id is {plain.digest()}, not {diff_id}")
        for name, why in sorted(differing.items()):
            yield Problem(f"/{os.fsdecode(name)} as unpacked from layer {layer.digest}", why)


def _differing(plain: Hashing, root: int) -> dict[bytes, str]:
    """The files of a layer that are not below ``root`` as the layer has them, and why."""
    differing: dict[bytes, str] = {}
    for entry in tarball.read(plain):
        name = b"/".join(part for part in entry.name.split(b"/") if part not in (b"", b"."))
        if entry.kind != FILE or whiteouts.is_reserved(name.rpartition(b"/")[2]):
            continue
        differing.pop(name, None)  # the last entry of a name counts
        if why := _compare(entry, root, name):
            differing[name] = why
    return differing


def _compare(entry: Entry, root: int, name: bytes) -> str:
    try:
        fd = beneath.open_in(root, name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        return f"it cannot be read: {os.strerror(error.errno or 0).lower()}"
    with open(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size != entry.size:
            return "it has another size"
        if entry.sparse is None and any(file.read(len(chunk)) != chunk for chunk in entry.chunks()):
            return "it has another content"
    return ""
