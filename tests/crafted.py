"""Images made of bytes, stores to put them in, and a stand-in for the snapshots that layers are unpacked to."""

import io
import json
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import isal.igzip

from sampan.errors import NotFound
from sampan.events import Event
from sampan.oci import media
from sampan.oci.config import ContainerConfig, ImageConfig
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest, chain_ids, sha256
from sampan.oci.manifest import Manifest
from sampan.oci.platform import Platform, host
from sampan.store import database
from sampan.store.blobs import Blobs
from sampan.store.images import Image, Images


class Store(NamedTuple):
    blobs: Blobs
    images: Images
    events: list[Event]

    def has(self, digest: Digest) -> bool:
        with suppress(NotFound):
            return bool(self.blobs.read(digest, 1 << 30) or True)
        return False

    @property
    def all(self) -> set[Digest]:
        """Every blob, each read and verified."""
        return {digest for digest in self.blobs.all() if self.has(digest)}

    @property
    def leftovers(self) -> list[str]:
        """Files of blobs that were begun and not finished."""
        aside = Path(self.blobs.aside)
        return [path.name for path in aside.iterdir()] if aside.exists() else []


def open_store(directory: Path) -> Store:
    """A store below ``directory``."""
    return Store(Blobs(str(directory / "blobs")), Images(database.connect(str(directory / "sampan.db"))), [])


class Recorder:
    """Stands for the snapshots: checks that a layer is in the store when it is said to have arrived."""

    def __init__(self, store: Store, manifest: Manifest, config: ImageConfig) -> None:
        self.arrivals: list[int] = []
        self.abandoned = self.finished = False
        self._store, self._manifest, self._config = store, manifest, config

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *rest: object) -> None:
        self.abandoned = not self.finished

    def arrived(self, index: int, source: Any = None) -> None:
        layer = self._manifest.layers[index]
        while source and source.read(1 << 16):  # raises, and tells of no arrival, if the layer does not come
            pass
        assert self._store.has(layer.digest)
        self.arrivals.append(index)

    def finish(self) -> Digest | None:
        assert sorted(self.arrivals) == list(range(len(self._manifest.layers)))
        self.finished = True
        return chain_ids(self._config.diff_ids)[-1]


def layer_tar(name: str, content: bytes) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        entry.mode = 0o644
        archive.addfile(entry, io.BytesIO(content))
    return output.getvalue()


def make_image(store: Store, *tars: bytes, platform: Platform | None = None, docker: bool = False) -> Image:
    """An image of these layers, put into the store."""
    gzip, manifest_type, config_type = (
        (media.DOCKER_LAYER_GZIP, media.DOCKER_MANIFEST, media.DOCKER_CONFIG)
        if docker
        else (media.OCI_LAYER_GZIP, media.OCI_MANIFEST, media.OCI_CONFIG)
    )
    layers = [isal.igzip.compress(tar, mtime=0) for tar in tars]
    diff_ids = tuple(sha256(tar) for tar in tars)
    config = ImageConfig(
        platform or host(), ContainerConfig(cmd=("/hello",)), diff_ids, created="2024-01-02T03:04:05Z"
    ).encode()
    manifest = Manifest(
        manifest_type,
        Descriptor(config_type, store.blobs.put(config), len(config)),
        tuple(Descriptor(gzip, store.blobs.put(layer), len(layer)) for layer in layers),
    ).encode()
    target = Descriptor(manifest_type, store.blobs.put(manifest), len(manifest))
    image = Image(
        sha256(config), target, chain_ids(diff_ids)[-1] if tars else None, platform or host(), "", sum(map(len, tars))
    )
    store.images.add(image)
    return image


def manifest_of(store: Store, image: Image) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(store.blobs.read(image.manifest.digest))
    return value
