"""Images and their names: by name, by id, by digest."""

from pathlib import Path

import pytest

from sampan.errors import Conflict, Invalid, NotFound
from sampan.oci import media
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest, sha256
from sampan.oci.platform import Platform
from sampan.oci.reference import parse
from sampan.store import database
from sampan.store.images import Image, Images


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(database.connect(str(tmp_path / "sampan.db")))


def image(text: str, created: str = "2026-01-01T00:00:00Z", image_id: str | None = None) -> Image:
    manifest = Descriptor(media.OCI_MANIFEST, sha256(f"manifest {text}".encode()), 7)
    identifier = Digest(image_id) if image_id else sha256(text.encode())
    return Image(identifier, manifest, sha256(b"chain"), Platform("linux", "amd64"), created, 42)


def test_by_name_id_and_digest(images: Images) -> None:
    one = image("one")
    images.add(one)
    images.name(parse("app:1"), one)
    bare = one.id.encoded
    for text in ("app:1", "docker.io/library/app:1", one.id, bare, bare[:12], bare[:3], f"sha256:{bare[:8]}"):
        assert images.find(text) == one
    assert images.find(f"app@{one.manifest.digest}") == one
    assert images.get(one.id) == one


def test_latest_is_implied(images: Images) -> None:
    one = image("one")
    images.add(one)
    images.name(parse("app:latest"), one)
    assert images.find("app") == one
    with pytest.raises(NotFound, match="app:2"):
        images.find("app:2")


def test_a_name_wins_over_an_id_that_begins_like_it(images: Images) -> None:
    by_id = image("x", image_id="sha256:" + "ab" * 32)
    by_name = image("y")
    for each in (by_id, by_name):
        images.add(each)
    assert images.find("abab") == by_id
    images.name(parse("abab:latest"), by_name)
    assert images.find("abab") == by_name


def test_ambiguous_ids(images: Images) -> None:
    for last in "12":
        images.add(image(last, image_id="sha256:" + "a" * 63 + last))
    with pytest.raises(Conflict, match="several images' ids"):
        images.find("aaaa")


@pytest.mark.parametrize("text", ["nothing", "f" * 64, "sha256:" + "f" * 64, "sha256:ffff", "app@sha256:" + "0" * 64])
def test_what_is_not_there(images: Images, text: str) -> None:
    with pytest.raises(NotFound, match="no such image"):
        images.find(text)


@pytest.mark.parametrize("text", ["", "Upper", "a b", "sha256:xyz"])
def test_what_is_no_name(images: Images, text: str) -> None:
    with pytest.raises((Invalid, NotFound)):
        images.find(text)


def test_moving_and_removing_names(images: Images) -> None:
    one, two = image("one"), image("two", "2026-02-01T00:00:00Z")
    for each in (one, two):
        images.add(each)
        images.name(parse("app:1"), each)
    assert images.find("app:1") == two
    assert [name.reference for name in images.names(two.id)] == [parse("app:1")]
    assert images.names(one.id) == []
    assert images.all() == [two, one]  # the newest first
    images.unname(parse("app:1"))
    with pytest.raises(NotFound):
        images.unname(parse("app:1"))
    assert images.lookup(parse("app:1")) is None
    assert images.get(two.id) == two


def test_an_index_behind_a_name(images: Images) -> None:
    one = image("one")
    target = Descriptor(media.OCI_INDEX, sha256(b"index"), 9)
    images.add(one)
    images.name(parse("app:1"), one, target)
    found = images.lookup(parse("app:1"))
    assert found
    assert (found.target, found.image_id) == (target, one.id)
    assert images.find(f"app@{target.digest}") == one


def test_removing_an_image_takes_its_names(images: Images) -> None:
    one = image("one")
    images.add(one)
    images.add(one)  # idempotent
    images.name(parse("app:1"), one)
    images.remove(one.id)
    assert images.names() == []
    for action in (lambda: images.remove(one.id), lambda: images.get(one.id)):
        with pytest.raises(NotFound):
            action()


def test_names_need_a_tag_or_digest(images: Images) -> None:
    one = image("one")
    images.add(one)
    with pytest.raises(Invalid, match="neither tag nor digest"):
        images.name(parse("app"), one)
