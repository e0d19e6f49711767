"""Layers made to reach past their root. Afterwards the fixture looks at the canary and at what else is beside it."""

import os
import tarfile

import pytest

from sampan.errors import Invalid
from sampan.layers import compression
from sampan.layers.tarball import Limits

LINK, CHAR, FIFO = tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE


@pytest.mark.parametrize("name", [
    "../canary", "../../canary", "/../canary", "a/../../canary", "./../canary", "..", "a/..", "a/../b", "../", "/..",
    "a/b/../../../canary", "..//canary", ".wh.a/../../canary", "../.wh.canary", "../.wh..wh..opq", "a/../.wh.b",
])  # fmt: skip
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, LINK, FIFO])
def test_names_that_climb_are_refused(place, member, name, kind):
    with pytest.raises(Invalid):
        place.apply(member("x", b"x"), member(name, kind=kind, linkname="x"))
    assert place.tree() == {"x": "-x"}


def test_pax_and_gnu_names_are_judged_like_others(place, member, archive):
    with pytest.raises(Invalid):
        place.apply(member("innocent", b"x", pax_headers={"path": "../canary"}))
    long = "../" + "x/../" * 40 + "canary"
    with pytest.raises(Invalid):
        place.apply_bytes(archive(member(long, b"x"), format=tarfile.GNU_FORMAT))
    records = {"GNU.sparse.major": "0", "GNU.sparse.map": "0,1", "GNU.sparse.size": "1", "GNU.sparse.name": "../canary"}
    with pytest.raises(Invalid):
        place.apply(member("innocent", b"x", pax_headers=records))
    assert place.tree() == {}


def test_absolute_names_are_inside(place, member):
    place.apply(member(str(place.canary), b"x"))
    assert place.tree()[str(place.canary).lstrip("/")] == "-x"


LINKS = ["..", "../..", "/", ".", "../canary", "{above}", "{canary}", "/proc/self/root{above}", "/proc/self/cwd", "x"]


@pytest.mark.parametrize("target", LINKS)
def test_files_through_links(place, member, target):
    """A link first, then files, directories, whiteouts and links through it: confined or refused, never outside."""
    target = target.format(above=place.above, canary=place.canary)
    for then in (
        [member("x/canary", b"evil")],
        [member("x/canary/")],
        [member("x/.wh.canary")],
        [member("x/.wh..wh..opq")],
        [member("x", b"evil")],
        [member("x/", mode=0o777)],
        [member("x/canary", linkname="elsewhere")],
        [member("f", b"evil"), member("x/canary", kind=LINK, linkname="f")],
        [member("h", kind=LINK, linkname="x/canary")],
        [member("h", kind=LINK, linkname="x"), member("h", b"evil")],
        [member("h", kind=LINK, linkname="x"), member("h/canary", b"evil")],
        [member("x/canary", kind=FIFO)],
    ):
        try:
            place.apply(member("x", linkname=target), *then)
        except Invalid:
            continue


def test_chains_of_links(place, member):
    place.apply(
        member("a/b/c/"),
        member("a/b/c/up", linkname="../../../../../.."),
        member("one", linkname="a/b/c/up"),
        member("two", linkname="one/one"),
        member("two/canary", b"evil"),
    )
    assert place.tree()["canary"] == "-evil"


def test_a_directory_swapped_for_a_link(place, member):
    """Also when the directory was open as the parent of the entry before."""
    place.apply(
        member("d/"),
        member("d/x", b"1"),
        member("d", linkname=".."),
        member("d/canary", b"evil"),
        member("d/sub/canary", b"evil"),
    )
    assert place.tree()["canary"] == "-evil"


def test_links_in_a_circle(place, member):
    with pytest.raises(Invalid, match="a/x"):
        place.apply(member("a", linkname="b"), member("b", linkname="a"), member("a/x", b""))
    with pytest.raises(Invalid):
        place.apply(member("e", linkname="e/e/new"), member("e/x", b""))


@pytest.mark.parametrize("target", ["../canary", "/../canary", "../../canary", "{canary}", "a/../../canary", ".."])
def test_hard_links_to_the_outside(place, member, target):
    target = target.format(canary=place.canary)
    with pytest.raises(Invalid, match="evil"):
        place.apply(member("a/"), member("evil", kind=LINK, linkname=target))
    assert place.tree() == {"a": "d755"}


def test_hard_link_to_a_link_to_the_outside(place, member):
    """The link itself gets a second name; neither mode, owner nor content of what it points at is touched."""
    place.apply(
        member("l", linkname=str(place.canary)),
        member("h", kind=LINK, linkname="l", mode=0o777),
        member("h", kind=LINK, linkname="l"),
    )
    assert os.path.islink(place.path / "h")
    place.apply(member("h", b"evil", mode=0o777))
    assert place.tree() == {"l": f"l{place.canary}", "h": "-evil"}


@pytest.mark.parametrize("name", [".", "./", "/", "//", "./."])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.SYMTYPE, LINK, FIFO, CHAR])
def test_the_root_is_a_directory(place, member, name, kind):
    with pytest.raises(Invalid):
        place.apply(member(name, kind=kind, linkname=str(place.above)))
    assert place.path.is_dir()


def test_names_that_the_kernel_refuses(place, member):
    with pytest.raises(Invalid, match="too long"):
        place.apply(member("n" * 256, b""))
    with pytest.raises(Invalid):
        place.apply(member("n/" * 3000, b""))
    with pytest.raises(Invalid):
        place.apply(member("l", linkname="n" * 5000))
    assert place.tree() == {}


def test_bombs(place, archive, member):
    zeros = archive(member("zeros", bytes(20_000_000)))
    with pytest.raises(Invalid, match="impossible size"):
        place.apply_bytes(zeros, limits=Limits(size=1_000_000))
    with pytest.raises(Invalid, match="larger than its limit"):
        place.apply_bytes(zeros, limits=Limits(size=20_000_000))
    with pytest.raises(Invalid, match="entries"):
        place.apply(*[member(f"{number}") for number in range(20)], limits=Limits(entries=10))
    huge = {"GNU.sparse.major": "0", "GNU.sparse.map": "0,1", "GNU.sparse.size": str(1 << 62)}
    with pytest.raises(Invalid, match="impossible size"):
        place.apply(member("huge", b"x", pax_headers=huge))


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_bombs_that_are_compressed(how):
    packed = []
    deflate = compression.Deflate(packed.append, how)
    for _ in range(64):
        deflate.write(bytes(1 << 20))
    deflate.finish()
    for limits in ({"size": 1 << 20}, {"ratio": 100, "free": 1 << 20}):
        source = compression.inflate(_Source(b"".join(packed)), how, **limits)
        sizes = []
        with pytest.raises(Invalid, match="inflates to more"):
            sizes.extend(len(data) for data in iter(lambda source=source: source.read(1 << 16), b""))
        assert max(sizes, default=0) <= 1 << 16
        assert sum(sizes) < 40 << 20


class _Source:
    def __init__(self, data):
        self._data = data

    def read(self, size):
        data, self._data = self._data[:size], self._data[size:]
        return data


def test_set_id_and_sticky_bits_stay_inside(place, member):
    place.apply(member("l", linkname="../canary"), member("l/", mode=0o7777), member("k", linkname="../canary"))
    place.apply(member("k", b"x", mode=0o7777))
    assert place.tree() == {"l": "d7777", "k": "-x"}


def test_devices_over_links(place, member):
    place.apply(member("x", linkname="../canary"), member("x", kind=CHAR, devmajor=0, devminor=0))
    place.apply(member("y", linkname="../canary"), member("y", kind=FIFO, mode=0o777))
    assert place.tree() == {"x": "l../canary", "y": "p"}
