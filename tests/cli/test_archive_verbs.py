"""save and load, over real stores."""

import lzma
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import crafted
from commands import Inside
from sampan.engine import Engine, open_engine
from sampan.oci import media
from sampan.oci import reference as references
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import sha256
from sampan.oci.manifest import Index
from sampan.oci.platform import Platform, host
from sampan.store.images import Image

TAR = crafted.layer_tar("hello", b"hello\n")
OTHER = crafted.layer_tar("other", b"other\n")
S390X = Platform("linux", "s390x")


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Callable[[str], Engine]]:
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(open_engine(str(tmp_path / name)))


@pytest.fixture
def engine(open_store: Callable[[str], Engine]) -> Engine:
    return open_store("root")


@pytest.fixture
def other(open_store: Callable[[str], Engine]) -> Engine:
    return open_store("other")


def put(engine: Engine, *names: str, tars: tuple[bytes, ...] = (TAR,), platform: Platform | None = None) -> Image:
    image = crafted.make_image(crafted.Store(engine.blobs, engine.images, []), *tars, platform=platform)
    for name in names:
        engine.images.name(references.parse(name).tagged(), image)
    return image


def put_index(engine: Engine, name: str, *images: Image, absent: bool = False) -> Descriptor:
    entries = [image.manifest._replace(platform=image.platform) for image in images]
    if absent:
        entries.append(Descriptor(media.OCI_MANIFEST, sha256(b"absent"), 6, Platform("linux", "riscv64")))
    data = Index(media.OCI_INDEX, tuple(entries)).encode()
    target = Descriptor(media.OCI_INDEX, engine.blobs.put(data), len(data))
    engine.images.name(references.parse(name), images[0], target)
    return target


def is_empty(engine: Engine) -> bool:
    rows = engine.database.execute("SELECT count(*) FROM snapshot").fetchone()[0]
    return not (engine.images.all() or engine.images.names() or engine.blobs.all() or rows)


def test_save_and_load(engine: Engine, other: Engine, run: Inside, tmp_path: Path) -> None:
    first = put(engine, "a:1", "localhost:5000/b:2")
    second = put(engine, tars=(TAR, OTHER))
    file = tmp_path / "x.tar"
    assert run(engine, "save", "-o", file, "a:1", second.id.short, "localhost:5000/b:2") == (0, "", "")
    assert [path.name for path in tmp_path.iterdir() if "x.tar" in path.name] == ["x.tar"]
    said = f"Loaded image: a:1\nLoaded image: localhost:5000/b:2\nLoaded image ID: {second.id}\n"
    assert run(other, "load", "-i", file) == (0, said, "")
    assert other.images.find("a:1").id == other.images.find("localhost:5000/b:2").id == first.id
    loaded = other.images.find(second.id)
    assert (loaded.manifest, loaded.chain) == (second.manifest, second.chain)
    assert loaded.chain is not None
    assert (Path(other.snapshots.stack(loaded.chain)[0]) / "other").read_text() == "other\n"
    assert run(other, "image", "load", "--quiet", "-i", file) == (0, said, "")


def test_a_repository_means_all_its_tags(engine: Engine, run: Inside, tmp_path: Path) -> None:
    put(engine, "a:1", "b:1")
    put(engine, "a:2", tars=(OTHER,))
    run(engine, "save", "-o", tmp_path / "x.tar", "a")
    with tarfile.open(tmp_path / "x.tar") as archive:
        file = archive.extractfile("manifest.json")
        assert file is not None
        assert b"a:1" in (text := file.read())
    assert b"a:2" in text
    assert b"b:1" not in text


def test_a_name_that_moves(engine: Engine, other: Engine, run: Inside, tmp_path: Path) -> None:
    put(engine, "a:1")
    old = put(other, "a:1", tars=(OTHER,))
    run(engine, "save", "-o", tmp_path / "x.tar", "a:1")
    code, out, _ = run(other, "load", "-i", tmp_path / "x.tar")
    assert code == 0
    assert out.splitlines() == [
        f"The image a:1 already exists, renaming the old one with ID {old.id} to empty string",
        "Loaded image: a:1",
    ]
    assert other.images.get(old.id) == old


def test_an_index_of_two_platforms(engine: Engine, other: Engine, run: Inside, tmp_path: Path) -> None:
    here, foreign = put(engine), put(engine, tars=(OTHER,), platform=S390X)
    target = put_index(engine, "a:1", here, foreign)
    assert run(engine, "save", "-o", tmp_path / "x.tar", "a:1")[0] == 0
    assert run(other, "load", "-i", tmp_path / "x.tar") == (0, "Loaded image: a:1\n", "")
    (name,) = other.images.names()
    assert (name.target, name.image_id) == (target, here.id)
    assert run(other, "save", "-o", tmp_path / "y.tar", "a:1")[0] == 0
    assert (tmp_path / "x.tar").read_bytes() == (tmp_path / "y.tar").read_bytes()


def test_one_platform_of_an_index(open_store: Callable[[str], Engine], run: Inside, tmp_path: Path) -> None:
    engine, one, two = open_store("root"), open_store("one"), open_store("two")
    here, foreign = put(engine), put(engine, tars=(OTHER,), platform=S390X)
    put_index(engine, "a:1", here, foreign)
    run(engine, "save", "-o", tmp_path / "both.tar", "a:1")
    assert run(engine, "save", "--platform", "linux/s390x", "-o", tmp_path / "one.tar", "a:1")[0] == 0
    for store, file, options in ((one, "one.tar", ()), (two, "both.tar", ("--platform=linux/s390x",))):
        assert run(store, "load", "-i", tmp_path / file, *options)[0] == 0
        assert [image.id for image in store.images.all()] == [foreign.id]
        assert store.images.names()[0].target == foreign.manifest
    code, _, err = run(engine, "save", "--platform", "linux/riscv64", "-o", tmp_path / "no.tar", "a:1")
    assert code == 1
    assert "there is no image for linux/riscv64\nhint: the platforms on offer: " in err
    assert not (tmp_path / "no.tar").exists()


def test_an_index_of_which_not_all_is_there(engine: Engine, other: Engine, run: Inside, tmp_path: Path) -> None:
    here = put(engine)
    put_index(engine, "a:1", here, absent=True)
    assert run(engine, "save", "-o", tmp_path / "x.tar", "a:1")[0] == 0
    assert run(other, "load", "-i", tmp_path / "x.tar")[0] == 0
    assert other.images.names()[0].target == here.manifest  # what is given away is whole


def test_an_image_for_another_platform(engine: Engine, other: Engine, run: Inside, tmp_path: Path) -> None:
    foreign = put(engine, "a:1", platform=S390X)
    run(engine, "save", "-o", tmp_path / "x.tar", "a:1")
    code, _, err = run(other, "load", "--platform", str(host()), "-i", tmp_path / "x.tar")
    assert code == 1
    assert f"the image in it is for linux/s390x, not for {host()}" in err
    assert is_empty(other)
    assert run(other, "load", "-i", tmp_path / "x.tar")[0] == 0
    assert other.images.find("a:1").platform == foreign.platform


def test_what_cannot_be_loaded_leaves_nothing(engine: Engine, other: Engine, run: Inside, tmp_path: Path) -> None:
    put(engine, "a:1")
    put(engine, "b:1", tars=(b"no tar at all, and long enough to be one" * 100,))
    file = tmp_path / "x.tar"
    run(engine, "save", "-o", file, "a:1", "b:1")
    code, out, err = run(other, "load", "-i", file)
    assert (code, out) == (1, "")
    assert err.startswith(f"sampan: {file} cannot be loaded: layer ")
    assert err.count("\n") == 1
    assert is_empty(other)
    os.truncate(file, 5000)
    code, out, err = run(other, "load", "-i", file)
    assert err.startswith(f"sampan: {file} cannot be loaded: the archive is truncated")
    assert is_empty(other)


def test_wrong_words(engine: Engine, run: Inside, tmp_path: Path) -> None:
    put(engine, "a:1")
    for words, message in (
        (("save",), "requires at least 1 argument"),
        (("save", "-o", tmp_path / "x", "nosuch"), "no such image: nosuch:latest"),
        (("save", "-o", tmp_path, "a:1"), "is a directory"),
        (("save", "-o", tmp_path / "no/such/x", "a:1"), "no such file or directory"),
        (("save", "--platform", "a/b/c/d", "-o", tmp_path / "x", "a:1"), "not a platform"),
        (("load", "-i", tmp_path / "nosuch"), "no such file or directory"),
        (("load", "-i", tmp_path), "cannot be loaded: there is no oci-layout"),
        (("load", "x"), "accepts no arguments"),
    ):
        code, out, err = run(engine, *words)
        assert (code, out) == (1, ""), words
        assert message in err
    assert not (tmp_path / "x").exists()


def test_copy_between_all_places(engine: Engine, run: Inside, tmp_path: Path) -> None:
    here, foreign = put(engine), put(engine, tars=(OTHER,), platform=S390X)
    target = put_index(engine, "a:1", here, foreign)
    stops = [f"oci:{tmp_path}/l:t", f"oci-archive:{tmp_path}/o.tar:x:1", f"dir:{tmp_path}/d", f"oci:{tmp_path}/l:two"]
    stops.append("copied:1")
    for source, destination in zip(["a:1", *stops], stops, strict=False):
        assert run(engine, "copy", "-q", source, destination) == (0, f"{target.digest}\n", "")
    assert engine.images.names()[1].target == target
    assert engine.images.find("copied:1") == engine.images.find("a:1")
    assert run(engine, "copy", f"oci:{tmp_path}/l:t", f"docker-archive:{tmp_path}/a.tar:b:2")[0] == 0
    assert run(engine, "load", "-q", "-i", tmp_path / "a.tar")[1] == "Loaded image: b:2\n"
    assert run(engine, "copy", "-q", "--platform", "linux/s390x", f"dir:{tmp_path}/d", "foreign:1")[0] == 0
    assert engine.images.find("foreign:1").id == foreign.id


def test_copy_takes_one_image_of_a_repository_with_several(engine: Engine, run: Inside, tmp_path: Path) -> None:
    latest = put(engine, "a:latest")
    put(engine, "a:old", tars=(OTHER,))
    for text in ("a", latest.id.short):
        assert run(engine, "copy", "-q", text, f"oci:{tmp_path}/l:t") == (0, f"{latest.manifest.digest}\n", "")
    put(engine, "b:old")
    assert "no such image: b:latest" in run(engine, "copy", "-q", "b", f"oci:{tmp_path}/l:t")[2]


def test_what_only_passed_through_is_not_kept(engine: Engine, other: Engine, run: Inside, tmp_path: Path) -> None:
    put(engine, "a:1")
    run(engine, "copy", "a:1", f"dir:{tmp_path}/d")
    assert run(other, "copy", "-q", f"dir:{tmp_path}/d", f"oci:{tmp_path}/l")[0] == 0
    assert is_empty(other)


def test_copy_that_cannot_be(engine: Engine, run: Inside, tmp_path: Path) -> None:
    put(engine, "a:1")
    run(engine, "copy", "-q", "a:1", f"oci:{tmp_path}/l:t")
    for source, destination, message in (
        ("nosuch", "b", "nosuch cannot be read: no such image: nosuch:latest"),
        (f"oci:{tmp_path}/l:u", "b", "cannot be read: there is no image 'u' in it"),
        (f"oci:{tmp_path}/none", "b", "cannot be read: there is no directory"),
        ("a:1", f"dir:{tmp_path}", "cannot be written: the directory is not empty"),
        ("a:1", f"b@{sha256(b'')}", "has a digest, and an image cannot be given one"),
        ("a:1", "docker-daemon:x", "images cannot be copied from or to docker-daemon"),
        ("a:1", "oci:", "does not say where"),
    ):
        code, out, err = run(engine, "copy", "-q", source, destination)
        assert (code, out) == (1, ""), destination
        assert message in err


def test_import(engine: Engine, run: Inside, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(TAR)
    words = ("-m", "by hand", "-c", 'CMD ["/hello"]', "-c", "ENV A=1", "--platform", "linux/s390x")
    code, out, err = run(engine, "import", *words, tmp_path / "x.tar", "imported")
    assert (code, err) == (0, "")
    image = engine.images.find("imported")
    assert out == f"{image.id}\n"
    assert image.platform == S390X
    assert image.chain is not None
    assert (Path(engine.snapshots.stack(image.chain)[0]) / "hello").read_text() == "hello\n"
    text = engine.blobs.read(image.id).decode()
    assert '"Cmd":["/hello"]' in text
    assert '"Env":["A=1"]' in text
    assert '"comment":"by hand"' in text
    (tmp_path / "y").write_bytes(lzma.compress(TAR))
    assert run(engine, "import", tmp_path / "y")[0] == 0


def test_import_of_what_is_no_archive(engine: Engine, run: Inside, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no archive" * 100)
    code, out, err = run(engine, "import", tmp_path / "x", "imported")
    assert (code, out) == (1, "")
    assert err.startswith(f"sampan: {tmp_path / 'x'} cannot be imported: ")
    assert is_empty(engine)
    assert run(engine, "import", "-c", "RUN x", tmp_path / "x")[2].startswith("sampan: RUN is not a valid change")
    assert run(engine, "import", tmp_path / "nosuch")[0] == 1


def test_a_part_of_an_index_is_not_told_apart(engine: Engine, run: Inside) -> None:
    here, foreign, lone = put(engine), put(engine, tars=(OTHER,), platform=S390X), put(engine, tars=(TAR, OTHER))
    put_index(engine, "a:1", here, foreign)
    assert sorted(run(engine, "images", "-q")[1].split()) == sorted((here.id.short, lone.id.short))
    assert run(engine, "images", "-q", "-f", "dangling=true")[1].split() == [lone.id.short]


def test_a_tag_of_an_index_means_all_of_it(engine: Engine, run: Inside) -> None:
    target = put_index(engine, "a:1", put(engine), put(engine, tars=(OTHER,), platform=S390X))
    assert run(engine, "tag", "a:1", "b:1")[0] == 0
    assert [name.target for name in engine.images.names()] == [target, target]
