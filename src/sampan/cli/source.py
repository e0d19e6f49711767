"""What a build or a check is given to read."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    from sampan.build.context import Directory
else:
    from sampan.values import NamedTuple


class Source(NamedTuple):
    """A Dockerfile's text, how messages call it, and the context that belongs to it (None if there is none)."""

    data: bytes
    filename: str
    files: Directory | None
