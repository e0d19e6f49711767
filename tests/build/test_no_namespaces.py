"""The last rung of the privilege ladder: builds where nobody may make namespaces, as in another container."""

import os
import sys
from pathlib import Path

import pytest

import commands
import trees
from sampan.cli.main import __file__ as main_file

pytestmark = pytest.mark.system
EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}
CONFINED = f"""
import os, sys
sys.path.insert(0, {str(Path(main_file).parents[2])!r})
from sampan.linux import seccomp, syscalls
refused = {{"names": ["unshare", "setns", "mount", "fsopen", "chroot"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}}
syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
profile = {{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refused]}}
seccomp.install(seccomp.compile(profile, os.uname().machine))
os.execv(sys.argv[1], sys.argv[1:])
"""
DOCKERFILE = """
FROM scratch AS base
COPY --chown=1000:1001 tree /tree
COPY --chmod=4755 tree/f /tree/tool
ADD tree /added
ENV A=b
WORKDIR /work/here
FROM base
COPY --from=base --chown=7:8 /tree /again
"""


@pytest.fixture
def context(ordinary_user: commands.Account) -> Path:
    directory = ordinary_user.home / "context"
    trees.make(directory, {"tree/f": "one", "tree/d/g": "two", "tree/d/l": trees.Link("g")})
    (directory / "Dockerfile").write_text(DOCKERFILE)
    for path in (directory, *directory.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o055)
    return directory


def confined(sampan: commands.Sampan, *arguments: str | Path, check: bool = True) -> commands.Done:
    assert sampan.account
    command = [sys.executable, "-c", CONFINED, *map(str, sampan.command(*arguments))]
    return commands.run(command, account=sampan.account, environment=EPOCH, check=check)


def test_a_build_without_run_comes_out_as_root_s(
    sampan: commands.Sampan, rootless_sampan: commands.Sampan, context: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to compare with")
    expected = sampan("build", "-q", "-t", "built", context, environment=EPOCH).stdout
    assert confined(rootless_sampan, "build", "-q", "-t", "built", context).stdout == expected


def test_run_says_which_right_is_missing(rootless_sampan: commands.Sampan, context: Path) -> None:
    (context / "Dockerfile").write_text('FROM scratch\nCOPY tree /\nRUN ["/f"]\n')
    done = confined(rootless_sampan, "build", context, check=False)
    assert done.returncode == 1
    assert "RUN needs namespaces to be isolated in: this machine does not let users make user namespaces" in done.stderr
    assert "\nhint: a seccomp filter forbids it" in done.stderr


def test_what_runs_something_is_refused(rootless_sampan: commands.Sampan, context: Path) -> None:
    confined(rootless_sampan, "build", "-t", "built", context)
    rootless_sampan("create", "--name", "made", "built", "true")
    for verb, *words in (("run", "built", "true"), ("start", "made")):
        done = confined(rootless_sampan, verb, *words, check=False)
        assert done.returncode == (125 if verb == "run" else 1)
        why, way = done.stderr.splitlines()
        assert why.startswith(f"sampan: {verb} needs namespaces, and this machine does not let users make user names")
        assert way.startswith("hint: a seccomp filter forbids it, ")
        assert way.endswith("; images can be pulled, pushed, saved, and built as far as no RUN is performed")
    assert confined(rootless_sampan, "exec", "made", "true", check=False).returncode == 1
    confined(rootless_sampan, "diff", "made")
    confined(rootless_sampan, "rm", "made")
    saved = context.parent / "saved.tar"
    confined(rootless_sampan, "save", "-o", saved, "built")
    confined(rootless_sampan, "rmi", "built")
    confined(rootless_sampan, "load", "-i", saved)


def test_info_names_the_rung(rootless_sampan: commands.Sampan) -> None:
    said = confined(rootless_sampan, "info").stdout
    assert "\n Rung: no namespaces: for builds only, and nothing is isolated (RUN: by root, " in said
    assert "\n For more: a seccomp filter forbids it" in said


FORBIDDEN = """
import os, sys
from sampan.linux.namespaces import enter_user_namespace
enter_user_namespace()
with open("/proc/sys/user/max_user_namespaces", "w") as file:
    file.write("0")
os.setgroups([])
os.setresgid(1234, 1234, 1234)
os.setresuid(1234, 1234, 1234)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.root
def test_a_setting_that_forbids_is_named(sampan: commands.Sampan) -> None:
    """In a user namespace of the test's own, for the machine's others are not to be forbidden any."""
    sampan.root.chmod(0o777)
    confine = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all", sys.executable, "-c", FORBIDDEN]
    environment = {"PYTHONPATH": str(commands.readable_copy())}
    said = commands.run([*confine, *sampan.command("info")], check=True, environment=environment).stdout
    assert "\nRootless: yes: run by user 1234; this machine does not let users make user namespaces: there are" in said
    assert "\n For more: the setting user.max_user_namespaces is 0: an administrator can change it with sysctl" in said
    done = commands.run([*confine, *sampan.command("run", "box")], check=False, environment=environment)
    assert done.returncode == 125
    assert "hint: the setting user.max_user_namespaces is 0: an administrator can change it with sysctl" in done.stderr


APPARMOR = """
import sys
sys.path.insert(0, sys.argv[1])
from sampan.linux import namespaces, seccomp, syscalls
namespaces.APPARMOR = sys.argv[2]
syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
names = ["mount"] if sys.argv[3] == "powerless" else ["acct"]
profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": names, "action": "SCMP_ACT_ERRNO"}]}
import os
seccomp.install(seccomp.compile(profile, os.uname().machine))
from sampan.cli.main import main
sys.exit(main(sys.argv[4:]))
"""


@pytest.mark.parametrize("powers", ["powerless", "powerful"])
def test_namespaces_in_which_nothing_is_allowed_are_none(rootless_sampan: commands.Sampan, powers: str) -> None:
    """As Ubuntu 24.04 makes them; a filter takes the part of AppArmor, which not every kernel has."""
    account = rootless_sampan.account
    assert account
    setting = account.home / "restrict"
    setting.write_text("1\n")
    setting.chmod(0o644)
    words = [sys.executable, "-c", APPARMOR, str(Path(main_file).parents[2]), setting, powers]
    words += ["--root", rootless_sampan.root]
    said = commands.run([*words, "info"], check=True, account=account).stdout
    assert ("Rung: no namespaces" in said) == (powers == "powerless")
    done = commands.run([*words, "run", "box"], check=False, account=account)
    refusal = "this machine does not let users make user namespaces: AppArmor allows nothing in them"
    assert (refusal in done.stderr) == (powers == "powerless")
