"""Pull and push against Debian's docker-registry; what counts is what is in the stores afterwards."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import crafted
import servers
from crafted import Recorder, Store, layer_tar, make_image
from sampan.errors import Denied, NotFound, Unavailable, Unsupported
from sampan.events import LayerExists, Resolved, Transferred, Transferring
from sampan.oci import media
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest, sha256
from sampan.oci.manifest import Index, Manifest
from sampan.oci.platform import Platform, host
from sampan.oci.reference import Reference
from sampan.registry.client import Client, connect
from sampan.registry.credentials import Credentials
from sampan.registry.pull import pull
from sampan.registry.push import likely_sources, push
from sampan.store.images import Image

pytestmark = pytest.mark.registry
HELLO = layer_tar("hello", b"hello, world\n")
RIGHT = Credentials(servers.USERNAME, servers.PASSWORD)


def do_push(
    store: Store,
    image: Image,
    reference: Reference,
    credentials: Credentials | None = None,
    sources: dict[Digest, str] | None = None,
) -> Descriptor:
    with connect(reference.registry, lambda: credentials, push=True) as client:
        return push(
            image.manifest,
            reference,
            client=client,
            blobs=store.blobs,
            report=store.events.append,
            sources=sources or {},
        )


def do_pull(
    store: Store, reference: Reference, credentials: Credentials | None = None, platform: Platform | None = None
) -> Image:
    with connect(reference.registry, lambda: credentials) as client:
        return pull(
            reference,
            client=client,
            blobs=store.blobs,
            images=store.images,
            unpack=lambda manifest, config: Recorder(store, manifest, config),
            measure=lambda chain: 42,
            platform=platform or host(),
            report=store.events.append,
        )


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
def test_push_and_pull(
    store: Store, new_store: Callable[[str], Store], registry: servers.Registry, docker: bool
) -> None:
    image = make_image(store, HELLO, layer_tar("more", os.urandom(3 << 20)), HELLO, docker=docker)
    reference = Reference(registry.address, "some/thing", "v1")
    pushed = do_push(store, image, reference)
    assert pushed == image.manifest
    sent = [event for event in store.events if isinstance(event, Transferred)]
    assert len(sent) == 2  # the third layer is the first once more
    assert {event.how for event in sent} == {"pushed"}

    other = new_store("other")
    pulled = do_pull(other, reference)
    assert pulled == image._replace(size=42, created="2024-01-02T03:04:05Z")
    assert other.all == store.all
    assert other.leftovers == []
    assert other.images.find(reference.canonical()) == pulled
    name = other.images.lookup(reference)
    assert name
    assert name.target == image.manifest
    assert Resolved(reference.familiar(), image.manifest.digest) in other.events
    last = {event.digest: event for event in other.events if isinstance(event, Transferring)}
    assert all(event.done == event.total for event in last.values())


def test_only_what_is_missing_is_moved(
    store: Store, new_store: Callable[[str], Store], registry: servers.Registry
) -> None:
    first, second = make_image(store, HELLO), make_image(store, HELLO, layer_tar("more", b"more"))
    reference = Reference(registry.address, "thing", "latest")
    do_push(store, first, reference)
    other = new_store("other")
    do_pull(other, reference)
    store.events.clear()
    other.events.clear()
    do_push(store, second, reference)
    do_pull(other, reference)
    shared = crafted.manifest_of(store, first)["layers"][0]["digest"]
    for events in (store.events, other.events):
        assert LayerExists(shared) in events
        assert shared not in [event.digest for event in events if isinstance(event, Transferred)]
    assert other.images.find(reference.canonical()).id == second.id


def test_a_layer_is_mounted_from_another_repository(store: Store, registry: servers.Registry) -> None:
    image = make_image(store, HELLO)
    layer = Digest(crafted.manifest_of(store, image)["layers"][0]["digest"])
    old, new = Reference(registry.address, "old", "1"), Reference(registry.address, "new", "1")
    store.images.name(old, image)
    do_push(store, image, old)
    sources = likely_sources(store.images, new, store.blobs)
    assert sources == {layer: "old"}
    do_push(store, image, new, sources=sources)
    assert Transferred(layer, store.blobs.size(layer), "mounted") in store.events


def test_a_mount_that_fails_becomes_an_upload(store: Store, registry: servers.Registry) -> None:
    image = make_image(store, HELLO)
    layer = Digest(crafted.manifest_of(store, image)["layers"][0]["digest"])
    do_push(store, image, Reference(registry.address, "new", "1"), sources={layer: "never/there"})
    assert Transferred(layer, store.blobs.size(layer), "pushed") in store.events
    assert list(registry.storage.rglob("_uploads/*")) == []


def test_nothing_is_sent_without_being_named_elsewhere(store: Store) -> None:
    image = make_image(store, HELLO)
    store.images.name(Reference("other.example", "old", "1"), image)
    store.images.name(Reference("here.example", "new", "1"), image)
    assert likely_sources(store.images, Reference("here.example", "new", "2"), store.blobs) == {}


def test_by_digest(store: Store, new_store: Callable[[str], Store], registry: servers.Registry) -> None:
    image = make_image(store, HELLO)
    do_push(store, image, Reference(registry.address, "thing", "v1"))
    pinned = Reference(registry.address, "thing", "v1", image.manifest.digest)
    other = new_store("other")
    assert do_pull(other, pinned).id == image.id
    assert other.images.lookup(pinned)


def test_an_index_gives_the_image_for_the_platform(
    store: Store, new_store: Callable[[str], Store], registry: servers.Registry
) -> None:
    arm, s390 = Platform("linux", "arm64"), Platform("linux", "s390x")
    reference = Reference(registry.address, "many", "latest")
    images = [make_image(store, layer_tar("for", str(each).encode()), platform=each) for each in (arm, s390)]
    for image in images:
        do_push(store, image, reference)
    index = Index(media.OCI_INDEX, tuple(image.manifest._replace(platform=image.platform) for image in images)).encode()
    with connect(registry.address, push=True) as client:
        client.put_manifest("many", "latest", media.OCI_INDEX, index)

    other = new_store("other")
    pulled = do_pull(other, reference, platform=arm)
    assert pulled.id == images[0].id
    assert pulled.manifest == images[0].manifest
    name = other.images.lookup(reference)
    assert name
    assert name.target == Descriptor(media.OCI_INDEX, sha256(index), len(index))
    assert other.has(sha256(index))
    assert not other.has(images[1].manifest.digest)
    with pytest.raises(NotFound, match="no image for linux/riscv64") as caught:
        do_pull(other, reference, platform=Platform("linux", "riscv64"))
    assert caught.value.hint == "the platforms on offer: linux/arm64, linux/s390x"


def test_an_artifact_is_no_image(store: Store, registry: servers.Registry) -> None:
    data = b"{}"
    empty = Descriptor(media.OCI_EMPTY, store.blobs.put(data), 2)
    manifest = Manifest(media.OCI_MANIFEST, empty, (empty,)).encode()
    with connect(registry.address, push=True) as client:
        client.upload("artifact", empty.digest, 2, lambda start, count: [data])
        client.put_manifest("artifact", "latest", media.OCI_MANIFEST, manifest)
    with pytest.raises(Unsupported, match="an artifact"):
        do_pull(store, Reference(registry.address, "artifact", "latest"))
    assert store.images.all() == []


def test_what_is_not_there(store: Store, registry: servers.Registry) -> None:
    with pytest.raises(NotFound, match=f"no such image: {registry.address}/thing:latest"):
        do_pull(store, Reference(registry.address, "thing"))
    assert store.all == set()


def test_a_registry_that_is_down(store: Store, registry: servers.Registry) -> None:
    image = make_image(store, HELLO)
    with pytest.raises(Unavailable, match=r"^the registry 127\.0\.0\.1:1 does not answer: connection refused$"):
        do_push(store, image, Reference("127.0.0.1:1", "thing", "latest"))


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[servers.Registry]:
    with servers.registry(tmp_path / "guarded", auth="basic") as running:
        yield running


def test_basic_authentication(store: Store, new_store: Callable[[str], Store], guarded: servers.Registry) -> None:
    image, reference = make_image(store, HELLO), Reference(guarded.address, "thing", "latest")
    for credentials in (None, Credentials("sampan", "wrong-canary"), Credentials("nobody", servers.PASSWORD)):
        with pytest.raises(Denied, match=f"the registry {guarded.address} refuses") as caught:
            do_push(store, image, reference, credentials)
        assert caught.value.hint == f"sampan login {guarded.address}"
        assert "canary" not in str(caught.value)
    do_push(store, image, reference, RIGHT)
    other = new_store("other")
    with pytest.raises(Denied):
        do_pull(other, reference)
    assert do_pull(other, reference, RIGHT).id == image.id
    assert other.all == store.all


@pytest.fixture
def with_tokens(tmp_path: Path) -> Iterator[servers.Registry]:
    with servers.registry(tmp_path / "tokens", auth="token") as running:
        yield running


def test_token_authentication(store: Store, new_store: Callable[[str], Store], with_tokens: servers.Registry) -> None:
    server = with_tokens.token_server
    assert server
    server.allowed["mine"] = {"pull", "push"}
    server.anonymous["mine"] = {"pull"}
    image, reference = make_image(store, HELLO, layer_tar("b", b"b")), Reference(with_tokens.address, "mine", "1")
    do_push(store, image, reference, RIGHT)
    assert server.requests == [("GET", ["repository:mine:pull,push"])]  # one token for the whole push
    other = new_store("other")
    assert do_pull(other, reference).id == image.id
    assert server.requests[1:] == [("GET", ["repository:mine:pull"])]
    with pytest.raises(Denied):
        do_push(store, image, reference, None)
    with pytest.raises(Denied):
        do_push(store, image, Reference(with_tokens.address, "yours", "1"), RIGHT)
    with pytest.raises(Denied, match="the user name 'sampan' or its password is wrong"):
        do_push(store, image, reference, Credentials("sampan", "wrong"))


def test_identity_tokens(store: Store, with_tokens: servers.Registry) -> None:
    server = with_tokens.token_server
    assert server
    server.allowed["mine"] = {"pull", "push"}
    with connect(with_tokens.address, lambda: RIGHT, offline=True) as client:
        client.ping()
        token = client.identity
    assert token == servers.IDENTITY_TOKEN
    do_push(store, make_image(store, HELLO), Reference(with_tokens.address, "mine", "1"), Credentials("", "", token))
    assert server.requests[-1] == ("POST", ["repository:mine:pull,push"])


def test_tls(store: Store, new_store: Callable[[str], Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with servers.registry(tmp_path / "tls", auth="basic", tls=True) as running:
        image, reference = make_image(store, HELLO), Reference(running.address, "thing", "latest")
        monkeypatch.setenv("HOME", str(tmp_path))
        with pytest.raises(Unavailable, match="a certificate that does not hold: self-signed") as caught:
            do_push(store, image, reference, RIGHT)
        assert caught.value.hint
        assert "certs.d" in caught.value.hint
        with monkeypatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", running.certificate)
            do_push(store, image, reference, RIGHT)
        trusted = tmp_path / ".config/docker/certs.d" / running.address
        trusted.mkdir(parents=True)
        shutil.copy(running.certificate, trusted / "ca.crt")
        other = new_store("other")
        assert do_pull(other, reference, RIGHT).id == image.id
        assert other.all == store.all


def test_an_interrupted_push_leaves_no_manifest(store: Store, registry: servers.Registry) -> None:
    image = make_image(store, *(layer_tar(f"f{number}", os.urandom(1 << 20)) for number in range(6)))
    reference = Reference(registry.address, "thing", "latest")

    def interrupt(event: object) -> None:
        if isinstance(event, Transferred):
            raise KeyboardInterrupt

    with connect(registry.address, push=True) as client, pytest.raises(KeyboardInterrupt):
        push(image.manifest, reference, client=client, blobs=store.blobs, report=interrupt, jobs=1)
    with pytest.raises(NotFound):
        do_pull(store, reference)


@pytest.mark.interop
@pytest.mark.needs("skopeo", "umoci")
def test_what_was_pushed_is_read_by_others(store: Store, registry: servers.Registry, tmp_path: Path) -> None:
    image = make_image(store, HELLO, layer_tar("dir/more", b"more"))
    do_push(store, image, Reference(registry.address, "thing", "v1"))

    def call(*command: str) -> bytes:
        return subprocess.run(command, check=True, capture_output=True).stdout

    source = f"docker://{registry.address}/thing:v1"
    seen = json.loads(call("skopeo", "inspect", "--tls-verify=false", source))
    assert seen["Digest"] == image.manifest.digest
    call("skopeo", "copy", "--src-tls-verify=false", source, f"oci:{tmp_path}/layout:v1")
    call("umoci", "unpack", "--rootless", "--image", f"{tmp_path}/layout:v1", f"{tmp_path}/bundle")
    assert (tmp_path / "bundle/rootfs/hello").read_bytes() == b"hello, world\n"
    assert (tmp_path / "bundle/rootfs/dir/more").read_bytes() == b"more"


@pytest.mark.interop
@pytest.mark.needs("skopeo")
@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_what_others_pushed_is_read(
    store: Store, new_store: Callable[[str], Store], registry: servers.Registry, form: str
) -> None:
    image = make_image(store, HELLO, docker=form == "oci")  # so that skopeo has to convert it
    do_push(store, image, Reference(registry.address, "thing", "v1"))
    source, target = f"docker://{registry.address}/thing:v1", f"docker://{registry.address}/converted:v1"
    subprocess.run(
        ["skopeo", "copy", "--format", form, "--dest-tls-verify=false", "--src-tls-verify=false", source, target],
        check=True,
        capture_output=True,
    )
    other = new_store("other")
    pulled = do_pull(other, Reference(registry.address, "converted", "v1"))
    assert pulled.manifest.media_type == {"oci": media.OCI_MANIFEST, "v2s2": media.DOCKER_MANIFEST}[form]
    assert pulled.chain == image.chain


def test_a_client_that_was_stopped(registry: servers.Registry) -> None:
    client: Client = connect(registry.address)
    client.stop()
    with client, pytest.raises(Unavailable, match="stopped"):
        client.ping()
