import io
import tarfile
from pathlib import Path

import pytest

from sampan.bases import layer
from sampan.bases.contents import Contents
from sampan.oci import config as configs
from sampan.oci import manifest as manifests
from sampan.oci.config import ContainerConfig
from sampan.store.blobs import Blobs


@pytest.fixture
def contents(tmp_path: Path) -> Contents:
    import os

    (tmp_path / "tool").write_text("tool")
    (tmp_path / "tool").chmod(0o4711)
    os.utime(tmp_path / "tool", (5_000, 5_000))
    planned = Contents()
    planned.copy(str(tmp_path / "tool"), "/usr/bin/tool")
    planned.write("/etc/old", "old", mtime=1_000)
    planned.write("/etc/passwd", "root")
    planned.link("/bin", "usr/bin")
    planned.directory("/tmp", 0o1777)
    return planned


def unpacked(blobs: Blobs, written: layer.Layer) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(blobs.path(written.descriptor.digest)) as archive:
        return {member.name: member for member in archive}


def test_an_archive_that_others_can_read(tmp_path: Path, contents: Contents) -> None:
    blobs = Blobs(str(tmp_path / "blobs"))
    members = unpacked(blobs, layer.write(contents, blobs))
    assert list(members) == ["bin", "etc", "etc/old", "etc/passwd", "tmp", "usr", "usr/bin", "usr/bin/tool"]
    assert {(member.uid, member.gid) for member in members.values()} == {(0, 0)}
    assert {name: member.mode for name, member in members.items() if name in ("tmp", "usr/bin/tool", "etc/old")} == {
        "tmp": 0o1777,
        "usr/bin/tool": 0o755,
        "etc/old": 0o644,
    }
    assert members["bin"].linkname == "usr/bin"
    assert (members["etc/old"].mtime, members["etc/passwd"].mtime, members["usr"].mtime) == (1_000, 5_000, 5_000)


def test_no_time_is_later_than_the_source_date(
    tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "2000")
    blobs = Blobs(str(tmp_path / "blobs"))
    members = unpacked(blobs, layer.write(contents, blobs))
    assert (members["etc/old"].mtime, members["usr/bin/tool"].mtime, members["tmp"].mtime) == (1_000, 2_000, 2_000)


def test_an_image_of_an_archive(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path / "blobs"))
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as writing:
        writing.addfile(tarfile.TarInfo("etc/hello"))
    written = layer.import_archive(io.BytesIO(archive.getvalue()), blobs)
    built = layer.image(written, ContainerConfig(cmd=("sh",)), 86_400, "made by a test", blobs)
    assert list(unpacked(blobs, written)) == ["etc/hello"]
    manifest = manifests.parse(blobs.read(built.target.digest), built.target.media_type)
    assert isinstance(manifest, manifests.Manifest)
    config = configs.parse(blobs.read(manifest.config.digest))
    assert (config.diff_ids, config.config.cmd, config.created) == ((written.diff_id,), ("sh",), "1970-01-02T00:00:00Z")
    assert manifest.layers == (written.descriptor,)
