"""SQLite as ``_sqlite3`` has it, without the 3 ms that the module ``sqlite3`` and its dependencies take to load.

``sqlite3`` loads datetime. ``_sqlite3`` itself wants one function of functools, which brings collections and half a
dozen others along, for a wrapper around something that is written in C.
"""

from __future__ import annotations

import _functools  # type: ignore[import-not-found]
import sys


def _load() -> None:
    """Loads ``_sqlite3``, with a functools that has nothing but ``lru_cache`` unless the real one is loaded already."""
    if "functools" in sys.modules:
        import _sqlite3

        return

    def lru_cache(maxsize: int = 128) -> object:
        return lambda function: _functools._lru_cache_wrapper(function, maxsize, False, tuple)

    stand_in = type(sys)("functools")
    stand_in.lru_cache = lru_cache  # type: ignore[attr-defined]
    sys.modules["functools"] = stand_in
    try:
        import _sqlite3  # noqa: F401
    finally:
        del sys.modules["functools"]


_load()
from _sqlite3 import Connection, Error, IntegrityError, OperationalError, connect  # noqa: E402

__all__ = ["Connection", "Error", "IntegrityError", "OperationalError", "connect"]
