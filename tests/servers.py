"""Real servers for tests: Debian's docker-registry on a free port of the loopback interface.

with servers.registry(directory, auth="basic", tls=True) as registry:
    registry.address, registry.username, registry.password, registry.certificate
"""

import base64
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest

USERNAME, PASSWORD = "sampan", "open sesame"
IDENTITY_TOKEN = "an-identity-token"
_HTPASSWD = "sampan:$2y$04$Zsc6fowm6oxiae79Ub/jYue90pjp7rdsitY7OZxzP5/iy.8wy.G/S\n"
_SERVICE = "test registry"


class Registry(NamedTuple):
    """``address`` is host:port, as in image names; ``storage`` the directory that the registry keeps its data in."""

    address: str
    storage: Path
    username: str = ""
    password: str = ""
    certificate: str = ""
    token_server: "TokenServer | None" = None


@contextlib.contextmanager
def registry(
    directory: Path, auth: Literal["basic", "token"] | None = None, *, tls: bool = False, clients: str = ""
) -> Iterator[Registry]:
    """A registry that keeps everything in ``directory`` and is gone when the block ends. Skips without the program.

    ``clients`` is a certificate: with it, nobody is served who does not show one of that authority's.
    """
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed")
    storage = directory / "storage"
    storage.mkdir(parents=True)
    http: dict[str, Any] = {"addr": "127.0.0.1:0", "secret": "of the tests"}
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(storage)}, "delete": {"enabled": True}},
        "http": http,
    }
    with contextlib.ExitStack() as stack:
        user, password = (USERNAME, PASSWORD) if auth else ("", "")
        certificate, token_server = "", None
        if tls:
            certificate, key = make_certificate(directory, "tls")
            http["tls"] = {"certificate": certificate, "key": key} | ({"clientcas": [clients]} if clients else {})
        if auth == "basic":
            (directory / "htpasswd").write_text(_HTPASSWD)
            config["auth"] = {"htpasswd": {"realm": "test realm", "path": str(directory / "htpasswd")}}
        if auth == "token":
            token_server = stack.enter_context(tokens(directory))
            config["auth"] = {"token": token_server.registry_options()}
        path = directory / "config.yml"
        path.write_text(json.dumps(config))  # JSON is YAML too
        port = stack.enter_context(_running([program, "serve", str(path)], directory / "log"))
        host = "localhost" if tls else "127.0.0.1"
        yield Registry(f"{host}:{port}", storage, user, password, certificate, token_server)


@contextlib.contextmanager
def _running(command: list[str], log: Path) -> Iterator[int]:
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("REGISTRY_", "OTEL_"))}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environment)
    try:
        yield _port(process, log)
    finally:
        process.kill()
        process.wait()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    for _ in range(600):
        if match := re.search(r"listening on 127\.0\.0\.1:(\d+)", log.read_text()):
            return int(match[1])
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise RuntimeError(f"docker-registry did not start: {log.read_text()}")


def make_certificate(directory: Path, name: str) -> tuple[str, str]:
    """A certificate for this machine that is its own authority, and its key: two paths."""
    certificate, key = str(directory / f"{name}.crt"), str(directory / f"{name}.key")
    _openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN=sampan test {name}"),
        *(
            "-addext",
            "subjectAltName=DNS:localhost,DNS:registry.test,IP:127.0.0.1",
            "-keyout",
            key,
            "-out",
            certificate,
        ),
    )
    return certificate, key


def _openssl(*arguments: str, stdin: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True).stdout


class TokenServer:
    """Gives out tokens: what ``allowed`` (repository → actions) grants to USERNAME, and ``anonymous`` to anybody.

    ``requests`` notes each request as (method, scopes).
    """

    def __init__(self, certificate: str, key: str) -> None:
        self._certificate, self._key = certificate, key
        self.allowed: dict[str, set[str]] = {}
        self.anonymous: dict[str, set[str]] = {}
        self.requests: list[tuple[str, list[str]]] = []
        self.realm = ""

    def registry_options(self) -> dict[str, Any]:
        return {
            "realm": self.realm,
            "service": _SERVICE,
            "issuer": "the tests",
            "rootcertbundle": self._certificate,
        }

    def answer(self, method: str, query: dict[str, list[str]], authorization: str) -> tuple[int, dict[str, Any]]:
        scopes = [scope for text in query.get("scope", []) for scope in text.split()]
        self.requests.append((method, scopes))
        expected = "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
        if method == "POST":
            known = query.get("refresh_token") == [IDENTITY_TOKEN] and query.get("grant_type") == ["refresh_token"]
        else:
            known = authorization == expected
        if (authorization or method == "POST") and not known:
            return 401, {}
        access = [entry for scope in scopes if (entry := self._granted(scope, known))]
        answer = {"access_token" if method == "POST" else "token": self.sign(access), "expires_in": 300}
        if query.get("offline_token") == ["true"]:
            answer["refresh_token"] = IDENTITY_TOKEN
        return 200, answer

    def _granted(self, scope: str, known: bool) -> dict[str, Any] | None:
        kind, name, actions = scope.split(":")
        rights = (self.allowed if known else self.anonymous).get(name, set())
        return {"type": kind, "name": name, "actions": sorted(rights.intersection(actions.split(",")))}

    def sign(self, access: list[dict[str, Any]]) -> str:
        """A JSON Web Token, RS256, with the certificate in its header (distribution's jwt.md)."""
        der = _openssl("x509", "-in", self._certificate, "-outform", "DER")
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        claims = {
            "iss": "the tests",
            "sub": USERNAME,
            "aud": _SERVICE,
            "exp": now + 300,
            "nbf": now - 60,
            "iat": now,
            "jti": str(len(self.requests)),
            "access": access,
        }
        body = ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        return f"{body}.{_base64url(_openssl('dgst', '-sha256', '-sign', self._key, stdin=body.encode()))}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextlib.contextmanager
def tokens(directory: Path) -> Iterator[TokenServer]:
    """A token server (distribution's token.md and oauth.md)."""
    server = TokenServer(*make_certificate(directory, "token"))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(parse_qs(urlsplit(self.path).query))

        def do_POST(self) -> None:
            self._answer(parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()))

        def _answer(self, query: dict[str, list[str]]) -> None:
            status, answer = server.answer(self.command, query, self.headers.get("Authorization", ""))
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Handler) as address:
        server.realm = f"http://{address}/token"
        yield server


@contextlib.contextmanager
def serving(handler: type[BaseRequestHandler]) -> Iterator[str]:
    """A server of the tests' own in a thread; its host:port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that hang up are what tests are about
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Proxy(NamedTuple):
    """``seen`` has the head of each request to the proxy itself."""

    address: str
    seen: list[str]


@contextlib.contextmanager
def proxy(routes: dict[str, str]) -> Iterator[Proxy]:
    """An HTTP proxy that tunnels (CONNECT, RFC 9110 section 9.3.6) to the real address of each host:port in routes."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            seen.append(f"{self.requestline}\n{self.headers}")
            if self.path not in routes:
                self.send_error(502)
                return
            host, _, port = routes[self.path].rpartition(":")
            with socket.create_connection((host, int(port))) as target:
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=_pour, args=(target, self.connection))
                back.start()
                _pour(self.connection, target)
                back.join()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Handler) as address:
        yield Proxy(address, seen)


def _pour(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
