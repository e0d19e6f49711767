"""Images that set traps: nothing outside is touched, read or mounted on."""

from pathlib import Path
from typing import Any

import pytest

import images
from commands import Sampan
from inside import RUN, python
from residents import IMAGE, assert_clean
from trees import Directory, Link

pytestmark = [pytest.mark.system]


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_a_link_in_the_place_of_the_kernels_files(anyone: Sampan, outside: Path, name: str) -> None:
    """CVE-2019-19921, CVE-2019-16884: the image's own files would be taken for the kernel's."""
    for target in ("/tmp/x", str(outside), "..", "/data"):
        images.put(anyone, "trap", {name: Link(target)})
        done = anyone(*RUN, "trap", "ls", f"/{name}", check=False)
        assert done.returncode == 125, (target, done)
        assert f"cannot set up /{name} in the container" in done.stderr
    assert_clean(anyone)


@pytest.mark.parametrize(
    "nodes",
    [
        {"dev": "OUTSIDE"},
        {"dev": "/"},
        {"dev": "../../../../../../OUTSIDE"},
        {
            "dev": Directory(),
            "dev/null": "/proc/sys/kernel/core_pattern",
            "dev/pts": "OUTSIDE",
            "dev/console": "OUTSIDE",
        },
        {"dev": Directory(), "dev/shm": "OUTSIDE", "dev/mqueue": "OUTSIDE"},
        {"etc/hosts": "OUTSIDE/canary", "etc/resolv.conf": "OUTSIDE/new", "etc/hostname": "/proc/1/environ"},
        {"etc/hosts": Directory(), "etc/resolv.conf": Directory()},
        {"etc/hosts": "hosts", "etc/resolv.conf": "/dev/full"},
        {"etc/passwd": "OUTSIDE/canary", "etc/group": "OUTSIDE/canary"},
    ],
)
@pytest.mark.parametrize("terminal", [(), ("-t",)])
def test_links_where_something_is_mounted(
    anyone: Sampan, outside: Path, nodes: dict[str, Any], terminal: tuple[str, ...]
) -> None:
    """CVE-2026-41579, CVE-2025-31133, CVE-2025-52565 and their kin: nothing outside is touched, read or mounted on."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text()
    trap = {
        name: Link(node.replace("OUTSIDE", str(outside)).replace("..//", "../")) if isinstance(node, str) else node
        for name, node in {**nodes, "way": "OUTSIDE"}.items()
    }
    images.put(anyone, "trap", trap)
    script = (
        "echo x > /dev/null; echo x > /proc/sys/kernel/core_pattern; cat /proc/timer_list /proc/keys; "
        "cat /etc/hosts /etc/passwd; ls /dev /dev/pts; echo done"
    )
    made = ("-v", "vol:/way/made", "--tmpfs", "/way/deep/ram", "-v", "/dev/null:/way/file", "-w", "/way/work")
    done = anyone(*RUN, *terminal, *made, "trap", "sh", "-c", script, check=False)
    assert done.returncode in (0, 125), done
    assert "canary" not in done.stdout + done.stderr
    if done.returncode == 0:
        assert "done" in done.stdout
    else:
        assert done.stderr.count("\n") <= 2
    assert Path("/proc/sys/kernel/core_pattern").read_text() == pattern
    assert str(outside) not in Path("/proc/self/mountinfo").read_text()


def test_volumes_of_an_image_stay_away_from_the_kernel(anyone: Sampan) -> None:
    """CVE-2019-16884 and runc's kin: an image's volume over /proc."""
    for volume in ("/proc", "/proc/self", "/tmp/../proc", "//proc/", "/"):
        images.put(anyone, "trap", {}, {"Volumes": {volume: {}}})
        done = anyone(*RUN, "trap", "true", check=False)
        assert done.returncode == 125, volume
        assert "cannot be a volume" in done.stderr
    assert_clean(anyone)


def test_no_volume_gets_there_by_a_link(anyone: Sampan, outside: Path) -> None:
    images.put(anyone, "trap", {"way": Link("/proc"), "deep": Directory(), "deep/way": Link("../way/self")})
    images.put(anyone, "trap2", {"way": Link("/proc")}, {"Volumes": {"/way": {}}})
    for options in (
        ("-v", "vol:/way", "trap"),
        ("-v", f"{outside}:/way/1/attr", "trap"),
        ("-v", "vol:/deep/way", "trap"),
        ("trap2",),
    ):
        for network in ("none", "host"):
            done = anyone("run", "--rm", "--network", network, *options, "true", check=False)
            assert done.returncode == 125, (options, network)
            assert "leads into the container's /proc" in done.stderr


def test_volumes_of_an_image_copy_nothing_of_the_host(anyone: Sampan, outside: Path) -> None:
    """containerd's CVE-2022-23648: a volume's path leads out, and the host's directory is copied into it."""
    climbing = {"Volumes": {f"/../../../..{outside}": {}, "/../../etc": {}, "/way": {}}}
    images.put(anyone, "trap", {"way": Link(str(outside))}, climbing)
    done = anyone(*RUN, "trap", "sh", "-c", f"cat /etc/passwd; ls {outside} /way", check=False)
    assert "canary" not in done.stdout
    if done.returncode == 0:
        assert done.stdout.startswith(images.PASSWD)


def test_variables_without_a_value_draw_none_from_the_host(anyone: Sampan) -> None:
    """podman's CVE-2026-57231."""
    images.put(anyone, "trap", {}, {"Env": ["PATH=/bin", "AWS_SECRET_ACCESS_KEY", "*", "AWS_*", "=x", "", "OK=1"]})
    secret = {"AWS_SECRET_ACCESS_KEY": "c4nary", "AWS_OTHER": "c4nary"}
    done = anyone(*RUN, "trap", "env", environment=secret)
    assert "c4nary" not in done.stdout
    assert "OK=1" in done.stdout.splitlines()
    assert "c4nary" not in anyone(*RUN, "-i", "trap", "cat", "/proc/1/environ", environment=secret).stdout


@pytest.mark.parametrize(
    ("user", "sentence"),
    [
        ("4294967296", "a user id is a number from 0 to 2147483647"),
        ("4294967295", "a user id is a number from 0 to 2147483647"),
        ("2147483648", "a user id is a number from 0 to 2147483647"),
        ("-1", "a user id is a number from 0 to 2147483647"),
        ("0:4294967296", "a group id is a number from 0 to 2147483647"),
        ("0:-1", "a group id is a number from 0 to 2147483647"),
        ("0x1", "unable to find user 0x1"),
        ("+0", "unable to find user +0"),
        (" 0", "unable to find user"),
        ("1e0", "unable to find user 1e0"),
        ("٠", "unable to find user"),
        ("bob:0x1", "unable to find group 0x1"),
        ("bob:staff:root", "unable to find group staff:root"),
    ],
)
def test_users_that_are_none(anyone: Sampan, user: str, sentence: str) -> None:
    """CVE-2024-40635, CVE-2026-30892: a number that wraps around, or is read by half, would be root's."""
    images.put(anyone, "trap", {}, {"User": user})
    anyone("run", "-d", "--network", "none", "--name", "hull", IMAGE, "sleep", "1000")
    for command, code in (
        ((*RUN, "-u", user, IMAGE), 125), ((*RUN, "trap"), 125), (("exec", "-u", user, "hull"), 1),
    ):  # fmt: skip
        done = anyone(*command, "id", check=False)
        assert (done.returncode, done.stdout) == (code, ""), command
        assert sentence in done.stderr


@pytest.mark.parametrize(
    ("user", "expected"),
    [("1000:", "1000 1001 [50, 60, 1001]"), (":5", "0 5 [5]"), ("01000", "1000 1001 [50, 60, 1001]")],
)
def test_users_that_are_odd(root: Sampan, user: str, expected: str) -> None:
    script = "print(json.dumps(f'{os.getuid()} {os.getgid()} {sorted(os.getgroups())}'))"
    assert python(root, script, "-u", user) == expected


def test_a_number_is_no_name(root: Sampan) -> None:
    """CVE-2026-46680: the image's passwd has a user whose name is a number."""
    images.put(root, "trap", {"etc/passwd": "root:x:0:0::/:/bin/sh\n1000:x:0:0::/:/bin/sh\n4294967296:x:0:0::/:\n"})
    assert root(*RUN, "-u", "1000", "trap", "id", "-u").stdout == "1000\n"
    assert root(*RUN, "-u", "4294967296", "trap", "id", "-u", check=False).returncode == 125


@pytest.mark.parametrize(
    "file", [images.Fifo(), Directory(), Link("/dev/zero"), Link("passwd"), pytest.param("x" * (2 << 20), id="large")]
)
def test_odd_files_in_the_place_of_passwd(anyone: Sampan, file: Any) -> None:
    """podman's CVE-2024-9676: the engine neither waits for ever, nor reads without end, nor leaves the image."""
    images.put(anyone, "trap", {"etc/passwd": file})
    done = anyone(*RUN, "-u", "bob", "trap", "id", check=False, timeout=60)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("sampan: ")
