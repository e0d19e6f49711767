"""Layers sent in another compression: the same image, read by others, made once."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import servers
from crafted import Recorder, Store, layer_tar, make_image, manifest_of
from sampan.errors import Invalid, NotFound, Unsupported
from sampan.layers.compression import inflate
from sampan.oci import media
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest, sha256
from sampan.oci.manifest import Index
from sampan.oci.platform import Platform
from sampan.oci.reference import Reference
from sampan.registry import recompress
from sampan.registry.client import connect
from sampan.registry.pull import pull
from sampan.registry.push import missing, push
from sampan.registry.recompress import Compression
from sampan.store.conversions import Conversions
from sampan.store.images import Image

TAR = layer_tar("data", b"some text " * 100_000)


def layer_of(store: Store, image: Image) -> Descriptor:
    (layer,) = manifest_of(store, image)["layers"]
    return Descriptor(layer["mediaType"], Digest(layer["digest"]), layer["size"])


def converted(store: Store, layer: Descriptor, how: str) -> Descriptor:
    return recompress.convert(layer, recompress.parse(how), store.blobs, Conversions(store.images._db))


@pytest.mark.parametrize("how", ["gzip:1", "gzip:9", "zstd", "zstd:19", "none"])
def test_a_layer_stays_the_same_inside(store: Store, how: str) -> None:
    made = converted(store, layer_of(store, make_image(store, TAR)), how)
    assert media.compression(made.media_type) == how.partition(":")[0]
    assert store.blobs.size(made.digest) == made.size
    with store.blobs.open(made.digest) as file:
        source, plain = inflate(file, media.compression(made.media_type) or ""), b""
        while data := source.read(1 << 20):
            plain += data
    assert plain == TAR
    again = converted(store, made, how.partition(":")[0])
    assert again == made


def test_it_is_made_once_and_anew_when_it_is_gone(store: Store) -> None:
    layer = layer_of(store, make_image(store, TAR))
    made = converted(store, layer, "zstd")
    path = Path(store.blobs.path(made.digest))
    before = path.stat().st_mtime_ns
    assert converted(store, layer, "zstd") == made
    assert path.stat().st_mtime_ns == before
    path.unlink()
    assert converted(store, layer, "zstd") == made
    assert path.exists()


def test_what_it_is_already(store: Store) -> None:
    layer = layer_of(store, make_image(store, TAR))
    assert converted(store, layer, "gzip") is layer
    assert converted(store, layer, "gzip:9") != layer


def test_what_is_no_layer(store: Store) -> None:
    with pytest.raises(Unsupported, match="unknown kind"):
        converted(store, Descriptor(media.DOCKER_FOREIGN, sha256(b""), 0), "gzip")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gzip", Compression("gzip")),
        ("gzip:9", Compression("gzip", 9)),
        ("zstd:22", Compression("zstd", 22)),
        ("none", Compression("none")),
        ("uncompressed", Compression("none")),
    ],
)
def test_how(text: str, expected: Compression) -> None:
    assert recompress.parse(text) == expected


@pytest.mark.parametrize("text", ["", "xz", "gzip:", "gzip:0", "gzip:10", "zstd:23", "zstd:-1", "none:1", "GZIP"])
def test_how_not(text: str) -> None:
    with pytest.raises(Invalid, match="cannot be compressed"):
        recompress.parse(text)


@pytest.mark.registry
@pytest.mark.interop
@pytest.mark.needs("skopeo")
@pytest.mark.parametrize("how", ["gzip:9", "zstd", "none"])
@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
def test_others_read_it_and_so_do_we(
    store: Store,
    new_store: Callable[[str], Store],
    registry: servers.Registry,
    tmp_path: Path,
    how: str,
    docker: bool,
) -> None:
    image = make_image(store, TAR, layer_tar("more", os.urandom(1000)), docker=docker)
    reference = Reference(registry.address, "thing", "1")
    with connect(registry.address, push=True) as client:
        pushed = push(
            image.manifest,
            reference,
            client=client,
            blobs=store.blobs,
            report=store.events.append,
            convert=lambda layer: converted(store, layer, how),
        )
    assert pushed.digest != image.manifest.digest
    other = new_store("other")
    with connect(registry.address) as client:
        pulled = pull(
            reference,
            client=client,
            blobs=other.blobs,
            images=other.images,
            unpack=lambda manifest, config: Recorder(other, manifest, config),
            measure=lambda chain: 0,
            platform=image.platform,
            report=other.events.append,
        )
    assert (pulled.id, pulled.manifest, pulled.chain) == (image.id, pushed, image.chain)
    source = f"docker://{registry.address}/thing:1"
    command = ["skopeo", "copy", "--src-tls-verify=false", source, f"oci:{tmp_path}/layout:1"]
    subprocess.run(command, check=True, capture_output=True)
    seen = subprocess.run(["skopeo", "inspect", f"oci:{tmp_path}/layout:1"], check=True, capture_output=True).stdout
    assert len(json.loads(seen)["Layers"]) == 2


@pytest.mark.registry
@pytest.mark.parametrize("how", ["", "zstd"])
def test_an_index(store: Store, registry: servers.Registry, how: str) -> None:
    platforms = [Platform("linux", "arm64"), Platform("linux", "s390x")]
    images = [make_image(store, layer_tar("for", str(each).encode()), platform=each) for each in platforms]
    entries = tuple(image.manifest._replace(platform=image.platform) for image in images)
    data = Index(media.OCI_INDEX, entries, {"note": "x"}).encode()
    target = Descriptor(media.OCI_INDEX, store.blobs.put(data), len(data))
    assert missing(target, store.blobs) == []
    with connect(registry.address, push=True) as client:
        pushed = push(
            target,
            Reference(registry.address, "many", "1"),
            client=client,
            blobs=store.blobs,
            report=store.events.append,
            convert=(lambda layer: converted(store, layer, how)) if how else None,
        )
        received = client.manifest("many", "1")
        assert (received.digest == target.digest) == (not how)
        assert received.digest == pushed.digest
        seen = json.loads(received.data)
        assert [entry["platform"] for entry in seen["manifests"]] == [each.to_json() for each in platforms]
        assert seen["annotations"] == {"note": "x"}
        for entry in seen["manifests"]:
            kinds = [
                layer["mediaType"] for layer in json.loads(client.manifest("many", entry["digest"]).data)["layers"]
            ]
            assert kinds == [media.OCI_LAYER_ZSTD if how else media.OCI_LAYER_GZIP]

    store.blobs.remove(images[1].id)
    assert missing(target, store.blobs) == [entries[1]]
    with pytest.raises(NotFound), connect(registry.address, push=True) as client:
        push(
            target,
            Reference(registry.address, "other", "1"),
            client=client,
            blobs=store.blobs,
            report=store.events.append,
        )
