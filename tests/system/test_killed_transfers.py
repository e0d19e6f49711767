"""``kill -9`` at any moment of a pull or a push: nothing wrong is in the store, and the next attempt succeeds."""

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import servers
from commands import Sampan
from crafted import Store, layer_tar, make_image, open_store
from sampan.oci import reference as references
from sampan.oci.digest import Digest

pytestmark = [pytest.mark.system, pytest.mark.registry]
MOMENTS = 25


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[servers.Registry]:
    with servers.registry(tmp_path / "registry") as running:
        yield running


def kill_in_the_middle(sampan: Sampan, seconds: float, *arguments: str) -> None:
    process = subprocess.Popen(sampan.command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def verified(store: Store) -> set[Digest]:
    """Every blob of the store; each is read and hashed, and a wrong one fails the test."""
    return {digest for digest in store.blobs.all() if store.blobs.read(digest, 1 << 30)}


def test_pulls(sampan: Sampan, registry: servers.Registry, tmp_path: Path) -> None:
    randomly = random.Random(1)
    source = open_store(tmp_path / "source")
    kept = make_image(source, layer_tar("kept", b"kept\n"))
    images = [
        make_image(source, *(layer_tar(f"f{number}-{layer}", os.urandom(4 << 20)) for layer in range(3)))
        for number in range(2)
    ]
    names = [f"{registry.address}/image{number}:1" for number in range(2)]
    owner = Sampan(tmp_path / "source")
    for name, image in zip([f"{registry.address}/kept:1", *names], [kept, *images], strict=True):
        source.images.name(references.parse(name), image)
        owner("push", "-q", name)
    sampan("pull", "-q", f"{registry.address}/kept:1")
    for moment in range(MOMENTS):
        kill_in_the_middle(sampan, randomly.uniform(0.05, 0.8), "pull", "-q", names[moment % 2])
        store = open_store(sampan.root)
        assert verified(store) <= source.all
        assert store.images.find(f"{registry.address}/kept:1").id == kept.id
        for image in store.images.all():  # a name, and all that it needs
            assert store.blobs.has(image.manifest.digest)
        if moment % 5 == 4:
            sampan("rmi", "-f", names[moment % 2], check=False)
    for name in names:
        sampan("pull", "-q", name)
    store = open_store(sampan.root)
    assert verified(store) == source.all
    assert store.leftovers == []
    sampan("rmi", "-f", *names)
    sampan("system", "prune", "-f")
    assert [path.name for path in (sampan.root / "blobs/partial").iterdir()] == []
    assert verified(open_store(sampan.root)) < source.all


def test_what_was_half_done_is_freed_by_a_prune(sampan: Sampan, registry: servers.Registry) -> None:
    store = open_store(sampan.root)
    writer = store.blobs.resume(Digest("sha256:" + "0" * 64), 8 << 20)
    writer.write(bytes(2 << 20))
    writer.abandon(keep=True)
    partial = sampan.root / "blobs/partial"
    make_image(store, layer_tar("x", b"x"))
    assert "Total reclaimed space: 2.1MB" in sampan("image", "prune", "-f").stdout
    assert list(partial.iterdir()) == []


def test_pushes(sampan: Sampan, registry: servers.Registry) -> None:
    randomly = random.Random(2)
    store = open_store(sampan.root)
    image = make_image(store, *(layer_tar(f"f{number}", os.urandom(4 << 20)) for number in range(3)))
    name = f"{registry.address}/thing:1"
    store.images.name(references.parse(name), image)
    before = verified(store)
    for _ in range(MOMENTS // 2):
        kill_in_the_middle(sampan, randomly.uniform(0.05, 0.6), "push", "-q", "--compression", "zstd", name)
        assert before <= verified(open_store(sampan.root))
    assert sampan("push", "-q", name).stdout == f"{name}\n"
    sampan("rmi", "-f", name)
    sampan("pull", "-q", name)
    assert open_store(sampan.root).images.find(name).id == image.id
