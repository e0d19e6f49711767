"""login, push, pull and logout as a user types them, against Debian's docker-registry."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import commands
import faulty
import servers
from crafted import layer_tar, make_image, manifest_of, open_store
from sampan.cli.login import server
from sampan.errors import Invalid
from sampan.oci import media
from sampan.oci import reference as references
from sampan.oci.descriptor import Descriptor
from sampan.oci.manifest import Index
from sampan.oci.platform import Platform, host
from sampan.store.images import Image

pytestmark = pytest.mark.registry


class User(NamedTuple):
    """Somebody with a home directory and a store of their own."""

    home: Path
    registry: servers.Registry

    def sampan(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "HOME": str(self.home), "SAMPAN_ROOT": str(self.home / "root")}
        environment.pop("DOCKER_CONFIG", None)
        return subprocess.run(
            [sys.executable, "-m", "sampan", *arguments],
            input=stdin,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def login(self, password: str = servers.PASSWORD) -> subprocess.CompletedProcess[str]:
        return self.sampan(
            "login", "-u", servers.USERNAME, "--password-stdin", self.registry.address, stdin=f"{password}\n"
        )

    def own(self, name: str) -> Image:
        """An image with this name in the user's store."""
        store = open_store(self.home / "root")
        image = make_image(store, layer_tar("hello", b"hello\n"), layer_tar("more", b"more\n"))
        store.images.name(references.parse(name), image)
        return image


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    with servers.registry(tmp_path / "registry", auth="basic") as running:
        yield User(tmp_path / "home", running)


def test_from_login_to_logout(user: User) -> None:
    address, config = user.registry.address, user.home / ".docker" / "config.json"
    name = f"{address}/team/hello:v1"
    image = user.own(name)

    refused = user.sampan("push", name)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-2:] == [
        f"sampan: the registry {address} refuses to take blobs for team/hello: authentication required",
        f"hint: sampan login {address}",
    ]
    wrong = user.login("wrong-canary")
    assert wrong.returncode == 1
    assert "canary" not in wrong.stdout + wrong.stderr
    assert f"the user name {servers.USERNAME!r} or its password is wrong" in wrong.stderr
    assert not config.exists()

    right = user.login()
    assert (right.returncode, right.stdout) == (0, "Login Succeeded\n")
    assert f"unencrypted in {config}" in right.stderr
    assert list(json.loads(config.read_text())["auths"]) == [address]
    assert user.sampan("login", address).stdout == "Authenticating with existing credentials...\nLogin Succeeded\n"

    pushed = user.sampan("push", name)
    assert pushed.returncode == 0, pushed.stderr
    lines = pushed.stdout.splitlines()
    assert lines[0] == f"The push refers to repository [{address}/team/hello]"
    assert sorted(line.partition(": ")[2] for line in lines[1:-1]) == ["Pushed", "Pushed"]
    assert lines[-1] == f"v1: digest: {image.manifest.digest} size: {image.manifest.size}"
    assert user.sampan("push", "-q", name).stdout == f"{name}\n"

    assert user.sampan("logout", address).stdout == f"Removing login credentials for {address}\n"
    assert user.sampan("logout", f"https://{address}/v2/").stdout == f"Not logged in to {address}\n"
    assert user.sampan("pull", name).returncode == 1


@pytest.mark.system
def test_pull(user: User, tmp_path: Path) -> None:
    name = f"{user.registry.address}/hello"
    image = user.own(f"{name}:latest")
    user.login()
    assert user.sampan("push", name).stdout.startswith("Using default tag: latest\n")

    other = User(tmp_path / "other", user.registry)
    other.login()
    pulled = other.sampan("pull", name)
    assert pulled.returncode == 0, pulled.stderr
    lines = pulled.stdout.splitlines()
    assert lines[:2] == ["Using default tag: latest", "latest: Pulling from hello"]
    assert sorted(line.partition(": ")[2] for line in lines[2:-3]) == ["Pull complete", "Pull complete"]
    assert lines[-3:] == [
        f"Digest: {image.manifest.digest}",
        f"Status: Downloaded newer image for {name}:latest",
        f"{name}:latest",
    ]
    again = other.sampan("pull", name)
    assert f"Status: Image is up to date for {name}:latest" in again.stdout
    assert other.sampan("pull", "-q", name).stdout == f"{name}:latest\n"
    store = open_store(other.home / "root")
    assert store.images.find(name).id == image.id
    snapshots = other.home / "root" / "snapshots"
    assert [path.read_bytes() for path in snapshots.rglob("hello")] == [b"hello\n"]


@pytest.mark.system
@pytest.mark.rootless
def test_pull_as_an_ordinary_user(rootless_sampan: commands.Sampan, tmp_path: Path) -> None:
    with servers.registry(tmp_path / "registry") as running:
        owner = User(tmp_path / "home", running)
        name = f"{running.address}/hello:v1"
        image = owner.own(name)
        assert owner.sampan("push", "-q", name).returncode == 0
        pulled = rootless_sampan("pull", name)
        assert f"Digest: {image.manifest.digest}" in pulled.stdout
        assert image.id.short in rootless_sampan("images").stdout
        assert rootless_sampan("push", "-q", name).stdout == f"{name}\n"


def test_an_interrupted_pull(tmp_path: Path) -> None:
    """Ctrl-C while a layer stalls: the verb ends at once, and nothing half-written stays."""
    source = open_store(tmp_path / "source")
    image = make_image(source, layer_tar("hello", b"hello\n"))
    content = {f"/blobs/{digest}": faulty.Answer(200, {}, source.blobs.read(digest)) for digest in source.blobs.all()}
    content["/manifests/v1"] = content[f"/blobs/{image.manifest.digest}"]
    layer = manifest_of(source, image)["layers"][0]["digest"]
    root = tmp_path / "root"
    with faulty.registry(content) as registry:
        registry.does(layer, faulty.stall)
        stalled = threading.Event()
        registry.stalled = stalled.set
        pull = subprocess.Popen(
            [sys.executable, "-m", "sampan", "--root", str(root), "pull", f"{registry.address}/x:v1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert stalled.wait(60)
        pull.send_signal(signal.SIGINT)
        _, complaint = pull.communicate(timeout=60)
        assert registry.left == 1
    assert (pull.returncode, complaint) == (130, "sampan: interrupted\n")
    store = open_store(root)
    assert store.leftovers == []
    assert store.images.all() == []


@pytest.fixture
def open_registry(tmp_path: Path) -> Iterator[servers.Registry]:
    with servers.registry(tmp_path / "open") as running:
        yield running


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.system
def test_all_tags(open_registry: servers.Registry, tmp_path: Path) -> None:
    user, other = (User(tmp_path / name, open_registry) for name in ("home", "other"))
    name = f"{open_registry.address}/hello"
    for tag in ("v1", "v2"):
        user.own(f"{name}:{tag}")
    assert "tag can't be used with --all-tags" in user.sampan("push", "-a", f"{name}:v1").stderr
    assert "no image here has a tag in" in user.sampan("push", "-a", f"{name}x").stderr
    pushed = user.sampan("push", "-a", name)
    assert [line.partition(": ")[0] for line in pushed.stdout.splitlines() if ": digest: " in line] == ["v1", "v2"]

    assert "tag can't be used with --all-tags" in other.sampan("pull", "-a", f"{name}:v1").stderr
    pulled = other.sampan("pull", "-a", name)
    assert pulled.returncode == 0, pulled.stderr
    assert [line for line in pulled.stdout.splitlines() if "Pulling" in line] == [
        "v1: Pulling from hello",
        "v2: Pulling from hello",
    ]
    assert pulled.stdout.splitlines()[-2:] == [f"Status: Downloaded newer image for {name}", name]
    assert other.sampan("images", "-q").stdout.split()[0] in user.sampan("images", "-q").stdout
    assert (
        "NAME_UNKNOWN" in other.sampan("pull", "-a", f"{name}x").stderr
        or "not known" in other.sampan("pull", "-a", f"{name}x").stderr
    )


@pytest.mark.system
def test_progress_as_json(open_registry: servers.Registry, tmp_path: Path) -> None:
    user, other = (User(tmp_path / name, open_registry) for name in ("home", "other"))
    name = f"{open_registry.address}/hello:v1"
    image = user.own(name)
    pushed = lines(user.sampan("push", "--progress", "json", name).stdout)
    assert pushed[-1] == {"event": "done", "reference": name, "digest": image.manifest.digest}
    assert [each["how"] for each in pushed if each["event"] == "transferred"] == ["pushed", "pushed"]
    pulled = lines(other.sampan("pull", "--progress=json", name).stdout)
    assert pulled[0] == {"event": "resolved", "reference": name, "digest": image.manifest.digest}
    assert pulled[-1] == {"event": "done", "reference": name}
    assert {"transferring", "transferred", "unpacked"} <= {each["event"] for each in pulled}
    assert "there is no progress 'xml'" in user.sampan("pull", "--progress", "xml", name).stderr


def test_compression(open_registry: servers.Registry, tmp_path: Path) -> None:
    user = User(tmp_path / "home", open_registry)
    name = f"{open_registry.address}/hello:v1"
    image = user.own(name)
    assert str(image.manifest.digest) in user.sampan("push", "--compression", "gzip", name).stdout
    first = user.sampan("push", "--compression", "zstd:9", "--jobs", "1", name)
    assert first.stdout.count("Pushed") == 2
    assert str(image.manifest.digest) not in first.stdout
    again = user.sampan("push", "--compression", "zstd:9", name)
    assert again.stdout.count("Layer already exists") + again.stdout.count("Already exists") == 2
    assert first.stdout.splitlines()[-1] == again.stdout.splitlines()[-1]
    assert "cannot be compressed with 'xz'" in user.sampan("push", "--compression", "xz", name).stderr
    assert "--jobs takes a number" in user.sampan("push", "--jobs", "0", name).stderr


def test_platforms(open_registry: servers.Registry, tmp_path: Path) -> None:
    user = User(tmp_path / "home", open_registry)
    name = f"{open_registry.address}/many:1"
    store = open_store(user.home / "root")
    arm = Platform("linux", "arm64")
    here, there = (make_image(store, layer_tar("x", str(each).encode()), platform=each) for each in (host(), arm))
    entries = tuple(image.manifest._replace(platform=image.platform) for image in (here, there))
    data = Index(media.OCI_INDEX, entries).encode()
    target = Descriptor(media.OCI_INDEX, store.blobs.put(data), len(data))
    store.images.name(references.parse(name), here, target)

    assert f"digest: {target.digest} " in user.sampan("push", name).stdout
    assert f"digest: {target.digest} " in user.sampan("push", "--all-platforms", name).stdout
    assert f"digest: {there.manifest.digest} " in user.sampan("push", "--platform", "linux/arm64", name).stdout
    assert "mutually exclusive" in user.sampan("push", "--platform", "arm64", "--all-platforms", name).stderr
    assert "no image for linux/s390x" in user.sampan("push", "--platform", "linux/s390x", name).stderr

    store.blobs.remove(there.id)
    assert f"digest: {here.manifest.digest} " in user.sampan("push", name).stdout
    refused = user.sampan("push", "--all-platforms", name)
    assert refused.returncode == 1
    assert "is not all here" in refused.stderr
    assert "what is missing: linux/arm64" in refused.stderr

    # What is now under the name is one image, for this machine.
    said = f"the image {name} is for {host()}, and there is none for linux/s390x"
    pulled = user.sampan("pull", "--platform", "linux/s390x", name)
    assert (pulled.returncode, pulled.stderr) == (0, f"WARNING: {said}\n")
    run = user.sampan("run", "--platform", "linux/s390x", "--pull", "always", "-q", name)
    assert (run.returncode, run.stderr) == (125, f"sampan: {said}\n")


@pytest.mark.system
def test_a_mirror_is_asked_first_and_passed_over(open_registry: servers.Registry, tmp_path: Path) -> None:
    user = User(tmp_path / "home", open_registry)
    config = user.home / ".config/sampan/config.toml"
    config.parent.mkdir(parents=True)
    name = f"{open_registry.address}/hello:v1"
    user.own(name)
    user.sampan("push", name)
    other = User(tmp_path / "other", open_registry)
    settings = other.home / ".config/sampan/config.toml"
    settings.parent.mkdir(parents=True)

    settings.write_text(f'[registry."mirrored.example"]\nmirrors = ["127.0.0.1:1", "{open_registry.address}"]\n')
    pulled = other.sampan("pull", "mirrored.example/hello:v1")
    assert pulled.returncode == 0, pulled.stderr
    assert "WARNING: the mirror 127.0.0.1:1 is passed over: " in pulled.stdout
    assert pulled.stdout.splitlines()[-1] == "mirrored.example/hello:v1"

    settings.write_text("mirrors = 3\n")
    refused = other.sampan("pull", name)
    assert refused.returncode == 1
    assert f"sampan: {settings}: there is no setting 'mirrors'" in refused.stderr


@pytest.mark.system
def test_a_killed_pull_goes_on_where_it_ended(tmp_path: Path) -> None:
    source = open_store(tmp_path / "source")
    image = make_image(source, layer_tar("big", os.urandom(4 << 20)))
    blobs = {f"/blobs/{each}": faulty.Answer(200, {}, source.blobs.read(each, 1 << 30)) for each in source.blobs.all()}
    layer = manifest_of(source, image)["layers"][0]["digest"]
    user = User(tmp_path / "home", servers.Registry("", tmp_path))
    with faulty.registry({**blobs, "/manifests/v1": blobs[f"/blobs/{image.manifest.digest}"]}) as registry:
        registry.does(layer, faulty.stalled_after(3 << 20))
        stalled = threading.Event()
        registry.stalled = stalled.set
        name = f"{registry.address}/x:v1"
        environment = {**os.environ, "HOME": str(user.home), "SAMPAN_ROOT": str(user.home / "root")}
        pull = subprocess.Popen(
            [sys.executable, "-m", "sampan", "pull", "-q", name], env=environment, stdout=subprocess.DEVNULL
        )
        assert stalled.wait(30)
        part = user.home / "root/blobs/partial" / layer.replace(":", "-")
        while part.stat().st_size < 3 << 20:
            time.sleep(0.01)
        pull.kill()
        pull.wait()
        done = user.sampan("pull", name)
        assert done.returncode == 0, done.stderr
        assert registry.requests(layer)[-1].headers["range"] == f"bytes={3 << 20}-"
    store = open_store(user.home / "root")
    assert store.images.find(name).id == image.id
    assert list((user.home / "root/blobs/partial").iterdir()) == []
    assert store.all == source.all


def test_what_is_refused_before_a_registry_is_asked(user: User) -> None:
    assert "no image is named" in user.sampan("push", "nowhere:5000/x").stderr
    assert "has a digest" in user.sampan("push", f"x@sha256:{'0' * 64}").stderr
    assert "lower case" in user.sampan("pull", "Hello").stderr
    assert "Must provide --username" in user.sampan("login", "--password-stdin", "x:1").stderr
    assert "mutually exclusive" in user.sampan("login", "-u", "a", "-p", "b", "--password-stdin", "x:1").stderr
    assert "there is no terminal" in user.sampan("login", "x:1").stderr
    assert "insecure" in user.sampan("login", "-u", "a", "-p", "canary", "127.0.0.1:1").stderr


@pytest.mark.parametrize(
    ("text", "registry"),
    [
        ("", "docker.io"),
        ("docker.io", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("localhost", "localhost"),
        ("https://r.example:5000/v2/", "r.example:5000"),
    ],
)
def test_what_a_server_is(text: str, registry: str) -> None:
    assert server(text) == registry


@pytest.mark.parametrize("text", ["someword", "a b.example", "user@r.example", "r.example:port"])
def test_what_is_no_server(text: str) -> None:
    with pytest.raises(Invalid):
        server(text)
