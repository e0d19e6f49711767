"""Generated files: the same everywhere, and as compressible as real ones."""

import hashlib
import zlib
from pathlib import Path

import pytest

from bench import contents
from bench.contents import File, Size, Stock


@pytest.fixture(scope="module")
def stock() -> Stock:
    return contents.stock()


def test_contents_depend_on_nothing_but_the_path_the_kind_and_the_size(stock: Stock) -> None:
    digests = {
        kind: hashlib.sha256(contents.content(File(f"base/{kind}", kind, 10_000), stock)).hexdigest()[:12]
        for kind in ("text", "program", "random")
    }
    assert digests == DIGESTS


DIGESTS = {"text": "499dd37f8e04", "program": "ccaf8814e823", "random": "dcb569f4df47"}


def test_a_plan_has_the_files_and_the_bytes_that_were_asked_for(stock: Stock) -> None:
    files = contents.plan("base", 500, 2_000_000)
    assert len({file.path for file in files}) == 500
    assert 2_000_000 - 500 <= sum(file.size for file in files) <= 2_000_000
    assert files == contents.plan("base", 500, 2_000_000)
    assert all(len(contents.content(file, stock)) == file.size for file in files)


def test_a_layer_compresses_as_those_of_real_images_do(stock: Stock) -> None:
    data = [contents.content(file, stock) for file in contents.plan("base", 660, 20_000_000)]
    ratio = sum(len(zlib.compress(each, 6)) for each in data) / sum(map(len, data))
    assert 0.3 < ratio < 0.5


def test_the_layers_of_the_large_image_add_up() -> None:
    layers = list(Size(400, 13_000).layers())
    assert [name for name, _, _ in layers] == ["base", "application"]
    assert sum(count for _, count, _ in layers) == 13_000
    assert sum(total for _, _, total in layers) == 400_000_000


def test_the_tiny_image_has_a_shell(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"static")
    contents.write_tiny(tmp_path / "context", str(program))
    assert (tmp_path / "context/bin/sh").read_bytes() == b"static"


def test_a_project_is_the_same_each_time(tmp_path: Path, stock: Stock) -> None:
    for name in ("first", "second"):
        contents.write_project(tmp_path / name, "base", stock, count=50)
    first, second = (
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("first", "second")
    )
    assert first == second
    assert len(first) == 51  # and the Dockerfile
    assert (tmp_path / "first/Dockerfile").read_text().startswith("FROM base\n")


def test_contexts_copy_all_that_they_have(stock: Stock, tmp_path: Path) -> None:
    contents.write_many(tmp_path / "many", "base", stock, count=50, total=100_000)
    contents.write_file(tmp_path / "file", "base", stock, size=20_000_000)
    contents.write_stages(tmp_path / "stages", "base", count=3)
    assert sum(path.is_file() for path in (tmp_path / "many/tree").rglob("*")) == 50
    assert (tmp_path / "file/file").stat().st_size > 19_000_000
    instructions = (tmp_path / "stages/Dockerfile").read_text().splitlines()
    assert [line.split()[0] for line in instructions] == ["FROM", "RUN"] * 3 + ["FROM"] + ["COPY"] * 3


def test_an_archive_of_many_images(tmp_path: Path) -> None:
    from sampan.archives.archive import Archive
    from sampan.store.blobs import Blobs

    contents.write_images(tmp_path / "images.tar", 12)
    with open(tmp_path / "images.tar", "rb", buffering=0) as file:
        offers = Archive(file, Blobs(str(tmp_path / "blobs"))).offers
    assert len({offer.target.digest for offer in offers}) == 12
    assert all(label.startswith(contents.MANY) for offer in offers for label in offer.labels)
