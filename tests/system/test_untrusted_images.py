"""What images from strangers must not bring about besides escapes (those are tests/layers and tests/runtime)."""

import json
import stat
from pathlib import Path

import pytest

import faulty
import images
from commands import Account, Sampan
from crafted import layer_tar
from sampan.errors import NotFound
from sampan.oci import media
from sampan.oci.digest import Digest, sha256
from sampan.store.blobs import Blobs

pytestmark = [pytest.mark.system, pytest.mark.root]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "file").write_text("honest\n")
    (directory / "Dockerfile").write_text("FROM scratch\nCOPY file /file\nLABEL a=b\n")
    return directory


def test_a_pulled_image_is_no_cache_of_a_build(sampan: Sampan, project: Path, tmp_path: Path) -> None:
    """CVE-2024-24557: an image that claims to be what a step would lead to, and is something else."""
    other = Sampan(tmp_path / "other")
    other("build", "-t", "victim", project)
    blobs = Blobs(str(other.root / "blobs"))
    honest = json.loads(blobs.read(Digest(other("images", "-q", "--no-trunc").stdout.strip())))

    evil = layer_tar("file", b"evil\n")
    packed = images.isal.igzip.compress(evil, mtime=0)
    honest["rootfs"]["diff_ids"] = [sha256(evil)]
    config = json.dumps(honest).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media.OCI_MANIFEST,
            "config": {"mediaType": media.OCI_CONFIG, "digest": sha256(config), "size": len(config)},
            "layers": [{"mediaType": media.OCI_LAYER_GZIP, "digest": sha256(packed), "size": len(packed)}],
        }
    ).encode()
    content = {f"/blobs/{sha256(data)}": faulty.Answer(200, {}, data) for data in (config, packed)}
    content["/manifests/1"] = faulty.Answer(200, {"Content-Type": media.OCI_MANIFEST}, manifest)
    with faulty.registry(content) as registry:
        sampan("pull", f"{registry.address}/evil:1")
        sampan("tag", f"{registry.address}/evil:1", "victim")
    built = sampan("build", "-t", "mine", project)
    assert "#2 CACHED" not in built.stdout + built.stderr
    done = [path.read_text() for path in (sampan.root / "snapshots").rglob("fs/file")]
    assert sorted(done) == ["evil\n", "honest\n"]
    made = json.loads(sampan("image", "inspect", "mine").stdout)[0]
    assert sha256(evil) not in made["RootFS"]["Layers"]


LABELS = {
    "a": "$(touch {canary})",
    "b": "`touch {canary}`",
    "c": "{{{{.Id}}}} %n %s",
    "d": "\x1b[31mred\x1b[0m\r\nforged line",
    "io.buildah.hook": "/bin/touch {canary}",
    "com.example/../../x": "../../canary",
}


def test_labels_are_never_interpreted(sampan: Sampan, tmp_path: Path) -> None:
    """containerd's CVE-2026-53488: text of an image that becomes a command of the host."""
    canary = tmp_path / "canary"
    labels = {key: text.format(canary=canary) for key, text in LABELS.items()}
    images.put(sampan, "labelled", {}, {"Labels": labels})
    shown = json.loads(sampan("inspect", "labelled").stdout)[0]
    assert shown["Config"]["Labels"] == labels
    for verb in (
        ("images",),
        ("history", "labelled"),
        ("run", "--rm", "--network=none", "labelled", "true"),
        ("ps", "-a"),
    ):
        output = sampan(*verb).stdout
        assert "\x1b" not in output
        assert "forged" not in output.replace("red", "")
    sampan("build", "-t", "upon", "-", input="FROM labelled\nLABEL x=y\n", check=False)
    assert not canary.exists()


def test_nobody_else_can_enter_the_store(sampan: Sampan, ordinary_user: Account) -> None:
    """CVE-2021-41091, CVE-2025-47290: what images hold, set-id programs too, is out of reach of other users."""
    images.put(sampan, "some", {"tool": images.File("x", 0o4755)})
    inside = [path for room in ("snapshots", "blobs") for path in (sampan.root / room).iterdir()]
    assert len(inside) >= 3
    for path in inside:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    tool = next((sampan.root / "snapshots").rglob("tool"))
    assert tool.stat().st_mode & stat.S_ISUID
    sampan.root.chmod(0o755)  # where the fixture made it, it kept others out already
    assert "Permission denied" in ordinary_user.run(["cat", tool], check=False).stderr
    assert "Permission denied" not in ordinary_user.run(["ls", sampan.root], check=False).stderr


@pytest.mark.parametrize("name", ["sha256:../../../etc/passwd", "sha256:" + "0" * 63 + "/", "sha512:" + "0" * 64, "x"])
def test_digests_that_are_paths(sampan: Sampan, name: str) -> None:
    """CVE-2024-3727: a digest that was never checked to be one."""
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media.OCI_MANIFEST,
            "config": {"mediaType": media.OCI_CONFIG, "digest": name, "size": 1},
            "layers": [],
        }
    ).encode()
    answer = faulty.Answer(200, {"Content-Type": media.OCI_MANIFEST}, manifest)
    with faulty.registry({"/manifests/1": answer}) as registry:
        refused = sampan("pull", f"{registry.address}/evil:1", check=False)
        assert refused.returncode == 1
        assert "not a digest" in refused.stderr
        assert [seen.path for seen in registry.seen if "blobs" in seen.path] == []
    assert Blobs(str(sampan.root / "blobs")).all() == []
    with pytest.raises(NotFound):
        Blobs(str(sampan.root / "blobs")).read(sha256(b"x"))
