"""``sampan import``: an image of the files in a tar."""

import os
import sys

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from sampan.engine import Engine

COMMAND = Command(
    "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    (
        Flag("-c, --change list", "Apply Dockerfile instruction to the created image"),
        Flag("-m, --message string", "Set commit message for imported image"),
        Flag("--platform string", "Set platform if server is multi-platform capable"),
    ),
    least=1,
    most=2,
    needs_userns=True,
    runs_nothing=True,
    details="The tar holds a file system, as sampan export writes it; it may be compressed (gzip, zstd, bzip2, xz).",
    examples=(("sampan import -c 'CMD [\"sh\"]' rootfs.tar.xz base:1", "With a command to run"),),
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.archives import derive, stored
    from sampan.build.dockerfile.changes import changed
    from sampan.build.state import timestamp
    from sampan.cli.commit import store
    from sampan.errors import SampanError
    from sampan.layers import packed
    from sampan.oci import platform as platforms
    from sampan.oci.config import ContainerConfig, ImageConfig

    source, *rest = arguments.positionals
    reference = stored.parse_tagged(rest[0]) if rest else None
    wanted = arguments.text("platform")
    platform = platforms.parse(wanted) if wanted else platforms.host()
    own = changed(ContainerConfig(), arguments.texts("change"))
    created, engine = timestamp(None), context.engine
    where = "standard input" if source == "-" else source
    comment = arguments.text("message") or f"Imported from {'-' if source == '-' else os.path.basename(source)}"
    config = ImageConfig(platform, own, history=({"created": created, "comment": comment},), created=created)
    with engine.storing():
        try:
            with _opened(source, engine) as file:
                layer = derive.layer_of(packed.inflated(file), engine.blobs)
            image = store(derive.put(config, None, layer, engine.blobs), reference, engine)
        except SampanError as error:
            error.message = f"{where} cannot be imported: {error.message.replace('the layer', 'the archive')}"
            raise
    context.print(image.id)
    return 0


def _opened(source: str, engine: "Engine") -> "AbstractContextManager[BinaryIO]":
    if source == "-":
        if os.isatty(sys.stdin.fileno()):
            raise Invalid("standard input is a terminal", hint="redirect the archive with <")
        return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
    if source.startswith(("http://", "https://")):
        from sampan.build.cancellation import Cancellation
        from sampan.build.download import Downloads
        from sampan.build.remote import Url, parse_context

        url = parse_context(source)
        if not isinstance(url, Url):
            raise Invalid(f"{source} is not the address of a file")
        downloads = Downloads(engine.database, engine.blobs, {}, Cancellation())
        return engine.blobs.open(downloads.fetch(url).digest)
    return open(source, "rb", buffering=0)
