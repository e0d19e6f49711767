"""Small images of a static busybox and whatever a test wants in them, fetched from a registry of one's own.

They arrive as images from strangers do, by ``sampan pull``: any user can have them, and nothing about them is checked
before the program that is tested sees it.

images.put(sampan, "odd", {"dev": Link("/host")}, {"Cmd": ["sh"]})
"""

import functools
import io
import json
import platform
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import isal.igzip
import pytest

import faulty
from commands import Sampan
from sampan.oci import media
from sampan.oci.digest import sha256
from trees import Directory, File, Hard, Link

BUSYBOX = Path("/bin/busybox")
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
PASSWD = "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001:Bob:/home/bob:/bin/sh\n"
GROUP = "root:x:0:\nbobs:x:1001:\nstaff:x:50:bob\nother:x:60:alice,bob\n"


class Device(NamedTuple):
    """A device node: ``kind`` is tarfile.CHRTYPE or BLKTYPE."""

    kind: bytes
    major: int
    minor: int
    mode: int = 0o666


class Fifo(NamedTuple):
    mode: int = 0o644


Node = File | Directory | Link | Hard | Device | Fifo | str | bytes


def put(
    sampan: Sampan, name: str, nodes: Mapping[str, Node] = {}, config: Mapping[str, Any] = {}, *, base: bool = True
) -> None:
    """Puts image ``name`` into a store: busybox (unless ``base`` is false), and above it a layer of ``nodes``.

    ``config`` has the names of the specification (``Cmd``, ``User``, …), and replaces what the busybox image has.
    """
    layers = [busybox_layer()] if base else []
    if nodes or not base:
        layers.append(layer(nodes))
    with served(layers, config) as address:
        pulled = f"{address}/{name}"
        sampan("pull", "-q", pulled)
        sampan("tag", pulled, name)
        sampan("rmi", pulled)


@contextmanager
def served(layers: list[bytes], config: Mapping[str, Any] = {}) -> Iterator[str]:
    """The address of a registry in which every name is an image of these layers (tars), while the block lasts."""
    default = {"Env": ["PATH=/bin"], "Cmd": ["sh"]}
    with faulty.registry(content(layers, {**default, **config})) as registry:
        yield registry.address


def content(layers: list[bytes], config: Mapping[str, Any]) -> dict[str, faulty.Answer]:
    """What a registry answers that has this one image: every repository and tag has it."""
    stored = [isal.igzip.compress(tar, 1, mtime=0) for tar in layers]
    value = {
        "architecture": ARCHITECTURE,
        "os": "linux",
        "created": "2024-01-02T03:04:05Z",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [sha256(tar) for tar in layers]},
    }
    config_data = json.dumps(value).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "config": _descriptor(media.OCI_CONFIG, config_data),
        "layers": [_descriptor(media.OCI_LAYER_GZIP, data) for data in stored],
    }
    answers = {f"/blobs/{sha256(data)}": faulty.Answer(200, {}, data) for data in (config_data, *stored)}
    answers["/manifests/latest"] = faulty.Answer(
        200, {"Content-Type": media.OCI_MANIFEST}, json.dumps(manifest).encode()
    )
    return answers


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data)}


def layer(nodes: Mapping[str, Node]) -> bytes:
    """A layer's tar. Names are taken as they are; parents are not made."""
    output = io.BytesIO()
    made: dict[str, tarfile.TarInfo] = {}
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, node in nodes.items():
            entry, data = _entry(name, node)
            if isinstance(node, Hard) and node.path in made:  # as every tar writes it
                first = made[node.path]
                entry.mode, entry.uid, entry.gid = first.mode, first.uid, first.gid
            made[name] = entry
            archive.addfile(entry, io.BytesIO(data))
    return output.getvalue()


def _entry(name: str, node: Node) -> tuple[tarfile.TarInfo, bytes]:
    entry, data = tarfile.TarInfo(name), b""
    match node:
        case str() | bytes():
            data = node.encode() if isinstance(node, str) else node
        case File():
            data = node.content.encode()
            entry.mode, (entry.uid, entry.gid) = node.mode, node.owner
        case Directory():
            entry.type, entry.mode, (entry.uid, entry.gid) = tarfile.DIRTYPE, node.mode, node.owner
        case Link():
            entry.type, entry.linkname = tarfile.SYMTYPE, node.target
        case Hard():
            entry.type, entry.linkname = tarfile.LNKTYPE, node.path
        case Device():
            entry.type, entry.mode, entry.devmajor, entry.devminor = node
        case Fifo():
            entry.type, entry.mode = tarfile.FIFOTYPE, node.mode
    if data.startswith((b"#!", b"\x7fELF")):
        entry.mode = 0o755
    entry.size = len(data)
    return entry, data


@functools.cache
def busybox_layer() -> bytes:
    """A root file system of busybox alone, with users."""
    if not BUSYBOX.exists():
        pytest.skip("not installed: busybox")
    applets = subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True, timeout=20).stdout.split()
    nodes: dict[str, Node] = {
        "bin": Directory(),
        "bin/busybox": BUSYBOX.read_bytes(),
        **{f"bin/{name}": Link("busybox") for name in applets if name != "busybox"},
        "etc": Directory(),
        "etc/passwd": PASSWD,
        "etc/group": GROUP,
        "home": Directory(),
        "tmp": Directory(0o1777),
        "data": Directory(),
        "data/seed": "from the image\n",
    }
    return layer(nodes)
