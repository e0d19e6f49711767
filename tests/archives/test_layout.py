"""Image layouts in directories."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import crafted
from sampan.archives import layout, places
from sampan.archives.layout import Directory
from sampan.archives.places import Offer
from sampan.errors import Conflict, Corrupt, Invalid, NotFound
from sampan.oci import media
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import sha256
from sampan.store.blobs import Blobs

NewStore = Callable[[str], crafted.Store]
TAR = crafted.layer_tar("hello", b"hello\n")
NAME = "docker.io/library/app:1"


def write_directory(directory: Path, offers: list[Offer], blobs: Blobs) -> None:
    directory.mkdir(exist_ok=True)
    root = os.open(directory, os.O_PATH)
    try:
        layout.write_directory(root, offers, blobs)
    finally:
        os.close(root)


@pytest.fixture
def made(new_store: NewStore, tmp_path: Path) -> Path:
    store = new_store("made")
    write_directory(tmp_path / "layout", [Offer(crafted.make_image(store, TAR).manifest, (NAME,))], store.blobs)
    return tmp_path / "layout"


def get(directory: Path, store: crafted.Store) -> None:
    with Directory(str(directory), store.blobs) as place:
        for offer in place.offers:
            places.gather(offer.target, place, store.blobs)


def layer_of(directory: Path) -> Path:
    return next(path for path in (directory / "blobs/sha256").iterdir() if path.read_bytes().startswith(b"\x1f\x8b"))


def test_what_is_written_is_read(made: Path, store: crafted.Store) -> None:
    get(made, store)
    assert {digest.encoded for digest in store.all} == {path.name for path in (made / "blobs/sha256").iterdir()}
    assert sorted(os.listdir(made)) == ["blobs", "index.json", "oci-layout"]
    assert json.loads((made / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}


def test_images_are_added(made: Path, store: crafted.Store) -> None:
    other = crafted.make_image(store, crafted.layer_tar("a", b"a"))
    third = crafted.make_image(store, crafted.layer_tar("b", b"b"))
    write_directory(made, [Offer(other.manifest, ("2",))], store.blobs)
    write_directory(made, [Offer(third.manifest, (NAME,))], store.blobs)  # takes the name over
    write_directory(made, [Offer(third.manifest, (NAME,))], store.blobs)
    with Directory(str(made), store.blobs) as place:
        assert [(offer.target.digest, offer.labels) for offer in place.offers] == [
            (other.manifest.digest, ("2",)),
            (third.manifest.digest, (NAME,)),
        ]
        assert layout.find(place.offers, "2").target.digest == other.manifest.digest
        assert layout.find(place.offers, "app:1") == layout.find(place.offers, "1")
        with pytest.raises(Conflict):
            layout.find(place.offers, "")
        with pytest.raises(NotFound):
            layout.find(place.offers, "3")


def test_other_directories_are_left_alone(tmp_path: Path, store: crafted.Store) -> None:
    (tmp_path / "precious").write_text("x")
    with pytest.raises(Invalid, match="neither empty nor"):
        write_directory(tmp_path, [Offer(crafted.make_image(store, TAR).manifest)], store.blobs)
    assert os.listdir(tmp_path) == ["precious"]


def test_a_blob_with_another_digest(made: Path, store: crafted.Store) -> None:
    layer = layer_of(made)
    layer.write_bytes(b"x" * layer.stat().st_size)
    with pytest.raises(Corrupt):
        get(made, store)
    assert sha256(layer.read_bytes()) not in store.all
    assert not store.leftovers


@pytest.mark.parametrize("size", [0, 10, 100_000])
def test_a_blob_of_another_size(made: Path, store: crafted.Store, size: int) -> None:
    os.truncate(layer_of(made), size)
    with pytest.raises(Corrupt):
        get(made, store)
    assert not store.leftovers


def test_a_blob_that_is_a_link(made: Path, store: crafted.Store, tmp_path: Path) -> None:
    layer = layer_of(made)
    layer.rename(tmp_path / "elsewhere")
    layer.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Invalid, match="cannot be read"):
        get(made, store)


def test_a_blob_that_is_a_pipe(made: Path, store: crafted.Store) -> None:
    layer = layer_of(made)
    layer.unlink()
    os.mkfifo(layer)
    with pytest.raises(Invalid, match="not a regular file"):
        get(made, store)


def test_what_is_no_layout(tmp_path: Path, store: crafted.Store) -> None:
    with pytest.raises(NotFound, match="there is no oci-layout"):
        get(tmp_path, store)
    with pytest.raises(NotFound, match="there is no directory"):
        get(tmp_path / "nowhere", store)


def test_names_come_from_annotations() -> None:
    def entry(digest: str, **annotations: str) -> Descriptor:
        keys = {"image": layout.IMAGE_NAME, "ref": layout.REF_NAME}
        found = {keys[key]: text for key, text in annotations.items()}
        return Descriptor(media.OCI_MANIFEST, sha256(digest.encode()), 1, annotations=found)

    entries = [
        entry("a", image="docker.io/library/a:1", ref="1"),
        entry("a", ref="quay.io/b"),
        entry("b", ref="latest"),
        entry("c"),
    ]
    data = json.dumps({"schemaVersion": 2, "manifests": [each.to_json() for each in entries]}).encode()
    found = layout.offers(data)
    assert [[str(name) for name in layout.names(offer)] for offer in found] == [["a:1", "quay.io/b:latest"], [], []]
    assert layout.offers(layout.index(found)) == (
        found[0]._replace(labels=("docker.io/library/a:1", "quay.io/b")),
        *found[1:],
    )
