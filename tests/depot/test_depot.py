"""The registry that sampan serves, by the paragraphs of the distribution-spec: requests over a real connection."""

import http.client
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import residents
from sampan.depot import routes, server
from sampan.depot.storage import Depot
from sampan.depot.uploads import Uploads
from sampan.errors import Conflict, Invalid
from sampan.oci import media
from sampan.oci.digest import Digest, sha256

CONFIG = b"{}"


class Reply(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def code(self) -> str:
        code: str = json.loads(self.body)["errors"][0]["code"]
        return code


class Client:
    """One connection, kept alive."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        chunked = body is not None and not isinstance(body, bytes)
        self.connection.request(method, path, body, named, encode_chunked=chunked)
        response = self.connection.getresponse()
        return Reply(response.status, response.headers, response.read())

    def blob(self, data: bytes, repository: str = "app") -> Digest:
        digest = sha256(data)
        begun = self("POST", f"/v2/{repository}/blobs/uploads/")
        done = self("PUT", f"{begun.headers['Location']}?digest={digest}", data)
        assert (done.status, done.headers["Docker-Content-Digest"]) == (201, digest), done
        return digest

    def manifest(self, selector: str = "1", repository: str = "app", **more: Any) -> tuple[Digest, Reply]:
        value = {
            "schemaVersion": 2,
            "mediaType": media.OCI_MANIFEST,
            "config": {"mediaType": media.OCI_CONFIG, "digest": sha256(CONFIG), "size": 2},
            "layers": [],
            **more,
        }
        data = json.dumps(value).encode()
        digest = sha256(data)
        where = f"/v2/{repository}/manifests/{selector or digest}"
        return digest, self("PUT", where, data, Content_Type=media.OCI_MANIFEST)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "layout"


def served(directory: Path, *, read_only: bool = False) -> Iterator[Client]:
    listener = socket.create_server(("127.0.0.1", 0))
    with Depot(str(directory), "localhost:5000", read_only=read_only) as depot, Uploads(depot.blobs) as uploads:

        def serve() -> None:
            try:
                server.serve(listener, lambda request: routes.answer(request, depot, uploads), lambda line: None)
            except OSError:
                return  # the listener was closed

        threading.Thread(target=serve, daemon=True).start()
        client = Client(listener.getsockname()[1])
        yield client
        client.connection.close()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.fixture
def client(directory: Path) -> Iterator[Client]:
    yield from served(directory)


@pytest.fixture
def read_only(directory: Path) -> Iterator[Client]:
    for writer in served(directory):
        writer.blob(CONFIG)
        writer.manifest()
    yield from served(directory, read_only=True)


def test_pull(client: Client) -> None:
    assert client("GET", "/v2/").status == 200
    blob = client.blob(b"0123456789")
    client.blob(CONFIG)
    digest, pushed = client.manifest()
    assert (pushed.status, pushed.headers["Docker-Content-Digest"]) == (201, digest)
    for selector in ("1", digest):
        got = client("GET", f"/v2/app/manifests/{selector}")
        assert (got.status, got.headers["Content-Type"], sha256(got.body)) == (200, media.OCI_MANIFEST, digest)
    head = client("HEAD", "/v2/app/manifests/1")
    assert (head.status, head.headers["Content-Length"], head.body) == (200, str(len(got.body)), b"")
    assert client("GET", f"/v2/app/blobs/{blob}").body == b"0123456789"
    head = client("HEAD", f"/v2/app/blobs/{blob}")
    assert (head.status, head.headers["Content-Length"], head.body) == (200, "10", b"")
    assert client("GET", "/v2/app/manifests/2").code == "MANIFEST_UNKNOWN"
    assert client("GET", f"/v2/app/blobs/sha256:{'0' * 64}").code == "BLOB_UNKNOWN"


@pytest.mark.parametrize(
    ("asked", "status", "body", "told"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=7-99", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("bytes=4-2", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
    ],
)
def test_ranges(client: Client, asked: str, status: int, body: bytes, told: str | None) -> None:
    got = client("GET", f"/v2/app/blobs/{client.blob(b'0123456789')}", Range=asked)
    assert (got.status, got.body, got.headers["Content-Range"]) == (status, body, told)


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_range_behind_the_end(client: Client, asked: str) -> None:
    got = client("GET", f"/v2/app/blobs/{client.blob(b'0123456789')}", Range=asked)
    assert (got.status, got.headers["Content-Range"]) == (416, "bytes */10")


def test_chunks(client: Client) -> None:
    where = client("POST", "/v2/app/blobs/uploads/").headers["Location"]
    first = client("PATCH", where, b"01234", Content_Range="0-4")
    assert (first.status, first.headers["Range"]) == (202, "0-4")
    wrong = client("PATCH", where, b"789", Content_Range="7-9")
    assert (wrong.status, wrong.headers["Range"]) == (416, "0-4")
    assert client("GET", where).headers["Range"] == "0-4"
    assert client("PATCH", where, iter([b"56", b"78"])).headers["Range"] == "0-8"
    digest = sha256(b"0123456789")
    assert client("PUT", f"{where}?digest={digest}", b"9").status == 201
    assert client("GET", f"/v2/app/blobs/{digest}").body == b"0123456789"
    assert client("PATCH", where, b"x").code == "BLOB_UPLOAD_UNKNOWN"


def test_in_one_request_and_by_mounting(client: Client, directory: Path) -> None:
    digest = sha256(b"whole")
    assert client("POST", f"/v2/app/blobs/uploads/?digest={digest}", b"whole").status == 201
    assert client("POST", f"/v2/other/blobs/uploads/?mount={digest}&from=app").status == 201
    missing = client("POST", f"/v2/other/blobs/uploads/?mount=sha256:{'0' * 64}&from=app")
    assert missing.status == 202
    assert client("DELETE", missing.headers["Location"]).status == 204
    assert os.listdir(directory / "blobs/aside") == []


def test_nothing_that_was_not_verified_is_there(client: Client, directory: Path) -> None:
    where = client("POST", "/v2/app/blobs/uploads/").headers["Location"]
    wrong = client("PUT", f"{where}?digest={sha256(b'right')}", b"wrong")
    assert (wrong.status, wrong.code) == (400, "DIGEST_INVALID")
    assert client("PUT", f"/v2/app/manifests/{sha256(b'x')}", b"{}").code == "MANIFEST_INVALID"
    assert client("PUT", "/v2/app/manifests/1", b"[" * 100_000).code == "MANIFEST_INVALID"
    assert client("PUT", "/v2/app/manifests/1", bytes(5 << 20)).status == 413
    assert client.manifest()[1].code == "MANIFEST_BLOB_UNKNOWN"
    assert (os.listdir(directory / "blobs/sha256"), os.listdir(directory / "blobs/aside")) == ([], [])


@pytest.mark.parametrize(
    "path",
    [
        "/v2/../etc/passwd/manifests/1",
        "/v2/%2e%2e/x/blobs/sha256:" + "0" * 64,
        "/v2/App/manifests/1",
        "/v2/app/manifests/..%2f..%2findex.json",
        "/v2/app/blobs/..%2f..%2findex.json",
        "/v2/app/blobs/sha256:../../../../index.json",
        "/v2/app/blobs/uploads/..%2f..",
        "/v3/",
        "/",
        "/v2/app/manifests/" + "a" * 200,
    ],
)
def test_odd_names(client: Client, path: str) -> None:
    assert client("GET", path).status in (400, 404)


def test_a_link_in_the_layout_is_not_followed(client: Client, directory: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    digest = sha256(b"secret")
    (directory / "blobs/sha256" / digest.encoded).symlink_to(secret)
    assert client("GET", f"/v2/app/blobs/{digest}").status == 404
    (directory / "blobs/sha256" / digest.encoded).unlink()
    os.mkfifo(directory / "blobs/sha256" / digest.encoded)
    assert client("GET", f"/v2/app/blobs/{digest}").status == 404


def test_tags(client: Client) -> None:
    client.blob(CONFIG)
    for tag in ("b", "a", "c"):
        client.manifest(tag)
    assert json.loads(client("GET", "/v2/app/tags/list").body) == {"name": "app", "tags": ["a", "b", "c"]}
    page = client("GET", "/v2/app/tags/list?n=2")
    assert (json.loads(page.body)["tags"], page.headers["Link"]) == (
        ["a", "b"],
        '</v2/app/tags/list?n=2&last=b>; rel="next"',
    )
    assert json.loads(client("GET", "/v2/app/tags/list?n=2&last=b").body)["tags"] == ["c"]
    assert json.loads(client("GET", "/v2/_catalog").body) == {"repositories": ["app"]}
    assert client("GET", "/v2/none/tags/list").code == "NAME_UNKNOWN"


def test_delete(client: Client) -> None:
    client.blob(CONFIG)
    digest, _ = client.manifest("1")
    client.manifest("2")
    assert client("DELETE", "/v2/app/manifests/1").status == 202
    assert client("DELETE", "/v2/app/manifests/1").status == 404
    assert client("GET", "/v2/app/manifests/2").status == 200
    assert client("DELETE", f"/v2/app/manifests/{digest}").status == 202
    assert client("GET", "/v2/app/manifests/2").status == 404
    assert client("DELETE", f"/v2/app/blobs/{sha256(CONFIG)}").status == 202
    assert client("DELETE", f"/v2/app/blobs/{sha256(CONFIG)}").status == 404


def test_referrers(client: Client) -> None:
    client.blob(CONFIG)
    subject, _ = client.manifest()
    about = {"mediaType": media.OCI_MANIFEST, "digest": subject, "size": 1}
    signed, reply = client.manifest("", subject=about, artifactType="application/x.signature", annotations={"a": "b"})
    assert (reply.status, reply.headers["OCI-Subject"]) == (201, subject)
    client.manifest("sbom", subject=about, artifactType="application/x.sbom")
    found = json.loads(client("GET", f"/v2/app/referrers/{subject}").body)
    assert (found["mediaType"], len(found["manifests"])) == (media.OCI_INDEX, 2)
    some = client("GET", f"/v2/app/referrers/{subject}?artifactType=application/x.signature")
    assert some.headers["OCI-Filters-Applied"] == "artifactType"
    (only,) = json.loads(some.body)["manifests"]
    assert (only["digest"], only["artifactType"], only["annotations"]) == (
        signed,
        "application/x.signature",
        {"a": "b"},
    )
    assert json.loads(client("GET", f"/v2/app/referrers/sha256:{'0' * 64}").body)["manifests"] == []


def test_what_is_only_read_is_not_changed(read_only: Client, directory: Path) -> None:
    before = (directory / "index.json").read_bytes()
    assert read_only("GET", "/v2/app/manifests/1").status == 200
    for method, path in (("POST", "blobs/uploads/"), ("PUT", "manifests/1"), ("DELETE", "manifests/1")):
        assert read_only(method, f"/v2/app/{path}").status == 405
    assert (directory / "index.json").read_bytes() == before


def test_many_push_at_once(client: Client) -> None:
    client.blob(CONFIG)
    port = client.connection.port
    failures: list[object] = []

    def push(number: int) -> None:
        mine = Client(port)
        try:
            mine.blob(b"the same for all")
            for tag in range(5):
                reply = mine.manifest(f"{number}-{tag}")[1]
                if reply.status != 201:
                    failures.append(reply)
        except BaseException as error:
            failures.append(error)
        mine.connection.close()

    threads = [threading.Thread(target=push, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(json.loads(client("GET", "/v2/app/tags/list").body)["tags"]) == 40


def test_a_cut_upload_goes_on(client: Client) -> None:
    where = client("POST", "/v2/app/blobs/uploads/").headers["Location"]
    with socket.create_connection(("127.0.0.1", client.connection.port)) as cut:
        cut.sendall(f"PATCH {where} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234".encode())
        cut.shutdown(socket.SHUT_WR)
        assert cut.recv(4096).startswith(b"HTTP/1.1 500")
    assert client("GET", where).headers["Range"] == "0-4"
    digest = sha256(b"0123456789")
    assert client("PUT", f"{where}?digest={digest}", b"56789").status == 201


def test_clients_that_hang_up_cost_nothing(client: Client) -> None:
    request = f"GET /v2/app/blobs/{client.blob(b'0123456789')} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0"

    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = opened()
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", client.connection.port)) as peer:
            peer.sendall(request.encode())
    assert residents.await_(lambda: opened() <= before)


def test_who_tries_tls_is_not_kept_waiting(client: Client) -> None:
    with socket.create_connection(("127.0.0.1", client.connection.port), timeout=30) as peer:
        peer.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert peer.recv(4096).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "sent",
    [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET /" + b"a" * 200_000, b"\0" * 99],
    ids=["nonsense", "no-host", "endless", "zeros"],
)
def test_what_is_no_http_is_refused(client: Client, sent: bytes) -> None:
    answer = b""
    with socket.create_connection(("127.0.0.1", client.connection.port)) as peer, suppress(OSError):
        peer.sendall(sent)
        peer.shutdown(socket.SHUT_WR)  # fails where the server has heard enough already
        answer = peer.recv(4096)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert client("GET", "/v2/").status == 200


def test_layouts_of_others(directory: Path) -> None:
    for writer in served(directory):
        writer.blob(CONFIG)
        writer.manifest()
    index = json.loads((directory / "index.json").read_text())
    entry = index["manifests"][0]
    index["manifests"] = [
        {**entry, "annotations": {"org.opencontainers.image.ref.name": "bare"}, "artifactType": "kept/as-it-is"},
        {**entry, "annotations": {"io.containerd.image.name": "docker.io/library/hello:2"}},
        {**entry, "annotations": {"io.containerd.image.name": "not a name"}},
        entry,
    ]
    (directory / "index.json").write_text(json.dumps(index))
    for client in served(directory):
        names = ("layout/manifests/bare", "hello/manifests/2", "library/hello/manifests/2", "app/manifests/1")
        assert [client("GET", f"/v2/{name}").status for name in names] == [200] * 4
        client.manifest("new")
    kept = json.loads((directory / "index.json").read_text())["manifests"]
    assert (kept[:4], len(kept)) == (index["manifests"], 5)


def test_what_is_no_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(Invalid, match="not an image layout"):
        Depot(str(tmp_path), "localhost:1")
    assert os.listdir(tmp_path) == ["file"]


def test_a_directory_has_one_registry(directory: Path) -> None:
    with Depot(str(directory), "localhost:1"):
        with pytest.raises(Conflict):
            Depot(str(directory), "localhost:2")
        Depot(str(directory), "localhost:3", read_only=True).close()
