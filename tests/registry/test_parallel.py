import threading
from collections.abc import Callable

import pytest

from sampan.errors import Corrupt, Unavailable
from sampan.registry.parallel import run_all


def test_all_are_run() -> None:
    done: list[int] = []

    def task(number: int) -> Callable[[], None]:
        return lambda: done.append(number)

    run_all([task(number) for number in range(20)], 3, lambda: pytest.fail("stopped"))
    assert sorted(done) == list(range(20))


def test_nothing_to_do() -> None:
    run_all([], 3, lambda: pytest.fail("stopped"))


def test_one_failure_ends_the_others() -> None:
    stopped, begun = threading.Event(), threading.Event()
    late: list[int] = []

    def fail() -> None:
        assert begun.wait(20)
        raise Corrupt("the reason")

    def wait() -> None:
        begun.set()
        if not stopped.wait(20):
            late.append(1)
        raise Unavailable("stopped")

    with pytest.raises(Corrupt, match="the reason"):
        run_all([wait, fail], 2, stopped.set)
    assert late == []
