"""The article's walkthrough with real parts: what a Python developer does on the first day, in the order of that day.

build → images → run -d -p → HTTP GET → logs → exec → stop → login → push → rmi → pull → run → rmi
"""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import servers
from commands import Account, Sampan

EXAMPLES = Path(__file__).parents[2] / "examples"
HOST_BASE = "docker-image://localhost/python:host"

pytestmark = [pytest.mark.system, pytest.mark.registry]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[servers.Registry]:
    with servers.registry(tmp_path, auth="basic") as running:
        yield running


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def fetch(port: int, path: str = "/") -> str:
    """The page, once the server answers: it starts after the container does."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                text: str = answer.read().decode()
                return text
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def project(tmp_path: Path) -> Path:
    """A copy of the example: the article's Dockerfile, letter by letter, and a web application."""
    copy = tmp_path / "hello"
    shutil.copytree(EXAMPLES / "hello", copy)
    return copy


@pytest.mark.root
def test_walkthrough_as_root(sampan: Sampan, registry: servers.Registry, tmp_path: Path) -> None:
    walk(sampan, registry, project(tmp_path), tmp_path)


def test_walkthrough_as_an_ordinary_user(
    rootless_sampan: Sampan, registry: servers.Registry, ordinary_user: Account, tmp_path: Path
) -> None:
    walk(rootless_sampan, registry, project(ordinary_user.home), tmp_path)


def walk(sampan: Sampan, registry: servers.Registry, directory: Path, tmp_path: Path) -> None:
    sampan("base", "host", "-t", "localhost/python:host")
    build = ("build", "--host-pip", "--build-context", f"python:latest={HOST_BASE}", "-t", "hello", directory)
    built = sampan(*build)
    assert "Successfully installed" in built.stdout + built.stderr

    again = sampan(*build)
    assert (again.stdout + again.stderr).count("CACHED") == 4  # the base and three steps

    listed = sampan("images").stdout.splitlines()
    assert listed[0].split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert any(line.split()[:2] == ["hello", "latest"] for line in listed)

    serve(sampan, "hello", "web")
    push_and_pull(sampan, registry)
    name = f"{registry.address}/demo/hello:1.0"
    verify_with_others(registry, name, tmp_path)
    serve(sampan, name, "again")

    assert "Untagged" in sampan("rmi", name).stdout
    assert name.rpartition(":")[0] not in sampan("images").stdout


def serve(sampan: Sampan, image: str, name: str) -> None:
    """Runs the image with a published port, looks at it from every side, stops and removes it."""
    port = free_port()
    identifier = sampan("run", "-d", "-p", f"127.0.0.1:{port}:8000", "--name", name, image).stdout.strip()
    assert len(identifier) == 64
    assert "Hello from Python" in fetch(port)

    header, line = sampan("ps").stdout.splitlines()
    assert header.split()[:3] == ["CONTAINER", "ID", "IMAGE"]
    assert line.startswith(identifier[:12])
    assert line.endswith(name)
    assert f"127.0.0.1:{port}->8000/tcp" in line

    logs = sampan("logs", name)
    assert "GET / HTTP/1.1" in logs.stdout + logs.stderr

    inside = sampan("exec", name, "python", "-c", "import flask, os; print(os.getpid(), flask.__name__)")
    assert inside.stdout.split()[1] == "flask"
    assert sampan("exec", name, "sh", "-c", "exit 3", check=False).returncode == 3

    assert sampan("stop", "-t", "3", name).stdout.strip() == name
    assert sampan("ps", "-q").stdout == ""
    (described,) = json.loads(sampan("inspect", name).stdout)
    assert described["State"]["Status"] == "exited"
    assert sampan("rm", name).stdout.strip() == name
    assert sampan("ps", "-aq").stdout == ""


def push_and_pull(sampan: Sampan, registry: servers.Registry) -> None:
    name = f"{registry.address}/demo/hello:1.0"
    sampan("tag", "hello", name)
    refused = sampan("push", name, check=False)
    assert refused.returncode == 1
    assert "sampan login" in refused.stderr

    login = sampan(
        "login", "-u", registry.username, "--password-stdin", registry.address, input=registry.password + "\n"
    )
    assert "Login Succeeded" in login.stdout
    pushed = sampan("push", name)
    digest = next(word for word in pushed.stdout.split() if word.startswith("sha256:"))

    before = sampan("inspect", "hello").stdout
    for image in (name, "hello", "localhost/python:host"):
        sampan("rmi", image)
    sampan("rmi", *sampan("images", "-q").stdout.split(), check=False)
    assert sampan("images", "-aq").stdout == ""

    pulled = sampan("pull", name)
    assert f"Digest: {digest}" in pulled.stdout
    assert json.loads(before)[0]["Id"] == json.loads(sampan("inspect", name).stdout)[0]["Id"]


@pytest.fixture(autouse=True)
def _own_docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of the test go to a directory of its own, and never to whoever runs the tests."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


def verify_with_others(registry: servers.Registry, name: str, tmp_path: Path) -> None:
    """What was pushed is what others read: skopeo inspects and copies it, umoci unpacks it."""
    skopeo, umoci = shutil.which("skopeo"), shutil.which("umoci")
    if not skopeo or not umoci:
        pytest.skip("not installed: skopeo, umoci")
    credentials = f"{registry.username}:{registry.password}"
    run([skopeo, "inspect", "--tls-verify=false", "--creds", credentials, f"docker://{name}"])
    layout = tmp_path / "layout"
    source = ["copy", "--src-tls-verify=false", "--src-creds", credentials, f"docker://{name}"]
    run([skopeo, "--insecure-policy", *source, f"oci:{layout}:hello"])
    run([umoci, "unpack", "--rootless", "--image", f"{layout}:hello", str(tmp_path / "bundle")])
    assert (tmp_path / "bundle/rootfs/app.py").read_text() == (EXAMPLES / "hello/app.py").read_text()


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
