"""Documents that were right once: one value replaced, removed or put elsewhere. Understood or refused, never more.

What is refused is refused with an error of ours; what is understood can be written and read again; and every digest and
size in it is one.
"""

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.errors import SampanError
from sampan.oci import config as configs
from sampan.oci import manifest as manifests
from sampan.oci import media
from sampan.oci.config import ContainerConfig, ImageConfig
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest, sha256
from sampan.oci.manifest import Index, Manifest
from sampan.oci.platform import Platform

AMD64 = Platform("linux", "amd64")
CONFIG = Descriptor(media.OCI_CONFIG, sha256(b"config"), 6)
LAYER = Descriptor(media.OCI_LAYER_GZIP, sha256(b"layer"), 5, annotations={"a": "b"})
MANIFEST = json.loads(Manifest(media.OCI_MANIFEST, CONFIG, (LAYER, LAYER), {"k": "v"}).encode())
INDEX = json.loads(
    Index(
        media.OCI_INDEX, tuple(Descriptor(media.OCI_MANIFEST, sha256(b"m"), 1, each) for each in (AMD64, None))
    ).encode()
)
IMAGE = json.loads(
    ImageConfig(
        AMD64,
        ContainerConfig(
            "1:2", ("80/tcp",), ("A=b",), ("e",), ("c",), ("/v",), "/w", {"l": "m"}, "SIGINT", ("/bin/sh",)
        ),
        (sha256(b"l"),),
        ({"created_by": "x"},),
        "2026-01-01T00:00:00Z",
    ).encode()
)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(
        [
            "../../etc/passwd",
            "sha256:",
            "sha256:" + "0" * 63,
            "sha256:" + "G" * 64,
            "sha256:../" + "0" * 61,
            "\0",
            "\ud800",
        ]
    ),
    st.sampled_from([*media.MANIFESTS, *media.INDEXES, media.DOCKER_SCHEMA1, media.DOCKER_FOREIGN]),
    st.just([]),
    st.just({}),
    st.just([[[[]]]]),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += _places(item, (*path, key))
    return found


@st.composite
def damaged(draw: st.DrawFn, document: dict[str, Any]) -> bytes:
    value = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(_places(value) or [("schemaVersion",)]))
        holder = value
        for key in path[:-1]:
            holder = holder[key]
        if draw(st.booleans()) and not isinstance(holder, list):
            holder.pop(path[-1], None)
        else:
            holder[path[-1]] = copy.deepcopy(draw(ODD))  # hypothesis keeps its own, which must not be changed
    data = json.dumps(value, ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass")
    cut = draw(st.integers(0, 20))
    return data[: len(data) - cut] if cut > 17 else data


def _check(descriptor: Descriptor) -> None:
    assert isinstance(descriptor.digest, Digest)
    assert "/" not in descriptor.digest
    assert 0 <= descriptor.size < 1 << 63


@settings(max_examples=400, deadline=None)
@given(st.one_of(damaged(MANIFEST), damaged(INDEX)), st.sampled_from([None, *media.MANIFESTS, *media.INDEXES, "x/y"]))
def test_manifests(data: bytes, announced: str | None) -> None:
    try:
        document = manifests.parse(data, announced)
    except SampanError:
        return
    for each in document.manifests if isinstance(document, Index) else (document.config, *document.layers):
        _check(each)
    if announced in media.MANIFESTS + media.INDEXES:
        assert document.media_type == announced
    try:
        assert manifests.parse(document.encode()) == document
    except UnicodeEncodeError:
        assert b"\\ud8" in data  # half a surrogate pair is JSON, and no text


@settings(max_examples=400, deadline=None)
@given(damaged(IMAGE))
def test_configs(data: bytes) -> None:
    try:
        config = configs.parse(data)
    except SampanError:
        return
    assert all(isinstance(each, Digest) for each in config.diff_ids)
    assert all(isinstance(each, str) for each in (*config.config.env, *config.config.volumes, config.config.user))
    try:
        assert configs.parse(config.encode()) == config
    except UnicodeEncodeError:
        assert b"\\ud8" in data
