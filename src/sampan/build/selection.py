"""Which files a step means: the sources of a COPY, with --parents and --exclude, and what a mount shows."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sampan.build import source as sources
from sampan.build.graph import Copy, Mount
from sampan.build.source import Selected
from sampan.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.snapshots.lookup import View


def find(mount: Mount, view: View) -> Selected:
    """What ``mount`` shows. Raises NotFound, for a context with what may be meant instead, and Invalid."""
    try:
        return sources.find(view, mount.source)
    except NotFound:
        from sampan.build.context import Directory, missing

        if isinstance(mount.origin, Directory):
            raise missing(mount.origin, mount.source) from None
        raise


def select(step: Copy, view: View, source: str) -> list[Selected]:
    """As ``source.select``; what is missing in a context is said with what may be meant instead."""
    try:
        return sources.select(view, source)
    except NotFound:
        from sampan.build.context import Directory, missing

        if isinstance(step.origin, Directory):
            raise missing(step.origin, source) from None
        raise


def matches(step: Copy, view: View, source: str) -> list[tuple[View, Selected]]:
    """What ``source`` means, each match with the view that it is to be read through."""
    found = with_parents(step, view, source) if step.parents else [(view, m) for m in select(step, view, source)]
    return without_excluded(step, found)


def without_excluded(step: Copy, found: Sequence[tuple[View, Selected]]) -> list[tuple[View, Selected]]:
    if not step.exclude:
        return list(found)
    from sampan.build import ignore
    from sampan.build.filtered import Excluding

    patterns = ignore.compiled(step.exclude)
    return [
        (Excluding(seen, match.path, patterns) if match.is_directory else seen, match)
        for seen, match in found
        if match.is_directory or not patterns.excludes(os.fsdecode(match.name))
    ]


def with_parents(step: Copy, view: View, source: str) -> list[tuple[View, Selected]]:
    """The directories that paths count from, with nothing but what ``source`` matches. Raises NotFound for a plain path
    that is not there."""
    from sampan.build.filtered import Only, deep_matches

    base, pivot, pattern = source.partition("/./")
    if not pivot:
        base, pattern = ".", source
    roots = select(step, view, base)
    if pattern == ".":
        return [(view, root) for root in roots]
    roots = [root for root in roots if root.is_directory]
    matched = [list(deep_matches(view, root.path, pattern)) for root in roots]
    if not any(matched) and not sources.is_pattern(pattern):
        select(step, view, source if base == "." else f"{base}/{pattern}")
    return [(Only(view, paths), root) for paths, root in zip(matched, roots, strict=True)]
