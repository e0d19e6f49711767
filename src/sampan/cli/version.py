"""``sampan version``: what this is, and what it runs on."""

import os
import sys

from sampan import __version__
from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed

COMMAND = Command("[OPTIONS]", (Flag("-f, --format string", "Format the output: json"),))


def main(arguments: Parsed, context: Context) -> int:
    from sampan.cli import output
    from sampan.oci import platform

    facts = {
        "Version": __version__,
        "Python version": sys.version.partition(" ")[0],
        "OS/Arch": str(platform.host()),
        "Kernel version": os.uname().release,
    }
    template = arguments.text("format")
    if template is not None:
        names = {"Python version": "PythonVersion", "OS/Arch": "Platform", "Kernel version": "KernelVersion"}
        value = {"Client": {names.get(key, key): text for key, text in facts.items()}}
        context.print(output.formatted(value, template))
        return 0
    context.print("Client:")
    for key, text in facts.items():
        context.print(f" {key + ':':18}{text}")
    return 0
