"""OCI bundles for tests of the runtime command: a root file system of busybox alone, and a spec of which a test changes
one thing.

    bundle.spec["hostname"] = "other"
    assert bundle.run("hostname").stdout == "other\n"
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from commands import Account
from sampan.runtime import defaults

OURS = (sys.executable, "-c", "from sampan.cli.runtime import run; run()")
RUNC = ("runc",)
_APPLETS = (
    "cat chmod echo env hostname id ionice kill ls mkdir mount nproc ps pwd readlink rm sh sleep stat test touch true "
    "umount uname"
)
Done = subprocess.CompletedProcess[str]


def base_spec() -> dict[str, Any]:
    """What ``sampan runtime spec`` writes, without a terminal and in the words that old runc takes."""
    spec = defaults.base_spec(["true"], ["PATH=/bin"], "/", hostname="bundle")
    spec["ociVersion"] = "1.0.2"
    spec["linux"]["namespaces"] = [each for each in spec["linux"]["namespaces"] if each["type"] != "cgroup"]
    spec["mounts"] = [each for each in spec["mounts"] if each["type"] != "cgroup"]
    spec["linux"]["sysctl"] = {}
    return spec


def as_user(account: Account | None) -> dict[str, Any]:
    """How subprocess starts a program for a user of a test."""
    if not account:
        return {}
    environment = {"PATH": os.environ["PATH"], "HOME": str(account.home), **account.environment}
    who = {"user": account.uid, "group": account.gid, "extra_groups": []} if os.geteuid() == 0 else {}
    return {"env": environment, "cwd": account.home, **who}


class Bundle:
    """One bundle, and a place where the containers made of it are remembered.

    It is an ordinary user's where there is an ``account``: he is root of the container's user namespace.
    """

    def __init__(self, path: Path, account: Account | None = None) -> None:
        self.path = path
        self.account = account
        self.root = path / "rootfs"
        self.state = path / "state"
        self.spec = base_spec()
        (self.root / "bin").mkdir(parents=True)
        busybox = shutil.which("busybox") or ""
        shutil.copy(busybox, self.root / "bin/busybox")
        for name in _APPLETS.split():
            (self.root / "bin" / name).symlink_to("busybox")
        for name in ("proc", "sys", "dev", "tmp", "etc"):
            (self.root / name).mkdir()
        self._count = 0
        if account:
            self.linux["namespaces"].append({"type": "user"})
            for kind, number in (("uidMappings", account.uid), ("gidMappings", account.gid)):
                self.linux[kind] = [{"containerID": 0, "hostID": number, "size": 1}]

    @property
    def linux(self) -> dict[str, Any]:
        linux: dict[str, Any] = self.spec["linux"]
        return linux

    @property
    def process(self) -> dict[str, Any]:
        process: dict[str, Any] = self.spec["process"]
        return process

    def mount(self, destination: str, kind: str, *options: str, source: str | Path = "none", **more: Any) -> None:
        entry = {"destination": destination, "type": kind, "source": str(source), "options": list(options), **more}
        self.spec["mounts"].append(entry)

    def name(self) -> str:
        """The id of a container that there has not been yet."""
        self._count += 1
        return f"test-{os.getpid()}-{self._count}"

    def write(self, *args: str) -> None:
        """Puts down config.json; ``args`` are what is to be executed."""
        if args:
            self.process["args"] = list(args)
        (self.path / "config.json").write_text(json.dumps(self.spec))
        if self.account:
            for path in (self.path, *self.path.rglob("*")):
                os.chown(path, self.account.uid, self.account.gid, follow_symlinks=False)

    def __call__(self, *words: str | Path, program: tuple[str, ...] = OURS, check: bool = True, **options: Any) -> Done:
        """One command of the runtime's."""
        command = [*program, "--root", str(self.state), *map(str, words)]
        # Files, not pipes: a container that stays has them as its own, and nobody would see their end.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            options = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err, **self.identity(), **options}
            code = subprocess.run(command, check=False, timeout=120, **options).returncode
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read())
        assert not check or code == 0, f"{words}: {code}\n{texts}"
        return Done(command, code, *texts)

    @contextmanager
    def started(self, *words: str | Path) -> Iterator["subprocess.Popen[str]"]:
        """A command that goes on beside the test, with a pipe for its output; killed when the block ends."""
        command = [*OURS, "--root", str(self.state), *map(str, words)]
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, **pipes, **self.identity()) as process:
            try:
                yield process
            finally:
                process.kill()

    def identity(self) -> dict[str, Any]:
        """How a program is started as the bundle's user."""
        return as_user(self.account)

    def run(self, *args: str, program: tuple[str, ...] = OURS, check: bool = True, **options: Any) -> Done:
        """Runs a container from its making to its end."""
        self.write(*args)
        return self("run", "--bundle", self.path, self.name(), program=program, check=check, **options)

    def create(self, *args: str) -> str:
        """Makes a container that waits to be started, and gives its id."""
        self.write(*args)
        name = self.name()
        self("create", "--bundle", self.path, name)
        return name

    def status(self, name: str) -> str:
        """What ``state`` says."""
        status: str = json.loads(self("state", name).stdout)["status"]
        return status

    def remove_all(self) -> None:
        """Ends what is left."""
        for name in self("list", "-q").stdout.split():
            self("delete", "--force", name)
