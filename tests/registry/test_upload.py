"""Uploads that break off, to Debian's docker-registry behind a proxy that breaks them off."""

import os
from collections.abc import Iterator

import pytest

import faulty
import servers
from crafted import Store, layer_tar, make_image, manifest_of
from faulty import FaultyRegistry, hang_up, instead, lost
from sampan.errors import Unavailable
from sampan.oci.reference import Reference
from sampan.registry import upload
from sampan.registry.client import connect
from sampan.registry.outages import Patience
from sampan.registry.push import push
from sampan.store.images import Image

pytestmark = pytest.mark.registry
HASTY = Patience(connect=2, silence=2, attempts=3, first_pause=0.01, longest_pause=2)
SIZE = 3 << 20


@pytest.fixture
def proxy(registry: servers.Registry, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyRegistry]:
    monkeypatch.setattr(upload, "CHUNK", 1 << 20)
    with faulty.registry(upstream=registry.address) as running:
        yield running


@pytest.fixture
def image(store: Store) -> Image:
    return make_image(store, layer_tar("big", os.urandom(SIZE)))


def send(proxy: FaultyRegistry, store: Store, image: Image) -> None:
    with connect(proxy.address, push=True, patience=HASTY) as client:
        reference = Reference(proxy.address, "thing", "1")
        push(image.manifest, reference, client=client, blobs=store.blobs, report=store.events.append)


def assert_arrived(registry: servers.Registry, store: Store, image: Image) -> None:
    with connect(registry.address) as client:
        assert client.manifest("thing", "1").digest == image.manifest.digest
        for layer in manifest_of(store, image)["layers"]:
            assert client.has_blob("thing", layer["digest"])


def test_in_one_piece(registry: servers.Registry, proxy: FaultyRegistry, store: Store, image: Image) -> None:
    send(proxy, store, image)
    assert_arrived(registry, store, image)
    assert proxy.requests("^PATCH") == []
    assert len(proxy.requests("^PUT .*/blobs/")) == 2  # the layer and the config


def test_in_chunks_when_it_was_cut(
    registry: servers.Registry, proxy: FaultyRegistry, store: Store, image: Image
) -> None:
    proxy.does("^PUT .*/blobs/uploads/.*", hang_up)
    proxy.does("^PUT .*/blobs/uploads/.*", hang_up)
    send(proxy, store, image)
    assert_arrived(registry, store, image)
    assert [seen.headers["content-range"] for seen in proxy.requests("^PATCH")][:2] == ["0-1048575", "1048576-2097151"]


def test_in_chunks_when_it_is_too_large_at_once(
    registry: servers.Registry, proxy: FaultyRegistry, store: Store, image: Image
) -> None:
    def too_large(handler: faulty.Handler, answer: faulty.Answer) -> None:
        large = int(handler.headers["Content-Length"]) > 1 << 20
        (instead(413) if large else faulty.send)(handler, answer)

    registry_seen = proxy.seen
    proxy.does("^PUT .*/blobs/uploads/", too_large, always=True)
    send(proxy, store, image)
    assert_arrived(registry, store, image)
    assert len([seen for seen in registry_seen if seen.method == "PATCH"]) == 4


def test_it_goes_on_behind_what_arrived(
    registry: servers.Registry, proxy: FaultyRegistry, store: Store, image: Image
) -> None:
    proxy.does("^PUT .*/blobs/uploads/", hang_up, hang_up)
    proxy.does("^PATCH", faulty.send, lost)
    send(proxy, store, image)
    assert_arrived(registry, store, image)
    starts = [int(seen.headers["content-range"].partition("-")[0]) for seen in proxy.requests("^PATCH")]
    assert starts == [0, 1 << 20, 1 << 20, 2 << 20, 3 << 20]
    assert proxy.requests("^GET .*/uploads/")


def test_a_session_that_is_lost_is_begun_anew(
    registry: servers.Registry, proxy: FaultyRegistry, store: Store, image: Image
) -> None:
    proxy.does("^PUT .*/blobs/uploads/", hang_up, hang_up)
    proxy.does("^PATCH", faulty.send, hang_up)
    proxy.does("^GET .*/uploads/", instead(404))
    send(proxy, store, image)
    assert_arrived(registry, store, image)


def test_a_registry_without_chunks_gets_it_in_one_piece(
    registry: servers.Registry, proxy: FaultyRegistry, store: Store, image: Image
) -> None:
    proxy.does("^PUT .*/blobs/uploads/", hang_up, hang_up)
    proxy.does("^PATCH", instead(405), always=True)
    send(proxy, store, image)
    assert_arrived(registry, store, image)
    assert len(proxy.requests("^PATCH")) == 1


def test_it_ends_some_time(registry: servers.Registry, proxy: FaultyRegistry, store: Store, image: Image) -> None:
    proxy.does("^(PUT|PATCH) .*/uploads/", hang_up, always=True)
    with pytest.raises(Unavailable, match="closed the connection"):
        send(proxy, store, image)
    assert len(proxy.requests("^(PUT|PATCH) .*/uploads/")) <= 2 * HASTY.attempts
    assert proxy.requests("^PUT .*/manifests/") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0-0", 0), ("0-99", 100), ("bytes=0-99", 100),
        ("", None), ("1-5", None), ("0-", None), ("0-x", None), ("0-" + "9" * 19, None),
    ],
)  # fmt: skip
def test_what_a_registry_says_it_has(text: str, expected: int | None) -> None:
    assert upload._end(text) == expected
