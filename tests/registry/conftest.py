from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import crafted
import servers


@pytest.fixture
def new_store(store_root: Path) -> Callable[[str], crafted.Store]:
    """Makes stores, each with a name of its own."""
    return lambda name: crafted.open_store(store_root / name)


@pytest.fixture
def store(new_store: Callable[[str], crafted.Store]) -> crafted.Store:
    return new_store("store")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[servers.Registry]:
    """A registry without authentication, over plain HTTP."""
    with servers.registry(tmp_path / "registry") as running:
        yield running
