"""Contexts and Dockerfiles that come from elsewhere, as a whole: ``sampan build`` of standard input, URLs, git
repositories and image layouts."""

import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

import commands
import websites

pytestmark = [pytest.mark.system, pytest.mark.root, pytest.mark.needs("git")]
DOCKERFILE = b"FROM scratch\nCOPY . /\n"
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
}


class Building:
    """Builds of a context that is not a directory."""

    def __init__(self, sampan: commands.Sampan, site: websites.Website, root: Path) -> None:
        self.sampan = sampan
        self.site = site
        self.root = root

    def build(self, *arguments: str | Path, stdin: bytes = b"", check: bool = True) -> commands.Done:
        """``stdin`` has to be in a file: the runner speaks text."""
        path = self.root / "stdin"
        path.write_bytes(stdin)
        with path.open("rb") as file:
            return self.sampan("build", "-t", "built", "--progress=plain", *arguments, stdin=file, check=check)

    def files(self) -> list[str]:
        """The paths of the top layer's files."""
        from sampan.engine import open_engine

        with open_engine(str(self.sampan.root)) as engine:
            top = Path(engine.snapshots.stack(engine.images.find("built").chain)[0])
        return sorted(str(path.relative_to(top)) for path in top.rglob("*") if not path.is_dir())

    def leftovers(self) -> list[str]:
        temporary = self.sampan.root / "tmp"
        return os.listdir(temporary) if temporary.exists() else []


@pytest.fixture
def building(sampan: commands.Sampan, tmp_path: Path) -> Iterator[Building]:
    with websites.website() as site:
        found = Building(sampan, site, tmp_path)
        yield found
    assert found.leftovers() == []


def tar(files: dict[str, bytes], *members: tarfile.TarInfo, mtime: int = 0) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), mtime
            archive.addfile(member, io.BytesIO(content))
        for member in members:
            archive.addfile(member)
    return made.getvalue()


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_an_archive_on_standard_input(building: Building, compression: str) -> None:
    archive = tar({"./Dockerfile": DOCKERFILE, "./dir/file": b"x", ".dockerignore": b"dir"})
    building.build("-", stdin=COMPRESSIONS[compression](archive))
    assert building.files() == [".dockerignore", "Dockerfile", "dir/file"]


def test_the_dockerfile_is_named_inside_of_the_archive(building: Building) -> None:
    archive = tar({"a/Other": b"FROM scratch\nCOPY a/Other /\n"})
    building.build("-f", "a/Other", "-", stdin=archive)
    assert building.files() == ["Other"]
    failed = building.build("-", stdin=archive, check=False)
    assert "there is no Dockerfile in the build context" in failed.stderr
    outside = building.root / "mine"
    outside.write_text("FROM scratch\nCOPY a /b/\n")
    building.build("-f", outside, "-", stdin=archive)
    assert building.files() == ["b/Other"]


def test_a_dockerfile_on_standard_input(building: Building, tmp_path: Path) -> None:
    building.site.put("f", b"x")
    building.build("-", stdin=f"FROM scratch\nADD {building.site.url}/f /f\n".encode())
    assert building.files() == ["f"]
    directory = tmp_path / "directory"
    directory.mkdir()
    (directory / "here").write_text("x")
    building.build("-f", "-", directory, stdin=DOCKERFILE)
    assert building.files() == ["here"]
    failed = building.build("-", stdin=DOCKERFILE.replace(b".", b"here"), check=False)
    assert "here is not in the build context" in failed.stderr
    assert "hint: the build context is empty: there is only a Dockerfile\n" in failed.stderr
    failed = building.build("-f", "x", "-", stdin=DOCKERFILE, check=False)
    assert "there is no build context for -f to be in" in failed.stderr


@pytest.mark.parametrize(
    ("stdin", "said"),
    [
        (b"", "the Dockerfile is empty"),
        (bytes(10240), "there is no Dockerfile in the build context"),
        (b"\x1f\x8b\x08 and no more", "the build context: a gzip layer is"),
        (gzip.compress(b"FROM scratch", mtime=0), "the build context: "),
        (tar({"Dockerfile": DOCKERFILE})[:520], "the build context: the archive is"),
        (tar({"../../canary": b"x"}), "the build context: ../../canary in the archive points outside of it"),
        (b"# " + bytes(5 << 20), "larger than 4 MiB"),
    ],
)
def test_what_is_neither(building: Building, stdin: bytes, said: str) -> None:
    failed = building.build("-", stdin=stdin, check=False)
    assert failed.returncode == 1
    assert said in failed.stderr


def test_an_archive_reaches_nothing_outside_of_its_directory(building: Building) -> None:
    canary = building.root / "canary"
    canary.mkdir()
    out, absolute = tarfile.TarInfo("out"), tarfile.TarInfo("shadow")
    out.type = absolute.type = tarfile.SYMTYPE
    out.linkname, absolute.linkname = str(canary), "/etc/shadow"
    through = tarfile.TarInfo("out/file")
    archive = tar({"Dockerfile": b"FROM scratch\nCOPY shadow /x\n"}, out, through, absolute)
    failed = building.build("-", stdin=archive, check=False)
    assert "shadow is not in the build context: it is a link to /etc/shadow, which is not there" in failed.stderr
    assert os.listdir(canary) == []


def test_an_archive_or_a_dockerfile_behind_a_url(building: Building) -> None:
    site = building.site
    site.put("context", gzip.compress(tar({"Dockerfile": DOCKERFILE, "file": b"x"})), ETag='"1"')
    site.put("Dockerfile", DOCKERFILE)
    building.build(f"{site.url}/context")
    assert building.files() == ["Dockerfile", "file"]
    site.asked()
    assert "COPY . /\n#2 CACHED" in building.build(f"{site.url}/context").stderr
    assert site.asked() == ["HEAD /context"]
    building.build("-f", "-", f"{site.url}/context", stdin=b"FROM scratch\nCOPY file /only\n")
    assert building.files() == ["only"]
    building.build(f"{site.url}/Dockerfile")
    assert building.files() == ["context"]
    building.build("-f", f"{site.url}/Dockerfile", building.root)
    assert "stdin" in building.files()
    site.put("Dockerfile", DOCKERFILE.replace(b"COPY .", b"COPY stdin"))
    building.build("-f", f"{site.url}/Dockerfile", building.root)
    assert building.files() == ["stdin"]


def test_a_repository_is_a_context(building: Building) -> None:
    served = websites.Repository(building.root / "served" / "repo")
    served.write(sub__file="x", sub__Dockerfile="FROM scratch\nCOPY file /\n")
    served.commit(Dockerfile=DOCKERFILE.decode())
    with websites.git_server(building.root / "served") as url:
        building.build(f"{url}/repo")
        assert building.files() == ["Dockerfile", "sub/Dockerfile", "sub/file"]
        building.build(f"{url}/repo#main:sub")
        assert building.files() == ["file"]
        kept = building.build("--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1", f"{url}/repo")
        assert ".git/HEAD" in building.files()
        assert "not used" not in kept.stderr
        failed = building.build(f"{url}/repo#nothing", check=False)
        assert f"the git repository {url}/repo has no branch or tag nothing" in failed.stderr
        checked = building.build("--check", f"{url}/repo")
        assert "no warnings" in checked.stdout


def test_the_time_of_a_context(building: Building) -> None:
    def created(*arguments: str | Path, stdin: bytes = b"") -> str:
        building.build("--build-arg", "SOURCE_DATE_EPOCH=context", *arguments, stdin=stdin)
        return building.sampan("inspect", "--format", "{{.Created}}", "built").stdout.strip()

    served = websites.Repository(building.root / "served" / "repo")
    served.commit(Dockerfile=DOCKERFILE.decode())
    with websites.git_server(building.root / "served") as url:
        assert created(f"{url}/repo") == "2020-01-02T03:04:05Z"
    archive = tar({"Dockerfile": DOCKERFILE, "x": b"x"}, mtime=1_600_000_000)
    assert created("-", stdin=archive) == "2020-09-13T12:26:40Z"
    building.site.put("a.tar", archive)
    assert created(f"{building.site.url}/a.tar") == "2020-09-13T12:26:40Z"
    building.site.put("b.tar", archive, Last_Modified="Wed, 21 Oct 2015 07:28:00 GMT")
    assert created(f"{building.site.url}/b.tar") == "2015-10-21T07:28:00Z"


def test_named_contexts(building: Building) -> None:
    served = websites.Repository(building.root / "served" / "repo")
    served.commit(docs__index="one")
    building.site.put("archive.tar", tar({"x": b"x"}))
    dockerfile = b"FROM code\nCOPY --from=code index /copied\nCOPY --from=web context /archive.tar\n"
    with websites.git_server(building.root / "served") as url:
        code, web = f"code={url}/repo#main:docs", f"web={building.site.url}/archive.tar"
        building.build("--build-context", code, "--build-context", web, "-", stdin=dockerfile)
        assert building.files() == ["archive.tar"]
        # What nobody uses is not fetched.
        building.build("--build-context", "x=git://127.0.0.1:1/x", "--build-context", code, "-", stdin=b"FROM code\n")
        assert building.files() == ["index"]
    failed = building.build("--build-context", "code=ftp://host/x", "-", stdin=dockerfile, check=False)
    assert "Dockerfile:1: a build context from ftp is not supported" in failed.stderr


def test_an_image_layout_is_a_context(building: Building) -> None:
    building.build("-", stdin=tar({"Dockerfile": b"FROM scratch\nENV A=b\nCOPY . /\n"}))
    layout, archive = building.root / "layout", building.root / "archive"
    building.sampan("save", "-o", archive, "built")
    layout.mkdir()
    shutil.unpack_archive(archive, layout, "tar")
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    building.sampan("rmi", "built")
    dockerfile = b"FROM base\nCOPY --from=base Dockerfile /y\n"
    for name in (layout, f"{layout}:latest", f"{layout}@{digest}"):
        building.build("--build-context", f"base=oci-layout://{name}", "-", stdin=dockerfile)
        inspected = json.loads(building.sampan("inspect", "built").stdout)[0]
        assert "A=b" in inspected["Config"]["Env"]
        assert building.files() == ["y"]
        building.sampan("rmi", "built")
    wrong = digest.replace(digest[-8:], "0" * 8)
    for name, said in ((f"{layout}:no", "there is no image 'no' in it"), (f"{layout}@{wrong}", "there is no image")):
        failed = building.build("--build-context", f"base=oci-layout://{name}", "-", stdin=dockerfile, check=False)
        assert f"oci-layout://{name} cannot be read: {said}" in failed.stderr
