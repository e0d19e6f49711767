"""What --exclude leaves, and what --parents takes."""

from pathlib import Path

import pytest

import trees
from sampan.build import ignore
from sampan.build.filtered import Excluding, Only, deep_matches
from sampan.build.source import ContextFiles, below
from sampan.errors import Invalid
from trees import PlainContext

TREE: dict[str, trees.Node] = {
    "a/b/c/f.txt": "", "a/b/g.txt": "", "a/h.md": "", "a/ln": trees.Link("b"), "x/f.txt": "", "top.txt": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("base", "patterns", "expected"),
    [
        ("", ("*.txt",), "a a/b a/b/c a/b/c/f.txt a/b/g.txt a/h.md a/ln x x/f.txt"),
        ("", ("**/*.txt",), "a a/b a/b/c a/h.md a/ln x"),
        ("", ("a/b",), "a a/h.md a/ln top.txt x x/f.txt"),
        ("a", ("b",), "h.md ln"),
        ("a", ("a/b",), "b b/c b/c/f.txt b/g.txt h.md ln"),
        ("a", ("**", "!b/c/*"), "b b/c b/c/f.txt"),
        ("", ("*", "!top.txt"), "top.txt"),
    ],
)
def test_excluding(tmp_path: Path, base: str, patterns: tuple[str, ...], expected: str) -> None:
    trees.make(tmp_path, TREE)
    with ContextFiles(PlainContext(tmp_path)) as files:
        view = Excluding(files, base.encode(), ignore.compiled(patterns))
        assert " ".join(sorted(inner.decode() for inner, _, _ in below(view, base.encode()))) == expected


@pytest.mark.parametrize(
    ("base", "pattern", "expected"),
    [
        ("", "a/b/g.txt", "a a/b a/b/g.txt"),
        ("", "a/b", "a a/b a/b/c a/b/c/f.txt a/b/g.txt"),
        ("a", "b/*.txt", "b b/g.txt"),
        ("", "**/*.txt", "a a/b a/b/c a/b/c/f.txt a/b/g.txt top.txt x x/f.txt"),
        ("", "**/f.txt", "a a/b a/b/c a/b/c/f.txt x x/f.txt"),
        ("", "a/**/g.txt", "a a/b a/b/g.txt"),
        ("", "*/**/**/f.txt", "a a/b a/b/c a/b/c/f.txt x x/f.txt"),
        ("a", "**", "b b/c b/c/f.txt b/g.txt h.md ln"),
        ("", "a/ln/g.txt", ""),
        ("", "zzz/**", ""),
    ],
)
def test_only(tmp_path: Path, base: str, pattern: str, expected: str) -> None:
    trees.make(tmp_path, TREE)
    with ContextFiles(PlainContext(tmp_path)) as files:
        view = Only(files, deep_matches(files, base.encode(), pattern))
        assert " ".join(sorted(inner.decode() for inner, _, _ in below(view, base.encode()))) == expected


@pytest.mark.parametrize("pattern", ["../a", "a/[", "**/[]"])
def test_malformed(tmp_path: Path, pattern: str) -> None:
    trees.make(tmp_path, TREE)
    with ContextFiles(PlainContext(tmp_path)) as files, pytest.raises(Invalid):
        list(deep_matches(files, b"", pattern))
