"""Where requests go: mirrors, insecure registries, certificates by host; and lists that come in pages."""

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import faulty
import servers
from crafted import Store, layer_tar, make_image
from faulty import Answer, instead
from sampan.cli import registries
from sampan.errors import Denied, Invalid, NotFound, SampanError, Unavailable
from sampan.oci import media
from sampan.oci import reference as references
from sampan.oci.digest import sha256
from sampan.oci.manifest import Index
from sampan.oci.reference import Reference
from sampan.registry.auth import Refused
from sampan.registry.client import connect
from sampan.registry.credentials import Credentials
from sampan.registry.outages import Patience
from sampan.registry.push import push
from sampan.settings import Registry, Settings

HASTY = Patience(connect=2, silence=5, attempts=2, first_pause=0.01)
RIGHT = Credentials(servers.USERNAME, servers.PASSWORD)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory without settings, credentials and certificates."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "DOCKER_CONFIG", "SSL_CERT_FILE", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """``registry.test`` and ``other.test`` are this machine, and do not look like it."""
    resolve = socket.getaddrinfo

    def answer(host: str, *rest: Any, **options: Any) -> Any:
        return resolve("127.0.0.1" if host in ("registry.test", "other.test") else host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", answer)


def named(address: str, host: str = "registry.test") -> str:
    return f"{host}:{address.rpartition(':')[2]}"


@pytest.mark.registry
@pytest.mark.usefixtures("elsewhere")
class TestInsecure:
    def test_a_certificate_that_does_not_hold(self, tmp_path: Path) -> None:
        with servers.registry(tmp_path / "tls", auth="basic", tls=True) as running:
            address = named(running.address)
            with connect(address, lambda: RIGHT, patience=HASTY) as client, pytest.raises(Unavailable, match="hold"):
                client.ping()
            with connect(address, lambda: RIGHT, insecure=True, patience=HASTY) as client:
                client.ping()

    def test_no_encryption(self, registry: servers.Registry) -> None:
        address = named(registry.address)
        with connect(address, patience=HASTY) as client, pytest.raises(Unavailable, match="does not speak TLS") as told:
            client.ping()
        assert "insecure" in str(told.value.hint)
        with connect(address, insecure=True, patience=HASTY) as client:
            client.ping()

    def test_only_that_one_may_do_without(self) -> None:
        """What an insecure registry redirects to shows a certificate that holds."""
        with faulty.registry() as target:
            target.does(".", faulty.nonsense, always=True)
            with faulty.registry() as running:
                running.does("/v2/thing", instead(307, Location=f"https://{named(target.address, 'other.test')}/x"))
                client = connect(named(running.address), insecure=True, patience=HASTY)
                with client, pytest.raises(Unavailable, match=r"other\.test:[0-9]+ does not speak TLS"):
                    client.manifest("thing", "1")

    def test_a_token_server_in_the_clear(self, tmp_path: Path) -> None:
        with servers.registry(tmp_path / "tokens", auth="token") as running:
            server = running.token_server
            assert server
            answer = instead(401, WWW_Authenticate=f'Bearer realm="{server.realm}"')
            with faulty.registry() as registry:
                registry.does("/v2/thing", answer, always=True)
                client = connect(named(registry.address), lambda: RIGHT, insecure=True, patience=HASTY)
                with client, pytest.raises(Denied, match="without encryption"):
                    client.manifest("thing", "1")
            assert server.requests == []


@pytest.mark.registry
@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("directory", [".docker/certs.d", ".config/docker/certs.d", ".config/sampan/certs.d"])
def test_certificates_of_a_host(home: Path, tmp_path: Path, directory: str) -> None:
    certificate, key = servers.make_certificate(tmp_path, "client")
    with servers.registry(tmp_path / "tls", tls=True, clients=certificate) as running:
        address = named(running.address)
        place = home / directory / address
        place.mkdir(parents=True)
        shutil.copy(running.certificate, place / "ca.crt")
        with connect(address, patience=HASTY) as client, pytest.raises(Unavailable):
            client.ping()  # without a certificate of ours
        shutil.copy(certificate, place / "client.cert")
        with connect(address, patience=HASTY) as client, pytest.raises(Invalid, match=r"client\.cert cannot be used"):
            client.ping()  # without its key
        shutil.copy(key, place / "client.key")
        with connect(address, patience=HASTY) as client:
            client.ping()
        (place / "client.cert").unlink()
        with connect(address, patience=HASTY) as client, pytest.raises(Invalid, match=r"no certificate beside it: cl"):
            client.ping()
        with connect(named(running.address, "other.test"), patience=HASTY) as client, pytest.raises(Unavailable):
            client.ping()  # they are for one host


def settings(*mirrors: str, registry: str = "docker.io") -> Settings:
    return Settings(registries={registry: Registry(mirrors)})


class TestMirrors:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("m.example", ("m.example", False)),
            ("https://m.example:5000/", ("m.example:5000", False)),
            ("http://10.0.0.1:5000", ("10.0.0.1:5000", True)),
            ("localhost", ("localhost", False)),
        ],
    )
    def test_forms(self, text: str, expected: tuple[str, bool]) -> None:
        assert registries.endpoint(text) == expected

    @pytest.mark.parametrize(
        "text", ["", "word", "ftp://m.example", "https://m.example/path", "user:pw@m.example", "m.example:x", "a b.c"]
    )
    def test_what_is_none(self, text: str) -> None:
        with pytest.raises(Invalid):
            registries.endpoint(text)

    def test_their_order(self) -> None:
        found = registries.sources("docker.io", settings("127.0.0.1:1", "http://127.0.0.1:2"))
        assert [client.registry for client in found] == ["127.0.0.1:1", "127.0.0.1:2", "docker.io"]
        assert [client.registry for client in registries.sources("127.0.0.1:9", settings("m.example"))] == [
            "127.0.0.1:9"
        ]

    def test_a_mirror_sees_its_own_credentials_only(self, home: Path) -> None:
        """Neither the registry's own, nor those of another mirror."""
        from sampan.registry import credentials

        with faulty.registry() as mirror:
            mirror.does("/v2/library", instead(401, WWW_Authenticate='Basic realm="x"'), always=True)
            credentials.save("docker.io", Credentials("hub", "hub-canary"))
            credentials.save(mirror.address, Credentials("me", "mirror-secret"))
            client = next(registries.sources("docker.io", settings(mirror.address)))
            with pytest.raises(Denied):
                client.manifest("library/x", "1")
            shown = [seen.headers["authorization"] for seen in mirror.seen if "authorization" in seen.headers]
            assert len(shown) == 1
            assert "aHVi" not in shown[0]  # "hub" in base64


@pytest.fixture
def listed() -> Iterator[faulty.FaultyRegistry]:
    with faulty.registry() as running:
        yield running


def page(value: object, link: str = "") -> faulty.Fault:
    return lambda handler, answer: faulty.send(
        handler, Answer(200, {"Link": link} if link else {}, json.dumps(value).encode())
    )


def test_tags_in_pages(listed: faulty.FaultyRegistry) -> None:
    listed.does("tags/list$", page({"name": "x", "tags": ["a", "b"]}, '</v2/x/tags/list?last=b>; rel="next"'))
    listed.does("last=b", page({"name": "x", "tags": ["b", "c"]}))
    with connect(listed.address) as client:
        assert client.tags("x") == ["a", "b", "c"]


def test_a_repository_without_tags(listed: faulty.FaultyRegistry) -> None:
    listed.does("tags/list", page({"name": "x", "tags": None}))
    with connect(listed.address) as client:
        assert client.tags("x") == []
        with pytest.raises(NotFound):
            client.tags("x")


@pytest.mark.parametrize("value", [{"tags": "abc"}, {"tags": [1]}, [], 3])
def test_what_is_no_list_of_tags(listed: faulty.FaultyRegistry, value: object) -> None:
    listed.does("tags/list", page(value), always=True)
    with connect(listed.address) as client, pytest.raises(Invalid):
        client.tags("x")


def test_pages_without_end(listed: faulty.FaultyRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.registry.client._MAX_PAGES", 5)
    listed.does("tags/list", page({"tags": ["a"]}, '</v2/x/tags/list>; rel="next"'), always=True)
    with connect(listed.address) as client, pytest.raises(Invalid, match="more than 5 pages"):
        client.tags("x")


def test_pages_of_another_host_see_no_credentials(listed: faulty.FaultyRegistry) -> None:
    with faulty.registry() as other:
        listed.does("tags/list", instead(401, WWW_Authenticate="Basic"))
        listed.does("tags/list", page({"tags": ["a"]}, f'<http://{other.address}/x>; rel="next"'))
        with connect(listed.address, lambda: RIGHT) as client, pytest.raises(SampanError):
            client.tags("x")
        assert [("authorization" in seen.headers) for seen in other.seen] == [False]


SUBJECT = sha256(b"subject")
ENTRIES = [
    {"mediaType": media.OCI_MANIFEST, "digest": sha256(kind.encode()), "size": 1, "artifactType": kind}
    for kind in ("a/signature", "a/sbom")
]


def test_referrers(listed: faulty.FaultyRegistry) -> None:
    listed.does("referrers/", page({"schemaVersion": 2, "manifests": ENTRIES}), always=True)
    with connect(listed.address) as client:
        assert [each.artifact_type for each in client.referrers("x", SUBJECT)] == ["a/signature", "a/sbom"]
        (found,) = client.referrers("x", SUBJECT, "a/sbom")  # also where the registry does not filter
        assert found.descriptor.digest == sha256(b"a/sbom")
    assert listed.seen[-1].path == f"/v2/x/referrers/{SUBJECT}?artifactType=a%2Fsbom"


@pytest.mark.registry
def test_referrers_of_a_registry_without_the_call(registry: servers.Registry) -> None:
    with connect(registry.address, push=True) as client:
        assert client.referrers("x", SUBJECT) == []
        client.put_manifest("x", f"sha256-{SUBJECT.encoded}", media.OCI_INDEX, Index(media.OCI_INDEX, ()).encode())
        assert client.referrers("x", SUBJECT) == []
    with faulty.registry() as running:
        body = json.dumps({"schemaVersion": 2, "manifests": ENTRIES}).encode()
        running.content[f"/manifests/sha256-{SUBJECT.encoded}"] = Answer(200, {"Content-Type": media.OCI_INDEX}, body)
        with connect(running.address) as client:
            assert len(client.referrers("x", SUBJECT)) == 2


@pytest.mark.registry
@pytest.mark.parametrize("auth", ["basic", "token"])
def test_a_wrong_password_is_told_as_one(tmp_path: Path, auth: Any) -> None:
    with servers.registry(tmp_path / "registry", auth=auth) as running:
        wrong = Credentials(servers.USERNAME, "canary")
        with connect(running.address, lambda: wrong) as client, pytest.raises(Refused, match="is wrong") as caught:
            client.ping()
        assert "canary" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.registry
def test_nobody_is_logged_in(tmp_path: Path) -> None:
    with servers.registry(tmp_path / "registry", auth="basic") as running:
        with connect(running.address) as client, pytest.raises(Denied, match="nobody is logged in to it") as caught:
            client.ping()
        assert caught.value.hint == f"sampan login {running.address}"


@pytest.mark.registry
def test_docker_hub(home: Path, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its names, its key in config.json and its token service, with a registry of the tests in its place."""
    from sampan.registry import client, credentials

    with servers.registry(tmp_path / "hub", auth="token") as running:
        server = running.token_server
        assert server
        monkeypatch.setattr(client, "HUB_HOST", running.address)
        server.allowed["library/thing"] = {"pull", "push"}
        server.anonymous["library/thing"] = {"pull"}
        image, reference = make_image(store, layer_tar("x", b"x")), references.parse("thing:1")
        credentials.save("docker.io", RIGHT)
        assert list(json.loads((home / ".docker/config.json").read_text())["auths"]) == ["https://index.docker.io/v1/"]
        with registries.connect("docker.io", Settings(), push=True) as hub:
            push(image.manifest, reference, client=hub, blobs=store.blobs, report=store.events.append)
        assert server.requests == [("GET", ["repository:library/thing:pull,push"])]
        credentials.forget("docker.io")
        with registries.connect("docker.io", Settings()) as hub:
            assert hub.manifest(reference.repository, "1").digest == image.manifest.digest
            with pytest.raises(NotFound, match=r"no such image: docker\.io/library/thing:2"):
                hub.manifest(reference.repository, "2")


@pytest.mark.registry
def test_many_layers_over_few_connections(store: Store, registry: servers.Registry) -> None:
    image = make_image(store, *(layer_tar(f"f{number}", b"x" * 100) for number in range(30)))
    opened = []
    connect_socket = socket.socket.connect

    class Counting(socket.socket):
        def connect(self, address: Any) -> None:
            opened.append(address)
            connect_socket(self, address)

    original = socket.socket
    try:
        socket.socket = Counting  # type: ignore[misc]
        with connect(registry.address, push=True) as client:
            reference = Reference(registry.address, "many", "1")
            push(image.manifest, reference, client=client, blobs=store.blobs, report=store.events.append, jobs=3)
    finally:
        socket.socket = original  # type: ignore[misc]
    assert 1 <= len(opened) <= 5  # one to ask, three to send, one more where a first one was closed
