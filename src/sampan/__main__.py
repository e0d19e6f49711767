"""``python -m sampan`` is the same as ``sampan``."""

from sampan.cli.main import run

run()
