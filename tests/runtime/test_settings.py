"""What is written to /proc for a container goes to the kernel's own files (CVE-2025-52881)."""

import os
from pathlib import Path

import pytest

from bundles import Bundle
from sampan.linux import beneath, mounts
from sampan.runtime import attributes, mounting, rootfs

pytestmark = [pytest.mark.system, pytest.mark.needs("busybox")]


def test_a_setting_is_written_to_the_kernels_file(anyones_bundle: Bundle) -> None:
    """One that the image has in its place: without procfs it would be taken for the kernel's. Guard: ``mounting._set``
    looks at the file system."""
    bundle = anyones_bundle
    file = bundle.root / "proc/sys/kernel/msgmax"
    file.parent.mkdir(parents=True)
    file.write_text("its own")
    bundle.spec["mounts"] = [each for each in bundle.spec["mounts"] if each["destination"] != "/proc"]
    bundle.linux["maskedPaths"] = bundle.linux["readonlyPaths"] = []
    bundle.linux["sysctl"] = {"kernel.msgmax": "4444"}
    done = bundle.run("true", check=False)
    assert (done.returncode, "is not the kernel's" in done.stderr) == (1, True), done
    assert file.read_text() == "its own"


def test_a_setting_does_not_follow_a_link(tmp_path: Path) -> None:
    """Guard: ``links=False`` in ``mounting._set``."""
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "canary").write_text("canary")
    (tmp_path / "proc/sys/kernel/msgmax").symlink_to("/canary")
    root_fd = beneath.open_root(tmp_path)
    try:
        with pytest.raises(Exception, match="cannot set up /proc/sys/kernel/msgmax"):
            mounting.perform([rootfs.Sysctl("/proc/sys/kernel/msgmax", "1")], root_fd, ())
    finally:
        os.close(root_fd)
    assert (tmp_path / "canary").read_text() == "canary"


@pytest.mark.parametrize("kind", ["apparmorProfile", "selinuxLabel"])
def test_a_label_goes_to_the_kernels_file(kind: str) -> None:
    """It is opened on the host, before an image's /proc is in view. Guard: ``attributes.open_label``."""
    try:
        opened = attributes.open_label({kind: "canary"})
    except OSError as error:
        pytest.skip(f"the kernel has no labels of processes: {error}")
    assert opened
    fd, text = opened
    try:
        assert mounts.filesystem_type(fd) == mounts.PROC_SUPER_MAGIC
        assert text.endswith(b"canary")
    finally:
        os.close(fd)
