"""Layers under a real overlay: what the kernel makes of the upper form, and what it writes there itself."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.system
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
CAPABILITY = "\1\0\0\2\0\x20" + "\0" * 14

# Runs in a mount namespace of its own, and rootless also in a user namespace: sampan itself, on real files.
_IN_NAMESPACE = """
import io, json, os, subprocess, sys
from sampan.layers.apply import apply
from sampan.layers.changes import changes
from sampan.layers.write import write
top, userxattr, layers, commands = sys.argv[1], sys.argv[2] == "1", sys.argv[3].split(":"), sys.argv[4]
os.chdir(top)
for name in layers:
    os.mkdir(name)
    fd = os.open(name, os.O_PATH)
    with open(name + ".tar", "rb") as stream:
        print(json.dumps(apply(stream, fd, userxattr=userxattr, rootless=userxattr)[:4]), file=sys.stderr)
    os.close(fd)
for name in ("upper", "work", "mnt"):
    os.mkdir(name)
lower = "lowerdir=" + ":".join(reversed(layers))
options = lower + ",upperdir=upper,workdir=work" + (",userxattr" if userxattr else ",redirect_dir=off,metacopy=off")
subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, "mnt"], check=True)
subprocess.run(["sh", "-ec", commands], cwd="mnt", check=True)
subprocess.run(["umount", "mnt"], check=True)
fd = os.open("upper", os.O_PATH)
with open("upper.tar", "wb") as out:
    write(changes(fd, userxattr=userxattr), out.write)
os.mkdir("again")
again = os.open("again", os.O_PATH)
with open("upper.tar", "rb") as stream:
    apply(stream, again, userxattr=userxattr, rootless=userxattr)
for lower in ("upper", "again"):
    options = "lowerdir=" + ":".join([lower, *reversed(layers)]) + (",userxattr" if userxattr else "")
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, "mnt"], check=True)
    tree = {}
    for directory, names, files in os.walk("mnt"):
        for name in names + files:
            path = os.path.join(directory, name)
            info = os.lstat(path)
            content = os.readlink(path) if os.path.islink(path) else open(path).read() if os.path.isfile(path) else ""
            tree[os.path.relpath(path, "mnt")] = [oct(info.st_mode), info.st_uid, int(info.st_mtime), content]
    print(json.dumps(tree, sort_keys=True))
    subprocess.run(["umount", "mnt"], check=True)
"""


def run(top, layers, commands, *, rootless):
    """Applies ``layers``, mounts them, runs ``commands`` in them; the tree as seen, and seen again through a layer."""
    for name, data in layers.items():
        (top / f"{name}.tar").write_bytes(data)
    unshare = ["unshare", "-Urm"] if rootless else ["unshare", "-m"]
    arguments = [str(top), "1" if rootless else "0", ":".join(layers), commands]
    done = subprocess.run(
        [*unshare, sys.executable, "-c", _IN_NAMESPACE, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr
    seen, again = map(json.loads, done.stdout.splitlines())
    return seen, again


MODES = pytest.mark.parametrize(
    "rootless",
    [
        pytest.param(False, marks=pytest.mark.root),
        pytest.param(True, marks=pytest.mark.rootless),
    ],
)


def contents(tree):
    return {path: content for path, (_, _, _, content) in tree.items() if content}


@MODES
def test_two_layers(store_root, member, archive, rootless):
    lower = archive(
        member("keep/"), member("keep/a", b"1"), member("keep/b", b"1"), member("opaque/"), member("opaque/a", b"1"),
        member("gone/"), member("gone/a", b"1"), member("file", b"1"), member("replaced/"), member("replaced/a", b"1"),
        member("becomes/"), member("becomes/a", b"1"), member("was", b"1"), member("lib", linkname="keep"),
    )  # fmt: skip
    upper = archive(
        member("keep/"), member("keep/.wh.b"), member("keep/c", b"2"), member("opaque/c", b"2"),
        member("opaque/.wh..wh..opq"), member(".wh.gone"), member("file", b"2"),
        member(".wh.replaced"), member("replaced/"), member("replaced/b", b"2"),
        member("becomes", b"2"), member("was/"), member("was/b", b"2"), member("keep/later", b"2"),
        member(".wh.absent"),
    )  # fmt: skip
    seen, again = run(store_root, {"lower": lower, "upper1": upper}, "true", rootless=rootless)
    assert contents(seen) == {
        "keep/a": "1", "keep/c": "2", "keep/later": "2", "opaque/c": "2", "file": "2", "replaced/b": "2",
        "becomes": "2", "was/b": "2", "lib": "keep",
    }  # fmt: skip
    assert seen == again


@MODES
def test_what_the_kernel_writes(store_root, member, archive, rootless):
    """Deletions, renames, replaced directories, links, modes and times, made inside and taken through a layer."""
    lower = archive(
        *[member(f"d{number}/") for number in range(8)],
        *[member(f"d{number}/f{other}", b"%d" % other) for number in range(8) for other in range(3)],
        member("ln", linkname="d1/f1"),
    )
    commands = """
        rm d0/f0; rm -r d1; rm -r d2; mkdir d2; echo new > d2/new
        echo more >> d3/f1; chmod 4711 d3/f2; ln d3/f2 d3/twin
        rm d4/f1; mkdir d4/f1; echo deep > d4/f1/deep
        rm -r d5; echo file > d5
        mv d6/f0 d6/moved; ln -sf /elsewhere ln; mkfifo d7/pipe; rm d7/f*
        touch -d @1000000 d3/f0 d7; mkdir -p n/e/w; rm -r n/e
    """
    seen, again = run(store_root, {"lower": lower}, commands, rootless=rootless)
    assert seen == again
    found = contents(seen)
    assert [path for path in found if path.startswith(("d1", "d2", "d5", "d7"))] == ["d2/new", "d5"]
    assert (found["d4/f1/deep"], found["d6/moved"], found["ln"], found["d3/f1"]) == (
        "deep\n", "0", "/elsewhere", "1more\n",
    )  # fmt: skip
    assert "n/e" not in seen
    assert seen["d3/f2"][0] == seen["d3/twin"][0] == oct(0o104711)


@pytest.mark.rootless
def test_one_id_and_no_devices(store_root, member, archive):
    """With a single id mapped, foreign owners are noted, or counted, as devices are; set-id bits are kept."""
    layer = archive(
        member("mine", b"1", uid=0, gid=0), member("theirs", b"1", uid=33, gid=33, mode=0o4755),
        member("dir/", uid=33, gid=33), member("link", linkname="mine", uid=33, gid=33),
        member("null", kind=b"3", devmajor=1, devminor=3, uid=0, gid=0), member("pipe", kind=b"6", uid=0, gid=0),
        member("trusted", b"1", uid=0, gid=0, pax_headers={"SCHILY.xattr.security.capability": "nonsense"}),
        member("capable", b"1", uid=0, gid=0, pax_headers={"SCHILY.xattr.security.capability": CAPABILITY}),
    )  # fmt: skip
    (store_root / "layer.tar").write_bytes(layer)
    script = (
        "import os, sys; from sampan.layers.apply import apply; os.mkdir('out'); fd = os.open('out', os.O_PATH);"
        "print(*apply(open('layer.tar', 'rb'), fd, userxattr=True, rootless=True)[:4])"
    )
    done = subprocess.run(
        ["unshare", "-Ur", sys.executable, "-c", script],
        check=False, capture_output=True, text=True, cwd=store_root, env=ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["8", "4", "1", "1"]  # a link has no room for a note of its owner
    assert (store_root / "out/theirs").stat().st_mode & 0o7777 == 0o4755
    assert "security.capability" in os.listxattr(store_root / "out/capable")
    assert sorted(os.listdir(store_root / "out")) == ["capable", "dir", "link", "mine", "pipe", "theirs", "trusted"]
