"""The servers that engines need: a registry for all of them, and Docker's daemon."""

import json
import shutil
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

from bench.errors import CaseFailed
from bench.processes import Processes

MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


class Registry:
    """Debian's docker-registry on a port of this network namespace, with its data in memory."""

    def __init__(self, directory: Path, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self._storage, self._config, self._log = directory / "storage", directory / "config.json", directory / "log"

    def start(self, processes: Processes, program: str) -> None:
        """Returns when it answers."""
        self._config.parent.mkdir()
        config = {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self._storage)}, "delete": {"enabled": True}},
            "http": {"addr": self.address, "secret": "of the benchmark"},
        }
        self._config.write_text(json.dumps(config))  # JSON is YAML too
        processes.serve([program, "serve", str(self._config)], self._log, self._answers)

    def _answers(self) -> bool:
        try:
            host, _, port = self.address.partition(":")
            socket.create_connection((host, int(port))).close()
        except OSError:
            return False
        return True

    def empty(self) -> None:
        """Forgets everything, so that the next push has everything to send."""
        shutil.rmtree(self._storage, ignore_errors=True)

    def check_image(self, repository: str, tag: str, layers: int) -> None:
        """Raises CaseFailed unless an image is here as a whole."""
        status, body = self._ask("GET", f"/v2/{repository}/manifests/{tag}")
        if status != 200:
            raise CaseFailed(f"the registry has no {repository}:{tag} after the push (status {status})")
        manifest = json.loads(body)
        if len(manifest["layers"]) != layers:
            raise CaseFailed(f"{repository}:{tag} has {len(manifest['layers'])} layers, not {layers}")
        for blob in (manifest["config"], *manifest["layers"]):
            status, _ = self._ask("HEAD", f"/v2/{repository}/blobs/{blob['digest']}")
            if status != 200:
                raise CaseFailed(f"the registry has not got {blob['digest']} of {repository}:{tag} (status {status})")

    def _ask(self, method: str, path: str) -> tuple[int, bytes]:
        connection = HTTPConnection(self.address, timeout=60)
        try:
            connection.request(method, path, headers={"Accept": ", ".join(MANIFESTS)})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


class Daemon:
    """dockerd, with everything that it keeps below one directory in memory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._socket = directory / "docker.sock"
        self.pid = 0

    @property
    def address(self) -> str:
        return f"unix://{self._socket}"

    def start(self, processes: Processes, program: str) -> None:
        """Returns when it answers. Its containerd and its bridge come with it."""
        self._directory.mkdir()
        config = self._directory / "daemon.json"
        config.write_text("{}")
        self.pid = processes.serve(list(self._command(program, config)), self._directory / "log", self._answers)

    def _command(self, program: str, config: Path) -> Iterator[str]:
        yield program
        yield f"--config-file={config}"
        yield f"--host={self.address}"
        for option, name in {"data-root": "data", "exec-root": "run", "pidfile": "pid"}.items():
            yield f"--{option}={self._directory / name}"
        yield "--log-level=warn"

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(self._socket))
                connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
                return b" 200 " in connection.recv(100)
            except OSError:
                return False
