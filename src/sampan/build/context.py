"""The build context: a directory of the user's, as its .dockerignore lets it be seen."""

import os
import stat
from collections.abc import Mapping

from sampan.build import ignore
from sampan.build.ignore import Ignore
from sampan.build.repeat import Listing
from sampan.errors import Invalid, NotFound
from sampan.linux import beneath

MAX_DOCKERFILE = 4 << 20
"""No Dockerfile and no .dockerignore longer than this is read."""


class Directory:
    """A context on disk (``graph.Context``). Nothing in it leads out of it: no link is followed."""

    __slots__ = ("_ignores", "listings", "root", "shown")

    def __init__(self, root: str, patterns: Ignore, shown: str = "") -> None:
        """``shown`` says where the files are from, if not from the directory ``root`` itself."""
        self.root = root
        self.shown = shown or root
        self._ignores = {b"": patterns}
        self.listings: dict[bytes, Listing] = {}
        """What was seen of the directories that were asked for, and of excluded ones in them."""

    def children(self, path: bytes) -> Mapping[bytes, os.stat_result]:
        """See ``graph.Context``."""
        known = self.listings.get(path)
        if known is None:
            known = self.listings[path] = self._listed(path)
        return known.entries

    def excludes(self, path: bytes) -> bool:
        """Whether .dockerignore hides ``path`` (relative to the root, without ``.`` and ``..``)."""
        patterns = self._ignores[b""]
        parts = os.fsdecode(path).split("/")
        for count in range(1, len(parts)):
            patterns = patterns.enter("/".join(parts[:count]))
        return patterns.excludes("/".join(parts))

    def surely_excludes(self, path: str) -> bool:
        """Whether nothing of ``path`` can be seen, by the patterns alone; with ``!`` among them that cannot be told.

        The root counts as excluded if any name in it would be (moby/buildkit, validateCopySourcePath).
        """
        if any(pattern.negated for pattern in self._ignores[b""].patterns):
            return False
        return self.excludes(os.fsencode(path) if path not in ("", ".") else b"\0any\0")

    def _listed(self, path: bytes) -> Listing:
        patterns = self._entered(path)
        unmatched = not patterns.here and not patterns.excluded
        prefix = os.fsdecode(path) + "/" if path else ""
        found, hidden = {}, set()
        root = beneath.open_root(self.root)
        try:
            fd = beneath.open_in(root, path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, links=False)
        finally:
            os.close(root)
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    if unmatched or self._shows(patterns, prefix + entry.name, entry):
                        found[os.fsencode(entry.name)] = entry.stat(follow_symlinks=False)
                    else:
                        hidden.add(os.fsencode(entry.name))
        finally:
            os.close(fd)
        return Listing(dict(sorted(found.items())), frozenset(hidden))

    def _entered(self, path: bytes) -> Ignore:
        patterns = self._ignores.get(path)
        if patterns is None:
            patterns = self._entered(path.rpartition(b"/")[0]).enter(os.fsdecode(path))
            self._ignores[path] = patterns
        return patterns

    def _shows(self, patterns: Ignore, path: str, entry: os.DirEntry[str]) -> bool:
        """Whether ``entry`` is let through, or if it is an excluded directory, anything in it."""
        if not patterns.excludes(path):
            return True
        inner = os.fsencode(path)
        if not entry.is_dir(follow_symlinks=False) or self._entered(inner).hides_all:
            return False
        return bool(self.children(inner))


def open_context(root: str, dockerfile: str = "Dockerfile") -> Directory:
    """The context in directory ``root``; ``dockerfile`` (its path, relative to ``root`` or absolute) may have a
    .dockerignore of its own beside it, ``NAME.dockerignore``. Raises NotFound or Invalid.
    """
    root = os.path.abspath(root)
    if not os.path.isdir(root):
        what = "is not a directory" if os.path.exists(root) else "does not exist"
        hint = "name the directory; -f names the Dockerfile" if os.path.exists(root) else None
        raise NotFound(f"the build context {root} {what}", hint=hint)
    for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
        data = _read(root, name)
        if data is not None:
            return Directory(root, ignore.parse(data, name))
    return Directory(root, Ignore())


def read_dockerfile(root: str, name: str = "Dockerfile") -> bytes:
    """The text of the Dockerfile ``name`` (relative to ``root``, or absolute).

    Raises NotFound with what may be meant instead, Invalid if it is too large or is no file.
    """
    data = _read(root, name)
    if data is None:
        where = "" if os.path.isabs(name) else f" in {root}"
        raise NotFound(f"there is no {name}{where}", hint=_other_dockerfiles(root, name))
    return data


def missing(context: Directory, source: str) -> NotFound:
    """Why ``source`` of a COPY is not to be had from ``context``, with what may be meant instead."""
    path = os.path.normpath("/" + source.lstrip("/"))[1:]
    message = f"{source} is not in the build context"
    target = _link(context.root, path)
    if target is not None and context.excludes(os.fsencode(path)):
        return NotFound(
            f"{message}: .dockerignore excludes it", hint=f"a line !{path} in .dockerignore lets it through"
        )
    if target:
        return NotFound(f"{message}: it is a link to {target}, which is not there", hint="copy the file itself into it")
    directory, _, name = path.rpartition("/")
    try:
        names = [os.fsdecode(found) for found in context.children(os.fsencode(directory))]
    except OSError:
        return NotFound(message, hint=f"there is no directory {directory} in {context.shown}")
    return NotFound(message, hint=_closest(name, names, directory) or f"the build context is {context.shown}")


def _link(root: str, path: str) -> str | None:
    """Where the link ``path`` leads; an empty text for other files, None if there is no such file."""
    directory = beneath.open_root(root)
    try:
        fd = beneath.open_in(directory, os.fsencode(path), os.O_PATH | os.O_NOFOLLOW)
    except OSError:
        return None
    finally:
        os.close(directory)
    try:
        return os.readlink("", dir_fd=fd) if stat.S_ISLNK(os.fstat(fd).st_mode) else ""
    finally:
        os.close(fd)


def _read(root: str, name: str) -> bytes | None:
    """A file's content, or None if there is none. Links count as far as they stay in ``root``."""
    # A name that is absolute is the user's own word, not the context's.
    directory = beneath.open_root("/" if os.path.isabs(name) else root)
    try:
        data = beneath.read_file(directory, os.fsencode(name), MAX_DOCKERFILE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Invalid(f"{name} in {root} cannot be read: {error.strerror}") from None
    finally:
        os.close(directory)
    if len(data) > MAX_DOCKERFILE:
        raise Invalid(f"{name} is larger than {MAX_DOCKERFILE >> 20} MiB")
    return data


def _other_dockerfiles(root: str, name: str) -> str | None:
    """A hint at what may be meant by a Dockerfile that is not there."""
    directory, _, base = os.path.join(root, name).rpartition("/")
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return f"there is no directory {directory}"
    if base in names:
        return f"{base} is no file, or a link that leads out of {root}"
    same = [found for found in names if found.lower() == base.lower()]
    other = [found for found in names if found == "Containerfile" or "dockerfile" in found.lower().split(".")]
    found = (*same, *other)
    return f"use -f {os.path.join(directory, found[0])}" if found else "write one, or name another with -f"


def _closest(name: str, names: list[str], directory: str) -> str | None:
    from difflib import get_close_matches

    close = get_close_matches(name, names, 1, 0.6)
    return f"did you mean {os.path.join(directory, close[0])}?" if close else None
