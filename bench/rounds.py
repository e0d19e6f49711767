"""Engines take turns: every round measures each of them once, in another order each time.

The order is drawn, not rotated: what one leaves to the kernel (a network namespace that is being taken down holds up
the next one that is made) must not always fall to the same neighbour.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import NamedTuple

from bench.errors import CaseFailed, NotOffered

Measure = Callable[[], float]


class Result(NamedTuple):
    """What was measured of one engine; ``problem`` says why there is less of it than wanted."""

    samples: tuple[float, ...]
    problem: str = ""


def turns(names: Sequence[str], rounds: int) -> Iterator[Sequence[str]]:
    """The order in each round: the same ones in each run."""
    random = Random(rounds)
    for _ in range(rounds):
        yield random.sample(names, len(names))


def measure(prepare: Mapping[str, Callable[[], Measure]], rounds: int, warm_up: int = 1) -> dict[str, Result]:
    """Prepares each engine, then measures all of them in turns. One that fails is out, and the others go on.

    Args:
        prepare: for each engine, what makes everything ready and gives the measurement.
        warm_up: rounds before those that count.
    """
    samples: dict[str, list[float]] = {}
    problems: dict[str, str] = {}
    ready: dict[str, Measure] = {}
    for name, make_ready in prepare.items():
        try:
            ready[name] = make_ready()
            samples[name] = []
        except NotOffered as reason:
            if str(reason):
                problems[name] = str(reason)
        except CaseFailed as error:
            problems[name] = str(error)
    for number, order in enumerate(turns(list(ready), warm_up + rounds)):
        for name in order:
            if name in problems:
                continue
            try:
                value = ready[name]()
            except CaseFailed as error:
                problems[name] = str(error)
            else:
                if number >= warm_up:
                    samples[name].append(value)
    found = [*samples, *(name for name in problems if name not in samples)]
    return {name: Result(tuple(samples.get(name, ())), problems.get(name, "")) for name in found}
