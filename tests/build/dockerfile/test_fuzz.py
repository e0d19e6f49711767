"""Whatever a Dockerfile or a .dockerignore holds: a result or an error of ours, after work that grows with its size."""

import re
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sampan.build import ignore
from sampan.build.context import Directory
from sampan.build.dockerfile import installs, lines, stages, words
from sampan.build.dockerfile.findings import Surroundings
from sampan.build.dockerfile.lint import lint
from sampan.build.dockerfile.translate import translate
from sampan.build.dockerfile.words import Rules
from sampan.errors import SampanError
from sampan.events import quiet
from sampan.oci.config import ImageConfig
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest
from sampan.oci.platform import Platform
from sampan.store.images import Image

AMD64 = Platform("linux", "amd64")
DIGEST = Digest("sha256:" + "0" * 64)
IMAGE = Image(DIGEST, Descriptor("", DIGEST, 1), DIGEST, AMD64, "", 0)
AROUND = Surroundings(AMD64, {"given": "1"}, lambda name, platform: None, lambda path: False)
few = settings(max_examples=200, deadline=None)

KEYWORDS = "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER"
KEYWORD = st.sampled_from([*KEYWORDS.split(), "VOLUME", "WORKDIR", "from", "Copy", "NO"])
SNIPPET = st.sampled_from(
    """a b /x . .. scratch AS as base 0 1 $a ${a} ${a:-b} ${a:+$b} ${a:?} ${a#*} ${a%%/*} ${a/b/c} ${a//b} ${ $ \\$a
    'q q' "q $a" ' " \\ \\\\ ` = a=b a="b c" =b a= --from=base --from=0 --from= --chown=1:2 --chmod=u+x --link --link=x
    --parents --exclude=*.c --mount=type=cache,target=/c --mount=type=bind --mount=a"b --mount=type=secret,id=s
    --network=none --security=insecure --interval=1s --interval=x --platform=linux/amd64 --platform=$a --unknown=1 --
    ["a","b"] ["a] [1] [] <<EOF <<-EOF <<"EOF" <<E$a << <<< 80 80-90/udp 90-80 NONE SIGTERM 1000:0 COPY RUN ONBUILD
    pip install requests uv sync -r requirements.txt https://u:p@example.org/x.git git@example.org:x PASSWORD=hunter2
    # # check=skip=all # escape=` é 日本 \u2028 \x85 \0 \ud800""".split()
)
END = st.sampled_from(["\n", "\n", "\n", "\r\n", " \\\n", "\\\n\n", "\nEOF\n", "\n\tEOF\n", "\f", ""])
STATEMENT = st.builds(
    lambda keyword, words, end: " ".join([keyword, *words]) + end, KEYWORD, st.lists(SNIPPET, max_size=6), END
)
HEAD = st.sampled_from(
    ["", "FROM scratch\n", "FROM scratch AS base\nARG a=1\n", "# escape=`\nFROM a\n", "\ufeff#check=\n"]
)
DOCKERFILE = st.builds(lambda head, rest: head + "".join(rest), HEAD, st.lists(STATEMENT, max_size=8))


def encoded(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def refusal(action: Callable[[], object]) -> SampanError | None:
    """The error of ours that ``action`` raises, if it raises one; nothing else may come."""
    try:
        action()
    except SampanError as error:
        return error
    return None


def resolve(name: str, platform: Platform) -> tuple[Image, ImageConfig]:
    return IMAGE, ImageConfig(platform, diff_ids=(DIGEST,))


def translated(data: bytes) -> None:
    context = Directory("/nowhere", ignore.Ignore())
    translate(
        data, filename="Dockerfile", context=context, resolve=resolve, platform=AMD64, build_args={"given": "1"},
        target=None, contexts={}, report=quiet,
    )  # fmt: skip


@few
@given(DOCKERFILE)
@example("ONBUILD --a <<EOF")
@example('ONBUILD --a="b <<EOF')
@example("FROM scratch\nRUN " + "[" * 100_000)
@example("FROM scratch\nONBUILD " * 3000)
@example("FROM scratch\nENV a=" + "${a:-" * 3000)
@example("FROM scratch\nCOPY " + "<<EOF " * 3000)
def test_a_dockerfile_is_translated_or_refused(text: str) -> None:
    error = refusal(lambda: translated(encoded(text)))
    assert error is None or "Dockerfile" in error.message or "ONBUILD" in error.message


@few
@given(DOCKERFILE)
def test_lint_says_what_is_wrong_and_raises_nothing(text: str) -> None:
    report = lint(encoded(text), "Dockerfile", AROUND)
    for finding in report.findings:
        spot = finding.line.spot(finding.at)
        assert 0 <= spot.begin <= len(spot.source)
        assert finding.message


@few
@given(st.binary(max_size=300))
def test_bytes_are_parsed_or_refused(data: bytes) -> None:
    refusal(lambda: stages.parse(data))


@few
@given(DOCKERFILE)
def test_every_character_of_a_line_is_found_again(text: str) -> None:
    if refusal(lambda: lines.parse(encoded(text))):
        return
    for line in lines.parse(encoded(text)).lines:
        for word in line.text.split():
            spot = line.spot(word)
            assert word.startswith(spot.source[spot.begin : spot.end])


WORD = st.lists(SNIPPET | st.sampled_from([" ", "\t", "{", "}", ":", "/", "<", "*", "?"]), max_size=12).map("".join)
VARIABLES = st.dictionaries(st.sampled_from(["a", "b", "EOF"]), WORD, max_size=3)
RULES = st.builds(Rules, st.sampled_from("\\`"), st.booleans(), st.booleans(), st.booleans(), st.booleans())


@few
@given(WORD, VARIABLES, RULES)
def test_words_are_expanded_or_refused(text: str, variables: dict[str, str], rules: Rules) -> None:
    if refusal(lambda: words.expand(text, variables, rules)):
        assert refusal(lambda: words.expand_words(text, variables, rules))
        return
    whole = words.expand(text, variables, rules)
    found = words.expand_words(text, variables, rules)
    assert "".join("".join(found).split()) == "".join(whole.split())
    assert all(found)


@few
@given(st.text(st.characters(exclude_characters="$'\"\\<")))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert words.expand(text, {}) == text


@few
@given(st.text())
def test_quoting_and_splitting(text: str) -> None:
    quoted = "'" + text.replace("'", "'\\''") + "'"
    assert words.expand(quoted, {"a": "b"}) == text
    (word,) = words.split(f"  {quoted} ", "\\")
    assert word == quoted
    assert "".join(words.split(text, "\\")) == "".join((text[:-1] if _ends_escaped(text) else text).split()) or any(
        quote in text for quote in "'\"\\"
    )


def _ends_escaped(text: str) -> bool:
    return bool((len(text) - len(text.rstrip("\\"))) % 2)


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.]{0,8}", fullmatch=True)
BODY = st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=60)


@few
@given(st.lists(st.tuples(NAMES, BODY, st.booleans(), st.sampled_from(["", "'", '"'])), min_size=1, max_size=4))
def test_here_documents_come_back_as_written(documents: list[tuple[str, str, bool, str]]) -> None:
    announced, text = [], ""
    for name, body, strips, quote in documents:
        kept = "".join(f"{line}\n" for line in body.split("\n") if line.lstrip("\t") != name)
        announced.append((name, kept, strips, not quote))
        text += f"{kept}{name}\n"
    starts = " ".join(f"<<{'-' if strips else ''}{quote}{name}{quote}" for name, _, strips, quote in documents)
    (line, after) = lines.parse(f"RUN cat {starts}\n{text}RUN after\n".encode()).lines
    assert [(found.name, found.content, found.strips_tabs, found.expands) for found in line.heredocs] == announced
    assert after.text == "RUN after"
    for found in line.heredocs:
        wanted = found.content.split("\n")
        assert found.body.split("\n") == ([part.lstrip("\t") for part in wanted] if found.strips_tabs else wanted)


PATTERN = st.lists(
    st.sampled_from(["a", "b", ".", "..", "/", "*", "**", "?", "[ab]", "[^a]", "[", "]", "\\", "!", " "])
)


@few
@given(st.lists(PATTERN.map("".join), max_size=4), st.lists(st.text("ab*", min_size=1, max_size=4), min_size=1))
def test_patterns_match_or_are_refused(patterns: list[str], names: list[str]) -> None:
    data = "\n".join(patterns).encode()
    error = refusal(lambda: ignore.parse(data))
    if error:
        assert ".dockerignore:" in error.message
        return
    found = ignore.parse(data)
    for count in range(1, len(names)):
        found = found.enter("/".join(names[:count]))
    assert found.excludes("/".join(names)) in (True, False)


def unheld(expression: str) -> int:
    """How many stars of a regular expression can be tried at several places."""
    while (shorter := re.sub(r"\(\?>(?:[^()\\]|\\.|\(\?:\.\*\?/\)\?\?)*\)", "", expression)) != expression:
        expression = shorter
    return len(re.findall(r"(?<!\\)\*", expression))


@few
@given(PATTERN.map("".join))
@example("*a" * 200)
@example("**/a/" * 200)
@example("**/a*b/" * 20 + "*c*d")
@example("**a" * 4)
def test_no_pattern_tries_more_than_a_few_stars_with_each_other(text: str) -> None:
    if refusal(lambda: ignore.compiled([text])):
        return
    (pattern,) = ignore.compiled([text]).patterns
    assert all(unheld(each.pattern) <= 4 for each in (pattern.expression, *pattern.lead))
    pattern.expression.fullmatch("a" * 250)


def steps(action: Callable[[], Any]) -> int:
    """The lines of Python that ``action`` executes, and what it does with an error of ours."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        refusal(action)
    finally:
        sys.settrace(before)
    return count


GROWING: dict[str, Callable[[int], Callable[[], object]]] = {
    "instructions": lambda n: lambda: stages.parse(b"FROM a\n" + b"RUN x\n" * n),
    "stages": lambda n: lambda: stages.parse(b"FROM a AS b\nCOPY --from=b x y\n" * n),
    "continuations": lambda n: lambda: stages.parse(b"FROM a\nRUN " + b"x \\\n" * n),
    "blank continuations": lambda n: lambda: stages.parse(b"FROM a\nRUN x \\\n" + b"\n#\n" * n),
    "comments": lambda n: lambda: stages.parse(b"#\n" * n + b"FROM a"),
    "flags": lambda n: lambda: stages.parse(b"FROM a\nRUN " + b"--mount=type=tmpfs,target=/x " * n + b"x"),
    "here-documents": lambda n: lambda: stages.parse(b"FROM a\nRUN " + b"<<A " * n + b"\n" + b"A\n" * n),
    "long here-document": lambda n: lambda: stages.parse(b"FROM a\nRUN <<A\n" + b"x\n" * n + b"A\n"),
    "unended here-documents": lambda n: lambda: stages.parse(b"FROM a\n" + b"RUN <<A\nx\n" * n),
    "pairs": lambda n: lambda: stages.parse(b"FROM a\nENV " + b"a=b " * n),
    "variables": lambda n: lambda: words.expand("$a${b:-c}" * n, {"a": "x"}),
    "nested": lambda n: lambda: words.expand("${a:-" * n, {}),
    "quotes": lambda n: lambda: words.expand_words("'a'\"b\" " * n, {}),
    "replacing": lambda n: lambda: words.expand("${a//x*y/z}", {"a": "x" * n}),
    "stars": lambda n: lambda: words.expand("${a##*x*x*x*x*y}", {"a": "x" * n}),
    "lint": lambda n: lambda: lint(b"FROM scratch\n" + b"RUN pip install x\n" * n, "Dockerfile", AROUND),
    "commands": lambda n: lambda: installs.installs(_run("pip install x && " * n)),
    "ignored lines": lambda n: lambda: ignore.parse(b"*.py\n!x\n" * n),
    "long pattern": lambda n: lambda: ignore.parse(b"a*/b/" * n),
}


def _run(text: str) -> Any:
    return stages.parse(f"FROM a\nRUN {text}x".encode()).stages[0].body[0]


@pytest.mark.parametrize("name", GROWING)
def test_work_grows_with_the_size(name: str) -> None:
    make = GROWING[name]
    steps(make(10))  # caches and late imports
    once, twice = steps(make(200)), steps(make(400))
    assert twice <= 2.2 * once + 200, f"{once} steps became {twice}"


@pytest.mark.parametrize(
    "line",
    [
        b"# a=x" + b" " * 1_000_000 + b"x",
        b"#" + b" " * 1_000_000,
        b"RUN " + b"--a " * 300_000,
        b"RUN " + b"\\ " * 500_000,
        b"LABEL " + b"'\"" * 500_000,
        b"RUN " + b"<<" * 500_000,
        b"COPY [" + b'"a",' * 300_000,
    ],
    ids=["directive", "comment", "flags", "escapes", "quotes", "here-documents", "array"],
)
def test_a_line_of_a_megabyte_ends(line: bytes) -> None:
    """One that took the square of its length would take hours."""
    for data in (line, b"FROM a\n" + line):
        error = refusal(lambda data=data: stages.parse(data))  # type: ignore[misc]
        assert error is None or len(error.message) < 5_000_000
