"""The tar reader and writer, each against Python's tarfile and GNU tar, and the reader against damaged archives."""

import io
import os
import random
import struct
import subprocess
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.errors import Conflict, Invalid
from sampan.layers.tarball import Entry, Limits, read
from sampan.layers.tarwriter import Writer

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def entries(data, **options):
    """What the reader makes of ``data``: values and contents."""
    found = []
    for entry in read(io.BytesIO(data), **options):
        content = b"".join(entry.chunks())
        found.append((_values(entry), content))
    return found


def _values(entry):
    return {
        key: getattr(entry, key)
        for key in ("name", "kind", "mode", "uid", "gid", "size", "mtime", "link", "major", "minor", "xattrs", "sparse")
    }


def written(*pairs):
    out = io.BytesIO()
    writer = Writer(out.write)
    for entry, data in pairs:
        writer.add(entry, data)
    writer.finish()
    return out.getvalue()


def header(name=b"x", size=b"0" * 11, kind=b"0", magic=b"ustar\x0000", **fields):
    """A raw header with a right checksum, whatever else is wrong with it."""
    values = {"mode": b"0000644", "uid": b"0", "gid": b"0", "mtime": b"0", "link": b"", "prefix": b""} | fields
    block = struct.pack(
        "100s8s8s8s12s12s8sc100s8s64x8s8s155s12x",
        name, values["mode"], values["uid"], values["gid"], size, values["mtime"], b" " * 8, kind, values["link"],
        magic, values.get("major", b"0"), values.get("minor", b"0"), values["prefix"],
    )  # fmt: skip
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


END = bytes(1024)

# ---- round trips -----------------------------------------------------------------------------------------------

_part = st.binary(min_size=1, max_size=120).map(lambda raw: raw.replace(b"\0", b"0").replace(b"/", b"1"))
_name = st.lists(_part, min_size=1, max_size=5).map(b"/".join)
_xattr = st.dictionaries(
    st.binary(min_size=1, max_size=20).map(lambda raw: b"user." + raw.replace(b"\0", b"=")),
    st.binary(max_size=300),
    max_size=3,
)


@st.composite
def _entry(draw):
    kind = draw(st.sampled_from([b"0", b"1", b"2", b"3", b"4", b"5", b"6"]))
    data = draw(st.binary(max_size=2000)) if kind == b"0" else b""
    device = kind in b"34"
    entry = Entry(
        draw(_name),
        kind,
        draw(st.integers(0, 0o7777)),
        draw(st.integers(0, 0xFFFFFFFE)),
        draw(st.integers(0, 0xFFFFFFFE)),
        len(data),
        draw(st.integers(-(1 << 40), 1 << 40)) * 10**9,
        draw(_name) if kind in b"12" else b"",
        draw(st.integers(0, 4095)) if device else 0,
        draw(st.integers(0, 0xFFFFF)) if device else 0,
        draw(_xattr),
    )
    return entry, data


@settings(max_examples=150, deadline=None)
@given(st.lists(_entry(), max_size=5))
def test_what_is_written_is_read_back(pairs):
    data = written(*pairs)
    found = entries(data)
    # A directory's name is written with a slash at its end, as everyone does.
    expected = [(_values(entry), content) for entry, content in pairs]
    for values, _ in found:
        values["name"] = values["name"].rstrip(b"/") if values["kind"] == b"5" else values["name"]
    for values, _ in expected:
        values["name"] = values["name"].rstrip(b"/") if values["kind"] == b"5" else values["name"]
    assert found == expected
    assert data == written(*pairs)


def _from_tarfile(data):
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
        return [
            (
                os.fsencode(info.name).rstrip(b"/"), info.type, info.mode, info.uid, info.gid, info.size,
                int(info.mtime // 1), os.fsencode(info.linkname), info.devmajor, info.devminor,
                tar.extractfile(info).read() if info.isreg() else b"",
            )
            for info in tar
        ]  # fmt: skip


def _as_tarfile(data):
    return [
        (
            values["name"].rstrip(b"/"), values["kind"], values["mode"], values["uid"], values["gid"],
            values["size"], values["mtime"] // 10**9, values["link"], values["major"], values["minor"], content,
        )
        for values, content in entries(data)
    ]  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(_entry(), max_size=4))
def test_python_reads_what_we_write(pairs):
    data = written(*pairs)
    assert _from_tarfile(data) == _as_tarfile(data)


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_we_read_what_python_writes(format, data):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=FORMATS[format], errors="surrogateescape") as tar:
        for entry, content in data.draw(st.lists(_entry(), max_size=4)):
            if entry.kind == b"5" and entry.name.endswith(b"/"):
                continue
            info = tarfile.TarInfo(os.fsdecode(entry.name))
            info.type, info.mode, info.size = entry.kind, entry.mode, entry.size
            info.uid, info.gid = entry.uid, entry.gid
            info.mtime, info.linkname = entry.mtime // 10**9, os.fsdecode(entry.link)
            info.devmajor, info.devminor = entry.major, entry.minor
            try:
                tar.addfile(info, io.BytesIO(content))
            except ValueError:  # what this format cannot hold
                continue
    assert _as_tarfile(out.getvalue()) == _from_tarfile(out.getvalue())


@pytest.fixture
def tree(tmp_path):
    """Files that are hard on archive formats."""
    top = tmp_path / "tree"
    deep = top / ("d" * 90) / ("e" * 120) / ("f" * 200)
    deep.mkdir(parents=True)
    (deep / ("long" * 60)).write_bytes(b"long")
    (top / "file").write_bytes(b"content" * 100)
    (top / "empty").write_bytes(b"")
    (top / "link").symlink_to("x/" * 150)
    (top / "hard").hardlink_to(top / "file")
    os.mkfifo(top / "fifo")
    (top / os.fsdecode(b"\xff\xfe not utf-8 \n")).write_bytes(b"name")
    with open(top / "sparse", "wb") as file:
        for number in range(60):  # more ranges than a header holds
            file.seek(number * 65536)
            file.write(b"%d" % number * 10)
        file.truncate(4 << 20)
    os.utime(top / "file", ns=(0, 1_600_000_000_250_000_000))
    os.utime(top / "empty", (0, -1000))
    return top


def _on_disk(top):
    found = {}
    for path in sorted(top.rglob("*")):
        info = path.lstat()
        found[os.fsencode(path.relative_to(top))] = (
            info.st_mode & 0o7777,
            info.st_mtime_ns // 10**9,
            os.fsencode(os.readlink(path)) if path.is_symlink() else b"",
            path.read_bytes() if path.is_file() and not path.is_symlink() else b"",
        )
    return found


GNU_TAR = {
    "gnu": ["--format=gnu"],
    "oldgnu": ["--format=oldgnu"],
    "posix": ["--format=posix"],
    "gnu, sparse": ["--format=gnu", "-S"],
    "sparse 0.0": ["--format=posix", "-S", "--sparse-version=0.0"],
    "sparse 0.1": ["--format=posix", "-S", "--sparse-version=0.1"],
    "sparse 1.0": ["--format=posix", "-S", "--sparse-version=1.0"],
}


@pytest.mark.parametrize("how", GNU_TAR)
def test_we_read_what_gnu_tar_writes(tree, tmp_path, how):
    command = [
        "tar",
        "-C",
        tree,
        *GNU_TAR[how],
        "--owner=who:5000000",
        "--group=what:9",
        "--sort=name",
        "-cf",
        "-",
        ".",
    ]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    found, first = {}, {}
    for entry in read(io.BytesIO(data)):
        assert (entry.uid, entry.gid) == (5_000_000, 9)
        name = entry.name.removeprefix(b"./").rstrip(b"/")
        content = b""
        if entry.kind == b"0":
            with open(tmp_path / "copy", "w+b", buffering=0) as file:
                entry.copy_to(file.fileno())
                file.seek(0)
                content = file.read()
                if entry.sparse is not None:
                    assert os.fstat(file.fileno()).st_blocks * 512 < entry.size
            first[entry.name] = content
            assert (entry.sparse is not None) == (name == b"sparse" and "-S" in GNU_TAR[how])
        if entry.kind == b"1":
            content = first[entry.link]
            entry.link = b""
        if name:
            found[name] = (entry.mode, entry.mtime // 10**9, entry.link, content)
    assert found == _on_disk(tree)


def test_gnu_tar_reads_what_we_write(tree, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    pairs = []
    for name, (mode, mtime, link, content) in _on_disk(tree).items():
        path = tree / os.fsdecode(name)
        kind = b"2" if path.is_symlink() else b"5" if path.is_dir() else b"6" if path.is_fifo() else b"0"
        entry = Entry(name, kind, mode, os.geteuid(), os.getegid(), len(content), mtime * 10**9, link)
        pairs.append((entry, content))
    command = ["tar", "-C", out, "-xpf", "-", "--delay-directory-restore", "--warning=no-timestamp"]
    done = subprocess.run(command, input=written(*pairs), check=True, capture_output=True)
    assert done.stderr == b""
    assert _on_disk(out) == _on_disk(tree)


# ---- particular headers ----------------------------------------------------------------------------------------


def test_ustar_where_it_suffices_and_pax_where_not():
    assert len(written((Entry(b"a/" * 60 + b"x", mtime=5 * 10**9 + 7), b""))) == 512 + 1024
    assert len(written((Entry(b"a" * 101), b""))) == 3 * 512 + 1024
    assert entries(written((Entry(b"f", mtime=5 * 10**9 + 7), b"")))[0][0]["mtime"] == 5 * 10**9


def test_writer_takes_descriptors_and_notices_short_files(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    with open(tmp_path / "file", "rb") as file:
        data = written((Entry(b"file", size=3_000_000), file.fileno()))
        assert entries(data)[0][1] == b"x" * 3_000_000
        with pytest.raises(Conflict, match="shorter"):
            written((Entry(b"file", size=1), file.fileno()))
    with pytest.raises(Conflict):
        written((Entry(b"file", size=5), b"1234"))


@pytest.mark.parametrize("entry", [Entry(b"a\0b"), Entry(b"a", b"2", link=b"b\0"), Entry(b"a", b"3", major=1 << 21)])
def test_what_cannot_be_written_is_refused(entry):
    with pytest.raises(Invalid, match="cannot be stored"):
        written((entry, b""))


def test_large_numbers_in_base_256():
    block = header(size=b"\x80" + (10).to_bytes(11, "big"), mtime=b"\xff" * 11 + b"\xf6", uid=b"\x80\0\0\0\x7f\0\0\0")
    ((values, content),) = entries(block + b"0123456789".ljust(512, b"\0") + END)
    assert (values["size"], values["mtime"], values["uid"], content) == (10, -10 * 10**9, 0x7F000000, b"0123456789")


def test_signed_checksum_of_early_programs():
    block = header(name=b"\xe9t\xe9")
    signed = sum(byte if byte < 128 else byte - 256 for byte in block[:148] + b" " * 8 + block[156:])
    assert entries(block[:148] + b"%06o\0 " % signed + block[156:] + END)[0][0]["name"] == b"\xe9t\xe9"


def test_prefixes():
    assert entries(header(b"x", prefix=b"dir") + END)[0][0]["name"] == b"dir/x"
    assert entries(header(b"x", prefix=b"dir", magic=b"ustar  \0") + END)[0][0]["name"] == b"dir/x"  # Go before 1.8
    assert entries(header(b"x", prefix=b"00000000017", magic=b"ustar  \0") + END)[0][0]["name"] == b"x"
    assert entries(header(b"x", prefix=b"dir", magic=b"") + END)[0][0]["name"] == b"x"


def test_old_directories_and_data_that_is_none():
    data = header(b"dir/", kind=b"\0") + header(b"l", kind=b"2", size=b"00000001000", link=b"to") + header(b"y") + END
    assert [(values["kind"], values["size"]) for values, _ in entries(data)] == [(b"5", 0), (b"2", 0), (b"0", 0)]


def extended(*records, kind=b"x"):
    body = b"".join(records)
    return header(b"pax", b"%011o" % len(body), kind) + body + bytes(-len(body) % 512)


def record(key, value):
    length = len(key) + len(value) + 3
    length += len(str(length + len(str(length))))
    return b"%d %b=%b\n" % (length, key, value)


def test_global_headers_change_nothing_and_empty_records_neither():
    data = extended(record(b"uid", b"77"), record(b"path", b"all"), kind=b"g") + header(b"a", uid=b"0000005")
    data += extended(record(b"uid", b""), record(b"path", b"")) + header(b"b", uid=b"0000006") + END
    assert [(values["name"], values["uid"]) for values, _ in entries(data)] == [(b"a", 5), (b"b", 6)]


@pytest.mark.parametrize(("value", "expected"), [
    (b"1.5", 1_500_000_000), (b"-1.25", -1_250_000_000), (b"7", 7 * 10**9), (b"0.1234567899", 123_456_789),
])  # fmt: skip
def test_pax_times(value, expected):
    assert entries(extended(record(b"mtime", value)) + header() + END)[0][0]["mtime"] == expected


def test_xattr_names_as_gnu_tar_writes_them():
    data = extended(record(b"SCHILY.xattr.user.a%3Db%25", b"v\n=\0")) + header() + END
    assert entries(data)[0][0]["xattrs"] == {b"user.a=b%": b"v\n=\0"}


def test_later_pax_headers_replace_earlier_ones_and_gnu_names_stay():
    """As in Go's archive/tar, so that the names are those that Docker sees."""
    long = header(b"long", b"%011o" % 5, b"L") + b"gnu\0x".ljust(512, b"\0")
    data = long + extended(record(b"path", b"one"), record(b"uid", b"9")) + extended(record(b"path", b"two"))
    ((values, _),) = entries(data + header() + END)
    assert (values["name"], values["uid"]) == (b"gnu", 0)


# ---- bad archives ----------------------------------------------------------------------------------------------

BAD = {
    "negative size": header(size=b"\xff" * 12),
    "size that is no number": header(size=b"12x45678901"),
    "size in Python's syntax": header(size=b"0o777777777"),
    "digit nine": header(size=b"00000000009"),
    "size beyond everything": header(size=b"\x80" + b"\x7f" * 11),
    "pax size negative": extended(record(b"size", b"-1")) + header(),
    "pax size absurd": extended(record(b"size", b"9" * 19)) + header(),
    "pax size endless": extended(record(b"size", b"9" * 5000)) + header(),
    "pax size with underscore": extended(record(b"size", b"1_0")) + header(),
    "pax uid": extended(record(b"uid", b"4294967295")) + header(),
    "pax uid negative": extended(record(b"uid", b"-1")) + header(),
    "pax time": extended(record(b"mtime", b"1.2.3")) + header(),
    "pax time absurd": extended(record(b"mtime", b"9" * 20)) + header(),
    "pax record length 0": extended(b"0 a=b\n") + header(),
    "pax record too short": extended(b"3 a=b\n") + header(),
    "pax record too long": extended(b"99 a=b\n") + header(),
    "pax record length negative": extended(b"-6 a=b\n") + header(),
    "pax record without length": extended(b" a=b\n") + header(),
    "pax records without end": extended(b"6 a=b\n" + b"x" * 30 + b"\n") + header(),
    "pax record without equals": extended(b"6 abc\n") + header(),
    "pax record without key": extended(b"5 =b\n") + header(),
    "pax record without newline": extended(b"6 a=bc") + header(),
    "pax NUL in path": extended(record(b"path", b"a\0b")) + header(),
    "pax NUL in link": extended(record(b"linkpath", b"a\0b")) + header(kind=b"2"),
    "pax NUL in key": extended(record(b"SCHILY.xattr.a\0b", b"v")) + header(),
    "pax header too large": header(b"pax", b"%011o" % (2 << 20), b"x") + bytes(2 << 20) + header(),
    "pax header negative": header(b"pax", b"\xff" * 12, b"x") + header(),
    "pax header for nobody": extended(record(b"path", b"a")),
    "GNU name too large": header(b"L", b"%011o" % (2 << 20), b"L") + bytes(2 << 20) + header(),
    "GNU name too long": header(b"L", b"%011o" % 5000, b"L") + (b"n" * 5000).ljust(5120, b"\0") + header(),
    "global header too large": header(b"g", b"%011o" % (2 << 20), b"g") + bytes(2 << 20) + header(),
    "no name": header(b""),
    "unknown type": header(kind=b"Z"),
    "multi-volume": header(kind=b"M"),
    "device": header(kind=b"3", major=b"\x80\0\0\0\xff\xff\xff\xff"),
    "device negative": header(kind=b"3", major=b"\xff" * 8),
    "lone empty block": bytes(512) + header(),
    "checksum": header()[:-1] + b"x",
    "sparse 1.0 without map": extended(record(b"GNU.sparse.major", b"1"), record(b"GNU.sparse.size", b"5")) + header(),
    "sparse 0.1 without size": extended(record(b"GNU.sparse.map", b"0,1")) + header(size=b"1") + bytes(512),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_malformed_headers_are_refused(what):
    with pytest.raises(Invalid):
        entries(BAD[what] + END)


def sparse_1_0(text, data=b"", real=100):
    body = text.ljust(len(text) + -len(text) % 512, b"\0") + data
    records = record(b"GNU.sparse.major", b"1"), record(b"GNU.sparse.realsize", b"%d" % real)
    return extended(*records) + header(size=b"%011o" % len(body)) + body + bytes(-len(body) % 512) + END


def old_sparse(*numbers, size=0, more=0, real=100):
    block = bytearray(header(b"s", b"%011o" % size, b"S", magic=b"ustar  \0"))
    for position, number in enumerate(numbers):
        block[386 + 12 * position : 398 + 12 * position] = (
            b"%011o\0" % number if number >= 0 else number.to_bytes(12, "big", signed=True)
        )
    block[482] = more
    block[483:495] = b"%011o\0" % real
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def test_sparse_maps():
    ((values, content),) = entries(sparse_1_0(b"2\n0\n3\n90\n2\n", b"abcde"))
    assert (values["size"], values["sparse"], content) == (100, ((0, 3), (90, 2)), b"abcde")
    ((values, content),) = entries(sparse_1_0(b"0\n"))
    assert (values["size"], values["sparse"], content) == (100, (), b"")
    ((values, content),) = entries(old_sparse(10, 5, 100, 0, size=5) + b"abcde".ljust(512, b"\0") + END)
    assert (values["size"], values["sparse"], content) == (100, ((10, 5), (100, 0)), b"abcde")


@pytest.mark.parametrize("data", [
    sparse_1_0(b"1\n0\n6\n", b"abcde"), sparse_1_0(b"1\n0\n4\n", b"abcde"), sparse_1_0(b"1\n98\n5\n", b"abcde"),
    sparse_1_0(b"2\n0\n3\n1\n2\n", b"abcde"), sparse_1_0(b"2\n50\n3\n1\n2\n", b"abcde"),
    sparse_1_0(b"1\n-1\n5\n", b"abcde"),
    sparse_1_0(b"99999\n"), sparse_1_0(b"9" * 600), sparse_1_0(b"x\n"), sparse_1_0(b""), sparse_1_0(b"\n" * 512),
    sparse_1_0(b"1\n0\n5\n", b"abcde", real=1 << 60),
    old_sparse(-5, 5, size=5) + bytes(512) + END, old_sparse(0, -5, size=5) + bytes(512) + END,
    old_sparse(0, 6, size=5) + bytes(512) + END, old_sparse(0, 5, 2, 5, size=10) + bytes(512) + END,
    old_sparse(0, 5, size=5, more=1), old_sparse(0, 0, more=1) + (bytes(504) + b"\1" + bytes(7)) * 3000,
])  # fmt: skip
def test_sparse_maps_that_lie_are_refused(data):
    with pytest.raises(Invalid):
        entries(data)


def test_limits():
    pairs = [(Entry(b"name%d" % number, size=1000), bytes(1000)) for number in range(10)]
    data = written(*pairs)
    assert len(entries(data, limits=Limits(entries=10, path=5, size=len(data)))) == 10
    for limits in (Limits(entries=9), Limits(path=4), Limits(size=len(data) - 1), Limits(size=999)):
        with pytest.raises(Invalid):
            entries(data, limits=limits)


def _sample():
    """Every kind of header, in some 8 KiB."""
    return b"".join((
        extended(record(b"comment", b"c"), kind=b"g"),
        header(b"L", b"%011o" % 150, b"L") + (b"n" * 150).ljust(512, b"\0"), header(b"n", b"%011o" % 600), b"d" * 1024,
        sparse_1_0(b"2\n0\n3\n90\n2\n", b"abcde")[:-1024], old_sparse(10, 5, size=5), b"abcde".ljust(512, b"\0"),
        extended(record(b"path", b"p" * 200), record(b"SCHILY.xattr.user.a", b"v")), header(kind=b"5"), END,
    ))  # fmt: skip


def test_truncated_archives_are_refused():
    data = _sample()
    whole = len(entries(data))
    for length in range(len(data)):
        try:
            assert len(entries(data[:length])) < whole or length >= len(data) - 1024
        except Invalid:
            continue


def test_data_that_is_cut_short_is_refused():
    data = written((Entry(b"x", size=2000), bytes(2000)))
    for length in (1, 511, 513, 1000, 512 + 1999):
        with pytest.raises(Invalid, match="truncated"):
            entries(data[:length])
    for length in (512 + 2000, 512 + 2047, 512 + 2048, len(data) - 1):  # as Go reads what umoci writes
        assert entries(data[:length]) == entries(data)


def test_damaged_headers_are_noticed():
    data = written((Entry(b"name", mtime=10**18), b""))
    checksum = range(148 * 8, 156 * 8)
    for position in set(range(512 * 8)).difference(checksum):
        damaged = bytearray(data)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(Invalid):
            entries(bytes(damaged))


def test_damage_anywhere_ends_in_entries_or_invalid():
    """With checksums put right after the damage, so that it gets past them."""
    chance = random.Random(1)
    data = _sample()
    for _ in range(3000):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(data))] = chance.choice((0, 0x20, 0x30, 0x37, 0x39, 0x80, 0xFF, 0x0A, 0x78))
        for start in range(0, len(damaged), 512):
            block = damaged[start : start + 512]
            if block[257:262] == b"ustar":
                damaged[start + 148 : start + 156] = b"%06o\0 " % (sum(block) - sum(block[148:156]) + 256)
        try:
            entries(bytes(damaged))
        except Invalid:
            continue


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=2000))
def test_noise_is_refused(noise):
    if noise.strip(b"\0") or 0 < len(noise) < 512:
        with pytest.raises(Invalid):
            entries(noise)
    else:
        assert entries(noise) == []


# ---- an independent collection -----------------------------------------------------------------------------------

GO_TESTDATA = "/usr/share/go-1.19/src/archive/tar/testdata"
_REFUSED = {
    "issue10968", "issue11169", "issue12435", "neg-size", "pax-bad-hdr-file", "pax-bad-mtime-file", "pax-nul-path",
    "pax-nul-xattrs", "pax-path-hdr", "writer-big", "writer-big-long",
}  # fmt: skip


@pytest.mark.interop
@pytest.mark.skipif(not os.path.isdir(GO_TESTDATA), reason="Debian's golang-1.19-src is not installed")
def test_gos_own_files():
    """What Go refuses is refused, and what is not whole; the rest is what tarfile finds in it, or else Go."""
    refused, different = set(), {}
    for file in sorted(os.listdir(GO_TESTDATA)):
        if not file.endswith(".tar"):
            continue
        path = os.path.join(GO_TESTDATA, file)
        try:
            with open(path, "rb") as stream:
                ours = [(entry.name.rstrip(b"/"), entry.size, entry.link) for entry in read(stream)]
        except Invalid:
            refused.add(file.removesuffix(".tar"))
            continue
        try:
            with tarfile.open(path, errors="surrogateescape") as tar:
                theirs = [(os.fsencode(i.name).rstrip(b"/"), i.size, os.fsencode(i.linkname)) for i in tar]
        except (tarfile.TarError, ValueError):
            theirs = None
        if ours != theirs:
            different[file.removesuffix(".tar")] = [name for name, _, _ in ours]
    assert refused == _REFUSED
    assert different == {
        "gnu-incremental": [b"test2", b"test2/foo", b"test2/sparse"],
        "gnu-multi-hdrs": [b"GNU2/GNU2/long-path-name"],
        "hdr-only": [b"dir", b"fifo", b"file", b"hardlink", b"null", b"sda", b"symlink", b"badlink"] * 2,
        "pax-global-records": [b"file1", b"file2", b"file3", b"file4"],
        "pax-multi-hdrs": [b"bar"],
        "pax-nil-sparse-data": [b"sparse.db"],
        "pax-nil-sparse-hole": [b"sparse.db"],
        "pax-sparse-big": [b"pax-sparse"],
    }
