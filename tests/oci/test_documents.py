"""Manifests, indexes, descriptors and image configs: what is read, what is written, what is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.errors import Invalid, NotFound, SampanError, Unsupported
from sampan.oci import config as configs
from sampan.oci import descriptor as descriptors
from sampan.oci import manifest as manifests
from sampan.oci import media
from sampan.oci import platform as platforms
from sampan.oci.config import ContainerConfig, ImageConfig
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import sha256
from sampan.oci.manifest import MAX_BYTES, Index, Manifest
from sampan.oci.platform import Platform

CONFIG = Descriptor(media.OCI_CONFIG, sha256(b"config"), 6)
LAYER = Descriptor(media.OCI_LAYER_GZIP, sha256(b"layer"), 5, annotations={"a": "b"})
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64", "v8")


def encoded(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()


def document(**changes: Any) -> dict[str, Any]:
    value = {"schemaVersion": 2, "mediaType": media.OCI_MANIFEST, "config": CONFIG.to_json(), "layers": []}
    return {key: item for key, item in {**value, **changes}.items() if item is not ...}


@pytest.mark.parametrize("kind", media.MANIFESTS)
def test_manifest_round_trip(kind: str) -> None:
    manifest = Manifest(kind, CONFIG, (LAYER, LAYER), {"x": "y"})
    assert manifests.parse(manifest.encode(), kind) == manifest
    assert manifests.parse(manifest.encode()) == manifest


@pytest.mark.parametrize("kind", media.INDEXES)
def test_index_round_trip(kind: str) -> None:
    entry = Descriptor(media.OCI_MANIFEST, sha256(b"m"), 1, ARM64)
    index = Index(kind, (entry,))
    assert manifests.parse(index.encode(), kind) == index


def test_media_type_may_be_left_out() -> None:
    assert isinstance(manifests.parse(encoded(document(mediaType=...))), Manifest)
    assert isinstance(manifests.parse(encoded({"schemaVersion": 2, "manifests": []})), Index)


@pytest.mark.parametrize(
    ("value", "kind", "error"),
    [
        (document(manifests=[]), None, Invalid),  # CVE-2021-41190: two documents in one
        (document(), media.DOCKER_MANIFEST, Invalid),
        (document(schemaVersion=1), None, Unsupported),
        (document(schemaVersion=3), None, Invalid),
        (document(schemaVersion=...), None, Invalid),
        (document(layers=...), None, Invalid),
        (document(layers={}), None, Invalid),
        (document(config=...), None, Invalid),
        (document(mediaType="application/json"), None, Unsupported),
        (document(layers=[{**LAYER.to_json(), "digest": "sha256:../x"}]), None, Invalid),
        (document(layers=[{**LAYER.to_json(), "size": -1}]), None, Invalid),
        (document(layers=[{**LAYER.to_json(), "size": True}]), None, Invalid),
        (document(layers=[{**LAYER.to_json(), "size": 1 << 70}]), None, Invalid),
        (document(layers=["x"]), None, Invalid),
    ],
)
def test_manifests_that_are_refused(value: dict[str, Any], kind: str | None, error: type[SampanError]) -> None:
    with pytest.raises(error):
        manifests.parse(encoded(value), kind)


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000, b" " * (MAX_BYTES + 1)])
def test_what_is_no_document(data: bytes) -> None:
    for parse in (manifests.parse, configs.parse):
        with pytest.raises(Invalid):
            parse(data)


def test_choosing_a_platform() -> None:
    entries = [
        Descriptor(media.OCI_MANIFEST, sha256(b"1"), 1, Platform("unknown", "unknown")),
        Descriptor(media.OCI_MANIFEST, sha256(b"2"), 1, Platform("linux", "arm", "v6")),
        Descriptor(media.OCI_MANIFEST, sha256(b"3"), 1, Platform("linux", "arm", "v7")),
        Descriptor(media.OCI_MANIFEST, sha256(b"4"), 1, Platform("linux", "arm64")),
    ]
    assert manifests.choose(entries, Platform("linux", "arm", "v7")) is entries[2]
    assert manifests.choose(entries, ARM64) is entries[3]
    with pytest.raises(NotFound) as caught:
        manifests.choose(entries, AMD64)
    assert "linux/arm/v6" in str(caught.value.hint)


def test_config_round_trip() -> None:
    inner = ContainerConfig(
        user="1:2", exposed_ports=("80/tcp",), env=("A=b",), entrypoint=(), cmd=("x",), volumes=("/v",),
        working_dir="/w", labels={"l": "m"}, stop_signal="SIGINT", shell=("/bin/sh", "-c"),
        healthcheck={"Test": ["NONE"]}, on_build=("RUN x",),
    )  # fmt: skip
    config = ImageConfig(ARM64, inner, (sha256(b"l"),), ({"created_by": "x"},), "2026-01-01T00:00:00Z", "me")
    assert configs.parse(config.encode()) == config


def test_entrypoint_not_set_and_set_to_nothing_differ() -> None:
    unset, nothing = ContainerConfig(), ContainerConfig(entrypoint=(), cmd=())
    assert configs.from_container_json(unset.to_json()) == unset
    assert configs.from_container_json(nothing.to_json()) == nothing


@pytest.mark.parametrize(
    "config",
    [
        {"Env": "A=b"},
        {"Env": [1]},
        {"Cmd": {}},
        {"ExposedPorts": [1]},
        {"Labels": [1]},
        {"User": 1},
        {"Volumes": "x"},
        [],
    ],
)
def test_configs_that_are_refused(config: object) -> None:
    with pytest.raises(Invalid):
        configs.parse(encoded({"os": "linux", "architecture": "amd64", "config": config}))


@pytest.mark.parametrize("diff_ids", [1, "sha256:x", {"a": "b"}, [1], ["x"]])
def test_diff_ids_that_are_refused(diff_ids: object) -> None:
    with pytest.raises(Invalid):
        configs.parse(encoded({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": diff_ids}}))


def test_old_configs_with_a_command_as_text() -> None:
    assert configs.from_container_json({"Cmd": "run me"}).cmd == ("run me",)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["config", "layers", "rootfs", "diff_ids", "Env", "history", "mediaType", "digest", "size", "schemaVersion", "manifests"]), inner, max_size=5), max_leaves=20))  # noqa: E501  # fmt: skip
def test_noise_raises_nothing_else(value: object) -> None:
    data = json.dumps(value).encode()
    for parse in (manifests.parse, configs.parse):
        try:
            parse(data)
        except SampanError:
            continue


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", AMD64),
        ("x86_64", AMD64),
        ("linux/aarch64", Platform("linux", "arm64")),
        ("linux/arm64/v8", ARM64),
        ("armhf", Platform("linux", "arm", "v7")),
        ("linux/arm/v6", Platform("linux", "arm", "v6")),
    ],
)
def test_platforms(text: str, expected: Platform) -> None:
    assert platforms.parse(text) == expected


@pytest.mark.parametrize("text", ["", "/", "linux/", "linux/amd64/v1/x", "linux/a b", "li nux/amd64", "foo"])
def test_what_is_no_platform(text: str) -> None:
    with pytest.raises(Invalid):
        platforms.parse(text)


def test_descriptor_keeps_what_it_was_given() -> None:
    assert descriptors.from_json(LAYER.to_json()) == LAYER
    with pytest.raises(Invalid, match="mediaType"):
        descriptors.from_json({"digest": LAYER.digest, "size": 1})
