"""Scripts for the host's own Python inside containers, where it is mounted read-only beside the image's files."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from commands import Sampan
from residents import IMAGE

RUN = ("run", "--rm", "--network", "none")
PYTHON = ("/opt/python3", "-SI", "-c")
LIBRARIES = tuple(path for path in ("/usr", "/lib", "/lib64") if os.path.exists(path))
IMPORTS = "import ctypes, errno, json, os, socket, stat, sys, time\n"
DOCKERS_CAPABILITIES = 0xA80425FB
"""The fourteen of Docker's default set, as a mask (capabilities(7))."""


def with_python(sampan: Sampan) -> tuple[str, ...]:
    """Options that mount the host's Python. Its program is a copy: the runtime refuses to execute its own file."""
    copy = sampan.root / "python3"
    if not copy.exists():
        shutil.copy("/usr/bin/python3", copy)
        copy.chmod(0o755)
    sources = (f"{copy}:/opt/python3", *(f"{path}:{path}" for path in LIBRARIES))
    return tuple(word for source in sources for word in ("-v", f"{source}:ro"))


def python(sampan: Sampan, script: str, *options: str, image: str = IMAGE) -> Any:
    """What a script inside a new container prints as JSON."""
    return json.loads(sampan(*RUN, *with_python(sampan), *options, image, *PYTHON, IMPORTS + script).stdout)


def python_exec(sampan: Sampan, script: str, *options: str) -> Any:
    """What a script inside the container "hull" prints as JSON."""
    return json.loads(sampan("exec", *options, "hull", *PYTHON, IMPORTS + script).stdout)


def own_bounding() -> int:
    """Capabilities that anybody on this machine can have at most."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["CapBnd"], 16)
