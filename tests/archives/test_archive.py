"""Archives of images: what is read is what was written, whoever wrote it, and nothing that was not verified stays."""

import bz2
import io
import json
import lzma
import tarfile
from collections.abc import Callable, Mapping
from typing import Any

import isal.igzip
import pytest
import zstandard

import crafted
import images
from sampan.archives import docker, layout, places
from sampan.archives.archive import Archive
from sampan.archives.places import Offer
from sampan.archives.write import write
from sampan.errors import Corrupt, Invalid, NotFound, SampanError, Unsupported
from sampan.oci import manifest as manifests
from sampan.oci import media
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import sha256
from sampan.oci.manifest import Index, Manifest
from sampan.oci.platform import Platform, host
from trees import Directory, Hard, Link

NewStore = Callable[[str], crafted.Store]
TAR = crafted.layer_tar("hello", b"hello\n")
OTHER = crafted.layer_tar("other", b"other\n" * 100)
NAME = "docker.io/library/app:1"


def saved(store: crafted.Store, *offers: Offer, for_docker: bool = True) -> bytes:
    output = io.BytesIO()
    write(offers, store.blobs, output.write, for_docker=for_docker)
    return output.getvalue()


def loaded(data: bytes, store: crafted.Store) -> list[Offer]:
    """Reads an archive and gets all that it offers."""
    archive = Archive(io.BytesIO(data), store.blobs)
    return [offer._replace(target=places.gather(offer.target, archive, store.blobs)) for offer in archive.offers]


def config_of(store: crafted.Store, offer: Offer) -> str:
    manifest = manifests.parse(store.blobs.read(offer.target.digest))
    assert isinstance(manifest, Manifest)
    return manifest.config.digest


def members(data: bytes) -> dict[str, bytes]:
    """The files of an archive, to be made into another one."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {entry.name: file.read() for entry in archive if (file := archive.extractfile(entry))}


def old_docker(tars: Mapping[str, bytes], **changes: Any) -> dict[str, images.Node]:
    """What docker saved before version 25: a directory for each layer, and manifest.json at the end."""
    config = json.dumps(
        {
            "architecture": host().architecture,
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [sha256(tar) for tar in tars.values()]},
        }
    ).encode()
    nodes: dict[str, images.Node] = {}
    for name, tar in tars.items():
        nodes |= {name: Directory(), f"{name}/VERSION": "1.0", f"{name}/json": "{}", f"{name}/layer.tar": tar}
    entry = {
        "Config": f"{sha256(config).encoded}.json",
        "RepoTags": ["app:1"],
        "Layers": [f"{name}/layer.tar" for name in tars],
    }
    nodes[f"{sha256(config).encoded}.json"] = config
    nodes["manifest.json"] = json.dumps([{**entry, **changes}])
    nodes["repositories"] = json.dumps({"app": {"1": "x"}})
    return nodes


def test_what_is_written_is_read(new_store: NewStore) -> None:
    store, other = new_store("one"), new_store("two")
    first, second = crafted.make_image(store, TAR), crafted.make_image(store, TAR, OTHER)
    offers = [Offer(first.manifest, (NAME, "localhost:5000/x:2")), Offer(second.manifest)]
    data = saved(store, *offers)
    assert loaded(data, other) == offers
    assert other.all == {blob.digest for offer in offers for blob in places.closure(offer.target, store.blobs)}
    assert not other.leftovers
    assert saved(store, *offers) == data
    assert [layout.names(offer) for offer in offers][1] == ()
    names = [name for name in members(data) if name.startswith("blobs/sha256/")]
    assert len(names) == len(set(names)) == 6  # the layer that both share is there once


def test_docker_reads_manifest_json(store: crafted.Store) -> None:
    image = crafted.make_image(store, TAR, OTHER)
    content = members(saved(store, Offer(image.manifest, (NAME,))))
    (entry,) = docker.parse(content["manifest.json"])
    assert entry.tags == ("app:1",)
    assert sha256(content[entry.config]) == image.id
    assert all(layer in content for layer in entry.layers)
    assert "manifest.json" not in members(saved(store, Offer(image.manifest), for_docker=False))


@pytest.mark.parametrize(
    "pack",
    [lambda data: data, isal.igzip.compress, zstandard.ZstdCompressor().compress, bz2.compress, lzma.compress],
    ids=["plain", "gzip", "zstd", "bzip2", "xz"],
)
def test_archives_may_be_compressed(new_store: NewStore, pack: Callable[[bytes], bytes]) -> None:
    store, other = new_store("one"), new_store("two")
    offer = Offer(crafted.make_image(store, TAR).manifest, (NAME,))
    assert loaded(pack(saved(store, offer)), other) == [offer]


@pytest.mark.parametrize("compress", [bytes, isal.igzip.compress, zstandard.ZstdCompressor().compress])
def test_old_archives_of_docker(store: crafted.Store, compress: Callable[[bytes], bytes]) -> None:
    nodes = old_docker({"a": TAR, "b": OTHER})
    nodes |= {"a/layer.tar": compress(TAR), "b/layer.tar": compress(OTHER)}
    (offer,) = loaded(images.layer(nodes), store)
    assert [str(name) for name in layout.names(offer)] == ["app:1"]
    manifest = manifests.parse(store.blobs.read(offer.target.digest))
    assert isinstance(manifest, Manifest)
    assert [layer.digest for layer in manifest.layers] == [sha256(compress(TAR)), sha256(compress(OTHER))]
    kind = {
        bytes: media.OCI_LAYER,
        isal.igzip.compress: media.OCI_LAYER_GZIP,
    }.get(compress, media.OCI_LAYER_ZSTD)
    assert {layer.media_type for layer in manifest.layers} == {kind}


@pytest.mark.parametrize("link", [Link("../a/layer.tar"), Hard("a/layer.tar")])
def test_layers_that_are_links_to_each_other(store: crafted.Store, link: images.Node) -> None:
    nodes = old_docker({"a": TAR, "b": TAR})
    nodes["b/layer.tar"] = link
    (offer,) = loaded(images.layer(nodes), store)
    manifest = manifests.parse(store.blobs.read(offer.target.digest))
    assert isinstance(manifest, Manifest)
    assert [layer.digest for layer in manifest.layers] == [sha256(TAR)] * 2


def test_the_names_of_other_tools(store: crafted.Store) -> None:
    """kaniko, ko and bazel call the config by its digest."""
    nodes = old_docker({"a": TAR})
    (config,) = [name for name in nodes if len(name) == 69]
    nodes[f"sha256:{config.removesuffix('.json')}"] = nodes.pop(config)
    nodes["manifest.json"] = str(nodes["manifest.json"]).replace(config, f"sha256:{config.removesuffix('.json')}")
    assert len(loaded(images.layer(nodes), store)) == 1


def test_an_index(new_store: NewStore) -> None:
    store, other, third = new_store("one"), new_store("two"), new_store("three")
    here, arm = crafted.make_image(store, TAR), crafted.make_image(store, OTHER, platform=Platform("linux", "s390x"))
    entries = tuple(image.manifest._replace(platform=image.platform) for image in (here, arm))
    data = Index(media.OCI_INDEX, entries).encode()
    target = Descriptor(media.OCI_INDEX, store.blobs.put(data), len(data))
    written = saved(store, Offer(target, (NAME,)))
    assert loaded(written, other) == [Offer(target, (NAME,))]
    assert places.images(target, other.blobs) == list(entries)
    assert places.is_complete(target, other.blobs)
    (entry,) = docker.parse(members(written)["manifest.json"])
    assert entry.config.endswith(here.id.encoded)
    archive = Archive(io.BytesIO(written), third.blobs)
    assert places.gather(target, archive, third.blobs, arm.platform) == entries[1]
    with pytest.raises(NotFound):
        places.gather(target, archive, third.blobs, Platform("linux", "riscv64"))


def test_an_index_of_which_not_all_is_there(new_store: NewStore) -> None:
    store, other = new_store("one"), new_store("two")
    here = crafted.make_image(store, TAR)
    absent = Descriptor(media.OCI_MANIFEST, sha256(b"absent"), 6, Platform("linux", "s390x"))
    data = Index(media.OCI_INDEX, (here.manifest._replace(platform=here.platform), absent)).encode()
    target = Descriptor(media.OCI_INDEX, store.blobs.put(data), len(data))
    assert not places.is_complete(target, store.blobs)
    assert loaded(saved(store, Offer(target)), other) == [Offer(target)]
    assert [entry.digest for entry in places.images(target, other.blobs)] == [here.manifest.digest]


# -- archives that are wrong ------------------------------------------------------------------------------------------


def good(store: crafted.Store) -> dict[str, bytes]:
    return members(saved(store, Offer(crafted.make_image(store, TAR).manifest, (NAME,)), for_docker=False))


def refused(data: bytes, store: crafted.Store, kind: type[SampanError], words: str) -> None:
    with pytest.raises(kind) as caught:
        loaded(data, store)
    assert words in caught.value.message
    assert "the layer" not in caught.value.message
    assert not store.leftovers


def blob(nodes: Mapping[str, bytes]) -> str:
    return max((name for name in nodes if name.startswith("blobs/sha256/")), key=lambda name: len(nodes[name]))


def test_a_blob_with_another_digest(new_store: NewStore) -> None:
    nodes, other = good(new_store("one")), new_store("two")
    name = blob(nodes)
    nodes[name] = b"x" + nodes[name][1:]
    refused(images.layer(nodes), other, Corrupt, "digest")
    assert not other.blobs.has(sha256(nodes[name]))


def test_a_blob_that_is_missing(new_store: NewStore) -> None:
    nodes, other = good(new_store("one")), new_store("two")
    del nodes[blob(nodes)]
    refused(images.layer(nodes), other, NotFound, "missing")


def test_a_blob_of_another_size(new_store: NewStore) -> None:
    store, other = new_store("one"), new_store("two")
    nodes = good(store)
    manifest = next(n for n in nodes if n.startswith("blobs/") and b'"layers":[' in nodes[n])
    wrong = nodes[manifest].replace(b'"size":', b'"size":1')
    nodes[f"blobs/sha256/{sha256(wrong).encoded}"] = wrong
    index = json.loads(nodes["index.json"])
    index["manifests"][0] |= {"digest": sha256(wrong), "size": len(wrong)}
    nodes["index.json"] = json.dumps(index).encode()
    refused(images.layer(nodes), other, Corrupt, "announced")


@pytest.mark.parametrize("name", ["../x", "blobs/../../x", "/etc/passwd", "a/../../b"])
def test_names_that_lead_out(store: crafted.Store, name: str) -> None:
    refused(images.layer({name: "x"}), store, Invalid, "points outside")


@pytest.mark.parametrize("name", ["blobs/sha256/x", "blobs/md5/" + "0" * 32, "blobs/x", "blobs/sha256/" + "0" * 63])
def test_blobs_without_a_digest(store: crafted.Store, name: str) -> None:
    refused(images.layer({name: "x"}), store, Invalid, "not named by a digest")


@pytest.mark.parametrize("node", [Link("/etc/passwd"), Hard("x"), images.Fifo(), images.Device(b"3", 1, 3)])
def test_blobs_that_are_no_files(store: crafted.Store, node: images.Node) -> None:
    nodes: dict[str, images.Node] = {"x": "x", f"blobs/sha256/{'0' * 64}": node}
    refused(images.layer(nodes), store, Invalid, "not a regular file")


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../etc/passwd", "../b/layer.tar", "nowhere"])
def test_layers_that_are_links_to_elsewhere(store: crafted.Store, target: str) -> None:
    nodes = old_docker({"a": TAR, "b": OTHER})
    nodes["b/layer.tar"] = Link(target)
    refused(images.layer(nodes), store, NotFound, "lacks b/layer.tar")


def test_archives_that_end_early(new_store: NewStore) -> None:
    store = new_store("one")
    data = saved(store, Offer(crafted.make_image(store, OTHER).manifest, (NAME,)))
    end = data.rindex(b"\x1f\x8b")  # in the middle of the layer
    for number, cut in enumerate((end + 20, 520, 100)):
        refused(data[:cut], new_store(f"cut{number}"), Invalid, "truncated")


def test_a_size_that_nobody_has(store: crafted.Store) -> None:
    entry = tarfile.TarInfo(f"blobs/sha256/{'0' * 64}")
    entry.size = 1 << 39
    refused(entry.tobuf() + bytes(10_000), store, Invalid, "truncated")


def test_a_bomb(store: crafted.Store) -> None:
    layers = zstandard.ZstdCompressor().compress(bytes(1 << 20))
    refused(layers[:-5], store, SampanError, "")


def test_endless_small_files(store: crafted.Store) -> None:
    refused(images.layer({f"{number}": bytes(4 << 20) for number in range(17)}), store, Invalid, "too many small files")


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("{", Invalid, "not JSON"),
        ("{}", Invalid, "not a list"),
        ("[1]", Invalid, "not a list"),
        ('[{"Config": 1}]', Invalid, "form"),
        ('[{"Config": "x.json", "Layers": "a"}]', Invalid, "form"),
        ('[{"Config": "x.json"}]', NotFound, "lacks x.json"),
        ("[" * 100_000, Invalid, "not JSON"),
    ],
)
def test_manifest_json_that_is_wrong(store: crafted.Store, text: str, kind: type[SampanError], words: str) -> None:
    refused(images.layer({"manifest.json": text}), store, kind, words)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schemaVersion":2}', '{"schemaVersion":2,"manifests":[1]}', '{"schemaVersion":1}']
)
def test_index_json_that_is_wrong(store: crafted.Store, text: str) -> None:
    nodes: dict[str, images.Node] = {"oci-layout": layout.VERSION, "index.json": text}
    with pytest.raises((Invalid, Unsupported)):
        loaded(images.layer(nodes), store)


def test_a_config_that_is_another(store: crafted.Store) -> None:
    nodes = old_docker({"a": TAR})
    (config,) = [name for name in nodes if len(name) == 69]
    nodes[config] = "{}"
    refused(images.layer(nodes), store, Corrupt, "digest")


def test_a_layer_that_no_engine_reads(store: crafted.Store) -> None:
    nodes = old_docker({"a": TAR})
    nodes["a/layer.tar"] = bz2.compress(TAR)
    with pytest.raises(Unsupported, match="bzip2"):
        loaded(images.layer(nodes), store)


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"", Invalid, "no images"),
        (b"hello" * 1000, Invalid, "impossible number"),
        (images.layer({"x": "y"}), Invalid, "no images"),
        (images.layer({"repositories": "{}"}), Unsupported, "1.10"),
    ],
)
def test_what_is_no_archive_of_images(store: crafted.Store, data: bytes, kind: type[SampanError], words: str) -> None:
    refused(data, store, kind, words)
