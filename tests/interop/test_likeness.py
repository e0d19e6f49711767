"""That images which differ are found to differ."""

import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import images
import likeness
from images import Device
from sampan.oci.digest import sha256
from trees import Directory, File, Hard, Link

BASE: dict[str, images.Node] = {
    "d": Directory(0o750),
    "d/file": File("content", 0o640, (1, 2)),
    "d/link": Link("file"),
    "d/same": Hard("d/file"),
    "gone": "x",
    "node": Device(tarfile.CHRTYPE, 1, 3),
}
CONFIG: dict[str, Any] = {"Env": ["A=1"], "Cmd": ["x"], "User": "bob"}


def image(
    tmp_path: Path,
    upper: Mapping[str, images.Node] = {},
    config: Mapping[str, Any] = {},
    base: Mapping[str, images.Node] = BASE,
    history: tuple[str, ...] = ("FROM", "RUN"),
) -> likeness.Image:
    layers = [images.layer(base), images.layer(upper)]
    value = {
        "config": {**CONFIG, **config},
        "rootfs": {"diff_ids": [sha256(layer) for layer in layers]},
        "history": [{"created_by": line} for line in history],
    }
    contents: dict[str, images.Node] = {"0": layers[0], "1": layers[1], "config": json.dumps(value)}
    contents["manifest.json"] = json.dumps([{"Config": "config", "Layers": ["0", "1"]}])
    (tmp_path / "archive.tar").write_bytes(images.layer(contents))
    return likeness.read(tmp_path / "archive.tar", {})


def lines(theirs: likeness.Image, ours: likeness.Image, *, now: float = 1, history: bool = False) -> list[str]:
    return likeness.differences(theirs, ours, now=now, history=history)


def test_equal_images_are_equal(tmp_path: Path) -> None:
    assert lines(image(tmp_path), image(tmp_path), history=True) == []


@pytest.mark.parametrize(
    ("path", "node"),
    [
        ("d", Directory(0o755)),
        ("d/new", "x"),
        ("d/link", Link("other")),
        ("d/link", "now a file"),
        ("gone", File("x", 0o600)),
        ("gone", File("x", owner=(0, 1))),
        ("gone", "y"),
        ("gone", Link("x")),
        ("node", Device(tarfile.CHRTYPE, 1, 5)),
        ("node", Device(tarfile.BLKTYPE, 1, 3)),
    ],
)
def test_a_file_that_differs_is_found(tmp_path: Path, path: str, node: images.Node) -> None:
    (line,) = lines(image(tmp_path), image(tmp_path, {path: node}))
    assert line.startswith(f"/{path}: ")


def test_a_lost_hard_link_is_found(tmp_path: Path) -> None:
    found = lines(image(tmp_path), image(tmp_path, {"d/same": File("content", 0o640, (1, 2))}))
    assert [line.partition(":")[0] for line in found] == ["/d/file", "/d/same"]


@pytest.mark.parametrize(
    ("whiteout", "removed"),
    [
        ("d/.wh.file", ["/d/file", "/d/same"]),
        (".wh.gone", ["/gone"]),
        (".wh.d", ["/d", "/d/file", "/d/link", "/d/same"]),
    ],
)
def test_what_a_layer_removes_is_missing(tmp_path: Path, whiteout: str, removed: list[str]) -> None:
    found = lines(image(tmp_path), image(tmp_path, {whiteout: ""}))
    assert [line.partition(":")[0] for line in found] == removed


def test_an_opaque_directory_hides_what_was_below_but_nothing_of_its_own_layer(tmp_path: Path) -> None:
    upper: dict[str, images.Node] = {"d": Directory(0o750), "d/own": "", "d/.wh..wh..opq": ""}
    assert [path for path in likeness.stacked(image(tmp_path, upper).layers) if path.startswith("d")] == ["d", "d/own"]


def test_a_file_in_place_of_a_directory_covers_what_was_in_it(tmp_path: Path) -> None:
    assert "d/file" not in likeness.stacked(image(tmp_path, {"d": "file"}).layers)


@pytest.mark.parametrize("key", likeness.SETTINGS)
def test_each_setting_of_the_config_counts(tmp_path: Path, key: str) -> None:
    (line,) = lines(image(tmp_path), image(tmp_path, config={key: "other"}))
    assert line.startswith(f"{key}: ")


def test_history_and_single_layers_count_where_they_are_asked_for(tmp_path: Path) -> None:
    one = image(tmp_path)
    assert lines(one, image(tmp_path, history=("FROM", "RUN other")), history=True) == ["history: RUN | RUN other"]
    again = image(tmp_path, {"gone": "x"})
    assert lines(one, again) == []
    assert [line.partition(":")[0] for line in lines(one, again, history=True)] == ["layer 1 /gone"]
    assert lines(again, one, history=True) == [], "docker at times keeps a file that nobody touched"
    changed = image(tmp_path, {"gone": "another"})
    assert {line.partition(":")[0] for line in lines(changed, one, history=True)} == {"/gone", "layer 1 /gone"}


def test_times_count_unless_both_are_of_the_build(tmp_path: Path) -> None:
    old, built = image(tmp_path), image(tmp_path)
    for layer in built.layers:
        for path in ("gone", "d"):
            if inode := layer.get(path):
                inode.mtime = 5
    assert lines(old, built, now=1) == [
        "/d: directory 0750 0:0 at 0 | directory 0750 0:0",
        "/gone: 0 0644 0:0 1 bytes, 2d711642b726 at 0 | 0 0644 0:0 1 bytes, 2d711642b726",
    ]
    assert [line.partition(":")[0] for line in lines(built, old, now=1)] == ["/gone"]
    assert lines(built, built, now=1) == []
