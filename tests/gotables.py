"""Tables of other projects' tests, read out of Go files as Debian's -dev packages ship them.

Only what such tables are made of is understood: functions, ``[]string{…}`` and lists of structs with named fields.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path("/usr/share/gocode/src/github.com")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`|//[^\n]*|/\*.*?\*/|[A-Za-z_][\w.]*|-?\d+|[{}()\[\]:,+&=]|\S', re.DOTALL)


def read(path: str) -> str:
    """A file below the directory of Go's packages. Skips the test if its Debian package is not installed."""
    try:
        return (ROOT / path).read_text()
    except FileNotFoundError:
        pytest.skip(f"not installed: the Debian package with {path}")


def function(text: str, name: str) -> str:
    """The body of a function."""
    match = re.search(rf"^func {name}\(.*?\{{$(.*?)^\}}$", text, re.DOTALL | re.MULTILINE)
    assert match, f"there is no {name}"
    return match[1]


def texts(body: str, variable: str) -> list[str]:
    """The elements of ``variable := []string{…}``."""
    match = re.search(rf"{variable} :?= \[\]string\{{(.*?)^\t+\}}", body, re.DOTALL | re.MULTILINE)
    assert match, f"there is no {variable}"
    return [_text(token) for token in _tokens(match[1]) if token[0] in '"`']


def structs(body: str) -> list[dict[str, str]]:
    """The innermost ``{name: value, …}`` of a function; values are texts: strings put together, or names as written."""
    found: list[dict[str, str]] = []
    open_one: dict[str, str] | None = None
    tokens = list(_tokens(body))
    position = 0
    while position < len(tokens):
        token = tokens[position]
        if token == "{":
            open_one = {}
        elif token == "}" and open_one is not None:
            if open_one:
                found.append(open_one)
            open_one = None
        elif open_one is not None and tokens[position + 1 : position + 2] == [":"] and tokens[position + 2] != "=":
            end = _end(tokens, position + 2)
            open_one[token] = _value(tokens[position + 2 : end])
            position = end - 1
        position += 1
    return found


def _tokens(text: str) -> Iterator[str]:
    return (token for token in _TOKEN.findall(text) if not token.startswith(("//", "/*")))


def _end(tokens: list[str], position: int) -> int:
    depth = 0
    while position < len(tokens):
        token = tokens[position]
        if depth == 0 and token in (",", "}"):
            return position
        depth += {"(": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}.get(token, 0)
        position += 1
    return position


def _value(tokens: list[str]) -> str:
    """``"a" + strings.Repeat("b", 3)`` and the like; anything else as it is written."""
    result, position = "", 0
    while position < len(tokens):
        token = tokens[position]
        if token == "strings.Repeat":
            result += _text(tokens[position + 2]) * int(tokens[position + 4])
            position += 5
        elif token[0] in '"`':
            result += _text(token)
        elif token != "+":
            result += token
        position += 1
    return result


def _text(token: str) -> str:
    if token[0] == "`":
        return token[1:-1]
    return token[1:-1].encode("latin-1", "backslashreplace").decode("unicode_escape")
