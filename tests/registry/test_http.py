import ssl
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

import pytest

import servers
from crafted import Store, layer_tar, make_image
from sampan.errors import Denied, Invalid, NotFound, Unavailable
from sampan.oci.reference import Reference
from sampan.registry import http, refusals
from sampan.registry.certificates import tls_context
from sampan.registry.client import connect
from sampan.registry.credentials import Credentials
from sampan.registry.http import Origin, is_loopback, origin
from sampan.registry.outages import Patience
from sampan.registry.push import push

HASTY = Patience(connect=2, silence=2, attempts=2, first_pause=0.01)
RIGHT = Credentials(servers.USERNAME, servers.PASSWORD)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://r.example/v2/", Origin("https", "r.example", 443)),
        ("HTTPS://R.Example:443", Origin("https", "r.example", 443)),
        ("http://r.example", Origin("http", "r.example", 80)),
        ("http://[::1]:5000/x", Origin("http", "[::1]", 5000)),
        ("https://good.example@evil.example/", Origin("https", "evil.example", 443)),
        ("https://good.example\\@evil.example/", Origin("https", "good.example", 443)),
        ("https://evil.example#@good.example", Origin("https", "evil.example", 443)),
    ],
)
def test_origin(url: str, expected: Origin) -> None:
    assert origin(url) == expected


@pytest.mark.parametrize("url", ["", "/v2/", "//r.example/", "ftp://r.example", "https://", "https://r.example:99999"])
def test_what_has_no_origin(url: str) -> None:
    with pytest.raises(Invalid):
        origin(url)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("127.0.0.1", True),
        ("127.9.8.7", True),
        ("[::1]", True),
        ("::1", True),
        ("128.0.0.1", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("[::2]", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("notlocalhost", False),
    ],
)
def test_what_is_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("text", "expected"), [("3", 3), ("0", 0), ("", None), ("soon", None), ("-1", None), ("1e9", None), ("٣", None)]
)
def test_retry_after(text: str, expected: float | None) -> None:
    assert http._retry_after(text) == expected


def test_retry_after_a_date() -> None:
    seconds = http._retry_after(formatdate(time.time() + 1000, usegmt=True))
    assert seconds is not None
    assert 900 < seconds <= 1000
    assert http._retry_after(formatdate(0, usegmt=True)) == 0


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        (401, b"", Denied, "status 401"),
        (404, b'{"errors":[{"code":"BLOB_UNKNOWN","message":"no\\u001b[2J\\nblob"}]}', NotFound, r"no\[2J blob"),
        (400, b'{"errors":[{"code":"NAME_UNKNOWN"}]}', NotFound, "NAME_UNKNOWN"),
        (400, b'{"errors":[]}', Invalid, "status 400"),
        (400, b'{"errors":{"0":1}}', Invalid, "status 400"),
        (400, b'{"errors":[3]}', Invalid, "status 400"),
        (403, b'{"errors":[{"code":"BLOB_UNKNOWN","message":"m"}]}', Denied, "m"),
        (599, b"\xff\xfe", Unavailable, "status 599"),
        (400, b"[" * 60_000, Invalid, "status 400"),
    ],
)
def test_refusals(status: int, body: bytes, kind: type[Exception], text: str) -> None:
    error = refusals.refusal(status, body, "r.example", "it")
    assert type(error) is kind
    with pytest.raises(kind, match=f"^the registry r.example refuses it: {text}$"):
        raise error
    assert error.hint == ("sampan login r.example" if kind is Denied else None)


@pytest.mark.registry
def test_through_a_proxy(
    store: Store, new_store: Callable[[str], Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a registry that only the proxy can reach; TLS goes through it unopened."""
    with servers.registry(tmp_path / "tls", auth="basic", tls=True) as running:
        port = running.address.rpartition(":")[2]
        address = f"registry.test:{port}"
        with servers.proxy({address: f"127.0.0.1:{port}"}) as proxy:
            monkeypatch.setenv("SSL_CERT_FILE", running.certificate)
            monkeypatch.setenv("HTTPS_PROXY", f"http://user:proxy-canary@{proxy.address}")
            monkeypatch.setenv("NO_PROXY", "elsewhere.example")
            image = make_image(store, layer_tar("x", b"x"))
            with connect(address, lambda: RIGHT, push=True, patience=HASTY) as client:
                push(
                    image.manifest,
                    Reference(address, "thing", "1"),
                    client=client,
                    blobs=store.blobs,
                    report=store.events.append,
                )
            assert proxy.seen
            for head in proxy.seen:
                assert head.startswith(f"CONNECT {address} ")
                assert "proxy-authorization: basic" in head.lower()
                assert "\nauthorization:" not in head.lower()
            monkeypatch.setenv("NO_PROXY", "registry.test")
            count = len(proxy.seen)
            with connect(address, patience=HASTY) as client, pytest.raises(Unavailable, match="cannot be resolved"):
                client.ping()
            assert len(proxy.seen) == count


def test_a_proxy_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:canary@127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with connect("registry.test", patience=HASTY) as client, pytest.raises(Unavailable) as caught:
        client.ping()
    assert str(caught.value) == "the registry registry.test cannot be reached through the proxy: connection refused"


@pytest.mark.parametrize("address", ["socks5://127.0.0.1:1", "http://user:canary@[:1"])
def test_a_proxy_of_another_kind(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    with connect("registry.test", patience=HASTY) as client, pytest.raises(Invalid, match="proxy") as caught:
        client.ping()
    assert "canary" not in str(caught.value)


def test_certificates_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    directory = tmp_path / ".config/docker/certs.d/registry.test"
    directory.mkdir(parents=True)
    (directory / "ca.crt").write_text("nonsense")
    with pytest.raises(Invalid, match=r"ca\.crt cannot be used"):
        tls_context("registry.test")
    assert isinstance(tls_context("other.test"), ssl.SSLContext)
