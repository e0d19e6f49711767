"""Command lines are read as Docker's own parser (pflag) reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.cli.flags import Command, Flag, Parsed, UsageError, check_count, parse
from sampan.errors import Unsupported

FLAGS = (
    Flag("-d, --detach", "Run in background"),
    Flag("-e, --env list", "Set environment variables"),
    Flag("-f, --filter filter", "Filter", repeat=True),
    Flag("-i, --interactive", "Keep STDIN open"),
    Flag("--name string", "Name"),
    Flag("-p, --publish list", "Publish"),
    Flag("--rm", "Remove"),
    Flag("-t, --tty", "Terminal"),
    Flag("-n, --time int", "Seconds", 10),
    Flag("-u, --user string", "User", "root", alias="login"),
)
RUN = Command("[OPTIONS] IMAGE [COMMAND]", FLAGS, least=1, most=None, interspersed=False, later="--gpus -P")
LIST = Command("[OPTIONS] [NAME...]", FLAGS, most=None)


def values(parsed: Parsed) -> dict[str, object]:
    """What was given, without the defaults."""
    methods = {"bool": parsed.on, "list": parsed.texts, "int": parsed.number, "string": parsed.text}
    return {flag.long: methods[flag.kind](flag.long) for flag in FLAGS if flag.long in parsed}


@pytest.mark.parametrize(
    ("line", "expected", "rest"),
    [
        ("-it x", {"interactive": True, "tty": True}, ["x"]),
        ("-itd x", {"interactive": True, "tty": True, "detach": True}, ["x"]),
        ("-p8080:80 x", {"publish": ["8080:80"]}, ["x"]),
        ("-p 8080:80 x", {"publish": ["8080:80"]}, ["x"]),
        ("-p=8080:80 x", {"publish": ["8080:80"]}, ["x"]),
        ("--publish=8080:80 x", {"publish": ["8080:80"]}, ["x"]),
        ("-dp 8080:80 -p 1:2 x", {"detach": True, "publish": ["8080:80", "1:2"]}, ["x"]),
        ("-itp8080:80 x", {"interactive": True, "tty": True, "publish": ["8080:80"]}, ["x"]),
        ("--name=a x", {"name": "a"}, ["x"]),
        ("--name a x", {"name": "a"}, ["x"]),
        ("--name= x", {"name": ""}, ["x"]),
        ("--name --rm x", {"name": "--rm"}, ["x"]),
        ("-e A=B=C -e=D=1 -eE=2 x", {"env": ["A=B=C", "D=1", "E=2"]}, ["x"]),
        ("-e= x", {"env": ["="]}, ["x"]),
        ("--env=a,b x", {"env": ["a,b"]}, ["x"]),
        ("--rm=false x", {"rm": False}, ["x"]),
        ("--rm=T -i=0 -t=false x", {"rm": True, "interactive": False, "tty": False}, ["x"]),
        ("--rm false x", {"rm": True}, ["false", "x"]),
        ("-n5 x", {"time": 5}, ["x"]),
        ("-n -1 x", {"time": -1}, ["x"]),
        ("--time=+3 x", {"time": 3}, ["x"]),
        ("--login a --login=b x", {"user": "b"}, ["x"]),
        ("-u a -u b x", {"user": "b"}, ["x"]),
        ("-f a -f b x", {"filter": ["a", "b"]}, ["x"]),
        ("x -it", {}, ["x", "-it"]),
        ("x ls -l --name y", {}, ["x", "ls", "-l", "--name", "y"]),
        ("-- x -- y", {}, ["x", "--", "y"]),
        ("x -- y", {}, ["x", "--", "y"]),
        ("-i -- -t", {"interactive": True}, ["-t"]),
        ("-", {}, ["-"]),
        ("", {}, []),
    ],
)
def test_flags_before_the_first_argument(line: str, expected: dict[str, object], rest: list[str]) -> None:
    parsed = parse(RUN, line.split())
    assert (values(parsed), parsed.positionals) == (expected, rest)


@pytest.mark.parametrize(
    ("line", "expected", "rest"),
    [
        ("a -i b", {"interactive": True}, ["a", "b"]),
        ("a --name n b -- -t", {"name": "n"}, ["a", "b", "-t"]),
        ("a -- -- b", {}, ["a", "--", "b"]),
        ("- -i", {"interactive": True}, ["-"]),
    ],
)
def test_flags_among_the_arguments(line: str, expected: dict[str, object], rest: list[str]) -> None:
    parsed = parse(LIST, line.split())
    assert (values(parsed), parsed.positionals) == (expected, rest)


def test_an_empty_argument_is_an_argument() -> None:
    assert parse(LIST, ["", "--name", ""]).positionals == [""]


def test_defaults() -> None:
    parsed = parse(LIST, [])
    assert parsed.on("rm") is False
    assert parsed.texts("env") == []
    assert (parsed.text("name"), parsed.text("user"), parsed.number("time")) == (None, "root", 10)


def test_asking_for_a_flag_that_is_not_in_the_table_is_a_mistake_of_the_program() -> None:
    parsed = parse(LIST, [])
    with pytest.raises(KeyError):
        parsed.on("nosuch")
    with pytest.raises(TypeError):
        parsed.on("name")


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("--bogus", "unknown flag: --bogus", None),
        ("--nmae x", "unknown flag: --nmae", "did you mean --name?"),
        ("--detatch=true", "unknown flag: --detatch", "did you mean --detach?"),
        ("--na x", "unknown flag: --na", "did you mean --name?"),
        ("-x", "unknown shorthand flag: 'x' in -x", None),
        ("-itz x", "unknown shorthand flag: 'z' in -z", None),
        ("-itzt x", "unknown shorthand flag: 'z' in -zt", None),
        ("--name", "flag needs an argument: --name", None),
        ("-e", "flag needs an argument: 'e' in -e", None),
        ("-ie", "flag needs an argument: 'e' in -e", None),
        ("---x", "bad flag syntax: ---x", None),
        ("--=x", "bad flag syntax: --=x", None),
        ("--rm=maybe", "invalid argument 'maybe' for --rm: write true or false", None),
        ("--rm=", "invalid argument '' for --rm: write true or false", None),
        ("-n abc", "invalid argument 'abc' for -n: it takes a whole number", None),
        ("--time 1.5", "invalid argument '1.5' for --time: it takes a whole number", None),
        ("-n 99999999999999999999", "invalid argument '99999999999999999999' for -n: it takes a whole number", None),
        ("--time ١", "invalid argument '١' for --time: it takes a whole number", None),
    ],
)  # fmt: skip
def test_what_makes_no_sense(line: str, message: str, hint: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        parse(RUN, line.split())
    assert (caught.value.message, caught.value.hint, caught.value.exit_code) == (message, hint, 125)


@pytest.mark.parametrize("line", ["--gpus all x", "--gpus=all x", "-P x", "-itP x"])
def test_flags_that_are_not_built_yet_are_named(line: str) -> None:
    with pytest.raises(Unsupported, match=r"^(--gpus|-P) is not built yet$"):
        parse(RUN, line.split())


@pytest.mark.parametrize("line", ["--help", "-h", "-ih", "x --help", "--help=true", "-h x"])
def test_help_is_always_known(line: str) -> None:
    assert parse(LIST, line.split()).on("help")


def test_a_verb_may_mean_something_else_by_h() -> None:
    command = Command("", (Flag("-h, --hostname string", "Host name"),))
    parsed = parse(command, ["-h", "web"])
    assert parsed.text("hostname") == "web"
    assert not parsed.on("help")


def test_inherited_flags_give_way_to_own_ones() -> None:
    inherited = (Flag("--root string", ""), Flag("--debug", ""))
    parsed = parse(Command("", (Flag("--debug string", ""),)), ["--debug", "x", "--root=/r"], inherited)
    assert (parsed.text("debug"), parsed.text("root")) == ("x", "/r")


@pytest.mark.parametrize(
    ("least", "most", "count", "wants"),
    [
        (0, 0, 1, "accepts no arguments"),
        (1, 1, 0, "requires 1 argument"),
        (1, 1, 2, "requires 1 argument"),
        (2, 2, 1, "requires 2 arguments"),
        (1, None, 0, "requires at least 1 argument"),
        (2, None, 1, "requires at least 2 arguments"),
        (0, 1, 2, "requires at most 1 argument"),
        (0, None, 7, None),
        (1, 2, 1, None),
    ],
)
def test_the_number_of_arguments(least: int, most: int | None, count: int, wants: str | None) -> None:
    command = Command("", least=least, most=most)
    parsed = parse(command, ["x"] * count)
    if wants is None:
        check_count(command, parsed, "sampan verb")
        return
    with pytest.raises(UsageError) as caught:
        check_count(command, parsed, "sampan verb")
    assert caught.value.message == f"'sampan verb' {wants}"
    assert caught.value.exit_code == 1  # as Docker's, which keeps 125 for flags


def test_advice_for_a_wrong_number_of_arguments() -> None:
    command = Command(
        "PATH", (Flag("-t, --tag list", ""),), least=1, most=1, advise=lambda given: given.texts("tag")[0]
    )
    with pytest.raises(UsageError) as caught:
        check_count(command, parse(command, ["-t", "name."]), "sampan build")
    assert caught.value.hint == "name."


_WORDS = st.lists(st.text(alphabet="-=aeinptx1:/ é", max_size=6), max_size=6)


@given(_WORDS)
def test_no_command_line_fails_in_another_way(words: list[str]) -> None:
    try:
        parsed = parse(RUN, words)
    except (UsageError, Unsupported):
        return
    assert parsed.positionals == words[len(words) - len(parsed.positionals) :]


@given(_WORDS, _WORDS)
def test_after_two_dashes_everything_is_an_argument(before: list[str], after: list[str]) -> None:
    plain = [word for word in before if not word.startswith("-") or word == "-"]
    assert parse(LIST, [*plain, "--", *after]).positionals == plain + after
