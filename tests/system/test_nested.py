"""sampan inside a container, as in a CI job: on which rung it stands there, what goes, and what is said of the rest."""

import re
from typing import NamedTuple

import pytest

import commands
import images
from commands import Sampan

pytestmark = [pytest.mark.system, pytest.mark.needs("busybox")]

PYTHON = "localhost/python:host"
UNFILTERED = ("--security-opt", "seccomp=unconfined")
UNMASKED = ("--security-opt", "systempaths=unconfined")
LINES = """
FROM box
COPY --chown=5:6 Dockerfile /copied
RUN mkdir /d && touch /d/f /d/g && chown 7:8 /d/f
RUN rm /d/g /copied && chmod 700 /bin
RUN test ! -e /d/g && test ! -e /copied && test -e /d/f && rm -r /d && mkdir /e
"""
SCRIPT = """
sampan() { python3 -m sampan "$@"; }
cd /context
sampan info -f '{{.Rung}}'
sampan load -q -i /box.tar > /dev/null && grep -v RUN Dockerfile | sampan build -q -f - . > /dev/null && echo built
sampan build -q --network none .
printf 'chroot '; sampan build -q --no-cache --isolation chroot . || echo
sampan run --rm --network none box echo ran
sampan run --rm --network host --pid host box echo ran
sampan run -d --name one --network host --pid host box sleep 100 > /dev/null && sampan exec one echo executed
sampan rm -f one
"""


class Inside(NamedTuple):
    """What a shell says that has sampan; ``built`` is the id of an image that was built outside of the same lines."""

    stdout: str
    stderr: str
    built: str


def inside(sampan: Sampan, *options: str) -> Inside:
    """Performs the script in a container with these options, with a store on the container's own file system."""
    images.put(sampan, "box")
    sampan("base", "host", "-q", "-t", PYTHON)
    archive, context = sampan.root / "box.tar", sampan.root / "context"
    sampan("save", "-o", archive, "box")
    archive.chmod(0o644)
    context.mkdir()
    (context / "Dockerfile").write_text(LINES)
    for path in (context, context / "Dockerfile"):
        path.chmod(path.stat().st_mode | 0o055)
    epoch = {"SOURCE_DATE_EPOCH": "1700000000"}
    built = sampan("build", "-q", "--network", "none", context, environment=epoch).stdout
    volumes = (f"{commands.readable_copy()}:/lib/sampan:ro", f"{archive}:/box.tar:ro", f"{context}:/context:ro")
    given = [word for volume in volumes for word in ("-v", volume)]
    variables = {"PYTHONPATH": "/lib/sampan", "HOME": "/tmp/home", **epoch}
    given += [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]
    done = sampan("run", "--rm", "--network", "none", *given, *options, PYTHON, "sh", "-c", SCRIPT, timeout=300)
    return Inside(done.stdout, done.stderr, built)


@pytest.mark.parametrize("user", ["0", "1000"])
def test_with_the_defaults_it_builds_without_isolation(root: Sampan, user: str) -> None:
    done = inside(root, "-u", user)
    chroot = done.built if user == "0" else "\n"
    assert done.stdout == f"no namespaces\nbuilt\nchroot {chroot}"
    warning = "WARNING: RUN is not isolated: it is performed as the builder itself, by chroot (--isolation=chroot)\n"
    refusal = "RUN can be performed neither in namespaces nor by chroot, which only root may use\n"
    assert (warning in done.stderr, refusal in done.stderr) == (user == "0", user != "0")
    assert "RUN needs namespaces to be isolated in: " in done.stderr
    assert "sampan: run needs namespaces, and this machine does not let users make user namespaces" in done.stderr
    assert "hint: a seccomp filter forbids it, as that of a container does: --security-opt seccomp=unc" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr


def test_without_the_filter_it_shares_the_processes(root: Sampan) -> None:
    done = inside(root, *UNFILTERED)
    assert done.stdout == f"many ids\nbuilt\nchroot {done.built}ran\nexecuted\none\n"
    assert "WARNING: RUN is not isolated: it shares the builder's processes and network (--isolation=chr" in done.stderr
    assert done.stderr.count("hint: a container in which parts of /proc and /sys are hidden may not have new ones") == 2


@pytest.mark.parametrize(("user", "rung"), [("0", "many ids"), ("1000", "one id")])
def test_with_nothing_hidden_all_of_it_goes(root: Sampan, user: str, rung: str) -> None:
    done = inside(root, "-u", user, *UNFILTERED, *UNMASKED)
    assert done.stdout == f"{rung}\nbuilt\n{done.built}chroot {done.built}ran\nran\nexecuted\none\n"


def test_in_an_ordinary_user_s_container_too(ordinary: Sampan) -> None:
    done = inside(ordinary, *UNFILTERED, *UNMASKED)
    assert "WARNING: owners that RUN gives to files are lost here" in done.stderr
    assert (
        re.sub(r"sha256:\w+\n", done.built, done.stdout)
        == f"one id\nbuilt\n{done.built}chroot {done.built}ran\nran\nexecuted\none\n"
    )


def test_in_a_privileged_container(root: Sampan) -> None:
    done = inside(root, "--privileged")
    assert done.stdout == f"root\nbuilt\n{done.built}chroot {done.built}ran\nran\nexecuted\none\n"


def test_docker_s_filter_is_in_the_way_of_a_root_with_more_rights(root: Sampan) -> None:
    done = inside(root, "--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN")
    assert done.stdout == f"no namespaces\nbuilt\nchroot {done.built}"
    assert "the system call pivot_root is forbidden here" in done.stderr
    assert "PermissionError" not in done.stderr


def test_a_root_that_may_be_nobody_else(root: Sampan) -> None:
    """What it made of itself could not be undone: it has to find out before."""
    done = inside(root, *UNFILTERED, "--cap-drop", "ALL")
    assert done.stdout == "no namespaces\nbuilt\nchroot \n"
    assert "root may not map its ids into a user namespace here" in done.stderr
    assert "hint: it takes CAP_SETUID, CAP_SETGID and CAP_SETFCAP, or CAP_SYS_ADMIN; " in done.stderr
