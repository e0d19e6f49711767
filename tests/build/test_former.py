"""A COPY that finds most of its files where the last build left them: the same layer as without, for less work."""

import gzip
import io
import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import commands
import trees
from sampan.build import former
from sampan.build.former import Former
from sampan.layers.compression import COMPRESSOR, Deflate
from sampan.layers.window import Data
from sampan.layers.write import Index, Layer
from sampan.oci import media
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest, sha256

pytestmark = pytest.mark.system
EPOCH = 2_000_000_000
DOCKERFILE = "FROM scratch\nARG OWNER=0\nARG MODE\nCOPY --chown=$OWNER --chmod=$MODE files /app/\nCOPY <<x /app/z\nx\n"
FILES = {f"{directory}/{name}": f"{directory} {name}" for directory in ("a", "a/b", "c") for name in "xyz"}


class Project:
    """A context, and what builds of it come to."""

    def __init__(self, sampan: commands.Sampan, context: Path) -> None:
        self.sampan = sampan
        self.context = context
        self.files = context / "files"
        trees.make(self.files, {**FILES, "l": trees.Link("a/x")})
        for number in range(40):  # more than one piece of what is compressed
            (self.files / f"c/{number}").write_text(f"{number} " * 20_000)
        (context / "Dockerfile").write_text(DOCKERFILE)
        self.hand_over()

    def hand_over(self) -> None:
        if self.sampan.account:
            for path in (self.context, *self.context.rglob("*")):
                os.lchown(path, self.sampan.account.uid, self.sampan.account.gid)

    def digest(self, *options: str) -> str:
        """Of the image that is built, compressed layers and all."""
        epoch = f"SOURCE_DATE_EPOCH={EPOCH}"
        self.sampan("build", "-q", "-t", "built", "--build-arg", epoch, *options, self.context)
        digest: str = json.loads(self.sampan("inspect", "built").stdout)[0]["Descriptor"]["digest"]
        return digest

    def top(self) -> Path:
        """The directory of the layer that COPY made last."""
        snapshots = self.sampan.root / "snapshots"
        noted = [each for each in snapshots.iterdir() if (each / "placed").exists()]
        return max(noted, key=lambda each: int(each.name)) / "fs/app"

    def names(self) -> dict[str, int]:
        """How many names each file has that COPY placed."""
        return {path: (self.top() / path).stat().st_nlink for path in FILES if (self.top() / path).is_file()}


@pytest.fixture(params=[pytest.param("root", marks=pytest.mark.root), "rootless"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    if request.param == "root":
        yield Project(request.getfixturevalue("sampan"), tmp_path / "context")
        return
    account: commands.Account = request.getfixturevalue("ordinary_user")
    yield Project(request.getfixturevalue("rootless_sampan"), account.home / "context")


def test_what_did_not_change_is_linked(project: Project) -> None:
    project.digest()
    assert set(project.names().values()) == {1}
    changed = project.files / "a/x"
    changed.write_text("a y")
    project.digest()
    assert project.names() == {path: 1 if path == "a/x" else 2 for path in FILES}
    assert (project.top() / "a/x").read_text() == "a y"
    assert (project.top() / "a/y").read_text() == "a y"


@pytest.mark.parametrize(("option", "value"), [("OWNER", "5:6"), ("MODE", "u+x")])
def test_a_file_with_other_attributes_is_none_of_them(project: Project, option: str, value: str) -> None:
    project.digest()
    again = project.digest("--build-arg", f"{option}={value}")
    assert set(project.names().values()) == {1}
    assert again == project.digest("--build-arg", f"{option}={value}", "--no-cache")


def test_the_layer_is_the_same_as_without(project: Project) -> None:
    source = random.Random(7)
    for count in range(12):
        (project.files / "count").write_text(str(count))  # times alone would not have it built again
        for _ in range(source.randint(0, 3)):
            change(project.files, source)
        project.hand_over()
        incremental = project.digest()
        assert incremental == project.digest("--no-cache")


def change(root: Path, source: random.Random) -> None:
    """Does one of the things that people do to files between two builds."""
    files = sorted(path for path in root.glob("*/**/*") if path.is_file() and not path.is_symlink())
    path, other = source.choice(files), source.choice(files)
    match source.randrange(9):
        case 0:
            path.write_text(f"new {source.random()}")
        case 1:  # as large and as old as before
            status = path.stat()
            path.write_bytes(bytes(status.st_size))
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        case 2:
            os.utime(path, (source.randrange(EPOCH), source.randrange(EPOCH)))
        case 3:
            path.chmod(source.choice((0o600, 0o755, 0o4755)))
        case 4 if path != other:  # swapped, with equal times
            os.utime(path, ns=(0, other.stat().st_mtime_ns))
            path.rename(root / "aside")
            other.rename(path)
            (root / "aside").rename(other)
        case 5 if path != other:
            other.unlink()
            other.hardlink_to(path)
        case 6:  # no longer a hard link
            content = path.read_bytes()
            status = path.stat()
            path.unlink()
            path.write_bytes(content)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        case 7 if len(files) > 4:
            path.unlink()
            path.mkdir()
            (path / "inner").write_text("inner")
        case 8 if len(files) > 4:
            path.unlink()
            path.symlink_to("c")


def test_a_damaged_blob_is_not_copied_on(project: Project) -> None:
    """The layer's own tar is where unchanged members come from, if it is what it was."""
    first = project.digest()
    project.digest()
    image = json.loads(project.sampan("inspect", "built").stdout)[0]
    digest = image["Descriptor"]["digest"].removeprefix("sha256:")
    manifest = json.loads((project.sampan.root / "blobs/sha256" / digest).read_bytes())
    blob = project.sampan.root / "blobs/sha256" / manifest["layers"][0]["digest"].removeprefix("sha256:")
    blob.chmod(0o644)
    blob.write_bytes(gzip.compress(gzip.decompress(blob.read_bytes()).replace(b"c y", b"odd")))
    (project.files / "c/x").write_text("other")
    project.hand_over()
    changed = project.digest()
    assert changed != first
    assert set(project.names().values()) == {1, 2}
    assert changed == project.digest("--no-cache")


class Stored:
    """Blobs of which there is one."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def open(self, _: Digest) -> io.BytesIO:
        return io.BytesIO(self._data)


def former_of(tmp_path: Path, pieces: list[bytes], index: Index, compressor: str | None = None) -> Former:
    """What a layer made of ``pieces`` says of itself, with a note by ``index``."""
    out: list[Data] = []
    deflate = Deflate(out.append, "gzip")
    for piece in pieces:
        deflate.add(piece)
    deflate.finish()
    index.pieces = index.pieces or deflate.pieces
    blob, upper = b"".join(out), tmp_path / "fs"
    upper.mkdir(exist_ok=True)
    former.write_note(str(upper), None, {}, index)
    annotations = {COMPRESSOR: compressor or deflate.implementation}
    descriptor = Descriptor(media.OCI_LAYER_GZIP, sha256(blob), len(blob), annotations=annotations)
    return Former(str(upper), Layer(sha256(b"".join(pieces)), descriptor, 0), Stored(blob))


PIECES = [b"first" * 1000, b"second" * 2000, b"s" * 100]


def test_a_piece_that_is_the_same_again_is_taken_over(tmp_path: Path) -> None:
    with former_of(tmp_path, PIECES, Index()) as found:
        found.members(None)
        assert found.known
        for piece in PIECES:
            packed, implementation = packed_alone(piece)
            assert found.known(piece, implementation) == packed
            assert found.known(memoryview(piece), implementation) == packed
            assert found.known(piece, "another") is None
            for other in (piece[:-1], piece[:-1] + b"!", piece + b"!", b"never seen"):
                assert found.known(other, implementation) is None


def test_notes_that_are_not_of_this_layer_are_of_no_use(tmp_path: Path) -> None:
    for odd in ([(5000, 10)], [(5000, 10), (12000, 10), (100, 10)], [(17100, 1)]):
        index = Index()
        index.pieces = odd
        with former_of(tmp_path, PIECES, index) as found:
            found.members(None)
            assert found.known is None


def packed_alone(piece: bytes) -> tuple[Data, str]:
    out: list[Data] = []
    deflate = Deflate(out.append, "gzip")
    deflate.add(piece)
    return out[1], deflate.implementation


def test_hard_links_stay_and_go(project: Project) -> None:
    first, second = project.files / "a/x", project.files / "a/y"
    second.unlink()
    second.hardlink_to(first)
    project.digest()
    for content in "12":
        (project.files / "count").write_text(content)
        assert project.digest() == project.digest("--no-cache")
        assert (project.top() / "a/x").samefile(project.top() / "a/y")
    shutil.copy2(first, project.files / "aside")
    (project.files / "aside").rename(second)
    (project.files / "count").write_text("3")
    project.hand_over()
    assert project.digest() == project.digest("--no-cache")
    assert not (project.top() / "a/x").samefile(project.top() / "a/y")


def test_files_come_and_go_with_their_directories(project: Project) -> None:
    project.digest()
    shutil.rmtree(project.files / "a")
    project.hand_over()
    project.digest()
    assert sorted(project.names()) == ["c/x", "c/y", "c/z"]
    assert set(project.names().values()) == {2}
    trees.make(project.files, {"a": "a file"})
    project.hand_over()
    project.digest()
    assert (project.top() / "a").read_text() == "a file"
