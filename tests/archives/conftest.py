from collections.abc import Callable
from pathlib import Path

import pytest

import crafted


@pytest.fixture
def new_store(store_root: Path) -> Callable[[str], crafted.Store]:
    """Makes stores, each with a name of its own."""
    return lambda name: crafted.open_store(store_root / name)


@pytest.fixture
def store(new_store: Callable[[str], crafted.Store]) -> crafted.Store:
    return new_store("store")
