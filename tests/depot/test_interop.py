"""What one engine pushes to the registry that sampan serves, every other one pulls and runs; and it stays a layout."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import images
import peers as engines
from commands import Sampan, new_store

pytestmark = [
    pytest.mark.system,
    pytest.mark.root,
    pytest.mark.interop,
    pytest.mark.registry,
    pytest.mark.needs("dockerd", "docker", "podman", "skopeo", "busybox"),
]
ADDRESS = "127.0.0.1:5000"
SAID = "hello from a layer\n"


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everyone sees."""
    name = new_store()
    name.rmdir()
    shared = Path("/var/tmp") / name.name  # /dev/shm is the sandbox's own
    shared.mkdir()
    yield shared
    shutil.rmtree(shared)


def test_every_engine_pushes_and_pulls(sampan: Sampan, place: Path) -> None:
    images.put(sampan, "box", {"hello": SAID})
    archive = place / "box.tar"
    sampan("save", "-o", archive, "box")
    run = ("run", "--rm", "--network=none")
    with engines.sandboxed(place, docker=True) as peers:
        own = (sys.executable, "-m", "sampan", "--root", place / "memory/store")
        with peers.started(*own, "registry", "serve", "--quiet", "--listen", ADDRESS, place / "layout") as registry:
            assert registry.stdout is not None
            assert ADDRESS in registry.stdout.readline()
            peers("docker", "load", "-i", archive)
            peers("docker", "tag", "box", f"{ADDRESS}/docker:1")
            peers("docker", "push", f"{ADDRESS}/docker:1")
            peers.podman("load", "-i", archive)
            peers.podman("push", "--tls-verify=false", "box", f"{ADDRESS}/podman:1")
            peers(
                "skopeo", "copy", "--dest-tls-verify=false", f"docker-archive:{archive}", f"docker://{ADDRESS}/skopeo:1"
            )
            peers(*own, "load", "-i", archive)
            peers(*own, "tag", "box", f"{ADDRESS}/sampan:1")
            peers(*own, "push", f"{ADDRESS}/sampan:1")
            peers("docker", "rmi", "box", f"{ADDRESS}/docker:1")
            peers.podman("rmi", "--all", "--force")
            peers(*own, "rmi", "-f", "box", f"{ADDRESS}/sampan:1")
            for name in ("docker", "podman", "skopeo", "sampan"):
                image = f"{ADDRESS}/{name}:1"
                assert peers("docker", *run, image, "cat", "/hello") == SAID
                assert peers.podman("pull", "-q", "--tls-verify=false", image)
                assert peers(*own, *run, image, "cat", "/hello") == SAID
                assert peers("skopeo", "list-tags", "--tls-verify=false", f"docker://{ADDRESS}/{name}")
                peers("skopeo", "copy", "--src-tls-verify=false", f"docker://{image}", f"dir:{place}/{name}")
                assert peers.podman(*run, image, "cat", "/hello") == SAID
    sampan("load", "-i", place / "layout")
    for name in ("docker", "podman", "skopeo", "sampan"):
        assert sampan(*run, f"{ADDRESS}/{name}:1", "cat", "/hello").stdout == SAID
    assert sampan("image", "verify", "--all").returncode == 0
