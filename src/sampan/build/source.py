"""What a COPY or ADD selects: patterns matched against a view of files, and the digest of what was found.

Both origins, a context and the file system of a step, are read through the same ``View``; so the rules are written
once. They are BuildKit's: a pattern's last matches may be links, which are followed (inside the root), links below a
directory stay links, and ``..`` at the start of a path goes nowhere.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType

from sampan.build.graph import Context
from sampan.build.wildcards import BRACKET, character_class, held
from sampan.errors import Invalid, NotFound
from sampan.layers import xattrs
from sampan.linux import beneath, ownership
from sampan.snapshots.lookup import View, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple


class Selected(NamedTuple):
    """One match of a source. ``name`` is its last component before links were followed, ``path`` where they led."""

    name: bytes
    path: bytes
    status: os.stat_result

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)


Digester = Callable[[View, bytes, os.stat_result], str]
"""Gives the digest of a regular file's content: view, path in it, its lstat(2)."""


class ContextFiles:
    """The View of a build context, for one thread; a context manager."""

    __slots__ = ("_above", "_context", "_parent", "_root")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._root = beneath.open_root(context.root)
        self._parent, self._above = b"", os.dup(self._root)

    def __enter__(self) -> ContextFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        os.close(self._above)
        os.close(self._root)

    def stat(self, path: bytes) -> os.stat_result | None:
        if not path:
            return os.fstat(self._root)
        parent, _, name = path.rpartition(b"/")
        return self.children(parent).get(name)

    def children(self, path: bytes) -> Mapping[bytes, os.stat_result]:
        return self._context.children(path)

    def open(self, path: bytes, flags: int = os.O_RDONLY) -> int:
        parent, _, name = path.rpartition(b"/")
        if name in (b"", b".", b".."):
            return beneath.open_in(self._root, path, flags, links=False)
        if parent != self._parent:
            # Files are asked for directory by directory, and one name in a directory below the root leads nowhere else.
            above = beneath.open_in(self._root, parent, os.O_PATH | os.O_DIRECTORY, links=False)
            os.close(self._above)
            self._parent, self._above = parent, above
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._above)

    def readlink(self, path: bytes) -> bytes:
        fd = self.open(path, os.O_PATH)
        try:
            return os.readlink(b"", dir_fd=fd)
        finally:
            os.close(fd)


def select(view: View, source: str) -> list[Selected]:
    """What ``source`` (a path, or a pattern of path/filepath.Match) means in ``view``, sorted.

    Raises NotFound if a plain path is not there; a pattern may match nothing. Raises Invalid for a malformed pattern.
    """
    plain, patterns = _split(source)
    try:
        if not patterns:
            return [_selected(view, plain, source)]
        base = resolve(view, plain)
        matched = _matches(view, base.path, [component(part, source) for part in patterns])
        return [_selected(view, path, source) for path in matched]
    except NotADirectoryError:
        raise _missing(source) from None
    except OSError as error:
        raise Invalid(f"{source} cannot be read: {error.strerror}") from None


def find(view: View, path: str) -> Selected:
    """What is at ``path``, which is no pattern. Raises NotFound, and Invalid if it cannot be read."""
    try:
        return _selected(view, os.fsencode(path), path)
    except NotADirectoryError:
        raise _missing(path) from None
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}") from None


def below(view: View, directory: bytes) -> Iterator[tuple[bytes, bytes, os.stat_result]]:
    """Everything below ``directory``: paths from there and from the view's root. Parents come before children, and what
    is directly in one directory stands together."""
    pending = [(directory, b"")]
    while pending:
        above, within = pending.pop()
        directories = []
        for name, status in view.children(above).items():
            path, inner = join(above, name), join(within, name)
            yield inner, path, status
            if stat.S_ISDIR(status.st_mode):
                directories.append((path, inner))
        pending += reversed(directories)


def join(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory else name


def content_key(
    view: View,
    selected: list[Selected],
    digest: Digester,
    *,
    attributes: bool,
    noted: list[tuple[bytes, tuple[object, ...]]] | None = None,
) -> str:
    """A digest (hexadecimal) of all that a copy of ``selected`` depends on: names, modes, links, contents.

    Times do not count; owners and extended attributes (``attributes``) do only where a copy keeps them. ``noted``
    receives all that was hashed, by path.
    """
    from hashlib import sha256

    hashed = sha256()

    def add(name: bytes, path: bytes, status: os.stat_result) -> None:
        if stat.S_ISSOCK(status.st_mode):
            return  # it is not copied, so it may come and go
        facts = _facts(view, name, path, status, digest, attributes)
        # repr() of numbers, bytes and texts in a tuple is unambiguous: it has quotes and brackets.
        hashed.update(repr(facts).encode())
        if noted is not None:
            noted.append((path, facts))

    for match in selected:
        add(b"" if match.is_directory else match.name, match.path, match.status)
        if match.is_directory:
            for inner, path, status in below(view, match.path):
                add(inner, path, status)
        hashed.update(b";")
    return hashed.hexdigest()


def read_digest(view: View, path: bytes, status: os.stat_result) -> str:
    """The Digester that reads the file."""
    import hashlib

    with open(view.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _facts(
    view: View, name: bytes, path: bytes, status: os.stat_result, digest: Digester, attributes: bool
) -> tuple[object, ...]:
    mode = status.st_mode
    content: object = None
    if stat.S_ISREG(mode):
        content = digest(view, path, status)
    elif stat.S_ISLNK(mode):
        mode = stat.S_IFLNK  # permissions of a link mean nothing, and file systems disagree on them
        content = view.readlink(path)
    elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        content = status.st_rdev
    if not attributes:
        return name, mode, content
    owner, values = _described(view, path, status)
    return name, mode, content, *owner, sorted(values.items())


def _described(view: View, path: bytes, status: os.stat_result) -> tuple[tuple[int, int], dict[bytes, bytes]]:
    """The owner and the extended attributes that a copy keeps."""
    found = ownership.owner(status)
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return found, {}
    fd = view.open(path)
    try:
        names = xattrs.names(fd)
        return ownership.noted(fd, names) or found, xattrs.load(fd, names)
    finally:
        os.close(fd)


def unchanged(view: View, path: bytes, status: os.stat_result) -> bool:
    """Whether a file is still as it was when ``status`` was taken."""
    try:
        fd = view.open(path, os.O_PATH | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return same_file(os.fstat(fd), status)
    finally:
        os.close(fd)


def same_file(now: os.stat_result, before: os.stat_result) -> bool:
    """Whether both tell of one file that has not changed in between."""
    return (now.st_ino, now.st_ctime_ns, now.st_mtime_ns, now.st_dev) == (
        before.st_ino, before.st_ctime_ns, before.st_mtime_ns, before.st_dev
    )  # fmt: skip


def _selected(view: View, path: bytes, source: str) -> Selected:
    found = resolve(view, path)
    if found.status is None:
        raise _missing(source)
    return Selected(path.rstrip(b"/").rpartition(b"/")[2], found.path, found.status)


def _missing(source: str) -> NotFound:
    return NotFound(f"{source} is not there", hint="paths count from the root of what is copied from")


def is_pattern(text: str) -> bool:
    """Whether there is a wildcard in it."""
    return bool(re.search(r"[*?[]", re.sub(r"\\.", "", text, flags=re.DOTALL)))


def _split(source: str) -> tuple[bytes, list[str]]:
    """The leading components without wildcards, cleaned, and the rest as patterns."""
    parts: list[str] = []
    for part in source.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    plain = len(parts)
    for index, part in enumerate(parts):
        if is_pattern(part):
            plain = index
            break
    return os.fsencode("/".join(parts[:plain])), parts[plain:]


def _matches(view: View, directory: bytes, patterns: list[re.Pattern[str]]) -> Iterator[bytes]:
    """Paths below ``directory`` whose components match one each; links on the way are not followed."""
    for name, status in view.children(directory).items():
        if patterns[0].fullmatch(os.fsdecode(name)):
            path = join(directory, name)
            if len(patterns) == 1:
                yield path
            elif stat.S_ISDIR(status.st_mode):
                yield from _matches(view, path, patterns[1:])


_TOKEN = rf"(?s)(?P<star>\*+)|(?P<any>\?)|{BRACKET}|\\(?P<escaped>.)|(?P<plain>[^\\\[])"


def component(pattern: str, source: str) -> re.Pattern[str]:
    """One component of Go's path/filepath.Match as a regular expression. Raises Invalid."""
    parts, position = list[str](), 0
    while position < len(pattern):
        token = re.compile(_TOKEN).match(pattern, position)
        if not token:
            raise Invalid(f"{source} is not a valid pattern", hint="a bracket itself is written [[]")
        position = token.end()
        if token["star"]:
            parts.append(".*")
        elif token["any"]:
            parts.append(".")
        elif token["set"]:
            parts.append(character_class(token["set"], bool(token["negated"])))
        else:
            parts.append(re.escape(token["escaped"] or token["plain"]))
    return re.compile(held(parts, ".*", ends=True), re.DOTALL)
