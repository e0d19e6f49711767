"""Engines take turns, and one that fails is out."""

import itertools
from collections.abc import Callable

from bench.errors import CaseFailed, NotOffered
from bench.rounds import Result, measure, turns


def test_every_round_has_each_engine_once_and_none_always_the_same_neighbour() -> None:
    rounds = [list(order) for order in turns("abc", 20)]
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    followers = {(first, second) for order in rounds for first, second in itertools.pairwise(order)}
    assert len(followers) == 6


def test_the_order_is_the_same_in_each_run() -> None:
    assert list(turns("abcd", 9)) == list(turns("abcd", 9))


def test_no_engine_has_no_turn() -> None:
    assert list(turns([], 2)) == [[], []]


class Journal:
    """What was done, in order; ``engine`` gives what prepares one whose measurements are 1, 2, 3 …"""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def engine(self, name: str, fails_at: int = 0) -> Callable[[], Callable[[], float]]:
        count = 0

        def perform() -> float:
            nonlocal count
            count += 1
            self.lines.append(name)
            if count == fails_at:
                raise CaseFailed("exit code 1")
            return float(count)

        def prepare() -> Callable[[], float]:
            self.lines.append(f"prepare {name}")
            return perform

        return prepare


def test_engines_alternate_and_warm_up_does_not_count() -> None:
    journal = Journal()
    results = measure({"a": journal.engine("a"), "b": journal.engine("b")}, 2)
    assert journal.lines[:2] == ["prepare a", "prepare b"]
    assert [sorted(pair) for pair in zip(journal.lines[2::2], journal.lines[3::2], strict=True)] == [["a", "b"]] * 3
    assert results == {"a": Result((2.0, 3.0)), "b": Result((2.0, 3.0))}


def test_one_that_fails_keeps_what_it_had_and_has_no_more_turns() -> None:
    journal = Journal()
    results = measure({"a": journal.engine("a", fails_at=2), "b": journal.engine("b")}, 3, warm_up=0)
    assert results == {"a": Result((1.0,), "exit code 1"), "b": Result((1.0, 2.0, 3.0))}
    assert journal.lines.count("a") == 2


def test_one_that_cannot_be_prepared_is_a_problem_unless_it_offers_no_such_thing() -> None:
    def fails() -> Callable[[], float]:
        raise CaseFailed("no image")

    def offers_nothing() -> Callable[[], float]:
        raise NotOffered

    assert measure({"a": fails, "b": offers_nothing, "c": Journal().engine("c")}, 1, 0) == {
        "a": Result((), "no image"),
        "c": Result((1.0,)),
    }
