"""The languages of the flags that limit and isolate a container."""

import pytest

from sampan.containers import devices, limits, mounts
from sampan.containers.options import ImageMount, Joining, Limits, Mount, Namespaces, Options, Security
from sampan.errors import Invalid, SampanError


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("512", 512),
        ("1k", 1024),
        ("64m", 64 << 20),
        ("64MB", 64 << 20),
        ("64MiB", 64 << 20),
        ("1.5g", 3 << 29),
    ],
)
def test_bytes(text: str, count: int) -> None:
    assert limits.parse_bytes(text, "--memory") == count


@pytest.mark.parametrize("text", ["", "m", "-1", "1x", "1.2.3m", "0x10", "1 2", "٣m", "nan", "1e3"])
def test_no_bytes(text: str) -> None:
    with pytest.raises(Invalid, match="invalid --memory"):
        limits.parse_bytes(text, "--memory")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("nofile=1", ("nofile", 1, 1)),
        ("nofile=1:2", ("nofile", 1, 2)),
        ("core=-1", ("core", -1, -1)),
        ("core=5:-1", ("core", 5, -1)),
    ],
)
def test_ulimits(text: str, value: tuple[str, int, int]) -> None:
    assert limits.parse_ulimit(text) == value


@pytest.mark.parametrize(
    "text", ["", "nofile", "nofile=", "nofile=a", "nofile=1:", "nofile=2:1", "nofile=-1:5", "x=1", "nofile=-2"]
)
def test_no_ulimits(text: str) -> None:
    with pytest.raises(Invalid):
        limits.parse_ulimit(text)


def test_what_limits_become() -> None:
    assert limits.resources(Limits()) == {}
    wanted = limits.check(Limits(memory=64 << 20, quota=50000, period=100000, pids=7, blkio_weight=100))
    assert limits.resources(wanted) == {
        "memory": {"limit": 64 << 20, "swap": 128 << 20},
        "cpu": {"period": 100000, "quota": 50000},
        "blockIO": {"weight": 100},
        "pids": {"limit": 7},
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("/dev/null", ("/dev/null", "/dev/null", "rwm")),
        ("/dev/null:/dev/x", ("/dev/null", "/dev/x", "rwm")),
        ("/dev/null:rw", ("/dev/null", "/dev/null", "rw")),
        ("/dev/null:/dev/x:r", ("/dev/null", "/dev/x", "r")),
    ],
)
def test_devices(text: str, value: tuple[str, str, str]) -> None:
    assert devices.parse_device(text) == value


@pytest.mark.parametrize("text", ["null", "/dev/null:x", "/dev/null:/a:/b", "/dev/null:/a:rwx", "/dev/no-such"])
def test_no_devices(text: str) -> None:
    with pytest.raises(SampanError):
        devices.parse_device(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("src=data,dst=/x", Mount("data", "/x")),
        ("type=volume,target=/x", Mount("", "/x")),
        ("type=bind,source=/tmp,target=/x,ro", Mount("/tmp", "/x", True)),
        ("type=bind,source=/tmp,target=/x,readonly=false", Mount("/tmp", "/x")),
        ("type=bind,source=/tmp,target=/x,bind-propagation=rslave", Mount("/tmp", "/x", False, "rslave")),
        ("src=data,dst=/x,volume-nocopy", Mount("data", "/x", fill=False)),
        ("src=data,dst=/x,volume-nocopy=false,volume-subpath=a/b", Mount("data", "/x", subpath="a/b")),
        ("dst=/x,volume-label=a=b,volume-label=c", Mount("", "/x", labels=(("a", "b"), ("c", "")))),
        ("type=bind,source=/tmp,target=/x,bind-recursive=disabled", Mount("/tmp", "/x", recursive=False)),
        ("type=bind,source=/tmp,target=/x,ro,bind-recursive=writable", Mount("/tmp", "/x", True, deep=False)),
        ("type=bind,source=/tmp,target=/x,consistency=cached", Mount("/tmp", "/x")),
        ('"src=data","dst=/x,y"', Mount("data", "/x,y")),
        ("type=image,source=a:1,dst=/x,readonly", ImageMount("a:1", "", "/x", True)),
        ("type=image,source=a,dst=/x,image-subpath=b", ImageMount("a", "", "/x", subpath="b")),
        ("type=tmpfs,dst=/x,tmpfs-size=1m,tmpfs-mode=700", mounts.Memory("/x", "size=1048576,mode=700")),
    ],
)
def test_mounts(text: str, value: object) -> None:
    assert mounts.parse(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "", "type", "type=bind,target=/x", "type=bind,source=/no/such,target=/x", "target=x", "source=a/b,target=/x",
        "type=tmpfs,source=/a,target=/x", "type=tmpfs,target=/x,tmpfs-mode=9", "type=npipe,source=a,target=/x",
        "type=image,target=/x", "type=image,source=a,target=/proc/x", "type=image,source=a,target=/x,image-subpath=/y",
        "type=image,source=a,target=/x,image-subpath=a/../..", "source=v,target=/x,volume-subpath=..",
        "source=v,target=/x,volume-opt=a=b", "source=v,target=/x,volume-driver=nfs",
        "type=bind,source=/tmp,target=/x,bind-recursive=no", "type=bind,source=/tmp,target=/x,bind-recursive=readonly",
        "type=bind,source=/tmp,target=/x,consistency=never", "type=tmpfs,target=/x,volume-nocopy",
        "type=bind,source=/tmp,target=/x,magic=1", "target=/x,readonly=perhaps",
    ],
)  # fmt: skip
def test_no_mounts(text: str) -> None:
    with pytest.raises(SampanError):
        mounts.parse(text)


def test_options_come_back_from_json() -> None:
    from sampan import plainjson

    options = Options(
        limits=Limits(memory=5, ulimits=(("nofile", 1, 2),)),
        security=Security(cap_add=("A",), devices=(("/a", "/b", "rwm"),)),
        namespaces=Namespaces(pid="host"),
        tmpfs=(("/run", "size=1m"),),
        dns=(("1.1.1.1",), (), ()),
        hosts=(("db", "10.0.0.1"),),
        mounts=(Mount("data", "/x", labels=(("a", "b"),)),),
        images=(ImageMount("a", "", "/y"),),
        networks=(Joining("lan", ("db",), "10.0.0.5"),),
        attach=("stdout",),
    )
    assert Options.from_json(plainjson.loads(plainjson.dumps(options._asdict()))) == options
    assert Options.from_json({}) == Options()
