"""Where cases take place: the engines, the registries, and the images and projects that they work on."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench import contents
from bench.engines import Engine, program
from bench.errors import BenchError, CaseFailed
from bench.processes import Processes
from bench.servers import Daemon, Registry

TINY, LARGE = "bench/tiny", "bench/large"
CONTAINER = "bench"
LAYERS = 3
"""Of the large image: the tiny one's and two of its own."""


class Site:
    """Makes what cases need when one asks for it first. Everything lies below ``memory``."""

    def __init__(
        self, memory: Path, processes: Processes, size: contents.Size, source: Registry, target: Registry
    ) -> None:
        self.memory, self.processes, self.size = memory, processes, size
        self.source, self.target = source, target
        self.daemon: Daemon | None = None
        self._stock = contents.stock()
        self._workshop: Engine | None = None
        self._running: set[str] = set()

    @property
    def tiny(self) -> str:
        """The name of the image with a shell and core tools."""
        return f"{self.source.address}/{TINY}:1"

    @property
    def large(self) -> str:
        """The name of the large image, as it is pulled."""
        return f"{self.source.address}/{LARGE}:1"

    @property
    def outgoing(self) -> str:
        """The name of the large image, as it is pushed."""
        return f"{self.target.address}/{LARGE}:1"

    def furnish(self, workshop: Engine) -> None:
        """Builds the tiny image with ``workshop`` and offers it in the registry."""
        busybox = program("busybox")
        if busybox is None:
            raise BenchError("busybox is not installed (on Debian: apt install busybox-static)")
        self._workshop = workshop
        context = self.memory / "tiny"
        contents.write_tiny(context, busybox)
        self._offer(self.tiny, context)

    def large_context(self) -> Path:
        """The directory that the large image is built from."""
        context = self.memory / "large"
        if not context.exists():
            contents.write_large(context, self.tiny, self.size, self._stock)
        return context

    def project(self) -> Path:
        """A project of 2,000 files with a Dockerfile."""
        context = self.memory / "project"
        if not context.exists():
            contents.write_project(context, self.tiny, self._stock)
        return context

    def many_files(self) -> Path:
        """The context with 20,000 files."""
        context = self.memory / "many"
        if not context.exists():
            contents.write_many(context, self.tiny, self._stock)
        return context

    def stages(self) -> Path:
        """The context with ten stages."""
        context = self.memory / "stages"
        if not context.exists():
            contents.write_stages(context, self.tiny)
        return context

    def large_file(self) -> Path:
        """The context with a file of 2 GB."""
        context = self.memory / "file"
        if not context.exists():
            contents.write_file(context, self.tiny, self._stock)
        return context

    def many_images(self, count: int) -> Path:
        """An archive of so many small images."""
        archive = self.memory / f"images-{count}.tar"
        if not archive.exists():
            contents.write_images(archive, count)
        return archive

    def bundle(self) -> Path:
        """The tiny image as a runtime bundle, for ``true`` without a network."""
        bundle = self.memory / "bundle"
        if not bundle.exists():
            shutil.copytree(self.memory / "tiny", bundle / "rootfs", symlinks=True)
            subprocess.run([program("crun") or "crun", "spec"], cwd=bundle, check=True, capture_output=True)
            config = json.loads((bundle / "config.json").read_text())
            config["process"] |= {"terminal": False, "args": ["/bin/true"]}
            (bundle / "config.json").write_text(json.dumps(config))
        return bundle

    def offer_large(self) -> None:
        """Sees to it that the large image can be pulled."""
        try:
            self.source.check_image(LARGE, "1", LAYERS)
        except CaseFailed:
            self._offer(self.large, self.large_context())

    def _offer(self, name: str, context: Path) -> None:
        assert self._workshop
        for words in (("build", "-q", "-t", name, str(context)), ("push", "-q", name)):
            self.do(self._workshop, *words)

    def do(self, engine: Engine, *words: str) -> str:
        """A command that is not measured. Raises CaseFailed if it fails."""
        outcome = self.processes.check(engine.words(*words), engine.environment)
        self.processes.settle()
        return outcome.output

    def has(self, engine: Engine, image: str) -> bool:
        """Whether an engine's own store has an image of that name."""
        outcome = self.processes.run(engine.words("inspect", "--type", "image", image), engine.environment)
        return outcome.code == 0

    def pull(self, engine: Engine, image: str) -> None:
        """Sees to it that an engine has an image."""
        if image == self.large:
            self.offer_large()
        if not self.has(engine, image):
            self.do(engine, "pull", "-q", image)

    def forget(self, engine: Engine, *images: str) -> None:
        """Sees to it that an engine has none of these images."""
        for image in images:
            if self.has(engine, image):
                self.do(engine, "rmi", "-f", image)
            if self.has(engine, image):
                raise CaseFailed(f"{engine.name} still has {image} after rmi")

    def run_container(self, engine: Engine) -> None:
        """Sees to it that one container of an engine is running, which sleeps."""
        if engine.name not in self._running:
            self.start_container(engine, CONTAINER)
            self._running.add(engine.name)

    def start_container(self, engine: Engine, name: str) -> set[int]:
        """Starts a container that sleeps. Gives the processes that run because of it, its own among them."""
        self.pull(engine, self.tiny)
        options = ("-d", "--name", name, "--network=none", *engine.run_flags)
        self.processes.check(engine.words("run", *options, self.tiny, "sleep", "3600"), engine.environment)
        return self.processes.keep()

    def servers(self, engine: Engine) -> Sequence[int]:
        """The processes that work for an engine all the time."""
        if engine.name != "docker" or not self.daemon:
            return ()
        return sorted(self.processes.descendants(self.daemon.pid))
