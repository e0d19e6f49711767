"""Real servers of files and git repositories on the loopback interface, and what they were asked for.

with websites.website() as site:  site.url, site.put("file", b"…"), site.requests
with websites.git_server(directory) as url:  every repository below directory, by git's own protocol
"""

import contextlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import NamedTuple

import servers

_GIT_HOME = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "HOME": "/nonexistent"}
_AUTHOR = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in
           (("NAME", "n"), ("EMAIL", "e@example.com"), ("DATE", "2020-01-02T03:04:05Z"))}  # fmt: skip


class Page(NamedTuple):
    content: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012
    status: int = 200


class Asked(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]


class Website:
    """Pages by path. With an ETag or Last-Modified they are conditional; ``authorization`` is wanted where it is set,
    ``repositories`` is a directory whose repositories are served below /git/."""

    def __init__(self) -> None:
        self.url = ""
        self.pages: dict[str, Page] = {}
        self.requests: list[Asked] = []
        self.authorization = ""
        self.repositories: Path | None = None
        self.answers_head = True

    def put(self, path: str, content: bytes = b"", status: int = 200, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.pages[f"/{path}"] = Page(content, named, status)

    def asked(self) -> list[str]:
        """Methods and paths since the last time."""
        found = [f"{each.method} {each.path}" for each in self.requests]
        self.requests.clear()
        return found


@contextlib.contextmanager
def website() -> Iterator[Website]:
    site = Website()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.requests.append(Asked(self.command, self.path, dict(self.headers)))
            if self.command == "HEAD" and not site.answers_head:
                self._send(Page(status=405))
            elif site.authorization and self.headers.get("Authorization") != site.authorization:
                self._send(Page(status=401, headers={"WWW-Authenticate": "Basic"}))
            elif site.repositories and self.path.startswith("/git/"):
                self._run_git(site.repositories)
            else:
                bare = site.pages.get(self.path.partition("?")[0], Page(b"nothing here", status=404))
                self._send(site.pages.get(self.path, bare))

        do_HEAD = do_POST = do_GET

        def _send(self, page: Page) -> None:
            etag, modified = page.headers.get("ETag"), page.headers.get("Last-Modified")
            unchanged = (etag and self.headers.get("If-None-Match") == etag) or (
                modified and self.headers.get("If-Modified-Since") == modified
            )
            self.send_response(304 if unchanged else page.status)
            for name, value in page.headers.items():
                self.send_header(name, value)
            if not unchanged:
                self.send_header("Content-Length", page.headers.get("X-Length", str(len(page.content))))
            self.end_headers()
            if not unchanged and self.command != "HEAD":
                self.wfile.write(page.content)

        def _run_git(self, root: Path) -> None:
            """The CGI program of git (git-http-backend(1))."""
            path, _, query = self.path.removeprefix("/git").partition("?")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            environment = {
                "PATH": os.environ["PATH"],
                **_GIT_HOME,
                "GIT_PROJECT_ROOT": str(root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type") or "",
                "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
            }
            done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=True)
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
            self._send(Page(content, fields, int(fields.pop("Status", "200").split()[0])))

        def log_message(self, format: str, *args: object) -> None:
            pass

    with servers.serving(Handler) as address:
        site.url = f"http://{address}"
        yield site


@contextlib.contextmanager
def git_server(directory: Path) -> Iterator[str]:
    """git-daemon(1) for every repository below ``directory``: gives the URL of that directory."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = ["git", "daemon", f"--base-path={directory}", "--export-all", "--listen=127.0.0.1", f"--port={port}",
               "--reuseaddr", "--log-destination=none", str(directory)]  # fmt: skip
    safe = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    environment = {"PATH": os.environ["PATH"], **_GIT_HOME, **safe}
    process = subprocess.Popen(command, env=environment, process_group=0)
    try:
        _wait_for(port, process)
        yield f"git://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 9)
        process.wait()


class Shell(NamedTuple):
    """An sshd(8). ``known_hosts`` is the line that says its key, ``agent`` the socket of an agent with a key for it."""

    url: str
    known_hosts: str
    agent: str


@contextlib.contextmanager
def ssh_server(directory: Path) -> Iterator[Shell]:
    """Logs root in with one key, which an agent has; for root alone."""
    for name in ("host", "user"):
        _quietly("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name))
    (directory / "authorized").write_text((directory / "user.pub").read_text())
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (directory / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {directory}/host\nAuthorizedKeysFile {directory}/authorized\n"
        "StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nPasswordAuthentication no\n"
    )
    own = not os.path.isdir("/run/sshd")
    os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    agent = str(directory / "agent")
    processes = [
        subprocess.Popen(["ssh-agent", "-D", "-a", agent], stdout=subprocess.DEVNULL),
        subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", str(directory / "sshd_config")], stderr=subprocess.DEVNULL),
    ]
    try:
        _wait_for(port, processes[1])
        _quietly("ssh-add", "-q", str(directory / "user"), SSH_AUTH_SOCK=agent)
        kind, key, *_ = (directory / "host.pub").read_text().split()
        yield Shell(f"ssh://root@127.0.0.1:{port}", f"[127.0.0.1]:{port} {kind} {key}\n", agent)
    finally:
        for process in processes:
            process.kill()
            process.wait()
        if own:
            os.rmdir("/run/sshd")


def _quietly(*command: str, **environment: str) -> None:
    subprocess.run(command, env={**os.environ, **environment}, capture_output=True, check=True)


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        assert process.poll() is None, f"{process.args!r} ended"
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise AssertionError(f"{process.args!r} does not listen")


class Repository:
    """A git repository that is written to: ``write`` files, ``commit``, ``git`` for the rest."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "-q", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        environment = {"PATH": os.environ["PATH"], **_GIT_HOME, **_AUTHOR}
        command = ["git", "-c", "protocol.file.allow=always", *arguments]
        done = subprocess.run(command, cwd=self.path, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def write(self, **files: str) -> None:
        """``docs__index="…"`` for docs/index."""
        for name, content in files.items():
            path = self.path / re.sub("__", "/", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    def commit(self, **files: str) -> str:
        """Commits everything, and gives the commit's id."""
        self.write(**files)
        self.git("add", "--all")
        self.git("commit", "-q", "--allow-empty", "-m", "more")
        return self.git("rev-parse", "HEAD")
