"""Help texts, letter by letter: tests/cli/help holds them. docs/reference.md comes from the same tables."""

from pathlib import Path

import pytest

from sampan.cli import commands, help, reference
from sampan.cli.flags import Command, Flag
from sampan.cli.main import GLOBAL, load

GOLDEN = Path(__file__).parent / "help"
PAGE = Path(__file__).parents[2] / "docs" / "reference.md"
WRAPPED = Command(
    "[OPTIONS] THING",
    (
        Flag("-l, --long-name string", "A text that is long enough to be broken into several lines of forty", "x"),
        Flag("--count int", "A number", 0),
        Flag("--on", "What is on unless it is turned off", True),
        Flag("--off", "What is off"),
    ),
    details="More than one line can hold of what the verb does is broken, too.",
    examples=(("sampan verb -l x thing", "What it is for"),),
)


@pytest.mark.parametrize("word", commands.GROUPS)
def test_every_group_has_help(word: str) -> None:
    assert f"sampan {word} COMMAND" in help.group(word)


def texts() -> dict[str, str]:
    verbs = ("images", "tag", "rmi", "history", "inspect", "version", "info")
    return {
        "sampan": help.top(GLOBAL.flags),
        "image": help.group("image"),
        "narrow": help.verb("tag", WRAPPED, width=40),
        **{verb: help.verb(verb, load(verb)[0]) for verb in verbs},
    }


@pytest.mark.parametrize("name", texts())
def test_help_is_as_it_was(name: str) -> None:
    assert texts()[name] == (GOLDEN / f"{name}.txt").read_text()


def test_every_golden_file_is_held_against_something() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(texts())


@pytest.mark.parametrize("verb", commands.COMMANDS)
def test_the_table_of_each_verb(verb: str) -> None:
    command, perform = load(verb)
    assert callable(perform)
    assert command.usage.startswith("[OPTIONS]") == bool(command.flags)
    longs, shorts = [flag.long for flag in command.flags], [flag.short for flag in command.flags if flag.short]
    assert len(set(longs)) == len(longs)
    assert len(set(shorts)) == len(shorts)
    known = {f"--{long}" for long in longs} | {f"-{short}" for short in shorts}
    assert not known & set(command.later.split())
    assert all(word.startswith("-") for word in command.later.split())
    assert all(line.startswith(f"sampan {verb} ") or line == f"sampan {verb}" for line, _ in command.examples)
    assert all(len(line) <= 80 for line in help.verb(verb, command).splitlines() if not line.startswith("  sampan "))


def test_the_reference_is_up_to_date() -> None:
    assert PAGE.read_text() == reference.page(), "run: python -m sampan.cli.reference > docs/reference.md"


def test_the_reference_is_proper_markdown() -> None:
    table = reference._flags((Flag("--filter a|b", "one|two <x>"),))
    assert table.splitlines()[2] == "| `--filter a\\|b` | one\\|two &lt;x> |"
