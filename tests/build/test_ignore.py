"""Patterns of .dockerignore: our own table, moby's where Debian's package is installed, and trees."""

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.build import ignore
from sampan.build.context import Directory
from sampan.build.ignore import Ignore, Pattern
from sampan.errors import Invalid

UPSTREAM = Path("/usr/share/gocode/src/github.com/moby/patternmatcher/patternmatcher_test.go")


def excluded(patterns: list[str], path: str) -> bool:
    """As the walk finds out: from directory to directory."""
    here = ignore.parse("\n".join(patterns).encode(errors="surrogateescape"))
    parts = path.split("/")
    for count in range(1, len(parts)):
        here = here.enter("/".join(parts[:count]))
    return here.excludes(path)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("node_modules", ["node_modules", "node_modules/a/b"], ["src/node_modules", "node_modules2"]),
        ("/build/", ["build", "build/x"], ["src/build"]),
        ("./a/../b", ["b", "b/c"], ["a", "a/b"]),
        ("  *.pyc  ", ["x.pyc"], ["pkg/x.pyc", "x.py"]),
        ("**/*.pyc", ["x.pyc", "a/b/x.pyc"], ["x.pyc.txt"]),
        ("*/temp*", ["a/temp", "a/temporary/x"], ["temp", "a/b/temp"]),
        ("docs/**/*.md", ["docs/a.md", "docs/x/y/a.md"], ["docs/a.txt", "a.md"]),
        ("temp?", ["tempa"], ["temp", "tempab"]),
        ("#x\n#y", [], ["#x", "y"]),
        ("\\#x", ["#x"], ["x"]),
        ("\ufeffa\r\n\r\nb\r", ["a", "b"], []),
        ("*\n!src\n!*.toml", ["a", "docs/x"], ["src", "src/a/b", "x.toml"]),
        ("*.md\n!README*.md\nREADME-secret.md", ["a.md", "README-secret.md"], ["README.md", "a.txt"]),
        ("a\n!a/b\na/b/c", ["a/x", "a/b/c", "a/b/c/d"], ["a/b", "a/b/x"]),
        ("a/b\n!a", ["a/b", "a/b/c"], ["a", "a/c"]),
        ("!**/keep\n**", ["keep", "a/keep"], []),
        ("a[!b]c", ["a!c", "abc"], ["axc"]),
        ("a[^b]c/d", ["axc/d", "a/c/d"], ["abc/d"]),
        ("[+-9]x", ["5x", "+x"], ["xx"]),
        ("**name", ["name", "a/name", "a/myname"], ["name2"]),
        ("**name*", ["name2", "a/name2"], ["myname"]),
        ("a b/c", ["a b/c"], ["a", "b/c"]),
        ("../x", [], ["x"]),
        (".\n/", [], ["x", "x/y"]),
    ],
)  # fmt: skip
def test_matches(text: str, inside: list[str], outside: list[str]) -> None:
    patterns = text.split("\n")
    assert [path for path in inside if not excluded(patterns, path)] == []
    assert [path for path in outside if excluded(patterns, path)] == []


@pytest.mark.parametrize("line", ["!", "! ", "[", "a[", "[]a]", "[x-]", "a\\", "!["])
def test_malformed_patterns_are_told_with_their_line(line: str) -> None:
    with pytest.raises(Invalid, match=r"^my\.dockerignore:3: "):
        ignore.parse(f"a\n\n{line}\n".encode(), "my.dockerignore")


def upstream_cases() -> list[tuple[list[str], str, bool | None]]:
    """moby's table: patterns, path, whether it is excluded (None: the pattern is malformed)."""
    text = UPSTREAM.read_text()
    literal = r'"(?:\\.|[^"\\])*"'
    found: list[tuple[list[str], str, bool | None]] = []
    for pattern, path, result, error in re.findall(
        rf"\{{({literal}), ({literal}), (true|false)(, filepath\.ErrBadPattern)?", text
    ):
        expected = None if error else result == "true"
        found.append(([ast.literal_eval(pattern)], ast.literal_eval(path), expected))
    for patterns, path, result in re.findall(
        rf"\{{\[\]string\{{((?:{literal}(?:, )?)+)\}}, ({literal}), (true|false)\}}", text
    ):
        found.append((list(ast.literal_eval(f"[{patterns}]")), ast.literal_eval(path), result == "true"))
    for path, patterns, result in re.findall(
        rf"match, _ := Matches\(({literal}), \[\]string\{{((?:{literal}(?:, )?)+)\}}\)\n\tif (!?)match", text
    ):
        found.append((list(ast.literal_eval(f"[{patterns}]")), ast.literal_eval(path), result == "!"))
    return found


@pytest.mark.interop
@pytest.mark.skipif(not UPSTREAM.exists(), reason="Debian's golang-github-moby-patternmatcher-dev is not installed")
def test_upstream_table() -> None:
    cases = upstream_cases()
    assert len(cases) > 120
    wrong = []
    for patterns, path, expected in cases:
        if path == "/":
            continue  # no entry of a directory has that name
        try:
            result: bool | None = excluded(patterns, path.rstrip("/"))
        except Invalid:
            result = None
        if result != expected:
            wrong.append((patterns, path, expected))
    assert wrong == []


NAMES = st.sampled_from(["a", "b", "ab", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
LINES = st.builds(
    lambda negated, parts: negated + "/".join(parts),
    st.sampled_from(["", "!"]),
    st.lists(
        st.sampled_from(["a", "b", "ab", "c", "*", "**", "?", "a*", "[ab]", "[^a]", "**b"]), min_size=1, max_size=4
    ),
)


def plain_answer(patterns: tuple[Pattern, ...], path: str) -> bool:
    """moby's MatchesUsingParentResults, word for word: all patterns at every level."""
    parts = path.split("/")
    matched = [False] * len(patterns)
    result = False
    for count in range(1, len(parts) + 1):
        result = False
        for index, pattern in enumerate(patterns):
            hit = matched[index]
            if not hit and pattern.negated == result:
                hit = bool(pattern.expression.fullmatch("/".join(parts[:count])))
            elif not hit:
                continue
            matched[index] = hit
            if hit:
                result = not pattern.negated
    return result


@settings(max_examples=60, deadline=None)
@given(st.lists(LINES, max_size=6), st.sets(PATHS, max_size=12))
def test_walk_agrees_with_the_plain_algorithm(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], paths: set[str]
) -> None:
    root = tmp_path_factory.mktemp("context")
    for path in sorted(paths):
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True) if not _blocked(root, path) else None
        if not target.exists() and target.parent.is_dir():
            target.write_text("")
    patterns = ignore.parse("\n".join(lines).encode())
    seen = set(_walk(Directory(str(root), patterns), b""))
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert {path for path in seen if (root / path).is_file()} == {
        path for path in files if not plain_answer(patterns.patterns, path)
    }
    hollow = {path for path in seen if (root / path).is_dir() and plain_answer(patterns.patterns, path)}
    assert all(any(other.startswith(f"{path}/") for other in seen) for path in hollow), "an excluded directory, empty"


def _blocked(root: Path, path: str) -> bool:
    return any(parent.is_file() for parent in (root / path).parents)


def _walk(directory: Directory, path: bytes) -> list[str]:
    found = []
    for name in directory.children(path):
        inner = path + b"/" + name if path else name
        found.append(inner.decode())
        if Path(directory.root, inner.decode()).is_dir():
            found += _walk(directory, inner)
    return found


def test_nothing_to_match_below_is_known() -> None:
    below = ignore.parse(b"node_modules\n*.pyc\nsrc/*.o\n").enter("src").enter("src/deep")
    assert below == Ignore(depth=2)
    assert ignore.parse(b"*\n!src/keep\n").enter("docs").hides_all
    assert not ignore.parse(b"*\n!src/keep\n").enter("src").hides_all
    assert ignore.parse(b"!src/keep\nsrc\n").enter("src").hides_all
