"""Builds of an ordinary user with a single id: the owners and devices that were asked for are in the layers."""

import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

import commands
import trees
from builders import BUSYBOX, Builder

pytestmark = [pytest.mark.system, pytest.mark.needs("busybox")]
Layers = Callable[..., list[dict[str, tarfile.TarInfo]]]


@pytest.fixture
def context(ordinary_user: commands.Account) -> Path:
    """A build context that the ordinary user can read, with a busybox."""
    directory = ordinary_user.home / "context"
    directory.mkdir()
    directory.chmod(0o755)
    shutil.copy(BUSYBOX, directory / "busybox")
    return directory


@pytest.fixture
def builder(rootless_sampan: commands.Sampan, context: Path) -> Builder:
    made = Builder(rootless_sampan, context)
    for path in context.rglob("*"):
        path.chmod(path.stat().st_mode | 0o055)
    return made


def members(sampan: commands.Sampan, directory: Path, name: str = "built") -> list[dict[str, tarfile.TarInfo]]:
    """What each layer of an image has, lowest first, by name."""
    archive = directory / "saved.tar"
    sampan("save", "-o", archive, name)
    found = []
    with tarfile.open(archive) as saved:
        manifest = json.load(saved.extractfile("manifest.json"))  # type: ignore[arg-type]
        for layer in manifest[0]["Layers"]:
            with tarfile.open(fileobj=saved.extractfile(layer)) as tar:
                found.append({member.name: member for member in tar})
    archive.unlink()
    return found


def owners(layer: dict[str, tarfile.TarInfo]) -> dict[str, tuple[int, int]]:
    return {name: (member.uid, member.gid) for name, member in layer.items()}


def test_owners_asked_for_in_a_run_are_in_the_layer(builder: Builder, ordinary_user: commands.Account) -> None:
    builder.build(
        "RUN touch /a /b && chown 7:8 /a && ln /a /hard && chown 7:9 /a && chown 5 /b && chown 0:0 /b && "
        "mkdir -p /d/e && touch /d/e/f && ln -s f /d/e/l && mkfifo /d/p && chown -hR 11:12 /d && mv /d/e/l /d/moved && "
        "cd /d/e && chown 13:12 ../../d/./e/f && chown 14 ../nothing; chown 3 /dev/stdout && chown 15:15 /etc/group",
        "--network=host",
    )
    assert owners(members(builder.sampan, ordinary_user.home)[-1]) == {
        "a": (7, 9), "hard": (7, 9), "b": (0, 0), "d": (11, 12), "d/e": (11, 12), "d/e/f": (13, 12),
        "d/p": (11, 12), "d/moved": (11, 12), "etc": (0, 0), "etc/group": (15, 15),
    }  # fmt: skip


def test_what_fails_for_root_fails(builder: Builder) -> None:
    done = builder.build(
        "RUN chown 1 /missing; echo $?; cd /bin && chown 1 missing/x; echo $?; mkdir /x && chown 2 /x/../../etc/group; "
        "echo $?; ln -s /loop /loop; chown 1 /loop; echo $?",
        "--network=host",
    )
    shown = done.stderr
    assert "chown: /missing: No such file or directory" in shown
    assert "chown: missing/x: No such file or directory" in shown
    assert "chown: /loop: " in shown  # too many levels of links


def test_devices_are_in_the_layer(builder: Builder, ordinary_user: commands.Account) -> None:
    builder.build(
        "RUN mknod -m 640 /null c 1 3 && chown 4:5 /null && mkdir /d && cd /d && mknod b b 7 0 && mknod p p && "
        "! mknod b b 7 1",
        "--network=host",
    )
    layer = members(builder.sampan, ordinary_user.home)[-1]
    null, disk = layer["null"], layer["d/b"]
    assert (null.type, null.devmajor, null.devminor, null.mode, null.uid, null.gid) == (
        tarfile.CHRTYPE,
        1,
        3,
        0o640,
        4,
        5,
    )
    assert (disk.type, disk.devmajor, disk.devminor) == (tarfile.BLKTYPE, 7, 0)
    assert layer["d/p"].isfifo()


def test_identity_and_set_user_id_bits(builder: Builder, ordinary_user: commands.Account) -> None:
    done = builder.build(
        "RUN touch /suid /kept && chmod 4755 /suid /kept && chown 5 /suid && su app -c 'id -u' && "
        "grep -c . /proc/self/uid_map",
        "--network=host",
    )
    assert " 0\n" in done.stderr  # it stays who it is, and is not told
    layer = members(builder.sampan, ordinary_user.home)[-1]
    assert (layer["suid"].mode, layer["kept"].mode) == (0o755, 0o4755)


def test_tools_that_unpack_and_copy(builder: Builder, ordinary_user: commands.Account) -> None:
    with tarfile.open(builder.context / "t.tar", "w") as tar:
        for kind, name in ((tarfile.DIRTYPE, "t"), (tarfile.REGTYPE, "t/f"), (tarfile.SYMTYPE, "t/l")):
            member = tarfile.TarInfo(name)
            member.type, member.uid, member.gid, member.linkname = kind, 42, 43, "f" if kind == tarfile.SYMTYPE else ""
            member.mode = 0o755
            tar.addfile(member)
    (builder.context / "t.tar").chmod(0o644)
    builder.build("RUN --mount=source=t.tar,target=/t.tar tar -xf /t.tar -C / && cp -a /t /copy", "--network=host")
    layer = owners(members(builder.sampan, ordinary_user.home)[-1])
    assert {layer[name] for name in ("t", "t/f")} == {(42, 43)}  # busybox leaves links alone
    assert {layer[name] for name in ("copy", "copy/f", "copy/l")} == {(0, 0)}  # stat(2) shows the one id


def test_files_of_a_step_with_a_user_are_his(builder: Builder, ordinary_user: commands.Account) -> None:
    done = builder.build(
        "RUN mkdir -m 777 /open\nUSER app\nRUN touch /open/f && mkdir /open/d && ln -s f /open/d/l && echo $HOME\n"
        "RUN touch /open/g /open/d/h",
        "--network=host",
    )
    assert " /home/app\n" in done.stderr
    told = "WARNING: RUN is executed as the only user id there is here, not as app; its files are app's\n"
    assert done.stderr.count(told) == 1
    *_, one, two = [owners(layer) for layer in members(builder.sampan, ordinary_user.home)]
    app = (1000, 1001)
    assert one == {"open": (0, 0), "open/f": app, "open/d": app, "open/d/l": app}
    assert two == {"open": (0, 0), "open/g": app, "open/d": app, "open/d/h": app}


def test_mounts_for_another_user_can_be_used(builder: Builder, ordinary_user: commands.Account) -> None:
    secret = ordinary_user.home / "secret"
    secret.write_text("opened")
    secret.chmod(0o644)
    done = builder.build(
        "USER app\nRUN --mount=type=cache,target=/c,uid=1000,gid=1001,mode=0700 "
        "--mount=type=secret,id=s,uid=1000,gid=1001,mode=0400 touch /c/f && cat /run/secrets/s && ls -ld /c",
        "--network=host",
        f"--secret=id=s,src={secret}",
    )
    assert " opened" in done.stderr
    assert "drwx------" in done.stderr


def test_a_file_that_takes_another_s_place_is_its_owner_s(builder: Builder, ordinary_user: commands.Account) -> None:
    builder.build(
        "RUN touch /f && chown 6:7 /f && mkdir /d && chown 8:9 /d\nRUN cp /f /g && mv /g /f && touch /d/new",
        "--network=host",
    )
    assert owners(members(builder.sampan, ordinary_user.home)[-1]) == {"f": (6, 7), "d": (8, 9), "d/new": (0, 0)}


def test_owners_survive_a_copy_from_a_stage(builder: Builder, ordinary_user: commands.Account) -> None:
    builder.build(
        "RUN mkdir /d && echo 1 > /d/f && chown -R 6:7 /d\nFROM scratch\nCOPY --from=1 /d /kept\n"
        "COPY --from=1 --chown=2:3 /d /changed",
        "--network=host",
        base="FROM scratch AS base\nCOPY busybox /bin/busybox\n"
        'RUN ["/bin/busybox", "--install", "-s", "/bin"]\nFROM base\n',
    )
    kept, changed = (owners(layer) for layer in members(builder.sampan, ordinary_user.home))
    assert kept == {"kept": (0, 0), "kept/f": (6, 7)} | ({"kept": kept["kept"]} if kept["kept"] == (6, 7) else {})
    assert set(changed.values()) == {(2, 3)}


COPIES = """
FROM scratch
COPY --chown=1000:1001 tree /tree
COPY --chown=5 tree/f /tree/g
ADD --chown=6:7 tree.tar /unpacked/
COPY tree /plain
WORKDIR /work/here
"""


def test_the_digest_is_the_same_as_root_s(
    sampan: commands.Sampan, rootless_sampan: commands.Sampan, context: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to compare with")
    trees.make(
        context, {"tree/f": "one", "tree/d/g": "two", "tree/d/l": trees.Link("g"), "tree/hard": trees.Hard("tree/f")}
    )
    with tarfile.open(context / "tree.tar", "w") as tar:
        for kind, name in ((tarfile.REGTYPE, "t/f"), (tarfile.SYMTYPE, "t/l"), (tarfile.FIFOTYPE, "t/p")):
            member = tarfile.TarInfo(name)
            member.type, member.uid, member.gid, member.linkname = kind, 42, 43, "f" if kind == tarfile.SYMTYPE else ""
            tar.addfile(member)
    (context / "Dockerfile").write_text(COPIES)
    for path in context.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o055)
    ids = [
        each("build", "-q", "-t", "built", context, environment={"SOURCE_DATE_EPOCH": "1700000000"}).stdout
        for each in (sampan, rootless_sampan)
    ]
    assert ids[0] == ids[1]


def test_a_base_image_s_owners_are_kept(
    rootless_sampan: commands.Sampan, ordinary_user: commands.Account, tmp_path: Path
) -> None:
    """A file that is changed in a further layer goes on to be its owner's, though nobody could give it to him here."""
    context = ordinary_user.home / "base"
    context.mkdir()
    builder = Builder(rootless_sampan, context)
    for path in (context, *context.rglob("*")):
        path.chmod(path.stat().st_mode | 0o055)
    base = 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\n'
    builder.build("RUN mkdir /d && touch /d/f && chown -R 42:43 /d", "--network=host", base=base)
    saved = ordinary_user.home / "base.tar"
    rootless_sampan("save", "-o", saved, "built")
    other = commands.Sampan(commands.new_store(), ordinary_user)
    if os.geteuid() == 0:
        os.chown(other.root, ordinary_user.uid, ordinary_user.gid)
    try:
        other("load", "-i", saved)
        again = Builder(other, context)
        again.build("RUN echo x >> /d/f", "--network=host", base="FROM built\n")
        assert owners(members(other, ordinary_user.home)[-1]) == {"d": (42, 43), "d/f": (42, 43)}
    finally:
        other.remove_containers()
        commands.remove_store(other.root)


def test_a_container_and_what_is_committed_of_it(builder: Builder, ordinary_user: commands.Account) -> None:
    sampan = builder.sampan
    builder.build("")
    sampan("run", "--name", "one", "--network", "none", "built", "sh", "-c", "touch /f && chown 7:8 /f && chown 9 /bin")
    sampan("commit", "one", "kept")
    sampan("rm", "one")
    assert owners(members(sampan, ordinary_user.home, "kept")[-1]) == {"f": (7, 8), "bin": (9, 0)}


def test_nothing_is_noted_in_what_is_mounted(builder: Builder, ordinary_user: commands.Account) -> None:
    shared = ordinary_user.home / "shared"
    shared.mkdir()
    (shared / "f").write_text("")
    for path in (shared, shared / "f"):
        os.chown(path, ordinary_user.uid, ordinary_user.gid)
    builder.build("")
    builder.sampan(
        "run", "--rm", "--network", "none", "-v", f"{shared}:/shared", "built", "chown", "-R", "7:8", "/shared"
    )
    assert os.listxattr(shared / "f") == []
