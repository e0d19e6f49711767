"""What a layer's entries become on disk, in overlay's upper form."""

import os
import stat
import tarfile

import pytest

from sampan.errors import Corrupt, Invalid
from sampan.layers.apply import unpack
from sampan.oci import digest

LINK, CHAR, FIFO = tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE


def test_every_kind(place, member):
    applied = place.apply(
        member("etc/"),
        member("etc/passwd", b"root"),
        member("etc/link", linkname="passwd"),
        member("etc/hard", kind=LINK, linkname="etc/passwd"),
        member("pipe", kind=FIFO, mode=0o600),
    )
    assert place.tree() == {
        "etc": "d755",
        "etc/passwd": "-root",
        "etc/link": "lpasswd",
        "etc/hard": "-root",
        "pipe": "p",
    }
    assert (place.path / "etc/hard").samefile(place.path / "etc/passwd")
    assert applied == (5, 4, 0, 0, ())


def test_modes_and_times(place, member):
    place.apply(
        member("dir/", mode=0o1777, mtime=1000),
        member("dir/tool", b"x", mode=0o4755, mtime=2000.25),
        member("dir/ln", linkname="/nowhere", mtime=3000),
        member("./", mode=0o711, mtime=4000),
    )
    tool, directory = (place.path / "dir/tool").lstat(), (place.path / "dir").lstat()
    assert stat.S_IMODE(tool.st_mode) == 0o4755
    assert tool.st_mtime_ns == 2_000_250_000_000
    assert (stat.S_IMODE(directory.st_mode), directory.st_mtime) == (0o1777, 1000)
    assert (place.path / "dir/ln").lstat().st_mtime == 3000
    assert (stat.S_IMODE(place.path.stat().st_mode), place.path.stat().st_mtime) == (0o711, 4000)


def test_time_of_a_directory_whose_parent_is_a_link(place, member):
    place.apply(member("usr/lib/"), member("lib", linkname="usr/lib"), member("lib/a/", mtime=77), member("lib/a/f"))
    assert (place.path / "usr/lib/a").stat().st_mtime == 77


@pytest.mark.root
def test_owners_devices_and_set_id_bits(place, member):
    place.apply(
        member("f", b"x", uid=3_000_000, gid=12, mode=0o6755),
        member("l", linkname="f", uid=5, gid=6),
        member("d/", uid=7, gid=8, mode=0o2755),
        member("d/null", kind=CHAR, devmajor=1, devminor=3, mode=0o666, uid=9, gid=10),
    )
    found = {name: os.lstat(place.path / name) for name in ("f", "l", "d", "d/null")}
    assert [(info.st_uid, info.st_gid) for info in found.values()] == [(3_000_000, 12), (5, 6), (7, 8), (9, 10)]
    assert stat.S_IMODE(found["f"].st_mode) == 0o6755
    assert (found["d/null"].st_mode, found["d/null"].st_rdev) == (stat.S_IFCHR | 0o666, os.makedev(1, 3))


@pytest.mark.root
def test_capability_survives_the_owner(place, member):
    capability = b"\x01\x00\x00\x02\x00\x20\x00\x00" + bytes(12)
    records = {"SCHILY.xattr.security.capability": capability.decode("latin-1")}
    place.apply(member("ping", b"x", uid=1, mode=0o4755, pax_headers=records))
    assert os.getxattr(place.path / "ping", "security.capability") == capability
    assert stat.S_IMODE((place.path / "ping").stat().st_mode) == 0o4755


def test_xattrs_of_overlay_and_host_are_left_out(place, member):
    names = ("user.kept", "user.overlay.opaque", "trusted.overlay.opaque", "security.selinux", "trusted.other")
    place.apply(member("d/", pax_headers={f"SCHILY.xattr.{name}": "y" for name in names}))
    assert os.listxattr(place.path / "d") == ["user.kept"]


def test_missing_parents_are_made(place, member):
    place.apply(member("a/b/c/file", b"x"))
    assert place.tree() == {"a": "d755", "a/b": "d755", "a/b/c": "d755", "a/b/c/file": "-x"}


@pytest.mark.parametrize("name", ["/etc/x", "./etc/x", "etc//x", "etc/./x", "././/etc/x"])
def test_names_are_cleaned(place, member, name):
    place.apply(member(name, b"x"))
    assert place.tree() == {"etc": "d755", "etc/x": "-x"}


def test_a_parent_that_is_a_link_leads_inside(place, member):
    place.apply(
        member("usr/lib/"),
        member("lib", linkname="usr/lib"),
        member("abs", linkname="/usr/lib"),
        member("lib/one", b"1"),
        member("abs/two", b"2"),
        member("hard", kind=LINK, linkname="abs/one"),
    )
    assert place.tree()["usr/lib/one"] == "-1"
    assert place.tree()["usr/lib/two"] == "-2"
    assert place.tree()["hard"] == "-1"


def test_a_parent_that_is_a_dangling_link_is_made_where_it_points(place, member):
    place.apply(member("var/"), member("var/run", linkname="/run"), member("var/run/lock/pid", b"7"))
    assert place.tree() == {
        "var": "d755", "var/run": "l/run", "run": "d755", "run/lock": "d755", "run/lock/pid": "-7",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("first", "then", "expected"),
    [
        (("x", b"old"), ("x", b"new"), {"x": "-new"}),
        (("x", b"old"), ("x/",), {"x": "d755"}),
        (("x/y/z", b"old"), ("x", b"new"), {"x": "-new"}),
        (("x/y/z", b"old"), ("x/",), {"x": "d755", "x/y": "d755", "x/y/z": "-old"}),
        (("x", b"old"), ("x/y", b"new"), None),
    ],
)
def test_a_later_entry_replaces_an_earlier_one(place, member, first, then, expected):
    if expected is None:
        with pytest.raises(Invalid, match="x/y"):
            place.apply(member(*first), member(*then))
    else:
        place.apply(member(*first), member(*then))
        assert place.tree() == expected


def test_a_file_replaces_a_link_and_not_what_it_points_at(place, member):
    place.apply(member("target", b"keep"), member("x", linkname="target"), member("x", b"new"))
    assert place.tree() == {"target": "-keep", "x": "-new"}


def test_a_file_replaces_a_hard_link_and_not_its_twin(place, member):
    place.apply(member("a", b"keep"), member("b", kind=LINK, linkname="a"), member("b", b"new"))
    assert place.tree() == {"a": "-keep", "b": "-new"}


def test_a_directory_that_is_replaced_is_forgotten_as_a_parent(place, member):
    place.apply(
        member("d/"),
        member("d/f", b"1"),
        member("e/"),
        member("d", linkname="e"),
        member("d/g", b"2"),
    )
    assert place.tree() == {"e": "d755", "d": "le", "e/g": "-2"}


def test_a_deep_tree_is_replaced(place, member):
    """Deeper than the interpreter recurses, and than descriptors would last."""
    deep = "d/" * 1900
    place.apply(member(deep), member("d", b"file"))
    assert place.tree() == {"d": "-file"}


def test_links_to_links_and_to_themselves(place, member):
    place.apply(
        member("l", linkname="/etc/passwd"),
        member("h", kind=LINK, linkname="l"),
        member("f", b"x"),
        member("f", kind=LINK, linkname="f"),
    )
    assert place.tree() == {"l": "l/etc/passwd", "h": "l/etc/passwd", "f": "-x"}


@pytest.mark.parametrize("target", ["later", "missing", "nowhere/x", "dir", "/", "gone"])
def test_a_hard_link_needs_an_earlier_file(place, member, target):
    with pytest.raises(Invalid, match=f"name in the layer is a hard link to {target}"):
        place.apply(
            member("dir/"),
            member(".wh.gone"),
            member("name", kind=LINK, linkname=target),
            member("later", b""),
        )


def test_whiteouts(place, member):
    place.apply(
        member("a/"),
        member("a/.wh.gone"),
        member("a/.wh..wh..opq"),
        member(".wh.top"),
        member(".wh..wh.plnk/"),
        member(".wh..wh.plnk/1.2", b"x"),
        member(".wh..wh.aufs", b"x"),
        member("b/.wh..wh.orph/x", b"x"),
    )
    assert place.tree() == {"a": "d!755", "a/gone": "whiteout", "top": "whiteout"}


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (("x", b"new"), {"x": "-new"}),
        (("x/",), {"x": "d!755"}),
        (("x/y", b"new"), {"x": "d!755", "x/y": "-new"}),
    ],
)
def test_a_whiteout_hides_lower_layers_only(place, member, entry, expected, order):
    """Wherever it stands in the layer: what the layer itself brings stays, and shows nothing from below."""
    place.apply(*[member(*entry), member(".wh.x")][::order])
    assert place.tree() == expected


def test_opaque_marker_keeps_what_came_before(place, member):
    place.apply(member("d/f", b"1"), member("d/.wh..wh..opq"), member("d/g", b"2"))
    assert place.tree() == {"d": "d!755", "d/f": "-1", "d/g": "-2"}


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "a/.wh.", "a/.wh...", ".wh.dir/file", "a/.wh.b/.wh.c"])
def test_impossible_whiteouts(place, member, name):
    with pytest.raises(Invalid, match="whiteout"):
        place.apply(member(name))


def test_device_zero_is_a_whiteout(place, member):
    place.apply(member("x", kind=CHAR, devmajor=0, devminor=0))
    assert place.tree() == {"x": "whiteout"}


def test_sparse_files_keep_their_holes(place, archive, member):
    records = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": str(1 << 30)}
    records["GNU.sparse.map"] = f"0,2,{1 << 29},3,{1 << 30},0"
    applied = place.apply(member("big", b"abcde", pax_headers=records))
    with open(place.path / "big", "rb") as file:
        assert file.read(4) == b"ab\0\0"
        file.seek(1 << 29)
        assert file.read(4) == b"cde\0"
    info = (place.path / "big").stat()
    assert info.st_size == applied.size == 1 << 30
    assert info.st_blocks * 512 < 1 << 20


def test_the_stream_is_read_to_its_end(place, member, archive):
    data = archive(member("x", b"1")) + b"\0" * 100_000 + b"trailing"
    diff_id = digest.sha256(data)
    with pytest.raises(Corrupt, match="diff id"):
        unpack(_Raw(data), place.fd, digest.sha256(b""), userxattr=True, rootless=True)
    assert unpack(_Raw(data), place.fd, diff_id, userxattr=True, rootless=True).entries == 1


class _Raw:
    def __init__(self, data):
        self.data = data

    def read(self, size):
        size = min(size, 1000)
        data, self.data = self.data[:size], self.data[size:]
        return data


def test_a_directory_twice(place, member):
    before = len(os.listdir("/proc/self/fd"))
    place.apply(member("d/", mode=0o700), member("d/f", b"1"), *[member("d/", mode=0o711)] * 10, member("d/g", b"2"))
    assert place.tree() == {"d": "d711", "d/f": "-1", "d/g": "-2"}
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("mtime", [(1 << 61), -(1 << 61)])
def test_times_beyond_the_file_system(place, member, mtime):
    """They end up where its range ends."""
    place.apply(member("f", b"x", mtime=mtime), member("d/", mtime=mtime), member("l", linkname="x", mtime=mtime))
    assert abs((place.path / "f").stat().st_mtime) > 1 << 30


def test_many_directories_do_not_use_up_descriptors(place, member):
    before = len(os.listdir("/proc/self/fd"))
    place.apply(*[member(f"d{number}/f", b"x") for number in range(300)])
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(place.tree()) == 600
