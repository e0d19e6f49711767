"""Words: quoting, escapes, expansion and its patterns."""

import pytest

from sampan.build.dockerfile import words
from sampan.build.dockerfile.words import Rules
from sampan.errors import Invalid

VARIABLES = {
    "HOME": "/home/me",
    "EMPTY": "",
    "PATHS": "a/b/c.tar.gz",
    "SPACED": " two  words ",
    "STARS": "a*b?c\\d",
    "LINES": "one\ntwo",
    "grün": "ja",
    "ARCHIVE": "foo.bar.tar.gz",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("two  words", "two  words"),
        ("a'b c'd", "ab cd"),
        ('a"b c"d', "ab cd"),
        ("'$HOME \\ \"'", '$HOME \\ "'),
        ("\"$HOME 'x'\"", "/home/me 'x'"),
        (r"a\bc\\d\'e", r"abc\d'e"),
        (r'"a\b\"\$HOME\\"', r'a\b"$HOME' + "\\"),
        (r"\$HOME \${HOME} \\$HOME", r"$HOME ${HOME} \/home/me"),
        ("ends in\\", "ends in"),
        ("$HOME/x ${HOME}x $HOMEx", "/home/me/x /home/mex "),
        ("$", "$"),
        ("a$ b$.c $/", "a$ b$.c $/"),
        ("$1x$12 $@$*$#$?$-$!$$", "x "),
        ("$grün${grün}", "jaja"),
        ("${EMPTY:-d}${EMPTY-d}${NONE:-d}${NONE-d}${HOME:-d}", "ddd/home/me"),
        ("${EMPTY:+s}.${EMPTY+s}.${NONE:+s}.${NONE+s}.${HOME:+s}", ".s...s"),
        ("${EMPTY?e}${HOME:?e}", "/home/me"),
        ("${NONE:-${ALSO_NONE:-${HOME}}}", "/home/me"),
        ("${NONE:-'a}b'}", "a}b"),
        ("${NONE:-a\\}b}", "a}b"),
        ('"${NONE:-"x y"}"', "x y"),
        ("${PATHS#*/}", "b/c.tar.gz"),
        ("${PATHS##*/}", "c.tar.gz"),
        ("${PATHS%.*}", "a/b/c.tar"),
        ("${PATHS%%.*}", "a/b/c"),
        ("${PATHS#?/}${PATHS#/}${PATHS#}", "b/c.tar.gza/b/c.tar.gza/b/c.tar.gz"),
        ("${PATHS##*}|${PATHS%%*}|${PATHS#*}", "||a/b/c.tar.gz"),
        ("${STARS#a\\*}|${STARS#a\\?}|${STARS%\\\\d}", "b?c\\d|a*b?c\\d|a*b?c"),
        ("${LINES#*e}|${LINES##*}", "\ntwo|\ntwo"),
        ("${NONE#x}${NONE/a/b}", ""),
        ("${PATHS/b/X}", "a/X/c.tar.gz"),
        ("${PATHS/\\//-}", "a-b/c.tar.gz"),
        ("${PATHS//\\//-}", "a-b-c.tar.gz"),
        ("${PATHS/a*c/X}", "X.tar.gz"),
        ("${PATHS//?\\//X}", "XXc.tar.gz"),
        ("${PATHS//[.]/x}", "a/b/c.tar.gz"),
        ("${PATHS//nothing/x}", "a/b/c.tar.gz"),
        ("${PATHS///x}", "xax/xbx/xcx.xtxaxrx.xgxzx"),
        ("${PATHS/*/x}", "x"),
        ("${ARCHIVE//.*./-}", "foo-gz"),
        ("${HOME/home/$EMPTY}", "//me"),
        ("x << y <z", "x << y <z"),
    ],
)
def test_expand(text: str, expected: str) -> None:
    assert words.expand(text, VARIABLES) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("'open", "matching single-quote"),
        ('"open', "matching double-quote"),
        ('"open\\"', "matching double-quote"),
        ("${HOME", "missing '}'"),
        ("${", "missing '}'"),
        ("${HOME:-x", "missing '}'"),
        ("${HOME/x", "missing '/'"),
        ("${HOME/x/y", "missing '}'"),
        ("${}", "bad substitution"),
        ("${:-x}", "bad substitution"),
        ("${{x}}", "bad substitution"),
        ("${HOME!}", r"unsupported modifier \(!\)"),
        ("${HOME:x}", r"unsupported modifier \(:x\)"),
        ("${HOME:#x}", r"unsupported modifier \(:#\)"),
        ("${.}", r"unsupported modifier \(\.\)"),
        ("${NONE?}", "NONE: is not allowed to be unset"),
        ("${NONE:?given it must be}", "NONE: given it must be"),
        ("${EMPTY:?}", "EMPTY: is not allowed to be empty"),
        ("${HOME#a\\b}", "nothing to escape"),
        ("${NONE:-" * 60 + "}" * 60, "nested more than"),
    ],
)
def test_what_cannot_be_expanded(text: str, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        words.expand(text, VARIABLES)


def test_other_escape() -> None:
    rules = Rules(escape="`")
    assert words.expand("C:\\dir`$HOME\\$HOME `'", VARIABLES, rules) == "C:\\dir$HOME\\/home/me '"
    assert words.split("a` b 'c` d", "`") == ["a` b", "'c` d"]


def test_quotes_stand_for_themselves_in_a_here_document() -> None:
    assert words.expand('it\'s "$HOME" \\$HOME\n', VARIABLES, Rules(quotes=False)) == 'it\'s "/home/me" $HOME\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b\tc", ["a", "b", "c"]),
        ("a$SPACED'b c'", ["a", "two", "words", "b c"]),
        ('a"$SPACED"b', ["a two  words b"]),
        ("a\\ b c", ["a b", "c"]),
        ("$EMPTY '' x", ["x"]),
        ("80${NONE:-80} 1", ["8080", "1"]),
    ],
)
def test_expand_words(text: str, expected: list[str]) -> None:
    assert words.expand_words(text, VARIABLES) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1 b=2", ["a=1", "b=2"]),
        ('a=\'1 2\' b="3 \\" 4" c=5\\ 6', ["a='1 2'", 'b="3 \\" 4"', "c=5\\ 6"]),
        ("  a  ", ["a"]),
        ("a='open b", ["a='open b"]),
        ('a="open b', ['a="open b']),
        ("a\\", ["a"]),
        ("a\\\\", ["a\\\\"]),
        ("'' \"\"", ["''", '""']),
        ("", []),
    ],
)
def test_split(text: str, expected: list[str]) -> None:
    assert words.split(text, "\\") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RUN x --y", ("RUN", (), "x --y")),
        ("COPY\t--from=a  --chown='b c' x y ", ("COPY", ("--from=a", "--chown=b c"), "x y")),
        ('RUN --mount=type=a,b="c d"\\ e x', ("RUN", ("--mount=type=a,b=c d e",), "x")),
        ("RUN --a -- --b c", ("RUN", ("--a",), "--b c")),
        ("RUN --", ("RUN", (), "")),
        ("RUN -x", ("RUN", (), "-x")),
        ("CMD", ("CMD", (), "")),
    ],
)
def test_split_statement(text: str, expected: tuple[str, tuple[str, ...], str]) -> None:
    assert words.split_statement(text, "\\") == expected


def test_growth_is_bounded() -> None:
    def grow() -> None:
        variables = {"a": "x" * 1000}
        for _ in range(40):
            variables["a"] = words.expand("$a$a", variables)

    with pytest.raises(Invalid, match="grows beyond all bounds"):
        grow()


def test_patterns_take_bounded_time() -> None:
    # Seconds at most with states side by side; ages with a regular expression that tries one way after the other.
    value = {"v": "a" * 3000}
    assert words.expand("${v##" + "*a" * 40 + "b}", value) == value["v"]
    assert words.expand("${v%%" + "b" + "*a" * 40 + "*}", value) == value["v"]
    assert words.expand("${v//" + "*a" * 40 + "b/x}", value) == value["v"]
