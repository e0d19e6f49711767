"""An upper directory made into a layer, and back."""

import hashlib
import io
import os
import shutil
import socket
import subprocess
import tarfile
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.errors import Conflict, Invalid, Unsupported
from sampan.layers.apply import apply, unpack
from sampan.layers.changes import changes
from sampan.layers.write import pack, write
from sampan.oci import media
from sampan.oci.digest import Digest

USERXATTR = os.geteuid() != 0
OVERLAY = "user.overlay." if USERXATTR else "trusted.overlay."


def layer(fd, **options):
    out = io.BytesIO()
    size = write(changes(fd, userxattr=USERXATTR, **options), out.write)
    return out.getvalue(), size


def names(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [info.name + "/" * info.isdir() for info in tar]


def test_order_whiteouts_and_sockets(place, monkeypatch):
    top = place.path
    for path in ("b/sub", "a/x", "a-b"):
        (top / path).mkdir(parents=True)
    for path in ("b/!", "b/z", "a/x/file", "c", "a.txt"):
        (top / path).write_bytes(b"1")
    os.mknod(top / "a/gone", 0o020000, 0)
    os.setxattr(top / "b", OVERLAY + "opaque", b"y")
    os.setxattr(top / "a", OVERLAY + "origin", b"internal")
    os.setxattr(top / "a", OVERLAY + "impure", b"y")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(top)  # a socket's path must be short
        listener.bind("socket")
        data, size = layer(place.fd)
    assert names(data) == [
        "a.txt", "c", "a/", "a/.wh.gone", "a/x/", "a/x/file", "a-b/", "b/", "b/.wh..wh..opq", "b/!", "b/z", "b/sub/",
    ]  # fmt: skip
    assert size == 5
    assert b"overlay" not in data


def test_hard_links_are_kept(place):
    (place.path / "z").mkdir()
    (place.path / "z/one").write_bytes(b"twin")
    os.link(place.path / "z/one", place.path / "two")
    (place.path / "l").symlink_to("x")
    os.link(place.path / "l", place.path / "m", follow_symlinks=False)
    os.link(place.path / "z/one", place.above / "outside-of-the-layer")
    data, size = layer(place.fd)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert [(info.name, info.type, info.linkname) for info in tar] == [
            ("l", tarfile.SYMTYPE, "x"),
            ("m", tarfile.LNKTYPE, "l"),
            ("two", tarfile.REGTYPE, ""),
            ("z", tarfile.DIRTYPE, ""),
            ("z/one", tarfile.LNKTYPE, "two"),
        ]
    assert size == 4
    os.unlink(place.above / "outside-of-the-layer")


def _rich_tree(top):
    (top / "dir" / ("long" * 40)).mkdir(parents=True)
    (top / "dir" / ("long" * 40) / ("name" * 30)).write_bytes(b"deep")
    (top / "tool").write_bytes(b"x" * 1_500_000)
    (top / "tool").chmod(0o4755)
    (top / "dir").chmod(0o1777)
    (top / "ln").symlink_to("dir/" * 60)
    (top / os.fsdecode(b"\xff\n")).write_bytes(b"")
    os.link(top / "tool", top / "dir/tool2")
    os.mkfifo(top / "dir/pipe", 0o640)
    os.mknod(top / "dir/gone", 0o020000, 0)
    os.setxattr(top / "tool", "user.note", b"a\0b")
    os.setxattr(top / "dir", OVERLAY + "opaque", b"y")
    if not USERXATTR:
        os.chown(top / "tool", 3_000_000, 7)
        os.chmod(top / "tool", 0o4755)
        os.mknod(top / "dir/null", 0o020666, os.makedev(1, 3))
    for path in [*top.rglob("*"), top]:
        os.utime(path, (-5, -5 if path.name == "tool" else 1_234_567), follow_symlinks=False)


def test_a_tree_comes_back_the_same(place, tmp_path):
    _rich_tree(place.path)
    data, size = layer(place.fd)
    other = tmp_path / "other"
    other.mkdir()
    fd = os.open(other, os.O_PATH)
    try:
        applied = apply(io.BytesIO(data), fd, userxattr=USERXATTR)
        again, _ = layer(fd)
    finally:
        os.close(fd)
    assert again == data
    assert (applied.size, applied.unowned, applied.skipped) == (size, 0, 0)
    command = ["diff", "-r", "--no-dereference", place.path, other]
    files = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    assert [line for line in files.splitlines() if "fifo" not in line and "special" not in line] == []
    shutil.rmtree(other)


def test_equal_trees_give_equal_bytes(place, tmp_path):
    """Whatever the order in which their files were made."""
    other = tmp_path / "other"
    listed = [f"d{number % 7}/f{number * 7919 % 101}" for number in range(100)]
    for top, order in ((place.path, 1), (other, -1)):
        for path in listed[::order]:
            (top / path).parent.mkdir(parents=True, exist_ok=True)
            (top / path).write_text(path)
    fd = os.open(other, os.O_PATH)
    try:
        assert layer(fd, epoch=1000)[0] == layer(place.fd, epoch=1000)[0]
    finally:
        os.close(fd)
        shutil.rmtree(other)


def test_epoch_clamps_and_does_not_raise(place):
    (place.path / "new").touch()
    (place.path / "old").touch()
    os.utime(place.path / "old", (5, 5))
    with tarfile.open(fileobj=io.BytesIO(layer(place.fd, epoch=1000)[0])) as tar:
        assert [(info.name, info.mtime) for info in tar] == [("new", 1000), ("old", 5)]


def test_reserved_names_are_refused(place):
    (place.path / ".wh.x").touch()
    with pytest.raises(Invalid, match=r"\.wh\.x"):
        layer(place.fd)


@pytest.mark.parametrize("name", ["redirect", "metacopy"])
def test_what_needs_other_layers_is_refused(place, name):
    (place.path / "d").mkdir()
    os.setxattr(place.path / "d", OVERLAY + name, b"/elsewhere")
    with pytest.raises(Unsupported, match="d cannot be read"):
        layer(place.fd)


def test_a_deep_tree_is_written(place, member):
    place.apply(member("d/" * 1000 + "f", b"x"))
    try:
        before = len(os.listdir("/proc/self/fd"))
        assert len(names(layer(place.fd)[0])) == 1001
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        subprocess.run(["rm", "-r", place.path / "d"], check=True)  # pytest could not remove it


def test_a_file_that_shrinks_is_a_conflict(place):
    (place.path / "log").write_bytes(b"x" * 5_000_000)

    def shrink(data):
        os.truncate(place.path / "log", 1000)

    with pytest.raises(Conflict, match="log"):
        write(changes(place.fd, userxattr=USERXATTR), shrink)


def test_what_is_known_of_a_file_has_to_fit(place):
    (place.path / "log").write_bytes(b"12")
    assert layer(place.fd, contents={b"log": b"12"}) == layer(place.fd)
    with pytest.raises(Conflict, match="log"):
        layer(place.fd, contents={b"log": b"1"})


@pytest.mark.parametrize("name", ["d", "f"])
def test_what_is_swapped_for_a_link_is_not_followed(place, name):
    """A container may still be at work in the directory."""
    (place.path / "d").mkdir()
    for path in ("a", "d/file", "f"):
        (place.path / path).write_bytes(b"x")
    walk = changes(place.fd, userxattr=USERXATTR)
    assert next(walk)[0].name == b"a"
    os.rename(place.path / name, place.path / "moved")
    (place.path / name).symlink_to("." if name == "d" else "../canary")
    with pytest.raises(Conflict, match=f"^{name} "):
        list(walk)


def test_links_are_never_followed(place):
    (place.path / "d").symlink_to("..")
    (place.path / "f").symlink_to("../canary")
    assert [(entry.name, entry.link) for entry, _ in changes(place.fd, userxattr=USERXATTR)] == [
        (b"d", b".."),
        (b"f", b"../canary"),
    ]


class Memory:
    """A blob store in memory, with the contract of the real one."""

    def __init__(self):
        self.blobs = {}

    @contextmanager
    def writer(self):
        yield _Blob(self)


class _Blob:
    def __init__(self, store):
        self._store = store
        self._data = bytearray()

    def write(self, data):
        self._data += data
        return len(data)

    def commit(self):
        digest = Digest("sha256:" + hashlib.sha256(self._data).hexdigest())
        self._store.blobs[digest] = bytes(self._data)
        return digest


@pytest.mark.parametrize(
    ("how", "media_type"),
    [("gzip", media.OCI_LAYER_GZIP), ("zstd", media.OCI_LAYER_ZSTD), ("none", media.OCI_LAYER)],
)
def test_pack_and_unpack(place, tmp_path, how, media_type):
    _rich_tree(place.path)
    data, size = layer(place.fd)
    store = Memory()
    packed = pack(place.fd, store, userxattr=USERXATTR, compression=how)
    blob = store.blobs[packed.descriptor.digest]
    assert packed.diff_id == "sha256:" + hashlib.sha256(data).hexdigest()
    assert (packed.size, packed.descriptor.size, packed.descriptor.media_type) == (size, len(blob), media_type)
    assert pack(place.fd, store, userxattr=USERXATTR, compression=how) == packed
    other = tmp_path / "other"
    other.mkdir()
    fd = os.open(other, os.O_PATH)
    try:
        unpack(io.BytesIO(blob), fd, packed.diff_id, how=how, userxattr=USERXATTR)
        assert layer(fd)[0] == data
    finally:
        os.close(fd)
        shutil.rmtree(other)


def test_pack_stores_nothing_when_it_fails(place):
    (place.path / ".wh.x").touch()
    store = Memory()
    with pytest.raises(Invalid):
        pack(place.fd, store, userxattr=USERXATTR)
    with pytest.raises(Invalid, match="xz"):
        pack(place.fd, store, userxattr=USERXATTR, compression="xz")
    assert store.blobs == {}


_names = st.text("abcé\n -.", min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..") and not name.startswith(".wh.")
)
_trees = st.recursive(
    st.binary(max_size=600),
    lambda children: st.dictionaries(_names, children, max_size=4),
    max_leaves=12,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(_names, _trees, max_size=4))
def test_any_tree_comes_back(tmp_path_factory, tree):
    top = tmp_path_factory.mktemp("trees")
    made, back = top / "made", top / "back"
    _make(made, tree)
    back.mkdir()
    made_fd, back_fd = os.open(made, os.O_PATH), os.open(back, os.O_PATH)
    try:
        data, _ = layer(made_fd)
        apply(io.BytesIO(data), back_fd, userxattr=USERXATTR)
        assert _look(back) == tree
        assert layer(back_fd)[0] == data
    finally:
        os.close(made_fd)
        os.close(back_fd)
        shutil.rmtree(top)


def _make(path, tree):
    path.mkdir()
    for name, child in tree.items():
        if isinstance(child, dict):
            _make(path / name, child)
        else:
            (path / name).write_bytes(child)


def _look(path):
    return {child.name: _look(child) if child.is_dir() else child.read_bytes() for child in path.iterdir()}
