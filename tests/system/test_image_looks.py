"""``image verify``, ``tree``, ``why-big`` and ``diff``, on images that a registry gave."""

import pytest

import images
from commands import Sampan
from residents import IMAGE
from trees import File

pytestmark = pytest.mark.system


def test_what_was_pulled_is_well(anyone: Sampan) -> None:
    images.put(anyone, "more", {"etc/new": "x", "bin/.wh.ls": "", "etc/passwd": "other\n"})
    assert anyone("image", "verify", "more").stdout.endswith(": ok\n")
    lines = anyone("image", "verify", "--all").stdout.splitlines()
    assert [line.partition(": ")[2] for line in lines] == ["ok", "ok", "ok"]
    assert anyone("image", "verify", "nosuch", check=False).returncode == 1


@pytest.mark.root
def test_damage_is_found_and_named(root: Sampan) -> None:
    images.put(root, "more", {"etc/new": "the content\n"})
    blobs = sorted((root.root / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    (unpacked,) = root.root.glob("snapshots/*/fs/etc/new")
    cases = [(unpacked, "/etc/new as unpacked from layer"), (blobs[-1], f"layer sha256:{blobs[-1].name}")]
    cases.append((next(path for path in blobs if b'"diff_ids"' in path.read_bytes()), "manifest or config"))
    for path, said in cases:
        good = path.read_bytes()
        changed = bytearray(good)
        changed[len(good) // 2] ^= 1
        path.write_bytes(changed)
        done = root("image", "verify", "--all", check=False)
        assert done.returncode == 1, said
        assert said in done.stdout
        path.write_bytes(good)
        assert root("image", "verify", "--all").returncode == 0


@pytest.mark.root
def test_what_is_gone_is_found(root: Sampan) -> None:
    images.put(root, "more", {"etc/new": "x"})
    (unpacked,) = root.root.glob("snapshots/*/fs/etc/new")
    unpacked.unlink()
    assert "cannot be read: no such file" in root("image", "verify", "more", check=False).stdout
    layer = max((root.root / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    layer.unlink()
    done = root("image", "verify", IMAGE, check=False)
    assert (done.returncode, f"layer sha256:{layer.name}: it is not there" in done.stdout) == (1, True)


def test_a_tree_of_layers(anyone: Sampan) -> None:
    images.put(anyone, "one", {"a": "1"})
    images.put(anyone, "two", {"b": "1"})
    lines = anyone("image", "tree").stdout.splitlines()
    assert lines[0].endswith(f"{IMAGE}:latest")
    assert {line.split()[-1] for line in lines[1:]} == {"one:latest", "two:latest"}
    assert [line[:3] for line in lines[1:]] == ["├─ ", "└─ "]
    assert len(anyone("image", "tree", "one").stdout.splitlines()) == 2


def test_why_an_image_is_big(anyone: Sampan) -> None:
    site = "usr/lib/python3/site-packages"
    images.put(
        anyone,
        "big",
        {
            "bin/busybox": File("#" * 3_000_000, 0o755),
            "var/lib/apt/lists/index": "x" * 400_000,
            f"{site}/tool/__init__.py": "x" * 5_000,
            f"{site}/tool-1.0.dist-info/RECORD": "tool/__init__.py,,\n",
        },
    )
    said = anyone("image", "why-big", "big").stdout
    assert "in 2 layers" in said.splitlines()[0]
    parts = {part.splitlines()[0].partition(" (")[0].rstrip(":"): part for part in said.split("\n\n") if part.strip()}
    assert parts["Files"].splitlines()[1].split() == ["3MB", "1", "/bin/busybox"]
    assert parts["Python packages"].splitlines()[1].split() == ["5kB", "tool", "1.0"]
    assert "/bin/busybox" in parts["Replaced or deleted by a later layer, and still there"]
    assert parts["Left over"].splitlines()[1].split()[:2] == ["400kB", "/var/lib/apt/lists"]


def test_how_two_images_differ(anyone: Sampan) -> None:
    images.put(anyone, "one", {"a": "1", "same": "1"}, {"Env": ["A=1"]})
    images.put(anyone, "two", {"b": "1", "same": "1", "etc/group": "x\n"}, {"Env": ["A=2"]})
    lines = anyone("image", "diff", "one", "two").stdout.splitlines()
    assert lines[0] == 'Env: ["A=1"] → ["A=2"]'
    assert [line.split("  ")[0] for line in lines[1:-1]] == ["D /a", "A /b", "C /etc/group"]
    assert lines[-1].startswith("3 files differ; ")
    assert anyone("image", "diff", "one", "one").stdout.splitlines()[0].startswith("0 files differ")


def test_names_that_would_steer_the_terminal(anyone: Sampan) -> None:
    images.put(anyone, "odd", {"a\x1b[2Jb": "1" * 99})
    for words in (("why-big", "odd"), ("diff", IMAGE, "odd"), ("verify", "odd")):
        assert "\x1b" not in anyone("image", *words).stdout
