"""The same templates on the same data: what docker's own command line prints, and what sampan prints.

docker's client asks a server of the test's own, which answers with what ``sampan inspect`` says, so that it is Go's
templates and Docker's types that are compared.
"""

import http.server
import json
import os
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sampan.cli import listing, output
from sampan.cli.templates.evaluate import Template
from sampan.cli.templates.values import typed
from sampan.containers import describe
from sampan.containers.options import Mount, Options
from sampan.containers.record import Container
from sampan.containers.state import State
from sampan.errors import SampanError
from sampan.oci.config import ContainerConfig

pytestmark = [pytest.mark.interop, pytest.mark.needs("docker")]

IDENTIFIER = "ab" * 32
OPTIONS = Options(
    command=("sleep", "10"),
    env=("A=1",),
    mounts=(Mount("/srv/data", "/data"), Mount("cache", "/cache", read_only=True)),
    labels=(("org.example.tier", "web & more"), ("plain", "")),
    ports=("8080:80",),
    args=("sleep", "10"),
)
STATE = State(
    "running",
    4711,
    started="2024-01-02T03:04:05.123456789Z",
    address="172.17.0.2",
    ports=(("0.0.0.0", 8080, 80, "tcp"), ("::", 8080, 80, "tcp")),
)
CONTAINER: dict[str, Any] = describe.inspect(
    Container(IDENTIFIER, "web", f"sha256:{'cd' * 32}", "python:3.12", "2024-01-02T03:04:05Z", OPTIONS, "/c"),
    STATE,
    ContainerConfig(env=("PATH=/bin",), exposed_ports=("80/tcp", "443/tcp")),
)
TEMPLATES = [
    "{{.Name}} {{.Id}}",
    "{{.State.Status}} {{.State.Pid}} {{.State.Running}} {{.State.ExitCode}}",
    "{{json .State.Running}}{{json .Config.Env}}{{json .Config.Labels}}",
    "{{json .NetworkSettings.Ports}}",
    "{{.Config.Env}} {{.Config.Cmd}} {{.Config.Entrypoint}} {{.Config.Volumes}} {{.Args}}",
    "{{.Config.Labels}}",
    '{{index .Config.Labels "org.example.tier"}}|{{index .Config.Labels "nosuch"}}|{{.Config.Labels.nosuch}}',
    "{{range .Mounts}}{{.Type}}:{{.Source}}:{{.Destination}}:{{.RW}} {{end}}",
    "{{range $p, $conf := .NetworkSettings.Ports}} {{$p}} -> {{(index $conf 0).HostPort}} {{end}}",
    '{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}',
    "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
    '{{range $k, $v := .NetworkSettings.Networks}}{{printf "%s=%s\\n" $k $v.IPAddress}}{{end}}',
    "{{.NetworkSettings.Networks.bridge.IPAddress}}",
    "{{with .State.Health}}{{.Status}}{{else}}no health{{end}}",
    "{{if .State.Running}}up{{else}}down{{end}}",
    "{{if and .State.Running (not .State.Paused)}}yes{{end}}",
    '{{if eq .State.Status "running" "paused"}}alive{{end}}',
    '{{join .Config.Env "; "}}',
    "{{range .Config.Env}}{{println .}}{{end}}",
    "{{range $i, $e := .Config.Env}}{{if $i}}, {{end}}{{$e}}{{end}}",
    '{{range .Config.Env}}{{$parts := split . "="}}{{index $parts 0}} {{end}}',
    "{{len .Config.Env}} {{len .Name}} {{len .Mounts}}",
    "{{upper .Name}} {{lower .Config.Image}} {{title .State.Status}}",
    '{{.Name | printf "%10s|" }}{{printf "%-10s|%05d|%x|%q" .Name .State.Pid .State.Pid .Name}}',
    "{{pad .Name 2 3}}|{{truncate .Id 12}}",
    "{{slice .Id 0 12}}",
    "{{.HostConfig.NetworkMode}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.AutoRemove}}",
    "{{.HostConfig.Binds}}",
    "{{- .Name -}} \n {{- /* nothing */ -}} x",
    '{{`raw`}}{{"\\tq\\""}}{{\'a\'}}{{1.5}}{{1e6}}{{-3}}{{0x10}}{{true}}',
    '{{print 1 2 "a" "b" 3}}',
    '{{lt 1 2}}{{gt 1.5 2.5}}{{le "a" "b"}}{{ne .Name "x"}}',
    "{{$n := .Name}}{{$n}}{{with $x := .State}}{{$x.Pid}}{{end}}",
    "{{range .Config.Entrypoint}}x{{else}}none{{end}}",
    '{{range .Config.Env}}{{if eq . "A=1"}}{{break}}{{end}}{{.}}{{end}}',
    "{{.LogPath}}{{.HostnamePath}}",
    "{{.State.Foo}}",
    "{{.Nosuch}}",
    "{{nosuch .Name}}",
    "{{.State.Health.Status}}",
    "{{index .Args 9}}",
    "{{if}}",
    "{{range}}{{end}}",
    "{{.Name",
    "{{end}}",
    '{{eq 1 "a"}}',
    "{{len 3}}",
    '{{"a" "b"}}',
    "{{123456.0}} {{1234567.0}} {{0.0001}} {{0.00001234}} {{1e21}} {{100000.5}}",
    '{{printf "%f %e %g %6.1f %v" 1.5 1.5 1e7 2.25 1e7}}{{printf "%+d %c %o %b %X" 3 65 8 5 255}}',
    '{{printf "%s" .Config.Env}}{{printf "%v %s" .State.Running "x"}}',
    "{{range .Config.Labels}}{{.}};{{end}}",
    "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}",
    "{{.Config.ExposedPorts}}",
    '{{if index .Config.Labels "plain"}}set{{else}}empty{{end}}',
    "{{not .Config.Volumes}} {{and .Name .Id}} {{or .Config.Volumes .Name}}",
    "{{(index .Mounts 1).Name}} {{(index .Mounts 0).Name}}|",
]


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """docker's client; it sees one container, and the images that ``IMAGES`` lists."""
    address = str(tmp_path_factory.mktemp("docker") / "sock")
    answers = {f"/containers/{IDENTIFIER}/json": CONTAINER, "/images/json": IMAGES, "/containers/json": CONTAINERS}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            path = path if path == "/_ping" else path[path.find("/", 1) :]
            value = answers.get(path)
            data = b"OK" if path == "/_ping" else json.dumps(value or {"message": "no"}).encode()
            self.send_response(200 if value is not None or path == "/_ping" else 404)
            self.send_header("Api-Version", "1.43")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

        def address_string(self) -> str:
            return "local"

    server = _Server(address, Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {**os.environ, "DOCKER_HOST": f"unix://{address}", "DOCKER_CONFIG": address + ".d", "TZ": "UTC"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", *words], capture_output=True, text=True, env=environment, timeout=60, check=False
        )

    yield run
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("template", TEMPLATES)
def test_inspect(docker: Callable[..., subprocess.CompletedProcess[str]], template: str) -> None:
    theirs = docker("container", "inspect", "--format", template, IDENTIFIER)
    try:
        ours: str | None = Template(template).render(typed(CONTAINER)) + "\n"
    except SampanError:
        ours = None
    assert ours == (theirs.stdout if theirs.returncode == 0 else None), theirs.stderr


IMAGES = [
    {
        "Id": f"sha256:{'cd' * 32}",
        "RepoTags": ["python:3.12", "localhost:5000/a/very/long/name/of/an/image:1.0"],
        "RepoDigests": [],
        "Created": 1704164645,
        "Size": 123456789,
        "SharedSize": -1,
        "VirtualSize": 123456789,
        "Labels": None,
        "Containers": -1,
    },
    {
        "Id": f"sha256:{'ef' * 32}",
        "RepoTags": [],
        "RepoDigests": [],
        "Created": 1704164645,
        "Size": 999,
        "SharedSize": -1,
        "Labels": None,
        "Containers": -1,
    },
]
CONTAINERS: list[dict[str, Any]] = []
ROWS = [
    ("python", "3.12", "cd", 123456789),
    ("localhost:5000/a/very/long/name/of/an/image", "1.0", "cd", 123456789),
    ("<none>", "<none>", "ef", 999),
]
COLUMNS: "listing.Columns" = {
    "Repository": ("REPOSITORY", lambda row: row[0]),
    "Tag": ("TAG", lambda row: row[1]),
    "ID": ("IMAGE ID", lambda row: row[2] * 6),
    "CreatedAt": ("CREATED AT", lambda row: output.moment("2024-01-02T03:04:05Z")),
    "CreatedSince": ("CREATED", lambda row: output.ago("2024-01-02T03:04:05Z")),
    "Size": ("SIZE", lambda row: output.size(row[3])),
}


@pytest.mark.parametrize(
    "template",
    [
        "table",
        r"table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
        r"table {{.ID}}: {{.Size}}\t{{.Tag}}",
        r"table {{upper .Repository}}\t{{lower .Tag}}\t{{json .Tag}}",
        r"table {{truncate .ID 4}}\t{{pad .Tag 1 1}}x\t{{.CreatedAt}}",
        "{{.Repository}}:{{.Tag}}",
        r"{{.ID}}\t{{.Size}}\n",
        '{{if eq .Repository "<none>"}}{{.ID}}{{end}}',
        "  {{.ID}} ",
        "{{json .Size}}",
        "{{.Nosuch}}",
    ],
)
def test_images(
    docker: Callable[..., subprocess.CompletedProcess[str]],
    template: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from sampan.cli.context import Context

    monkeypatch.setenv("TZ", "UTC")
    theirs = docker("images", "--format", template)
    try:
        listing.show(Context(), ROWS, COLUMNS, ("Repository", "Tag", "ID", "CreatedSince", "Size"), template)
        failed = False
    except SampanError:
        failed = True
    assert failed == (theirs.returncode != 0), theirs.stderr
    if not failed:
        # Docker leaves spaces behind a last cell that is empty.
        assert sorted(lines(capsys.readouterr().out)) == sorted(lines(theirs.stdout))


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


def test_whole_documents(docker: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """What scripts read with jq: no field of ours is dropped by Docker's types, so each means what it means there."""
    theirs = json.loads(docker("container", "inspect", "--format", "{{json .}}", IDENTIFIER).stdout)
    missing = [key for key in CONTAINER if key not in theirs and CONTAINER[key]]
    assert missing == []
