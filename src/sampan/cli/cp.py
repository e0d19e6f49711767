"""``sampan cp``: copy files between a container and the host."""

import os
import sys

from sampan.cli import output
from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Denied, Invalid, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.containers.copy import Place

COMMAND = Command(
    "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n        sampan cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    (
        Flag("-a, --archive", "Archive mode (copy all uid/gid information)"),
        Flag("-L, --follow-link", "Always follow symbol link in SRC_PATH"),
        Flag("-q, --quiet", "Say nothing about what was copied"),
    ),
    least=2,
    most=2,
    examples=(
        ("sampan cp web:/var/log/app.log .", "A file out of a container, running or not"),
        ("sampan cp settings.toml web:/etc/app/", "A file into one"),
        ("sampan cp web:/data - > data.tar", "A directory as an archive"),
    ),
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.containers import copy, filesystem

    (source_name, source_path), (target_name, target_path) = map(_split, arguments.positionals)
    if bool(source_name) == bool(target_name):
        if source_name:
            raise Unsupported("copying between containers is not supported", hint="copy to the host first")
        raise Invalid("must specify at least one container source", hint="CONTAINER:PATH is a path in a container")
    stores = context.engine.containers
    container = stores.containers.find(source_name or target_name)
    # Both before the container's namespaces are entered: relative paths and descriptors are the caller's.
    host = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    here = os.getcwd()
    root = filesystem.open_root(container, stores)
    follow = arguments.on("follow-link")
    if source_name:
        source = _inside(root, source_path, source_name)
        entries = copy.read(source, follow=follow)
        if target_path == "-":
            _refuse_terminal(sys.stdout.fileno())
            copy.archive(entries, source, sys.stdout.buffer.write)
            return 0
        target = _outside(host, target_path, here)
        owner = None if arguments.on("archive") else (os.getuid(), os.getgid())
    else:
        target = _inside(root, target_path, target_name)
        if source_path == "-":
            _unpack(target)
            return 0
        source = _outside(host, source_path, here)
        entries = copy.read(source, follow=follow)
        owner = None if arguments.on("archive") else (0, 0)
    try:
        total = copy.write(entries, source, target, owner=owner)
    except PermissionError:
        raise Denied(f"{source.shown} cannot be copied to {target.shown}: permission denied") from None
    context.note(f"Successfully copied {output.size(total)} to {target.shown}")
    return 0


def _split(text: str) -> tuple[str, str]:
    """A container and a path in it; "" for the host."""
    name, colon, path = text.partition(":")
    if not colon or text.startswith(("/", ".")):
        return "", text
    return name, path


def _inside(root: int, path: str, name: str) -> "Place":
    from sampan.containers.copy import Place

    return Place(root, os.fsencode(path if path.startswith("/") else f"/{path}"), f"{name}:{path}")


def _outside(host: int, path: str, here: str) -> "Place":
    from sampan.containers.copy import Place

    return Place(host, os.fsencode(path if path.startswith("/") else f"{here}/{path}"), path)


def _unpack(target: "Place") -> None:
    from sampan.containers import copy
    from sampan.errors import SampanError
    from sampan.layers import tarball
    from sampan.layers.packed import inflated

    _refuse_terminal(sys.stdin.fileno())
    try:
        copy.unpack(tarball.read(inflated(sys.stdin.buffer)), target)
    except SampanError as error:
        error.message = error.message.replace("the layer", "the archive")
        raise


def _refuse_terminal(fd: int) -> None:
    if os.isatty(fd):
        raise Invalid("an archive cannot go from or to a terminal", hint="use a pipe or a file")
