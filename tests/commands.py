"""The command line as tests run it: in a process of its own, as root or as an ordinary user."""

import functools
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

SOURCE = Path(__file__).parents[1] / "src"
Done = subprocess.CompletedProcess[str]
Inside = Callable[..., tuple[int, str, str]]
"""A command line in the test's own process: its exit code, and what it wrote to both streams."""


class Account(NamedTuple):
    """Who runs a command: ids without a name and without subordinate ids, and a home of their own."""

    uid: int
    gid: int
    home: Path
    environment: Mapping[str, str] = {}

    def run(self, command: Sequence[str | Path], *, check: bool = True, **options: Any) -> Done:
        """Runs a program as this user, in his home and with his environment only; text in, text out."""
        return run(command, check=check, account=self, **options)


class Sampan:
    """The command line with its own store: ``sampan("run", "--rm", IMAGE, "true")``.

    Give ``check=False`` to look at failures; else one fails the test and shows what was said.
    """

    def __init__(self, root: Path, account: Account | None = None) -> None:
        self.root = root
        self.account = account

    def __call__(self, *arguments: str | Path, check: bool = True, **options: Any) -> Done:
        return run(self.command(*arguments), check=check, account=self.account, **options)

    def command(self, *arguments: str | Path) -> list[str]:
        """The whole command, for a test that starts it in its own way."""
        return [sys.executable, "-m", "sampan", "--root", str(self.root), *map(str, arguments)]

    def remove_containers(self) -> None:
        left = self("ps", "-aq", check=False).stdout.split()
        if left:
            self("rm", "-f", *left)


def run(
    command: Sequence[str | Path],
    *,
    check: bool,
    account: Account | None = None,
    environment: Mapping[str, str] = {},
    timeout: float = 120,
    **options: Any,
) -> Done:
    """``subprocess.run`` with text, captured, bounded in time, and with nothing to read unless ``input`` is given."""
    if "input" not in options:
        options.setdefault("stdin", subprocess.DEVNULL)
    env = {**os.environ, **environment}
    if account:
        path = os.environ.get("PATH", os.defpath)
        env = {"PATH": path, "HOME": str(account.home), "LANG": "C.UTF-8", **account.environment, **environment}
        options.setdefault("cwd", account.home)
        if os.geteuid() == 0:
            options |= {"user": account.uid, "group": account.gid, "extra_groups": []}
    words = [str(word) for word in command]
    done: Done = subprocess.run(words, check=False, text=True, capture_output=True, timeout=timeout, env=env, **options)
    if check and done.returncode:
        pytest.fail(f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}", pytrace=False)
    return done


def account(home: Path) -> Account:
    """An ordinary user who can run this Python and import sampan. Skips the test where nobody else can read it."""
    if os.geteuid() != 0:
        return Account(os.getuid(), os.getgid(), home, {"PYTHONPATH": os.environ.get("PYTHONPATH", "")})
    uid = 61_000 + os.getpid() % 1_000
    os.chown(home, uid, uid)
    return _able(Account(uid, uid, home))


def _able(plain: Account) -> Account:
    """The account with what it needs to import sampan."""
    probe = [sys.executable, "-c", "import sampan.cli.main, isal, urllib3, zstandard"]
    if _can(plain, probe):
        return plain
    # The checkout, or the environment, is private: lend him a copy of what the interpreter itself can still use.
    copied = plain._replace(environment={"PYTHONPATH": str(readable_copy())})
    if not _can(copied, probe):
        pytest.skip(f"ordinary users cannot read this Python: {sys.executable}")
    return copied


@contextmanager
def account_with_ranges(home: Path) -> Iterator[Account]:
    """A user with a name and 65536 subordinate ids, as long as the block lasts; newuidmap(1) wants the name.

    Skips the test where nobody else can read this Python.
    """
    name = f"sampan-{os.getpid()}"
    subprocess.run(["useradd", "--no-create-home", "--home-dir", home, name], check=True, capture_output=True)
    try:
        entry = pwd.getpwnam(name)
        os.chown(home, entry.pw_uid, entry.pw_gid)
        yield _able(Account(entry.pw_uid, entry.pw_gid, home))
    finally:
        subprocess.run(["userdel", name], check=True, capture_output=True)


def _can(account: Account, command: Sequence[str]) -> bool:
    try:
        return account.run(command, check=False).returncode == 0
    except PermissionError:
        return False


@functools.cache
def readable_copy() -> Path:
    """sampan and what it imports, where everyone can read it, until this process ends."""
    import atexit
    import compileall

    import isal
    import urllib3
    import zstandard

    directory = Path(tempfile.mkdtemp(prefix="sampan-test-copy-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    directory.chmod(0o755)
    for package in (SOURCE / "sampan", *(Path(module.__file__).parent for module in (isal, urllib3, zstandard))):
        shutil.copytree(package, directory / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(directory, quiet=1)  # as an installer does: he cannot
    return directory


def new_store() -> Path:
    """A directory for a store: in memory where that can be, since disks are slow to take thousands of files."""
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="sampan-test-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        os.setxattr(root, "user.sampan.trial", b"y")
    except OSError:  # memory before Linux 6.6
        root.rmdir()
        root = Path(tempfile.mkdtemp(prefix="sampan-test-"))
    return root


def remove_store(root: Path) -> None:
    """Removes a store, as root of the user namespace that its files belong to. Fails the test if a mount was left."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    left = [line.split()[4] for line in mounts if line.split()[4].startswith(f"{root}/")]
    for mount in reversed(left):
        subprocess.run(["umount", "-l", mount], check=False)
    remove = (
        "import shutil, sys; from sampan.linux.namespaces import enter_user_namespace as enter; enter(); "
        "shutil.rmtree(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", remove, root], check=True)
    if left:
        pytest.fail(f"left mounted: {', '.join(left)}", pytrace=False)
