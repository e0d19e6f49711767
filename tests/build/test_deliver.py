"""Builds brought to their outputs by the command line: what arrives, and what is said of it."""

import io
import json
import os
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path

import pytest

import commands
import servers
from builders import BASE, Builder, as_system
from sampan.oci import media
from sampan.oci import platform as platforms

PLATFORMS = ("linux/amd64", "linux/s390x")
CROSS = """
FROM --platform=$BUILDPLATFORM scratch AS tools
COPY busybox /bin/sh
RUN echo made here > /made
FROM scratch
ARG TARGETARCH
COPY --from=tools /made /made-for-$TARGETARCH
COPY etc/group /group
"""
pytestmark = [pytest.mark.skipif(platforms.host().architecture != "amd64", reason="the machine is no amd64")]


def image_in(layout: Path) -> tuple[dict[str, object], dict[str, object]]:
    """The index.json of a layout and the manifest or index that it points at."""
    index = json.loads((layout / "index.json").read_text())
    digest = index["manifests"][0]["digest"].partition(":")[2]
    return index, json.loads((layout / "blobs/sha256" / digest).read_text())


@as_system
def test_files(builder: Builder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "d").mkdir(parents=True)
    (out / "d/kept").write_text("kept")
    (out / "f").symlink_to("/etc/hostname")
    lines = """
RUN mkdir -p /only/d /only/empty && echo one > /only/f && chmod 750 /only/f && ln /only/f /only/d/same
RUN ln -s f /only/link && mkfifo /only/pipe && chown 5:6 /only/d
FROM scratch
COPY --from=1 /only /
"""
    builder.build(lines, "-o", str(out))
    assert (out / "f").read_text() == "one\n"
    assert not (out / "f").is_symlink()
    assert (out / "f").stat().st_mode & 0o777 == 0o750
    assert (out / "link").readlink() == Path("f")
    assert sorted(os.listdir(out)) == ["d", "empty", "f", "link"]
    assert sorted(os.listdir(out / "d")) == ["kept", "same"]
    assert (out / "d").stat().st_uid == 0
    assert builder.sampan("images", "-q").stdout == ""
    builder.build(lines, "-o", str(out))
    assert Path("/etc/hostname").exists()


@as_system
def test_a_tar_on_standard_output(builder: Builder) -> None:
    (builder.context / "Dockerfile").write_text("FROM scratch\nCOPY --chown=7:8 etc/group /group\n")
    words = builder.sampan.command("build", "-q", "-o", "-", builder.context)
    data = subprocess.run(words, check=True, capture_output=True, timeout=120).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        (entry,) = archive.getmembers()
        assert (entry.name, entry.uid, entry.gid) == ("group", 7, 8)


@as_system
def test_several_outputs(builder: Builder, tmp_path: Path) -> None:
    options = ("-o", f"type=oci,dest={tmp_path}/x.tar", "-o", f"type=oci,dest={tmp_path}/layout,tar=false", "--load")
    options += ("-o", f"type=docker,dest={tmp_path}/y.tar", "--metadata-file", f"{tmp_path}/meta.json")
    options += ("--annotation", "org.example.a=b", "--iidfile", f"{tmp_path}/id")
    builder.build("RUN echo x > /x", *options, "--annotation", "manifest-descriptor:d=e")
    index, manifest = image_in(tmp_path / "layout")
    assert manifest["annotations"] == {"org.example.a": "b"}
    assert index["manifests"][0]["annotations"]["d"] == "e"  # type: ignore[index]
    told = json.loads((tmp_path / "meta.json").read_text())
    image = builder.image()
    assert told["containerimage.config.digest"] == image["Id"] == (tmp_path / "id").read_text()
    assert told["image.name"] == "docker.io/library/built:latest"
    assert told["containerimage.digest"] == told["containerimage.descriptor"]["digest"]
    for name in ("x.tar", "y.tar"):
        builder.sampan("rmi", "built")
        assert builder.sampan("load", "-i", tmp_path / name).stdout == "Loaded image: built:latest\n"
        assert builder.image()["Id"] == image["Id"]
    with tarfile.open(tmp_path / "x.tar") as one, tarfile.open(tmp_path / "y.tar") as two:
        assert set(two.getnames()) - set(one.getnames()) == {"manifest.json"}


@as_system
@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ("compression=zstd,compression-level=9", media.OCI_LAYER_ZSTD),
        ("compression=uncompressed", media.OCI_LAYER),
        ("compression=gzip,compression-level=9", media.OCI_LAYER_GZIP),
    ],
)
def test_compression(builder: Builder, tmp_path: Path, options: str, kind: str) -> None:
    builder.build("RUN echo x > /x", "-o", f"type=oci,dest={tmp_path}/layout,tar=false,{options}")
    _, manifest = image_in(tmp_path / "layout")
    layers = manifest["layers"]
    assert isinstance(layers, list)
    assert {layer["mediaType"] for layer in layers} == {kind}
    builder.sampan("load", "-i", tmp_path / "layout")
    assert builder.sampan("run", "--rm", "--network=none", "built", "cat", "/x").stdout == "x\n"


@as_system
def test_squash(builder: Builder) -> None:
    builder.build("", "--tag=base", base=BASE)
    lines = "FROM base\nCOPY etc/group /big\nRUN rm /big /etc/group && echo x > /x\nCMD cat /x"
    builder.build(lines, "--squash", "--build-context", "base=docker-image://base", base="")
    layers = builder.image()["RootFS"]["Layers"]  # type: ignore[index]
    base = builder.image("base")["RootFS"]["Layers"]  # type: ignore[index]
    assert layers[:-1] == base
    assert builder.files() == ["etc", "etc/group", "x"]
    assert builder.sampan("run", "--rm", "--network=none", "built").stdout == "x\n"
    assert "group" not in builder.sampan("run", "--rm", "--network=none", "built", "ls", "/etc").stdout
    assert "merge of 2 layers" in builder.sampan("history", "built").stdout
    first = builder.image()["Id"]
    builder.build(lines, "--squash", "--build-context", "base=docker-image://base", base="")
    assert builder.image()["Id"] == first


@as_system
def test_several_platforms(builder: Builder, tmp_path: Path) -> None:
    both = ",".join(PLATFORMS)
    options = ("--annotation", "index,index-descriptor:a=i", "--annotation", "manifest[linux/s390x]:a=m")
    options += ("--iidfile", f"{tmp_path}/id")
    builder.build(CROSS, "--platform", both, *options, base="")
    (line,) = builder.sampan("images", "--digests", "--no-trunc", "built").stdout.splitlines()[1:]
    assert (tmp_path / "id").read_text() in line
    assert builder.image()["Architecture"] == "amd64"
    builder.build(CROSS, "--platform", both, *options, "-o", f"type=oci,dest={tmp_path}/lay,tar=false", base="")
    outer, index = image_in(tmp_path / "lay")
    assert index["mediaType"] == media.OCI_INDEX
    assert index["annotations"] == {"a": "i"}
    assert outer["manifests"][0]["annotations"]["a"] == "i"  # type: ignore[index]
    entries = index["manifests"]
    assert isinstance(entries, list)
    assert [entry["platform"] for entry in entries] == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "s390x", "os": "linux"},
    ]
    manifests = [json.loads((tmp_path / "lay/blobs" / e["digest"].replace(":", "/")).read_text()) for e in entries]
    assert [manifest.get("annotations") for manifest in manifests] == [None, {"a": "m"}]
    builder.build(CROSS, "--platform", both, "-o", str(tmp_path / "out"), base="")
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").glob("*/*")) == [
        *("linux_amd64/group", "linux_amd64/made-for-amd64", "linux_s390x/group", "linux_s390x/made-for-s390x")
    ]


@as_system
def test_several_platforms_are_built_side_by_side(builder: Builder, tmp_path: Path) -> None:
    """Two commands, each of which waits for the other; what is the same for both is done once, and warned of once."""
    lines = """
FROM --platform=$BUILDPLATFORM scratch AS tools
COPY busybox /bin/sh
RUN date +%N > /both
FROM tools AS made
ARG TARGETARCH
RUN case $TARGETARCH in amd64) nc -l -p 12346 -w 60 -e echo hi;; \\
    *) until echo | nc 127.0.0.1 12346 > /got && test -s /got; do sleep 0.1; done;; esac
FROM scratch
COPY --from=made /both /
COPY etc/group etc/passwd x
"""
    cache = ("--cache-to", f"type=local,dest={tmp_path}/cache,mode=max")
    common = ("--network", "host", "--platform", ",".join(PLATFORMS))
    done = builder.build(lines, *common, "--build-arg", "NOBODY=1", *cache, base="")
    assert done.stderr.count("] RUN date") == 1
    assert done.stderr.count("NOBODY is not used") == 1
    assert "[linux/s390x made 1/1] RUN case" in done.stderr
    builder.sampan("cache", "prune", "-af")
    again = builder.build(lines, *common, "--cache-from", f"type=local,src={tmp_path}/cache", base="")
    assert " DONE " not in again.stderr


@as_system
def test_one_platform_like_several(builder: Builder, tmp_path: Path) -> None:
    as_several = ("--build-arg", "BUILDKIT_MULTI_PLATFORM=1")
    done = builder.build(CROSS, *as_several, "-o", f"type=oci,dest={tmp_path}/lay,tar=false", base="")
    assert "not used" not in done.stderr
    _, index = image_in(tmp_path / "lay")
    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == ["amd64"]  # type: ignore[attr-defined]
    builder.build(CROSS, *as_several, "-o", str(tmp_path / "out"), base="")
    assert os.listdir(tmp_path / "out") == ["linux_amd64"]


@as_system
def test_a_base_for_another_platform(builder: Builder) -> None:
    builder.build(CROSS, "--platform", ",".join(PLATFORMS), base="")
    builder.sampan("tag", "built", "localhost/cross:1")
    lines = "FROM localhost/cross:1\nCOPY etc/passwd /passwd\n"
    builder.build(lines, "--platform", "linux/s390x", "-t", "other", base="")
    assert builder.image("other")["Architecture"] == "s390x"
    assert len(builder.image("other")["RootFS"]["Layers"]) == 3  # type: ignore[index]
    assert builder.image("localhost/cross:1")["Architecture"] == "amd64"


@as_system
def test_a_command_for_another_processor(builder: Builder) -> None:
    done = builder.build("RUN true", "--platform", "linux/riscv64", check=False)
    assert done.returncode == 1
    if Path("/proc/sys/fs/binfmt_misc/qemu-riscv64").exists():
        pytest.skip("the machine has an emulator for riscv64")
    assert "a step for linux/riscv64 cannot be run on this machine" in done.stderr
    assert "qemu-user-static" in done.stderr
    assert builder.leftovers() == []


@as_system
def test_built_in_arguments(builder: Builder) -> None:
    command = "grep -qw $(hostname | tee /h) /etc/hosts && ls /c > /seen && touch /c/$(hostname)"
    lines = f"RUN --mount=type=cache,target=/c {command}"
    usual = ("--no-cache",)
    builder.build(lines, *usual)
    named = ("--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=named", "--build-arg", "BUILDKIT_CACHE_MOUNT_NS=apart")
    done = builder.build(lines, *named, "--build-arg", "BUILDKIT_BUILD_NAME=x")
    assert "not used" not in done.stderr
    assert [(builder.layer() / name).read_text() for name in ("h", "seen")] == ["named\n", ""]
    builder.build(lines, *usual)
    assert [(builder.layer() / name).read_text() for name in ("h", "seen")] == ["buildkitsandbox\n"] * 2


@as_system
def test_limits_and_shared_memory(builder: Builder) -> None:
    lines = "RUN ulimit -n > /x && ulimit -Hn >> /x && df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2 >> /x"
    run = ("run", "--rm", "--network=none", "built", "cat", "/x")
    builder.build(lines, "--ulimit", "nofile=99:100", "--shm-size", "1m")
    assert builder.sampan(*run).stdout.split() == ["99", "100", "1024"]
    builder.build(lines)
    assert builder.sampan(*run).stdout.split()[2] == "65536"


@as_system
@pytest.mark.registry
@pytest.mark.needs("docker-registry")
def test_push(builder: Builder, tmp_path: Path) -> None:
    with servers.registry(tmp_path / "registry") as registry:
        name = f"{registry.address}/app:1"
        (builder.context / "Dockerfile").write_text(CROSS)
        options = ("--platform", ",".join(PLATFORMS), "--push", "-t", name)
        builder.sampan("build", *options, builder.context)
        assert builder.sampan("images", "-q").stdout == ""
        for platform in PLATFORMS:
            builder.sampan("pull", "-q", "--platform", platform, name)
            assert builder.image(name)["Architecture"] == platform.partition("/")[2]
        zstd = f"type=registry,name={registry.address}/z:1,compression=zstd"
        builder.sampan("build", "-o", zstd, builder.context)
        builder.sampan("pull", "-q", f"{registry.address}/z:1")


def arm64_program() -> bytes:
    """An executable for linux/arm64 that says hello: write(2) and exit(2), by hand (elf(5))."""
    said = b"hello from arm64\n"
    code = (0xD2800020, 0x100000E1, 0xD2800002 | len(said) << 5, 0xD2800808, 0xD4000001, 0xD2800000, 0xD2800BA8)
    text = struct.pack("<8I", *code, 0xD4000001) + said
    base, start = 0x400000, 64 + 56
    header = struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, base + start, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    size = start + len(text)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return b"\x7fELF" + bytes((2, 1, 1)) + bytes(9) + header + segment + text


REGISTER = r"""
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc || exit 99
ident='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
printf '%s' ":qemu:M::$ident:$mask:$1:F" >/proc/sys/fs/binfmt_misc/register
shift
exec "$@"
"""


@as_system
@pytest.mark.needs("qemu-aarch64-static")
def test_a_command_through_an_emulator(builder: Builder) -> None:
    """In a user namespace, whose handlers are its own (Linux 6.7)."""
    (builder.context / "hello").write_bytes(arm64_program())
    (builder.context / "hello").chmod(0o755)
    (builder.context / "Dockerfile").write_text('FROM scratch\nCOPY hello /hello\nRUN ["/hello"]\n')
    emulator = str(shutil.which("qemu-aarch64-static"))
    options = ("--network=none", "--platform=linux/arm64", "--progress=plain", str(builder.context))
    words = ["unshare", "-r", "-m", "-p", "-f", "--mount-proc", "sh", "-ec", REGISTER, "sh", emulator]
    done = commands.run([*words, *builder.sampan.command("build", *options)], check=False)
    if done.returncode == 99:
        pytest.skip("the kernel has no binfmt_misc for user namespaces")
    assert done.returncode == 0, done.stderr
    assert "hello from arm64" in done.stderr
