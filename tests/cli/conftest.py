from functools import partial
from pathlib import Path

import pytest

from commands import Inside
from sampan.cli.main import main
from sampan.engine import Engine


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Inside:
    """Runs a command line on a store, in this process."""

    def run(engine: Engine, *words: str | Path) -> tuple[int, str, str]:
        code = main(["--root", engine.paths.root, *map(str, words)])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def inside(run: Inside, engine: Engine) -> Inside:
    """The same on the store that ``engine`` has open."""
    return partial(run, engine)
