"""Logical lines and the places that errors show."""

import pytest

from sampan.build.dockerfile import lines
from sampan.errors import Invalid


def texts(data: str) -> list[tuple[int, str]]:
    return [(line.number, line.text) for line in lines.parse(data.encode()).lines]


def test_lines() -> None:
    assert texts("A\n\n# no\n  B \\\n c\n\tD # kept") == [(1, "A"), (4, "B  c"), (6, "D # kept")]


def test_comments_and_blanks_inside_a_continuation() -> None:
    document = lines.parse(b"RUN a \\\n# no\n   # no\n\n\n  b \\\n")
    assert [(line.text, line.blank) for line in document.lines] == [("RUN a   b ", 4)]


def test_comments_belong_to_what_is_right_below() -> None:
    text = b"# escape=\\\n# one\n  #two\nA \\\n# inside\n b\n# three\n\nC\n# four\n#\n# five\nD\n"
    assert [line.comments for line in lines.parse(text).lines] == [("one", "two"), (), ("five",)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a \\\nb", ["a b"]),
        ("a \\  \t\nb", ["a b"]),
        ("a \\\r\nb\r\n", ["a b"]),
        ("a \\\\\nb", ["a \\\\", "b"]),
        ("a \\x\nb", ["a \\x", "b"]),
        ("\\\na", ["a"]),
        ("\\\n\\\n", []),
        ("a\fb\vc\x85d\u2028e", ["a\fb\vc\x85d\u2028e"]),
    ],
)
def test_continuations(text: str, expected: list[str]) -> None:
    assert [found for _, found in texts(text)] == expected


@pytest.mark.parametrize(
    ("text", "directives"),
    [
        ("# syntax=docker/dockerfile:1\n#ESCAPE = `\n# check=skip=all;error=true\nA", 3),
        ("  # escape=`\nA", 1),
        ("# a comment\n# escape=`\nA", 0),
        ("\n# escape=`\nA", 0),
        ("A\n# escape=`\n", 0),
        ("# unknown=1\n# escape=`\nA", 0),
        ("# escape=`\r\nA", 1),
    ],
)
def test_directives(text: str, directives: int) -> None:
    document = lines.parse(text.encode())
    assert len(document.directives) == directives
    assert document.escape == ("`" if directives else "\\")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("<<EOF", ("EOF", True, False)),
        ("<<-EOF", ("EOF", True, True)),
        ("<<'EOF'", ("EOF", False, False)),
        ('<<-"E O F"', ("E O F", False, True)),
        ("3<<EOF", ("EOF", True, False)),
        ("<<E'O'F", ("EOF", False, False)),
        ("<< EOF", ("EOF", True, False)),
        ("<<", None),
        ("<<<x", None),
        ("<<a b", None),
        ("x<<EOF", None),
    ],
)
def test_heredoc_words(word: str, expected: tuple[str, bool, bool] | None) -> None:
    found = lines.heredoc(word)
    assert (found and (found.name, found.expands, found.strips_tabs)) == expected


@pytest.mark.parametrize(
    ("text", "contents"),
    [
        ("RUN <<EOF\na\n\n# b \\\nEOF\nNEXT", ["a\n\n# b \\\n"]),
        ("COPY <<a <<b /x/\n1\na\n2\nb\nNEXT", ["1\n", "2\n"]),
        ("ADD <<-a /x\n\t1\n\ta\nNEXT", ["\t1\n"]),
        ("RUN <<EOF\r\na\r\nEOF\r\nNEXT", ["a\r\n"]),
        ("onbuild run <<EOF\na\nEOF\nNEXT", ["a\n"]),
        ("RUN <<EOF \\\n  x\na\nEOF\nNEXT", ["a\n"]),
        ('RUN ["<<EOF"]\nNEXT', []),
        ("RUN cat <<<EOF\nNEXT", []),
        ("RUN echo '<<EOF'\nNEXT", []),
        ("RUN echo $((1<<2))\nNEXT", []),
        ("RUN echo \\<<EOF\nNEXT", []),
        ("RUN echo it's <<EOF\nNEXT", []),
        ("LABEL a=<<EOF\nNEXT", []),
        ("CMD <<EOF\nNEXT", []),
    ],
)
def test_heredoc_contents(text: str, contents: list[str]) -> None:
    first, last = lines.parse(text.encode()).lines
    assert [found.content for found in first.heredocs] == contents
    assert last.text == "NEXT"
    assert last.number == text.count("\n") + 1


def test_bytes_of_a_copied_heredoc_are_kept() -> None:
    (line,) = lines.parse(b"COPY <<'x' /\n\xff\x00\nx\n").lines
    assert line.heredocs[0].content.encode(errors="surrogateescape") == b"\xff\x00\n"


def shown(data: bytes, at: str) -> str:
    return lines.parse(data).lines[-1].fault("wrong", at).message


def test_fault_shows_the_place() -> None:
    assert shown(b"FROM a\nRUN b\n", "b") == "Dockerfile:2: wrong\n    2 | RUN b\n      |     ^"


def test_fault_in_a_continued_line_shows_the_line_that_it_is_on() -> None:
    assert shown(b"RUN a \\\n  # no\n\tbcd \\\n  e", "bcd") == "Dockerfile:3: wrong\n    3 |  bcd \\\n      |  ^^^"


def test_fault_without_a_place_marks_the_line() -> None:
    assert shown(b"  RUN a\n", "") == shown(b"  RUN a\n", "not there")
    assert shown(b"  RUN a\n", "").endswith("    1 |   RUN a\n      |   ^^^^^")


def test_fault_is_harmless_to_a_terminal_and_not_too_wide() -> None:
    message = shown(b"RUN \x1b[31m" + b"x" * 3000 + b"here" + b"y" * 3000, "here")
    _, source, caret = message.split("\n")
    assert len(source) < 130
    assert source.index("here") == caret.index("^^^^")
    assert "\x1b" not in shown(b"RUN \x1b[31m", "RUN")


@pytest.mark.parametrize("data", [b"RUN a\0", b"RUN \xff", b"\xff\xfeR\0U\0N\0"])
def test_not_text(data: bytes) -> None:
    with pytest.raises(Invalid, match="Dockerfile:1: the line"):
        lines.parse(data)


def test_too_large() -> None:
    with pytest.raises(Invalid, match="larger than 4 MiB"):
        lines.parse(b"#" * (5 << 20))
