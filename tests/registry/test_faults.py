"""What registries and networks get wrong: never a wrong byte in the store, never a credential for somebody else."""

import json
import os
import signal
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import crafted
import faulty
import servers
from crafted import Recorder, Store, layer_tar, make_image
from faulty import Answer, Fault, FaultyRegistry, cut, endless, flip, hang_up, instead, longer, nonsense, stall
from sampan.errors import Corrupt, Denied, Invalid, NotFound, SampanError, Unavailable, Unsupported
from sampan.oci import media
from sampan.oci.digest import Digest
from sampan.oci.platform import host
from sampan.oci.reference import Reference
from sampan.registry.client import connect
from sampan.registry.credentials import Credentials
from sampan.registry.outages import Patience
from sampan.registry.pull import pull
from sampan.registry.push import push
from sampan.store.images import Image

HASTY = Patience(connect=2, silence=0.5, attempts=4, first_pause=0.01, longest_pause=2)
ME = Credentials("me", "pass-canary")
LAYER = layer_tar("data", os.urandom(3 << 20))


class Scene:
    """An image, a registry that serves it, and an empty store to pull it to."""

    def __init__(self, source: Store, target: Store, registry: FaultyRegistry, image: Image) -> None:
        self.source, self.target, self.registry, self.image = source, target, registry, image
        document = crafted.manifest_of(source, image)
        self.config = Digest(document["config"]["digest"])
        self.layers = [Digest(layer["digest"]) for layer in document["layers"]]
        self.recorder: Recorder | None = None

    @property
    def reference(self) -> Reference:
        return Reference(self.registry.address, "thing", "latest")

    def pull(self, credentials: Credentials | None = None, patience: Patience = HASTY) -> Image:
        def unpack(manifest: Any, config: Any) -> Recorder:
            self.recorder = Recorder(self.target, manifest, config)
            return self.recorder

        with connect(self.registry.address, lambda: credentials, patience=patience) as client:
            return pull(
                self.reference,
                client=client,
                blobs=self.target.blobs,
                images=self.target.images,
                unpack=unpack,
                measure=lambda chain: 0,
                platform=host(),
                report=self.target.events.append,
            )

    def pull_for_real(self, credentials: Credentials) -> Image:
        """As ``pull``, with what unpacks layers in place of its stand-in."""
        from sampan.snapshots import unpack
        from sampan.snapshots.overlay import Overlay

        snapshots = Overlay(f"{self.target.blobs.root}-snapshots", self.target.images._db, userxattr=True)
        with connect(self.registry.address, lambda: credentials, patience=HASTY) as client:
            return pull(
                self.reference,
                client=client,
                blobs=self.target.blobs,
                images=self.target.images,
                unpack=lambda manifest, config: unpack.begin(
                    manifest, config, self.target.blobs, snapshots, self.target.events.append
                ),
                measure=snapshots.size,
                platform=host(),
                report=self.target.events.append,
            )

    def push(self, credentials: Credentials | None = None) -> None:
        with connect(self.registry.address, lambda: credentials, push=True, patience=HASTY) as client:
            push(
                self.image.manifest,
                self.reference,
                client=client,
                blobs=self.source.blobs,
                report=self.source.events.append,
            )

    def assert_pulled(self) -> None:
        assert self.target.all == self.source.all
        assert self.target.leftovers == []
        assert self.target.images.find(str(self.reference)).id == self.image.id

    def assert_nothing_wrong_stored(self) -> None:
        assert self.target.all <= self.source.all
        assert self.target.leftovers == []
        assert self.target.images.all() == []
        assert self.target.images.lookup(self.reference) is None


@pytest.fixture
def scene(new_store: Callable[[str], Store]) -> Iterator[Scene]:
    source = new_store("source")
    image = make_image(source, LAYER)
    content = {f"/blobs/{digest}": Answer(200, {}, source.blobs.read(digest, 1 << 30)) for digest in source.blobs.all()}
    manifest = Answer(200, {"Content-Type": media.OCI_MANIFEST}, source.blobs.read(image.manifest.digest))
    content |= {"/manifests/latest": manifest, f"/manifests/{image.manifest.digest}": manifest}
    with faulty.registry(content) as registry:
        yield Scene(source, new_store("target"), registry, image)


def test_without_a_fault(scene: Scene) -> None:
    scene.pull()
    scene.assert_pulled()


@pytest.mark.parametrize(
    "faults",
    [
        [cut(after=1_000_000)],
        [cut(after=0)],
        [hang_up],
        [cut(after=1_500_000), cut(after=1_000_000), cut(after=7), hang_up],
        [instead(500)],
        [instead(503, Retry_After="1")],
        [instead(429, Retry_After="0"), instead(502), instead(504)],
    ],
)
def test_a_layer_that_comes_on_another_try(scene: Scene, faults: list[Fault]) -> None:
    scene.registry.does(f"blobs/{scene.layers[0]}", *faults)
    scene.pull()
    scene.assert_pulled()


@pytest.mark.parametrize("fault", [hang_up, instead(500), instead(429, Retry_After="0")])
def test_a_manifest_that_comes_on_another_try(scene: Scene, fault: Fault) -> None:
    scene.registry.does("manifests/latest", fault)
    scene.pull()
    scene.assert_pulled()


def test_a_cut_layer_goes_on_where_it_ended(scene: Scene) -> None:
    scene.registry.does(f"blobs/{scene.layers[0]}", cut(after=2 << 20))
    scene.pull()
    scene.assert_pulled()
    first, second = scene.registry.requests(f"blobs/{scene.layers[0]}")
    assert "range" not in first.headers
    start = int(second.headers["range"].removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= 2 << 20


def test_a_registry_that_ignores_ranges(scene: Scene) -> None:
    layer = scene.layers[0]
    whole = instead(200, scene.registry.content[f"/blobs/{layer}"].body)
    scene.registry.does(f"blobs/{layer}", cut(after=2 << 20), whole)
    scene.pull()
    scene.assert_pulled()


@pytest.mark.parametrize(
    ("fault", "kind", "text"),
    [
        (flip, Corrupt, "digest"),
        (longer, Corrupt, "bytes"),
        (endless, Corrupt, "more than"),
        (cut(after=100), Unavailable, "the registry"),
        (stall, Unavailable, "stalled"),
        (nonsense, Unavailable, "does not speak HTTP"),
        (instead(500), Unavailable, "status 500"),
        (instead(429, Retry_After="3600"), Unavailable, "status 429"),
        (instead(404), NotFound, "blob"),
        (instead(403, b'{"errors":[{"code":"DENIED","message":"go\\u001b[31m away"}]}'), Denied, r"go\[31m away"),
        (instead(206, b"x", Content_Range="bytes 5-6/7"), Corrupt, "blob"),
        (instead(200, b"", Content_Length="0"), Corrupt, "announces 0 bytes"),
        (instead(302, Location="/loop"), NotFound, "blob"),
        (instead(302), Unavailable, "redirects more than"),
        (instead(302, Location="gopher://x/"), Invalid, "not an HTTP address"),
        (instead(418, b"\x00" * 100), Unavailable, "status 418"),
    ],
)
def test_a_layer_that_does_not_come(scene: Scene, fault: Fault, kind: type[SampanError], text: str) -> None:
    scene.registry.does(f"blobs/{scene.layers[0]}", fault, always=True)
    with pytest.raises(kind, match=text) as caught:
        scene.pull()
    scene.assert_nothing_wrong_stored()
    assert caught.value.message.isprintable()
    assert scene.recorder
    assert scene.recorder.abandoned
    assert len(scene.registry.requests(f"blobs/{scene.layers[0]}")) <= 6
    assert scene.registry.endless_bytes < 64 << 20


@pytest.mark.parametrize(
    ("fault", "kind", "text"),
    [
        (instead(200, b"nonsense"), Invalid, "not JSON"),
        (instead(200, b"{}"), Invalid, "schemaVersion"),
        (instead(200, b"x", Docker_Content_Digest="sha256:" + "0" * 64), Corrupt, "is corrupt"),
        (endless, Corrupt, "the manifest of .* has more than 4194304 bytes"),
        (instead(404), NotFound, "no such image: 127.0.0.1:[0-9]+/thing:latest"),
        (instead(401), Denied, "refuses"),
        (instead(401, WWW_Authenticate='Basic realm="'), Invalid, "challenge"),
        (instead(200, b"[" * 100_000), Invalid, "not JSON"),
    ],
)
def test_a_manifest_that_is_none(scene: Scene, fault: Fault, kind: type[SampanError], text: str) -> None:
    scene.registry.does("manifests/", fault, always=True)
    with pytest.raises(kind, match=text):
        scene.pull()
    assert scene.target.all == set()
    scene.assert_nothing_wrong_stored()


def test_a_config_that_is_wrong(scene: Scene) -> None:
    scene.registry.does(f"blobs/{scene.config}", flip, always=True)
    with pytest.raises(Corrupt):
        scene.pull()
    scene.assert_nothing_wrong_stored()
    assert scene.registry.requests(f"blobs/{scene.layers[0]}") == []


def test_a_refusal_is_not_asked_again_and_again(scene: Scene) -> None:
    scene.registry.does("manifests/", instead(401, WWW_Authenticate="Basic"), always=True)
    with pytest.raises(Denied) as caught:
        scene.pull(ME)
    assert len(scene.registry.requests("manifests/")) == 2
    assert "canary" not in f"{caught.value} {caught.value.hint}"


def basic_only(handler: faulty.Handler, answer: Answer) -> None:
    """Wants to see an Authorization header, whatever is in it."""
    if handler.headers.get("Authorization"):
        faulty.send(handler, answer)
    else:
        faulty.send(handler, Answer(401, {"WWW-Authenticate": 'Basic realm="x"'}, b""))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_credentials_do_not_follow_a_redirect_to_another_host(scene: Scene, status: int) -> None:
    layer = scene.layers[0]
    with faulty.registry(scene.registry.content) as elsewhere:
        scene.registry.does(
            f"blobs/{layer}", instead(status, Location=f"http://{elsewhere.address}/v2/x/blobs/{layer}"), always=True
        )
        scene.registry.does(".", basic_only, always=True)
        scene.pull(ME)
        assert "authorization" in scene.registry.requests(f"blobs/{layer}")[0].headers
        assert elsewhere.seen
        assert not any("authorization" in seen.headers for seen in elsewhere.seen)
    scene.assert_pulled()


@pytest.mark.parametrize("challenge", ['Basic realm="x"', 'Bearer realm="http://{0}/token"'])
def test_a_challenge_from_another_host_is_not_answered(scene: Scene, challenge: str) -> None:
    layer = scene.layers[0]
    with faulty.registry() as elsewhere:
        elsewhere.does(".", instead(401, WWW_Authenticate=challenge.format(elsewhere.address)), always=True)
        scene.registry.does(f"blobs/{layer}", instead(302, Location=f"http://{elsewhere.address}/blob"), always=True)
        scene.registry.does(".", basic_only, always=True)
        with pytest.raises(Denied):
            scene.pull(ME)
        assert [seen.path for seen in elsewhere.seen] == ["/blob"]
        assert "authorization" not in elsewhere.seen[0].headers


def test_credentials_do_not_follow_an_upload_to_another_host(scene: Scene) -> None:
    with faulty.registry() as elsewhere:
        away = instead(202, Location=f"http://{elsewhere.address}/v2/x/blobs/uploads/1?state=kept")
        scene.registry.content.clear()
        scene.registry.does("^POST", away, always=True)
        scene.registry.does(".", basic_only, always=True)
        scene.push(ME)
        assert {seen.method for seen in elsewhere.seen} == {"PUT"}
        assert not any("authorization" in seen.headers for seen in elsewhere.seen)
        assert {f"/blobs/{digest}" for digest in (scene.config, *scene.layers)} <= set(elsewhere.content)


def test_a_token_server_that_redirects_is_not_followed(scene: Scene) -> None:
    with faulty.registry() as elsewhere:
        realm = f'Bearer realm="http://{scene.registry.address}/token"'
        scene.registry.does("/token", instead(302, Location=f"http://{elsewhere.address}/"), always=True)
        scene.registry.does("/manifests/", instead(401, WWW_Authenticate=realm), always=True)
        with pytest.raises(Unavailable, match="status 302"):
            scene.pull(ME)
        assert elsewhere.seen == []


@pytest.mark.parametrize(
    ("pattern", "faults"),
    [
        ("^PUT .*/uploads/", [hang_up]),
        ("^PUT .*/uploads/", [instead(500), instead(503, Retry_After="0"), hang_up]),
        ("^POST", [hang_up, instead(429, Retry_After="0")]),
        ("^HEAD", [hang_up, instead(502)]),
        ("^HEAD", [instead(403), instead(405)]),
        ("^PUT .*/manifests/", [instead(500), hang_up]),
    ],
)
def test_a_push_that_goes_well_on_another_try(scene: Scene, pattern: str, faults: list[Fault]) -> None:
    wanted = {f"/blobs/{digest}": scene.source.blobs.read(digest, 1 << 30) for digest in (scene.config, *scene.layers)}
    scene.registry.content.clear()
    scene.registry.does(pattern, *faults)
    scene.push()
    assert {end: answer.body for end, answer in scene.registry.content.items() if "/blobs/" in end} == wanted
    assert scene.registry.content["/manifests/latest"].body == scene.source.blobs.read(scene.image.manifest.digest)
    assert scene.registry.seen[-1].path.endswith("/manifests/latest")


@pytest.mark.parametrize(
    ("pattern", "fault", "kind", "text"),
    [
        ("^PUT .*/uploads/", instead(400, faulty.error("DIGEST_INVALID")), Corrupt, "the message"),
        ("^PUT .*/uploads/", instead(413), Invalid, "status 413"),
        ("^PUT .*/uploads/", instead(500, faulty.error("UNKNOWN")), Unavailable, r"the message \(status 500\)"),
        ("^POST", instead(403), Denied, "status 403"),
        ("^POST", instead(202, Location="ftp://x/"), Invalid, "not an HTTP address"),
        ("^PUT .*/manifests/", instead(400, faulty.error("MANIFEST_INVALID")), Invalid, "the message"),
    ],
)
def test_a_push_that_fails(scene: Scene, pattern: str, fault: Fault, kind: type[SampanError], text: str) -> None:
    scene.registry.content.clear()
    scene.registry.does(pattern, fault, always=True)
    with pytest.raises(kind, match=text):
        scene.push()
    assert len(scene.registry.requests(pattern)) <= 2 * HASTY.attempts
    assert bool(scene.registry.requests("^PUT .*/manifests/")) == ("manifests" in pattern)


def test_a_corrupt_blob_of_our_own_is_not_taken(scene: Scene) -> None:
    path = Path(scene.source.blobs.path(scene.layers[0]))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    scene.registry.content.clear()
    with pytest.raises(Corrupt):
        scene.push()
    assert "/manifests/latest" not in scene.registry.content


def test_an_interrupted_pull_does_not_wait_and_leaves_nothing(scene: Scene) -> None:
    scene.registry.does(f"blobs/{scene.layers[0]}", cut(after=2 << 20), stall)
    # As Ctrl-C does it: the main thread is interrupted while a worker waits for bytes that do not come.
    main = threading.main_thread().ident or 0
    scene.registry.stalled = lambda: signal.pthread_kill(main, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        scene.pull(patience=HASTY._replace(silence=60))
    scene.assert_nothing_wrong_stored()
    assert scene.recorder
    assert scene.recorder.abandoned
    assert scene.registry.left == 1


@pytest.mark.parametrize("port", ["127.0.0.1:1", "localhost:1", "[::1]:1"])
def test_nobody_there(port: str) -> None:
    with connect(port, patience=HASTY) as client, pytest.raises(Unavailable, match="does not answer: "):
        client.ping()


def test_a_server_that_hangs_up_on_everybody() -> None:
    with (
        servers.serving(socketserver.BaseRequestHandler) as address,
        connect(address, patience=HASTY) as client,
        pytest.raises(Unavailable, match="closed the connection before it had answered"),
    ):
        client.ping()


def test_a_server_that_is_no_registry(scene: Scene) -> None:
    scene.registry.does(".", instead(404, b"<html>"), always=True)
    with connect(scene.registry.address, patience=HASTY) as client, pytest.raises(NotFound, match="status 404"):
        client.ping()


def test_a_registry_that_is_broken(scene: Scene) -> None:
    scene.registry.does(".", instead(503, faulty.error("UNKNOWN")), always=True)
    with pytest.raises(Unavailable, match=r"cannot do it now: the message \(status 503\)"):
        scene.pull()


def test_a_name_that_does_not_resolve() -> None:
    with connect("registry.invalid", patience=HASTY) as client, pytest.raises(Unavailable, match="cannot be resolved"):
        client.ping()


def test_a_pull_goes_on_where_an_earlier_one_broke_off(scene: Scene) -> None:
    layer = scene.layers[0]
    scene.registry.does(f"blobs/{layer}", cut(after=2 << 20), *[hang_up] * (HASTY.attempts - 1))
    with pytest.raises(Unavailable):
        scene.pull()
    scene.assert_nothing_wrong_stored()
    scene.registry.seen.clear()
    scene.pull()
    scene.assert_pulled()
    (asked,) = scene.registry.requests(f"blobs/{layer}")
    assert 1 << 20 <= int(asked.headers["range"].removeprefix("bytes=").removesuffix("-")) <= 2 << 20


def test_a_part_that_is_wrong_is_fetched_anew(scene: Scene) -> None:
    wanted = scene.layers[0]
    writer = scene.target.blobs.resume(wanted, scene.source.blobs.size(wanted))
    writer.write(bytes(2 << 20))
    writer.abandon(keep=True)
    scene.pull()
    scene.assert_pulled()
    assert ["range" in seen.headers for seen in scene.registry.requests(f"blobs/{wanted}")] == [True, False]


def test_a_registry_that_cannot_go_on(scene: Scene) -> None:
    layer = scene.layers[0]
    scene.registry.does(f"blobs/{layer}", cut(after=2 << 20), *[hang_up] * (HASTY.attempts - 1), instead(416))
    with pytest.raises(Unavailable):
        scene.pull()
    scene.pull()
    scene.assert_pulled()


def test_a_stall_is_overcome(scene: Scene) -> None:
    scene.registry.does(f"blobs/{scene.layers[0]}", cut(after=2 << 20), stall)
    scene.pull()
    scene.assert_pulled()
    assert scene.registry.left == 1


@pytest.mark.parametrize("kind", [media.DOCKER_FOREIGN, media.OCI_LAYER_GZIP])
def test_the_urls_of_a_layer_are_not_asked(scene: Scene, kind: str) -> None:
    """CVE-2020-15157: a layer that is said to lie elsewhere, at a server that wants to see credentials."""
    with faulty.registry() as elsewhere:
        elsewhere.does(".", instead(401, WWW_Authenticate='Basic realm="x"'), always=True)
        document = crafted.manifest_of(scene.source, scene.image)
        document["layers"][0] |= {"mediaType": kind, "urls": [f"http://{elsewhere.address}/layer"]}
        scene.registry.content["/manifests/latest"] = Answer(
            200, {"Content-Type": media.OCI_MANIFEST}, json.dumps(document).encode()
        )
        scene.registry.does("/blobs/", basic_only, always=True)
        if kind == media.DOCKER_FOREIGN:
            with pytest.raises(Unsupported, match="unknown kind"):
                scene.pull_for_real(ME)
        else:
            assert scene.pull(ME).id == scene.image.id
        assert elsewhere.seen == []
