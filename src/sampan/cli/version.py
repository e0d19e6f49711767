"""``sampan version``: what this is, and what it runs on."""

import os
import sys

from sampan import __version__
from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed

COMMAND = Command(
    "[OPTIONS]", (Flag("-f, --format string", "Format output using a Go template: 'json' or 'TEMPLATE'"),)
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.oci import platform

    host = platform.host()
    template = arguments.text("format")
    if template is not None:
        from sampan.cli import listing

        facts = {
            "Version": __version__,
            "Os": host.os,
            "Arch": host.architecture,
            "KernelVersion": os.uname().release,
            "PythonVersion": sys.version.partition(" ")[0],
            "Platform": {"Name": "sampan"},
        }
        # There is no daemon: what scripts ask of the server is true of this very program.
        context.print(listing.one({"Client": facts, "Server": facts}, template))
        return 0
    context.print("Client:")
    for title, text in (
        ("Version", __version__),
        ("Python version", sys.version.partition(" ")[0]),
        ("OS/Arch", str(host)),
        ("Kernel version", os.uname().release),
    ):
        context.print(f" {title + ':':18}{text}")
    return 0
