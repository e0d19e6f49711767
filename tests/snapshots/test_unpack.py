"""Layers become a stack of snapshots."""

import gzip
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from sampan.errors import Corrupt, Invalid
from sampan.events import quiet
from sampan.oci import media
from sampan.oci.config import ImageConfig
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest, sha256
from sampan.oci.manifest import Manifest
from sampan.oci.platform import host
from sampan.snapshots import unpack
from sampan.snapshots.lookup import Tree
from sampan.snapshots.overlay import Overlay
from sampan.store import database
from sampan.store.blobs import Blobs


class Shelf:
    """A store below a directory, and images made of tars in it."""

    def __init__(self, directory: Path) -> None:
        self.blobs = Blobs(str(directory / "blobs"))
        db = database.connect(str(directory / "sampan.db"))
        self.snapshots = Overlay(str(directory / "snapshots"), db, userxattr=os.geteuid() != 0)

    def begin(self, *layers: bytes, diff_ids: tuple[Digest, ...] = ()) -> unpack.Unpacking:
        packed = [gzip.compress(layer, mtime=0) for layer in layers]
        descriptors = [Descriptor(media.OCI_LAYER_GZIP, self.blobs.put(data), len(data)) for data in packed]
        config = ImageConfig(host(), diff_ids=diff_ids or tuple(sha256(layer) for layer in layers))
        named = Descriptor(media.OCI_CONFIG, sha256(b""), 0)
        manifest = Manifest(media.OCI_MANIFEST, named, tuple(descriptors))
        return unpack.begin(manifest, config, self.blobs, self.snapshots, quiet)

    def directories(self) -> set[str]:
        root = Path(self.snapshots.root)
        return {path.name for path in root.iterdir()} if root.exists() else set()


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def layer(*entries: tuple[str, int, bytes | None]) -> bytes:
    """A tar: directories where there is no content, all of the caller's own."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, mode, content in entries:
            info = tarfile.TarInfo(name)
            info.mode, info.uid, info.gid, info.mtime = mode, os.geteuid(), os.getegid(), 1_000_000_000
            info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            info.size = len(content or b"")
            tar.addfile(info, io.BytesIO(content or b""))
    return out.getvalue()


def test_layers_may_arrive_in_any_order(shelf: Shelf) -> None:
    with shelf.begin(layer(("a", 0o644, b"1")), layer(("b", 0o644, b"2")), layer(("a", 0o600, b"3"))) as unpacking:
        for index in (2, 0, 1):
            unpacking.arrived(index)
        top = unpacking.finish()
    with Tree(shelf.snapshots.stack(top), shelf.snapshots.userxattr) as tree:
        assert tree.read_file(b"a", 9) == b"3"
        assert tree.read_file(b"b", 9) == b"2"


def test_what_is_there_is_not_unpacked_again(shelf: Shelf) -> None:
    first = shelf.begin(layer(("a", 0o644, b"1"))).finish()
    before = shelf.directories()
    unpacking = shelf.begin(layer(("a", 0o644, b"1")))
    assert not unpacking.needed(0)
    assert unpacking.finish() == first
    assert shelf.directories() == before


def test_directories_that_a_layer_does_not_describe_stay_as_they_are(shelf: Shelf) -> None:
    below = layer(("tmp", 0o1777, None), ("srv", 0o750, None), ("srv/deep", 0o711, None))
    above = layer(("tmp/file", 0o644, b"1"), ("srv/deep/new/file", 0o644, b"2"), ("own", 0o700, None))
    top = shelf.begin(below, above).finish()
    with Tree(shelf.snapshots.stack(top), shelf.snapshots.userxattr) as tree:
        modes = {}
        for path in (b"tmp", b"srv", b"srv/deep", b"srv/deep/new", b"own"):
            found = tree.stat(path)
            assert found is not None
            modes[path] = stat.S_IMODE(found.st_mode)
            if path in (b"tmp", b"srv", b"srv/deep"):
                assert found.st_mtime == 1_000_000_000
    assert modes == {b"tmp": 0o1777, b"srv": 0o750, b"srv/deep": 0o711, b"srv/deep/new": 0o755, b"own": 0o700}


def test_a_layer_with_another_diff_id_leaves_nothing(shelf: Shelf) -> None:
    wrong = sha256(b"something else")
    with (
        pytest.raises(Corrupt, match="diff id"),
        shelf.begin(layer(("a", 0o644, b"1")), diff_ids=(wrong,)) as unpacking,
    ):
        unpacking.arrived(0)
    assert shelf.directories() == set()


def test_what_is_abandoned_leaves_nothing(shelf: Shelf) -> None:
    with shelf.begin(layer(("a", 0o644, b"1")), layer(("b", 0o644, b"2"))) as unpacking:
        unpacking.arrived(1)
        assert shelf.directories()
    assert shelf.directories() == set()


def test_manifest_and_config_have_to_agree(shelf: Shelf) -> None:
    with pytest.raises(Invalid, match="1 layers and its config 2 diff ids"):
        shelf.begin(layer(("a", 0o644, b"1")), diff_ids=(sha256(b"1"), sha256(b"2")))
