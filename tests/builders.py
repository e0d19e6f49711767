"""Builds on a busybox, for tests that look at what RUN does."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import commands
import trees

BUSYBOX = "/bin/busybox"
BASE = """
FROM scratch AS base
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
COPY etc /etc
FROM base
"""
ETC: dict[str, trees.Node] = {
    "etc/passwd": "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n",
    "etc/group": "root:x:0:\napp:x:1001:\naudio:x:29:app\n",
}


class Builder:
    """Builds on a busybox with ``sampan build`` and looks at what comes out."""

    def __init__(self, sampan: commands.Sampan, context: Path) -> None:
        self.sampan = sampan
        self.context = context
        shutil.copy(BUSYBOX, context / "busybox")
        trees.make(context, ETC)

    def build(
        self, lines: str, *options: str, check: bool = True, base: str = BASE
    ) -> "subprocess.CompletedProcess[str]":
        (self.context / "Dockerfile").write_text(base + lines)
        return self.sampan("build", "-t", "built", "--progress", "plain", *options, self.context, check=check)

    def failure(self, lines: str, *options: str) -> str:
        """What a build says that has to fail, and to leave nothing behind."""
        done = self.build(lines, *options, check=False)
        assert done.returncode == 1
        assert self.leftovers() == []
        return done.stderr

    def image(self, name: str = "built") -> dict[str, object]:
        inspected: dict[str, object] = json.loads(self.sampan("inspect", name).stdout)[0]
        return inspected

    def layer(self) -> Path:
        """The directory of the top layer."""
        from sampan.engine import open_engine

        with open_engine(str(self.sampan.root)) as engine:
            chain = engine.images.find("built").chain
            return Path(engine.snapshots.stack(chain)[0])

    def files(self) -> list[str]:
        return list(trees.describe(self.layer()))

    def leftovers(self) -> list[str]:
        """Snapshots that were being written, and temporary directories."""
        from sampan.engine import open_engine

        with open_engine(str(self.sampan.root)) as engine:
            keys = [key for (key,) in engine.database.execute("SELECT key FROM snapshot WHERE key IS NOT NULL")]
            return keys + (os.listdir(engine.paths.temporary) if os.path.isdir(engine.paths.temporary) else [])


system = [pytest.mark.system, pytest.mark.root, pytest.mark.needs("busybox")]


def as_system(test: Callable[..., None]) -> Callable[..., None]:
    for mark in system:
        test = mark(test)
    return test
