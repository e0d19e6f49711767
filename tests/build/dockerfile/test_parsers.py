"""Typed instructions, in rows. Whole Dockerfiles are in tests/dockerfiles."""

import pytest

from sampan.build.dockerfile import instructions, lines, parsers
from sampan.build.dockerfile.instructions import Command, Instruction, looks_like_exec_form
from sampan.build.dockerfile.mounts import parse as parse_mount
from sampan.errors import Invalid


def parse(text: str) -> instructions.From | Instruction:
    (line,) = lines.parse(text.encode()).lines
    return parsers.parse(line)


def without_line(text: str) -> tuple[object, ...]:
    return tuple(parse(text))[1:]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a", ("a", "", "")),
        ("from --platform=$P a:b@c as Name-1.x", ("a:b@c", "name-1.x", "$P")),
        ("ARG a b= c=1 d='x y'", ((("a", None), ("b", ""), ("c", "1"), ("d", "'x y'")),)),
        ("ENV a=1 b='x y'", ((("a", "1"), ("b", "'x y'")),)),
        ("ENV a  b=c  d", ((("a", "b=c  d"),),)),
        ('LABEL "a b"=c d=', ((('"a b"', "c"), ("d", "")),)),
        ("WORKDIR /a b", ("/a b",)),
        ("USER a:b", ("a:b",)),
        ('VOLUME ["/a b", "/c"]', (("/a b", "/c"),)),
        ("VOLUME /a  /b", (("/a", "/b"),)),
        ("EXPOSE 80 443", (("443", "80"),)),
        ("CMD a b", (Command(("a b",), True),)),
        ('CMD  [ "a" , "\\u00e4" ]', (Command(("a", "ä"), False),)),
        ('ENTRYPOINT ["\\ud800"]', (Command(("�",), False),)),
        ("CMD", (Command((), True),)),
        ("CMD []", (Command((), False),)),
        ('SHELL ["a", "-c"]', (("a", "-c"),)),
        ("STOPSIGNAL $S", ("$S",)),
        ("HEALTHCHECK none", (("NONE",), 0, 0, 0, 0, 0)),
        ('HEALTHCHECK --timeout=1h2m3.5s CMD ["a"]', (("CMD", "a"), 0, 3723500000000, 0, 0, 0)),
        ("MAINTAINER a <b>", ("a <b>",)),
        ("ONBUILD \\\n  RUN  a", ("RUN  a",)),
        (
            "RUN --mount=type=bind --mount=type=ssh --network=none --security=sandbox --device=gpu a",
            (Command(("a",), True), (parse_mount("type=bind"), parse_mount("type=ssh")), "none", "sandbox", ("gpu",)),
        ),
    ],
)
def test_parse(text: str, expected: tuple[object, ...]) -> None:
    assert without_line(text) == expected


def test_parse_copy_and_add() -> None:
    copy = parse("COPY --from=x --chown=a:b --chmod=644 --link --parents=TRUE --exclude=*.a --exclude=b c d e/")
    assert isinstance(copy, instructions.Transfer)
    assert copy[1:] == (
        *("COPY", ("c", "d"), (), "e/", "x", "a:b", "644", True, True, ("*.a", "b")),
        *("", None, None),
    )
    add = parse('ADD --checksum=sha256:0 --keep-git-dir=false --unpack ["a b", "c"]')
    assert isinstance(add, instructions.Transfer)
    assert (add.sources, add.dest) == (("a b",), "c")
    assert (add.checksum, add.keep_git_dir, add.unpack, add.link) == ("sha256:0", False, True, None)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("RUNN x", "unknown instruction: RUNN", "did you mean RUN?"),
        ("entry x", "unknown instruction: entry", "did you mean ENTRYPOINT?"),
        ("ENTRYPIONT x", "unknown instruction: ENTRYPIONT", "did you mean ENTRYPOINT?"),
        ("COPY --form=x a b", "unknown flag: --form", "did you mean --from?"),
        ("CMD --x a", "unknown flag: --x", None),
        ("ARG --x a", "unknown flag: --x", None),
        ("COPY --from a b", "--from lacks a value", "write it as --from=VALUE"),
        ("COPY --link=maybe a b", "--link is either true or false, not 'maybe'", None),
        ("COPY --link= a b", "--link is either true or false, not ''", None),
        ("COPY --from=a --from=b c d", "--from is given twice", None),
        ("COPY a", "COPY requires at least two arguments", "COPY a ."),
        ("COPY ..", "COPY requires at least two arguments", "COPY .. ."),
        ('ADD ["a"]', "ADD requires at least two arguments", "ADD a ."),
        ("COPY []", "COPY requires a source and a destination", "COPY SOURCE… DESTINATION"),
        ("COPY a <<EOF\nEOF", "COPY cannot accept a here-document as a destination", None),
        ("FROM", "FROM requires either one or three arguments", "FROM IMAGE [AS NAME]"),
        ("FROM a b", "FROM requires either one or three arguments", "FROM a AS b"),
        ("FROM a as b c", "FROM requires either one or three arguments", "FROM IMAGE [AS NAME]"),
        ("FROM a as b/c", "invalid name for a build stage: b/c", "it begins"),
        ("ARG", "ARG requires at least one argument", "ARG NAME[=DEFAULT]"),
        ("ARG =x", "ARG names can not be blank", None),
        ("ENV", "ENV requires at least one argument", "ENV NAME=VALUE"),
        ("ENV =x", "ENV names can not be blank", None),
        ("ENV a", "ENV must have two arguments", "ENV a=VALUE"),
        ("LABEL a=b c", "'c' is not of the form name=value", 'a value with spaces stands in quotes: a="A VALUE"'),
        ("RUN []", "RUN requires at least one argument", "RUN COMMAND"),
        ('RUN ["a", {}]', "the JSON array may hold only texts", "put double quotes"),
        ('CMD ["a\\u0000"]', "the JSON array holds a NUL character", None),
        ("WORKDIR", "WORKDIR requires exactly one argument", "WORKDIR /DIRECTORY"),
        ("VOLUME []", "VOLUME requires at least one argument", "VOLUME /DIRECTORY"),
        ('VOLUME ["/a", " "]', "VOLUME specified can not be an empty string", None),
        ("SHELL a b", "SHELL requires its arguments as a JSON array", 'SHELL ["/bin/bash", "-c"]'),
        ("SHELL []", "SHELL requires at least one argument", 'SHELL ["/bin/bash", "-c"]'),
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument", "HEALTHCHECK CMD COMMAND"),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments", None),
        ("HEALTHCHECK RUN x", "unknown type RUN in HEALTHCHECK", "try HEALTHCHECK CMD …"),
        ("HEALTHCHECK CMD", "HEALTHCHECK CMD lacks the command", None),
        ("HEALTHCHECK --interval=5 CMD a", "--interval is not a duration: 5", "write it as 30s or 1m30s"),
        ("HEALTHCHECK --interval=-5s CMD a", "--interval is not a duration: -5s", "write it as 30s or 1m30s"),
        ("HEALTHCHECK --timeout=10us CMD a", "--timeout cannot be less than 1ms", None),
        ("HEALTHCHECK --retries=-1 CMD a", "--retries is not a number: -1", None),
        ("ONBUILD", "ONBUILD requires at least one argument", "ONBUILD INSTRUCTION"),
        ("ONBUILD onbuild RUN a", "chaining ONBUILD", None),
        ("ONBUILD FROM a", "FROM is not allowed as an ONBUILD trigger", None),
        ("ONBUILD MAINTAINER a", "MAINTAINER is not allowed as an ONBUILD trigger", None),
        ("ONBUILD COPYY a b", "unknown instruction: COPYY", "did you mean COPY?"),
    ],
)
def test_faults(text: str, message: str, hint: str | None) -> None:
    with pytest.raises(Invalid) as caught:
        parse(text)
    first, source, _ = caught.value.message.split("\n")
    assert first.startswith(f"Dockerfile:1: {message}")
    assert source == f"    1 | {text.splitlines()[0]}"
    assert caught.value.hint == hint or (hint and str(caught.value.hint).startswith(hint))


def test_fault_in_a_trigger_points_into_its_line() -> None:
    with pytest.raises(Invalid) as caught:
        parse("ONBUILD \\\n  COPY x.")
    assert caught.value.message.endswith("\n    2 |   COPY x.\n      |        ^^")


@pytest.mark.parametrize(
    ("text", "suspicious"),
    [
        ("['a']", True),
        ("['a', 'b']", True),
        ('["a", "b",]', True),
        ('[ "a", b ]', True),
        ("[“a”, “b”]", True),
        ("[ -f x ]", False),
        ('[ "$a" = b ]', False),
        ("[[ a == b ]]", False),
        ('["a"] && b', False),
        ("echo ['a']", False),
    ],
)
def test_looks_like_exec_form(text: str, suspicious: bool) -> None:
    assert looks_like_exec_form(Command((text,), True)) is suspicious


@pytest.mark.parametrize(
    "text", ["[NaN]", "[" * 100_000, '["a"', "['a']", '["a"] b', '{"a": 1}', "[1" + "0" * 5000 + "]"]
)
def test_what_is_no_json_goes_to_the_shell(text: str) -> None:
    assert without_line(f"CMD {text}") == (Command((text,), True),)
