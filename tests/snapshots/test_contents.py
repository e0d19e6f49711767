"""What images are made of: files that are seen, files that lie hidden below, packages and leftovers."""

import os
from pathlib import Path

import pytest

from sampan.layers import whiteouts
from sampan.oci.digest import Digest, sha256
from sampan.snapshots import contents, weight
from sampan.snapshots.contents import Contents, File
from sampan.snapshots.overlay import Overlay
from sampan.store import database

TOP = sha256(b"top")


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    db = database.connect(str(tmp_path / "sampan.db"))
    return Overlay(str(tmp_path / "snapshots"), db, userxattr=True)


def put(overlay: Overlay, *layers: dict[str, str | None], opaque: str = "") -> Digest:
    """A stack of layers; None is a deletion where a device may be made, else a symbolic link."""
    parent = None
    for number, files in enumerate(layers):
        directory = Path(overlay.prepare(f"k{number}", parent))
        for name, content in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.symlink_to("/nowhere")
            else:
                path.write_text(content)
        if opaque and number == len(layers) - 1:
            os.setxattr(directory / opaque, whiteouts.opaque_xattr(True).decode(), b"y")
        name = TOP if number == len(layers) - 1 else sha256(str(number).encode())
        overlay.commit(f"k{number}", name, 0, None)
        parent = name
    return TOP


def seen(found: Contents) -> dict[str, tuple[int, int]]:
    return {file.path.decode(): (file.size, file.layer) for file in found.visible.values()}


def hidden(found: Contents) -> list[tuple[str, int]]:
    return sorted((file.path.decode(), file.layer) for file in found.hidden)


def test_files_of_later_layers_count(overlay: Overlay) -> None:
    found = contents.read(put(overlay, {"a": "12", "d/b": "1", "d/c": "1"}, {"a": "123", "d/b": "12"}), overlay)
    assert seen(found) == {"a": (3, 1), "d/b": (2, 1), "d/c": (1, 0)}
    assert hidden(found) == [("a", 0), ("d/b", 0)]
    assert found.layers == (4, 5)


def test_something_else_in_the_place_of_a_directory_hides_what_was_in_it(overlay: Overlay) -> None:
    found = contents.read(put(overlay, {"d/b": "1", "dd": "1"}, {"d": None}), overlay)
    assert (seen(found), hidden(found)) == ({"dd": (1, 0)}, [("d/b", 0)])
    found = contents.read(put_again(overlay), overlay)
    assert (seen(found), hidden(found)) == ({"d": (1, 1)}, [("d/x/y", 0)])


def put_again(overlay: Overlay) -> Digest:
    below = Path(overlay.prepare("below", None))
    (below / "d" / "x").mkdir(parents=True)
    (below / "d" / "x" / "y").write_text("1")
    overlay.commit("below", sha256(b"below"), 0)
    above = Path(overlay.prepare("above", sha256(b"below")))
    (above / "d").write_text("1")
    overlay.commit("above", sha256(b"above"), 0)
    return sha256(b"above")


def test_an_opaque_directory_hides_what_is_below(overlay: Overlay) -> None:
    try:
        found = contents.read(put(overlay, {"d/b": "1", "e": "1"}, {"d/c": "1"}, opaque="d"), overlay)
    except OSError as error:
        pytest.skip(f"the machine's temporary directory takes no attributes: {error}")
    assert (seen(found), hidden(found)) == ({"d/c": (1, 1), "e": (1, 0)}, [("d/b", 0)])


def test_a_hard_link_takes_no_room(overlay: Overlay) -> None:
    directory = Path(overlay.prepare("k", None))
    (directory / "a").write_text("12345")
    os.link(directory / "a", directory / "b")
    overlay.commit("k", TOP, 0)
    assert contents.read(TOP, overlay).layers == (5,)


def test_an_image_without_layers(overlay: Overlay) -> None:
    assert contents.read(None, overlay) == Contents({}, (), ())


def of(*paths: str) -> Contents:
    files = {path.encode(): File(path.encode(), 10, 0o644, 0, 0) for path in paths}
    return Contents(files, (), (len(paths) * 10,))


def test_python_packages() -> None:
    site = "usr/lib/python3/site-packages"
    record = f"{site}/some_tool-1.2.3.dist-info/RECORD"
    found = of(f"{site}/tool/a.py", f"{site}/tool/b,c.py", "usr/bin/tool", record, f"{site}/other.py", f"{site}/RECORD")
    lines = b'tool/a.py,sha256=x,10\n"tool/b,c.py",sha256=x,10\n../../../bin/tool,,\n../../../../../../etc/passwd,,\n'
    assert weight.packages(found, lambda path, limit: lines) == [weight.Package("some_tool", "1.2.3", 30)]
    assert weight.packages(found, lambda path, limit: None) == [weight.Package("some_tool", "1.2.3", 0)]


def test_leftovers() -> None:
    found = weight.leftovers(
        of(
            "var/lib/apt/lists/a",
            "var/lib/apt/lists/b",
            "app/.git/config",
            "a/__pycache__/x.pyc",
            "b/__pycache__/x.pyc",
        )
    )
    assert [(each.path, each.size) for each in found] == [
        ("**/__pycache__", 20),
        ("/var/lib/apt/lists", 20),
        ("/app/.git", 10),
    ]
    assert all(each.advice for each in found)
    assert weight.leftovers(of("tmpfile", "usr/tmp.py", "root/.cachefile")) == []
