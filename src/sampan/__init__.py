"""sampan: builds, ships and runs containers, without a daemon and without root.

Public names are imported on first use (PEP 562), so that ``import sampan`` costs nothing: this file is the
start-up bill of every module below it.
"""

__version__ = "0.1.0"

_PUBLIC = {
    "Digest": "sampan.oci.digest",
    "Engine": "sampan.engine",
    "Reference": "sampan.oci.reference",
    "SampanError": "sampan.errors",
}

__all__ = ["Digest", "Engine", "Reference", "SampanError", "__version__"]


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        from importlib import import_module

        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
