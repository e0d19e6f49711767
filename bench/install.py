"""The sampan that is measured: installed from this checkout, as users install it."""

import os
import subprocess
import sys
import venv
from pathlib import Path

from bench.errors import BenchError

_CHECKOUT = Path(__file__).parents[1]


def install(directory: Path) -> Path:
    """Makes a virtual environment with sampan, not editable, so that its modules are compiled. Gives the program."""
    venv.create(directory, with_pip=True)
    command = [
        str(directory / "bin/python"),
        "-m",
        "pip",
        "install",
        "-qq",
        "--disable-pip-version-check",
        str(_CHECKOUT),
    ]
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"sampan could not be installed: {done.stderr.strip()[-1000:]}")
    return directory / "bin/sampan"


def interpreter(sampan: Path) -> str:
    """The Python that runs an installed sampan: the one beside it, else this one."""
    beside = sampan.with_name("python")
    return str(beside) if beside.exists() else sys.executable
