"""``sampan save``: images as one archive."""

import os
import sys

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Invalid, unwritten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from sampan.layers.window import Data, Sink

COMMAND = Command(
    "[OPTIONS] IMAGE [IMAGE...]",
    (
        Flag("-o, --output string", "Write to a file, instead of STDOUT"),
        Flag("--platform string", "Save only the given platform"),
    ),
    least=1,
    most=None,
    details="The archive is an OCI image layout and has docker's manifest.json too: docker load, podman load and "
    "skopeo (docker-archive: and oci-archive:) take it. Equal images give equal archives.",
    examples=(
        ("sampan save -o app.tar app:1.0 db:1.0", "Two images with what they share only once"),
        ("sampan save app | zstd | ssh host sampan load", "To another machine"),
    ),
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.archives import stored
    from sampan.archives.write import write
    from sampan.oci import platform as platforms
    from sampan.store.leases import lease

    engine, wanted = context.engine, arguments.text("platform")
    platform = platforms.parse(wanted) if wanted else None
    with lease(engine.paths):
        offers = stored.offers(arguments.positionals, engine.images, engine.blobs, platform)
        with output(arguments.text("output")) as sink:
            write(offers, engine.blobs, sink)
    return 0


def output(path: str | None) -> "AbstractContextManager[Sink]":
    """Where an archive is written to: a file, which is there only when it is complete, or standard output (None, -).

    Raises Invalid when that is a terminal.
    """
    from contextlib import contextmanager

    @contextmanager
    def opened() -> "Iterator[Sink]":
        if path is None or path == "-":
            if os.isatty(sys.stdout.fileno()):
                raise Invalid("an archive is not written to a terminal", hint="use -o FILE, or redirect the output")
            sys.stdout.flush()
            yield _writer(sys.stdout.fileno())
            return
        if os.path.exists(path) and not os.path.isfile(path):
            if os.path.isdir(path):
                raise Invalid(f"{path} is a directory", hint="name a file to write to")
            with open(path, "wb", buffering=0) as file:  # a device or a pipe
                yield _writer(file.fileno())
            return
        aside = f"{path}.{os.getpid()}.part"
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            yield _writer(fd)
            os.rename(aside, path)
        except BaseException:
            os.unlink(aside)
            raise
        finally:
            os.close(fd)

    return opened()


def _writer(fd: int) -> "Sink":
    def write(data: "Data") -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(fd, left) :]
            except OSError as error:
                if fd != sys.stdout.fileno() or isinstance(error, BrokenPipeError):
                    raise
                raise unwritten("standard output", error) from None

    return write
