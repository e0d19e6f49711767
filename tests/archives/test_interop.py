"""What sampan saves other engines load and run, and the other way round: real programs, in a sandbox."""

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import images
import peers as engines
from commands import Sampan, new_store, remove_store
from peers import Peers

pytestmark = [
    pytest.mark.system,
    pytest.mark.root,
    pytest.mark.interop,
    pytest.mark.needs("dockerd", "docker", "podman", "skopeo", "umoci", "busybox"),
]
HELLO = ("cat", "/hello")
SAID = "hello from a layer\n"


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that everyone sees."""
    root = new_store()
    shared = Path("/var/tmp") / root.name  # /dev/shm is the sandbox's own
    shared.mkdir()
    yield shared
    shutil.rmtree(shared)
    remove_store(root)


@pytest.fixture(scope="module")
def peers(place: Path) -> Iterator[Peers]:
    with engines.sandboxed(place, docker=True) as running:
        yield running


@pytest.fixture
def box(sampan: Sampan) -> Sampan:
    """A store with the image "box:1"."""
    images.put(sampan, "box", {"hello": SAID})
    sampan("tag", "box", "box:1")
    sampan("rmi", "box")
    return sampan


@pytest.fixture
def archive(place: Path) -> Iterator[Path]:
    yield place / "archive.tar"
    (place / "archive.tar").unlink(missing_ok=True)


def runs(sampan: Sampan, name: str) -> bool:
    return sampan("run", "--rm", "--network=none", name, *HELLO).stdout == SAID


def test_docker_loads_what_is_saved(box: Sampan, peers: Peers, archive: Path) -> None:
    box("save", "-o", archive, "box:1")
    assert peers("docker", "load", "-i", archive) == "Loaded image: box:1\n"
    assert peers("docker", "run", "--rm", "--network=none", "box:1", *HELLO) == SAID
    (theirs,) = json.loads(peers("docker", "inspect", "box:1"))
    (ours,) = json.loads(box("inspect", "box:1").stdout)
    for key in ("Id", "Architecture", "RootFS", "Created"):
        assert theirs[key] == ours[key], key


def test_podman_loads_what_is_saved(box: Sampan, peers: Peers, archive: Path) -> None:
    box("save", "-o", archive, "box:1")
    assert "box:1" in peers.podman("load", "-i", archive)
    assert peers.podman("run", "--rm", "--network=none", "box:1", *HELLO) == SAID


@pytest.mark.parametrize("transport", ["docker-archive", "oci-archive"])
def test_skopeo_reads_what_is_saved(box: Sampan, peers: Peers, archive: Path, place: Path, transport: str) -> None:
    box("save", "-o", archive, "box:1")
    layout = place / f"layout-{transport}"
    peers("skopeo", "copy", f"{transport}:{archive}", f"oci:{layout}:x")
    assert box("load", "-i", layout).stdout.startswith("Loaded image ID: sha256:")
    peers("umoci", "unpack", "--image", f"{layout}:x", place / f"bundle-{transport}")
    assert (place / f"bundle-{transport}/rootfs/hello").read_text() == SAID


def test_what_docker_saves_is_loaded(box: Sampan, peers: Peers, archive: Path) -> None:
    box("save", "-o", archive, "box:1")
    peers("docker", "load", "-i", archive)
    peers("docker", "tag", "box:1", "example.org/other:2")
    archive.unlink()
    peers("docker", "save", "-o", archive, "box:1", "example.org/other:2")
    identifier = json.loads(box("inspect", "box:1").stdout)[0]["Id"]
    box("rmi", "box:1")
    assert sorted(box("load", "-i", archive).stdout.splitlines()) == [
        "Loaded image: box:1",
        "Loaded image: example.org/other:2",
    ]
    assert runs(box, "example.org/other:2")
    assert json.loads(box("inspect", "box:1").stdout)[0]["Id"] == identifier
    box("rmi", "box:1", "example.org/other:2")
    archive.write_bytes(gzip.compress(archive.read_bytes(), 1))
    with archive.open() as file:
        box("load", "-q", stdin=file)
    assert runs(box, "box:1")


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci-dir", "docker-dir"])
def test_what_podman_saves_is_loaded(box: Sampan, peers: Peers, archive: Path, place: Path, form: str) -> None:
    box("save", "-o", archive, "box:1")
    name = peers.podman("load", "-i", archive).split()[-1]
    box("rmi", "box:1")
    saved = place / f"podman-{form}"
    peers.podman("save", "--format", form, "-o", saved, name)
    if form == "docker-dir":
        done = box("load", "-i", saved, check=False)
        assert "there is no oci-layout" in done.stderr
        return
    said = box("load", "-i", saved).stdout
    assert said == f"Loaded image: {name.removeprefix('docker.io/library/')}\n"
    assert runs(box, name)


@pytest.mark.parametrize("options", [("--dest-compress-format=zstd",), ("--dest-decompress",), ()])
def test_what_skopeo_writes_is_loaded(
    box: Sampan, peers: Peers, archive: Path, place: Path, options: tuple[str, ...]
) -> None:
    box("save", "-o", archive, "box:1")
    box("rmi", "box:1")
    copied = place / f"skopeo{len(options)}{'zstd' in ''.join(options)}"
    peers("skopeo", "copy", *options, f"oci-archive:{archive}", f"dir:{copied}")
    peers("skopeo", "copy", *options, f"dir:{copied}", f"oci:{copied}-layout:box:2")
    assert box("load", "-i", f"{copied}-layout").stdout == "Loaded image: box:2\n"
    assert runs(box, "box:2")


def test_what_umoci_makes_is_loaded(box: Sampan, peers: Peers, archive: Path, place: Path) -> None:
    box("save", "-o", archive, "box:1")
    layout = place / "umoci"
    peers("skopeo", "copy", f"oci-archive:{archive}", f"oci:{layout}:x")
    (place / "added").write_text("added by umoci\n")
    peers("umoci", "insert", "--image", f"{layout}:x", place / "added", "/added")
    peers("umoci", "config", "--image", f"{layout}:x", "--config.cmd", "cat", "--config.cmd", "/added")
    identifier = box("load", "-i", layout).stdout.rpartition(" ")[2].strip()
    assert box("run", "--rm", "--network=none", identifier).stdout == "added by umoci\n"


@pytest.mark.parametrize("compression", ["gzip", "zstd", "uncompressed"])
def test_what_is_built_is_read(box: Sampan, peers: Peers, place: Path, tmp_path: Path, compression: str) -> None:
    (tmp_path / "Dockerfile").write_text("FROM box:1\nCOPY hello /hello\n")
    (tmp_path / "hello").write_text("built\n")
    options = f"compression={compression},force-compression=true"
    layout, archive = place / f"built-{compression}", place / f"built-{compression}.tar"
    box("build", "-t", "made:1", "-o", f"type=oci,dest={layout},tar=false,{options}", tmp_path)
    box("build", "-t", "made:1", "-o", f"type=docker,dest={archive},{options}", tmp_path)
    peers("skopeo", "copy", f"oci:{layout}:1", f"dir:{place}/read-{compression}")
    name = peers.podman("load", "-i", archive).split()[-1]
    assert peers.podman("run", "--rm", "--network=none", name, *HELLO) == "built\n"
    if compression != "zstd":  # of which this docker (20.10) knows nothing
        peers("docker", "load", "-i", archive)
        assert peers("docker", "run", "--rm", "--network=none", "made:1", *HELLO) == "built\n"
        peers("umoci", "unpack", "--image", f"{layout}:1", place / f"unpacked-{compression}")
        assert (place / f"unpacked-{compression}/rootfs/hello").read_text() == "built\n"
    assert box("load", "-i", archive).stdout == "Loaded image: made:1\n"
    assert box("run", "--rm", "--network=none", "made:1", *HELLO).stdout == "built\n"


def test_an_index_of_two_platforms(box: Sampan, peers: Peers, place: Path, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /arch\n")
    for architecture in ("amd64", "arm64"):
        (tmp_path / architecture).write_text(architecture)
    archive, layout, copied = place / "two.tar", place / "two", place / "two-copied"
    box("build", "--platform", "linux/amd64,linux/arm64", "-t", "two:1", "-o", f"type=oci,dest={archive}", tmp_path)
    for architecture in ("amd64", "arm64"):
        arguments = ("skopeo", "inspect", "--override-arch", architecture, "--config", f"oci-archive:{archive}:1")
        assert json.loads(peers(*arguments))["architecture"] == architecture
    peers("skopeo", "copy", "--all", f"oci-archive:{archive}:1", f"oci:{copied}:1")
    box("copy", "-q", f"oci:{copied}:1", f"oci:{layout}:1")
    for architecture in ("amd64", "arm64"):
        box("copy", "-q", "--platform", f"linux/{architecture}", f"oci:{layout}:1", f"two-{architecture}:1")
        assert json.loads(box("inspect", f"two-{architecture}:1").stdout)[0]["Architecture"] == architecture
    peers("skopeo", "copy", "--all", f"oci:{layout}:1", f"dir:{place}/two-dir")
    assert box("copy", "-q", f"dir:{place}/two-dir", "again:1").stdout.startswith("sha256:")
    box("copy", "-q", "again:1", f"dir:{place}/two-ours")
    assert "linux" in peers("skopeo", "inspect", f"dir:{place}/two-ours")
