from pathlib import Path

import pytest

import commands
from builders import Builder


@pytest.fixture
def builder(sampan: commands.Sampan, tmp_path: Path) -> Builder:
    context = tmp_path / "context"
    context.mkdir()
    return Builder(sampan, context)
