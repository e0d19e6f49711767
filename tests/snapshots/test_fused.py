"""fuse-overlayfs where overlayfs cannot be mounted: the same layers come out, and nothing of it stays."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import images
from commands import Sampan, run
from elsewhere import Elsewhere, mounts
from residents import await_, state

pytestmark = [
    pytest.mark.system,
    pytest.mark.root,
    pytest.mark.rootless,
    pytest.mark.needs("busybox", "fuse-overlayfs", "newuidmap"),
    pytest.mark.skipif("fuse" not in Path("/proc/filesystems").read_text(), reason="the kernel has no FUSE"),
]

EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}
LINES = """
FROM box
RUN mkdir -p /d/sub /e && touch /d/old /d/sub/f /gone /e/f && chmod 4755 /e/f
RUN rm -r /gone /d/old && rm -r /d/sub && mkdir /d/sub && touch /d/sub/new && mkdir /fresh && mv /e/f /e/g
RUN test ! -e /d/sub/f && test ! -e /gone && test -e /e/g && ln -s nowhere /fresh/l && ln /e/g /fresh/hard
"""


@pytest.fixture
def device(tmp_path: Path) -> Iterator[str]:
    with mounts(tmp_path, {"/dev/fuse": os.makedev(10, 229)}) as namespace:
        yield namespace


@pytest.fixture(params=["rootless_sampan", "ranged_sampan"])
def fused(request: pytest.FixtureRequest, device: str) -> Iterator[Elsewhere]:
    sampan: Sampan = request.getfixturevalue(request.param)
    images.put(sampan, "box")
    there = Elsewhere(sampan, (device,), {"SAMPAN_STORAGE": "fuse-overlayfs", **EPOCH})
    yield there
    there.remove_containers()
    assert await_(lambda: "fuse-overlayfs" not in there.processes())


def test_a_build_comes_out_as_on_overlayfs(fused: Elsewhere, sampan: Sampan) -> None:
    context = fused._user.home / "context"
    context.mkdir(mode=0o755)
    (context / "Dockerfile").write_text(LINES)
    images.put(sampan, "box")
    built = fused("build", "-q", "-t", "built", "--network=none", context).stdout
    assert built == sampan("build", "-q", "--network=none", context, environment=EPOCH).stdout
    assert "\nStorage Driver: fuse-overlayfs\n" in fused("info").stdout
    fused("image", "verify", "built")


def test_the_life_of_a_container(fused: Elsewhere) -> None:
    fused("run", "-d", "--name", "one", "--network=none", "box", "sleep", "1000")
    fused("exec", "one", "sh", "-c", "rm -r /home; mkdir /home; echo new > /home/n; touch /bin/added; rm /etc/group")
    changed = ["C /bin", "A /bin/added", "C /etc", "D /etc/group", "A /home", "A /home/n"]
    shown = [line for line in fused("diff", "one").stdout.splitlines() if not line.startswith(("D /home/", "C /home"))]
    assert shown in (changed, [line for line in changed if line != "A /home"])
    assert "fuse-overlayfs" in fused.processes()
    fused("stop", "-t", "0", "one")
    assert await_(lambda: "fuse-overlayfs" not in fused.processes())
    fused("cp", "one:/home/n", fused._user.home / "copied")
    assert (fused._user.home / "copied").read_text() == "new\n"
    fused("commit", "one", "kept")
    fused("start", "one")
    for words in (("exec", "one"), ("run", "--rm", "--network=none", "kept")):
        script = "cat /home/n; ls -d /bin/added; test ! -e /etc/group"
        assert fused(*words, "sh", "-c", script).stdout == "new\n/bin/added\n"


def test_it_ends_with_the_monitor(fused: Elsewhere) -> None:
    fused("run", "-d", "--name", "one", "--network=none", "box", "sleep", "1000")
    container = state(fused, "one")["Pid"]
    status = Path(f"/proc/{container}/status").read_text()
    monitor = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid:"))
    os.kill(monitor, signal.SIGKILL)
    assert await_(lambda: "fuse-overlayfs" not in fused.processes())


def test_another_user_of_the_image(ranged_sampan: Sampan, device: str) -> None:
    images.put(ranged_sampan, "box", {"etc/passwd": images.PASSWD})
    there = Elsewhere(ranged_sampan, (device,), {"SAMPAN_STORAGE": "fuse-overlayfs"})
    done = there("run", "--rm", "--network=none", "-u", "bob", "box", "sh", "-c", "id -un; cat /etc/passwd | wc -l")
    assert done.stdout == "bob\n2\n"


def test_it_is_tried_where_overlayfs_does_not_work(ranged_sampan: Sampan, device: str) -> None:
    program = (
        "import os, sys; from sampan.linux import namespaces; from sampan.snapshots import fused; "
        "namespaces.enter_user_namespace(); os.makedirs(sys.argv[1] + '/s', exist_ok=True); "
        "print(fused.works(sys.argv[1] + '/s'), os.listdir(sys.argv[1] + '/s'))"
    )
    there = Elsewhere(ranged_sampan, (device,))
    command = there.command()
    words = [*command[: command.index("-m")], "-c", program, str(ranged_sampan.root)]
    said = run(words, check=True, environment={**there._user.environment, "HOME": str(there._user.home)}).stdout
    assert said == "True []\n"


def test_without_the_device_nothing_is_mounted_so(ranged_sampan: Sampan) -> None:
    images.put(ranged_sampan, "box")
    variables = {"SAMPAN_STORAGE": "fuse-overlayfs"}
    done = ranged_sampan("run", "--rm", "--network=none", "box", "true", environment=variables, check=False)
    assert "fuse-overlayfs, by which the store's file systems were mounted, cannot be used" in done.stderr
    assert "hint: install it, and let users have /dev/fuse: chmod 666 /dev/fuse" in done.stderr
