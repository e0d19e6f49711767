"""``manifest``, ``imagetools`` and ``search``, with real registries."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import commands
import faulty
import servers
from commands import Sampan
from crafted import layer_tar, make_image, open_store
from sampan.oci import media
from sampan.oci import reference as references
from sampan.oci.platform import Platform

pytestmark = [pytest.mark.system, pytest.mark.registry, pytest.mark.needs("docker-registry")]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry that has app:amd64 and app:arm64; its address."""
    directory = tmp_path_factory.mktemp("registry")
    with servers.registry(directory) as running:
        source = Sampan(commands.new_store())
        store = open_store(source.root)
        for architecture in ("amd64", "arm64"):
            image = make_image(store, layer_tar("f", architecture.encode()), platform=Platform("linux", architecture))
            name = f"{running.address}/app:{architecture}"
            store.images.name(references.parse(name), image)
            source("push", "-q", name)
        commands.remove_store(source.root)
        yield running.address


def raw(sampan: Sampan, name: str) -> Any:
    return json.loads(sampan("imagetools", "inspect", "--raw", name).stdout)


def architectures(index: Any) -> list[str]:
    return [entry["platform"]["architecture"] for entry in index["manifests"]]


def test_a_list_is_put_together_and_pushed(sampan: Sampan, registry: str) -> None:
    name, parts = f"{registry}/app:list", [f"{registry}/app:amd64", f"{registry}/app:arm64"]
    assert sampan("manifest", "create", name, parts[0]).stdout == f"Created manifest list {name}\n"
    refused = sampan("manifest", "create", name, parts[1], check=False)
    assert (refused.returncode, "--amend" in refused.stderr) == (1, True)
    sampan("manifest", "create", "--amend", name, parts[1])
    sampan("manifest", "annotate", "--variant", "v8", name, parts[1])
    shown = json.loads(sampan("manifest", "inspect", name).stdout)
    assert architectures(shown) == ["amd64", "arm64"]
    assert shown["manifests"][1]["platform"]["variant"] == "v8"
    digest = sampan("manifest", "push", "--purge", name).stdout.strip()
    assert raw(sampan, name) == shown
    assert f"Digest:    {digest}\n" in sampan("imagetools", "inspect", name).stdout
    assert "no such manifest list" in sampan("manifest", "push", name, check=False).stderr
    sampan("pull", "-q", "--platform", "linux/arm64", name)


def test_a_list_is_forgotten(sampan: Sampan, registry: str) -> None:
    sampan("manifest", "create", "mine:1", f"{registry}/app:amd64")
    sampan("manifest", "rm", "mine:1")
    assert sampan("manifest", "rm", "mine:1", check=False).returncode == 1
    other = sampan("manifest", "annotate", "mine:1", f"{registry}/app:amd64", "--arch", "arm", check=False)
    assert other.stderr.startswith("sampan: no such manifest list: mine:1\n")


def test_a_manifest_of_a_registry_is_shown(sampan: Sampan, registry: str) -> None:
    shown = json.loads(sampan("manifest", "inspect", f"{registry}/app:amd64").stdout)
    assert shown["mediaType"] == media.OCI_MANIFEST
    assert "no such image" in sampan("manifest", "inspect", f"{registry}/app:none", check=False).stderr


def test_images_are_put_together_across_repositories_and_registries(
    sampan: Sampan, registry: str, tmp_path: Path
) -> None:
    parts = [f"{registry}/app:amd64", f"{registry}/app:arm64"]
    with servers.registry(tmp_path / "other") as other:
        names = [f"{registry}/moved:1", f"{other.address}/moved:1"]
        tags = [word for name in names for word in ("--tag", name)]
        sampan("buildx", "imagetools", "create", *tags, "--annotation", "index:a=b", *parts)
        for name in names:
            assert architectures(raw(sampan, name)) == ["amd64", "arm64"]
            assert raw(sampan, name)["annotations"] == {"a": "b"}
            for platform in ("linux/amd64", "linux/arm64"):
                sampan("pull", "-q", "--platform", platform, name)
        sampan("imagetools", "create", "-t", f"{registry}/moved:copy", names[1])
        assert raw(sampan, f"{registry}/moved:copy") == raw(sampan, names[1])
    sampan("rmi", "-f", *names)
    sampan("image", "prune", "-f")
    assert open_store(sampan.root).blobs.all() == []  # what passed through is not kept


def test_an_index_grows(sampan: Sampan, registry: str) -> None:
    name = f"{registry}/app:grown"
    sampan("imagetools", "create", "-t", name, f"{registry}/app:amd64")
    assert raw(sampan, name)["mediaType"] == media.OCI_MANIFEST
    dry = sampan("imagetools", "create", "--dry-run", "--append", "-t", name, f"{registry}/app:arm64")
    sampan("imagetools", "create", "--append", "-t", name, f"{registry}/app:arm64")
    assert architectures(raw(sampan, name)) == ["amd64", "arm64"]
    assert json.loads(dry.stdout) == raw(sampan, name)
    template = "{{.Name}} {{len .Manifest.manifests}}"
    assert sampan("imagetools", "inspect", "--format", template, name).stdout == f"{name} 2\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("imagetools", "create", "app:1"), "--tag"),
        (("imagetools", "create", "--append", "--dry-run", "app:1"), "--append needs"),
        (("imagetools", "create", "-t", "a:1", "--annotation", "layer:a=b", "app:1"), "annotation of an index"),
        (("manifest", "create", f"a@sha256:{'0' * 64}", "app:1"), "digest"),
    ],
)
def test_what_makes_no_sense(sampan: Sampan, words: tuple[str, ...], said: str) -> None:
    refused = sampan(*words, check=False)
    assert (refused.returncode, said in refused.stderr) == (1, True), refused.stderr


def test_search(sampan: Sampan, registry: str) -> None:
    found = sampan("search", f"{registry}/ap").stdout.splitlines()
    assert found[0].split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]
    assert found[1].split() == ["app", "0"]
    assert sampan("search", "--format", "{{.Name}}", f"{registry}/nothing").stdout == ""


def test_search_of_a_registry_as_docker_s(sampan: Sampan) -> None:
    results = [
        {"name": "python", "description": "A\nlanguage\x1b[31m", "star_count": 9, "is_official": True},
        {"name": "me/python", "description": "", "star_count": 1, "is_official": False},
    ]
    answers = {"/v1/search": faulty.Answer(200, {}, json.dumps({"results": results}).encode())}
    with faulty.registry(answers) as server:
        found = sampan("search", "--format", "{{.Name}} {{.StarCount}}", f"{server.address}/python").stdout
        assert found == "python 9\nme/python 1\n"
        assert sampan("search", "-f", "stars=5", "--format", "{{.Name}}", f"{server.address}/x").stdout == "python\n"
        assert "\x1b" not in sampan("search", f"{server.address}/python").stdout


def test_a_registry_without_search_says_so(sampan: Sampan) -> None:
    with faulty.registry({}) as server:
        refused = sampan("search", f"{server.address}/python", check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"sampan: the registry {server.address} offers no search\n")
