"""RUN by chroot alone, as a root who may make no namespaces: what it has, what it cannot have, and what is left."""

import sys
from pathlib import Path

import pytest

import commands
from builders import BASE, Builder
from residents import await_, processes
from sampan.cli.main import __file__ as main_file

pytestmark = [pytest.mark.system, pytest.mark.root, pytest.mark.needs("busybox")]

CONFINED = f"""
import os, sys
sys.path.insert(0, {str(Path(main_file).parents[2])!r})
from sampan.linux import seccomp, syscalls
names = ["unshare", "setns", "mount", "fsopen", "open_tree", "pivot_root"]
profile = {{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": names, "action": "SCMP_ACT_ERRNO"}}]}}
syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
seccomp.install(seccomp.compile(profile, os.uname().machine))
os.execv(sys.argv[1], sys.argv[1:])
"""


class Confined(commands.Sampan):
    """The command line as root of a container with Docker's defaults runs it."""

    def command(self, *arguments: str | Path) -> list[str]:
        words = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all"]
        return [*words, sys.executable, "-c", CONFINED, *super().command(*arguments)]


@pytest.fixture
def builder(store_root: Path, tmp_path: Path) -> Builder:
    return Builder(Confined(store_root), tmp_path)


def test_what_it_has(builder: Builder) -> None:
    done = builder.build(
        "RUN echo lost > /dev/null; rm -f /dev/null; grep -c localhost /etc/hosts; echo x >> /etc/hosts; id -u; pwd\n"
        "RUN <<EOF\necho from $0\nEOF\n"
        "USER app\nWORKDIR /work\nRUN id -un; echo $HOME; ! touch /denied\n",
        "--isolation=chroot",
    )
    shown = [line.split(" ", 2)[-1] for line in done.stderr.splitlines()]
    for expected in ("2", "0", "/", "from /bin/sh", "app", "/home/app"):
        assert expected in shown, done.stderr
    assert done.stderr.count("WARNING: RUN is not isolated: it is performed as the builder itself, by chroot") == 1
    assert builder.files() == []  # of the last step
    assert builder.leftovers() == []


def test_it_has_fewer_rights_than_its_builder(builder: Builder) -> None:
    done = builder.build("RUN chroot /bin /busybox true; echo $?", "--isolation=chroot")
    assert "chroot: can't change root directory to '/bin': Operation not permitted" in done.stderr


def test_what_it_needed_is_in_no_layer(builder: Builder) -> None:
    builder.build(
        "RUN rm -f /dev/null /etc/resolv.conf; echo x > /etc/hosts; chmod 600 /etc/hosts; touch /kept /dev/kept\n",
        "--isolation=chroot",
    )
    assert builder.files() == ["dev", "dev/kept", "etc", "kept"]  # a file was removed from /etc


def test_what_it_leaves_running_is_ended(builder: Builder) -> None:
    builder.build("RUN sleep 1000 & (sleep 1000 &)", "--isolation=chroot")
    assert await_(lambda: not processes(builder.sampan))


@pytest.mark.parametrize(
    ("line", "lacking"),
    [
        ("RUN --mount=type=secret,id=x true", "--mount=type=secret"),
        ("RUN --mount=type=cache,target=/c true", "--mount=type=cache"),
        ("RUN --mount=target=/c true", "--mount=type=bind"),
        ("RUN --network=none true", "--network=none"),
    ],
)
def test_what_it_cannot_have(builder: Builder, line: str, lacking: str) -> None:
    done = builder.build(line, "--isolation=chroot", check=False)
    assert done.returncode == 1
    assert f"RUN cannot have {lacking} where there are no namespaces" in done.stderr


def test_failure(builder: Builder) -> None:
    done = builder.build("RUN exit 3", "--isolation=chroot", check=False)
    assert "failed with exit code 3" in done.stderr
    done = builder.build('RUN ["nosuch"]', "--isolation=chroot", check=False)
    assert 'exec: "nosuch": executable file not found in $PATH' in done.stderr


def test_it_has_to_be_asked_for(builder: Builder) -> None:
    done = builder.build("", check=False)
    assert done.returncode == 1
    assert "RUN needs namespaces to be isolated in: root has no CAP_SYS_ADMIN, and this machine does not" in done.stderr
    assert done.stderr.rstrip().endswith("; --isolation=chroot performs it without any isolation")
    assert BASE.count("RUN") == 1
    done = builder.build("", "--isolation=hyperv", check=False)
    assert "--isolation hyperv is not supported by build\nhint: default or chroot" in done.stderr
