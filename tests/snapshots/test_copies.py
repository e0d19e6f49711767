"""Copies in overlayfs' place: whatever is done to a tree, the same layer comes of it."""

import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

import images
import trees
from builders import Builder
from commands import Sampan
from sampan.layers import write
from sampan.layers.changes import changes
from sampan.linux import beneath, mounts
from sampan.snapshots import copies
from sampan.snapshots.overlay import Rootfs
from trees import Directory, File, Hard, Link

LOWEST: dict[str, trees.Node] = {
    "etc/passwd": "root", "etc/group": "root", "bin/sh": File("#!", 0o4755), "bin/bash": Hard("bin/sh"),
    "bin/l": Link("sh"), "d/e/f": "deep", "d/e/g": "deep", "gone/x": "x", "file": "a file", "tmp": Directory(0o1777),
}  # fmt: skip
MIDDLE: dict[str, trees.Node] = {"etc/passwd": "changed", "d/e/f": trees.WHITEOUT, "new/n": "n"}
DOINGS = {
    "nothing": ":",
    "new files": "mkdir -p a/b && echo 1 > a/b/c && ln -s nowhere a/l && ln a/b/c a/hard",
    "the same size and time": "touch -r file ref; printf 'A FILE' > file; touch -r ref file; rm ref",
    "modes and owners": "chmod 600 etc/group && chown 5:6 bin/l -h && chown 7 d && chmod 700 tmp",
    "deletions": "rm etc/passwd d/e/g bin/l && rm -r gone new",
    "a directory anew": "rm -r d && mkdir d && echo 1 > d/e",
    "a file becomes a directory": "rm file && mkdir file && echo 1 > file/f",
    "a directory becomes a link": "rm -r gone && ln -s etc gone",
    "renames": "mv etc/passwd etc/moved && mv file new/",
    "appending by another name": "echo more >> bin/bash",
}
"""What is done in the root of the tree, by a shell."""


@pytest.fixture
def rootfs(store_root: Path) -> Rootfs:
    for name in ("lowest", "middle", "upper", "work"):
        (store_root / name).mkdir(0o755)
    trees.make(store_root / "lowest", LOWEST)
    trees.make(store_root / "middle", MIDDLE)
    return Rootfs((f"{store_root}/middle", f"{store_root}/lowest"), f"{store_root}/upper", f"{store_root}/work", False)


def by_overlay(rootfs: Rootfs, doing: str, at: Path) -> None:
    at.mkdir()
    lower = ":".join(rootfs.lower)
    options = f"lowerdir={lower},upperdir={rootfs.upper},workdir={rootfs.work}".encode()
    mounts.mount(b"overlay", bytes(at), b"overlay", 0, options)
    try:
        subprocess.run(["sh", "-ec", doing], cwd=at, check=True)
    finally:
        mounts.umount(bytes(at))


def by_copies(rootfs: Rootfs, doing: str, at: Path) -> None:
    shown = copies.assemble(rootfs)
    assert shown.lower == ()
    subprocess.run(["sh", "-ec", doing], cwd=shown.upper, check=True)
    copies.harvest(rootfs)


def layer(rootfs: Rootfs) -> dict[str, tuple[object, ...]]:
    """What a layer of the upper directory says, but for times."""
    found = io.BytesIO()
    root = beneath.open_root(rootfs.upper)
    try:
        write.write(changes(root, userxattr=False), found.write)
    finally:
        os.close(root)
    found.seek(0)
    with tarfile.open(fileobj=found) as tar:
        return {
            member.name: (
                member.type, member.mode, member.uid, member.gid, member.linkname,
                tar.extractfile(member).read() if member.isreg() else b"",  # type: ignore[union-attr]
            )
            for member in tar
        }  # fmt: skip


@pytest.mark.system
@pytest.mark.root
@pytest.mark.parametrize("doing", DOINGS)
@pytest.mark.parametrize("how", [by_overlay, by_copies])
def test_what_comes_of_it_is_seen_again(
    rootfs: Rootfs, doing: str, how: Callable[[Rootfs, str, Path], None], store_root: Path
) -> None:
    """The merged tree after the change, read through the layer, is the tree that was changed."""
    from sampan.snapshots.lookup import Tree

    how(rootfs, DOINGS[doing], store_root / "at")
    expected = store_root / "plain"
    subprocess.run(["cp", "-a", f"{rootfs.lower[1]}", expected], check=True)
    subprocess.run(
        ["sh", "-ec", "echo -n changed > etc/passwd; rm d/e/f; mkdir new; echo -n n > new/n"], cwd=expected, check=True
    )
    subprocess.run(["sh", "-ec", DOINGS[doing]], cwd=expected, check=True)
    with Tree((rootfs.upper, *rootfs.lower), False) as tree:
        seen, pending = set(), [b""]
        while pending:
            path = pending.pop()
            for name, status in tree.children(path).items():
                child = os.path.join(path, name)
                seen.add(os.fsdecode(child))
                real = os.lstat(expected / os.fsdecode(child))
                assert (status.st_mode, status.st_uid, status.st_gid) == (real.st_mode, real.st_uid, real.st_gid), child
                if child in (b"file", b"bin/bash", b"etc/passwd") and not os.path.isdir(expected / os.fsdecode(child)):
                    with open(tree.open(child), "rb") as file:
                        assert file.read() == (expected / os.fsdecode(child)).read_bytes()
                if os.path.isdir(expected / os.fsdecode(child)) and not os.path.islink(expected / os.fsdecode(child)):
                    pending.append(child)
    assert seen == set(trees.describe(expected))


@pytest.mark.system
@pytest.mark.root
def test_the_layer_holds_what_changed_and_no_more(rootfs: Rootfs, store_root: Path) -> None:
    by_copies(rootfs, DOINGS["nothing"], store_root)
    assert layer(rootfs) == {}
    by_copies(rootfs, "rm etc/passwd; mkdir -p d/x; echo 1 > d/x/y", store_root)
    assert set(layer(rootfs)) == {"etc", "etc/.wh.passwd", "d", "d/x", "d/x/y"}
    by_copies(rootfs, "rm -r d/x", store_root)
    assert set(layer(rootfs)) == {"etc", "etc/.wh.passwd", "d"}


@pytest.mark.system
@pytest.mark.root
def test_what_the_upper_directory_had_already_stays(rootfs: Rootfs, store_root: Path) -> None:
    trees.make(Path(rootfs.upper), {"mine": "1", "etc/group": "mine"})
    by_copies(rootfs, "echo 2 > other", store_root)
    assert set(layer(rootfs)) == {"mine", "other", "etc", "etc/group"}


@pytest.mark.system
@pytest.mark.root
def test_whether_overlay_works(tmp_path: Path, store_root: Path) -> None:
    assert copies.overlay_works(str(store_root), userxattr=False)
    proc_like = store_root / "over"
    for name in ("l", "u", "w"):
        (store_root / name).mkdir()
    proc_like.mkdir()
    options = f"lowerdir={store_root}/l,upperdir={store_root}/u,workdir={store_root}/w".encode()
    mounts.mount(b"overlay", bytes(proc_like), b"overlay", 0, options)
    try:  # overlayfs takes no other overlayfs for its upper directory
        assert not copies.overlay_works(str(proc_like), userxattr=False)
        assert os.listdir(proc_like) == []
    finally:
        mounts.umount(bytes(proc_like))


@pytest.mark.system
@pytest.mark.needs("busybox")
def test_builds_and_containers_without_overlayfs(
    sampan: Sampan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = Builder(sampan, tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    ids = set()
    for kind in ("overlay", "copies"):
        monkeypatch.setenv("SAMPAN_STORAGE", kind)
        lines = "RUN rm /etc/group && echo 1 > /f && cp /f /g && mkdir -p /d/e\nRUN echo 2 >> /g && rm -r /d\n"
        builder.build(lines, "--no-cache", "--network=host")
        ids.add(str(builder.image()["Id"]))
    assert len(ids) == 1
    sampan("run", "--name", "one", "--network", "none", "built", "sh", "-c", "rm /f; echo 3 >> /g; mkdir /new")
    assert sampan("diff", "one").stdout == "D /f\nC /g\nA /new\n"
    sampan("start", "-a", "one", check=False)
    assert sampan("diff", "one").stdout == "D /f\nC /g\nA /new\n"
    sampan("commit", "one", "kept")
    assert sampan("run", "--rm", "--network", "none", "kept", "sh", "-c", "cat /g; ls -d /new").stdout == (
        "1\n2\n3\n3\n/new\n"
    )


@pytest.mark.system
@pytest.mark.root
@pytest.mark.needs("busybox", "mkfs.xfs")
def test_copies_share_their_blocks_where_the_disk_can(tmp_path: Path) -> None:
    disk, mounted = tmp_path / "disk", tmp_path / "mounted"
    with disk.open("wb") as file:
        file.truncate(320 << 20)
    mounted.mkdir()
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", disk], check=True)
    if subprocess.run(["mount", "-o", "loop", disk, mounted], check=False, capture_output=True).returncode:
        pytest.skip("the kernel has no loop devices to spare, or no xfs")
    sampan = Sampan(mounted / "store")
    try:
        images.put(sampan, "big", {"blob": os.urandom(40 << 20)})
        before = _used(mounted)
        for name in ("one", "two"):
            variables = {"SAMPAN_STORAGE": "copies"}
            sampan("run", "-d", "--name", name, "--network=none", "big", "sleep", "1000", environment=variables)
        sampan("exec", "one", "sh", "-c", "echo more >> /blob")
        assert _used(mounted) - before < 20 << 20  # of 80
        assert sampan("diff", "one", environment=variables).stdout == "C /blob\n"
        sampan("rm", "-f", "one", "two", environment=variables)
    finally:
        sampan.remove_containers()
        subprocess.run(["umount", mounted], check=True)


def _used(directory: Path) -> int:
    found = os.statvfs(directory)
    return (found.f_blocks - found.f_bfree) * found.f_frsize
