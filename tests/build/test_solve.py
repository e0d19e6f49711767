"""The solver on fake steps: what is performed, how often, side by side with what, and how it ends."""

import threading
from collections.abc import Sequence

import pytest

from sampan.build.dockerfile import lines
from sampan.build.graph import Copy, MakeDirectory, Run, Scratch, Step
from sampan.build.solve import Output, distinct, solve, solve_all
from sampan.errors import Invalid
from sampan.events import Event, StepCached, StepFinished, StepOutput, StepStarted, quiet
from trees import PlainContext

CONTEXT = PlainContext("/nowhere")


def run(parent: Step, name: str, line: int = 0) -> Run:
    return Run(parent, (name,), (), "", "/", text=name, line=line)


class Fake:
    """Results are texts that say how they came about; a dictionary is the cache."""

    def __init__(self) -> None:
        self.cache: dict[str, str] = {}
        self.performed: list[str] = []
        self.cancelled = threading.Event()
        self.meeting: threading.Barrier | None = None
        self.running = 0

    def _key(self, step: Step, inputs: Sequence[str]) -> str:
        name = step.argv[0] if isinstance(step, Run) else type(step).__name__
        return f"{name}({','.join(inputs)})"

    def recall(self, step: Step, inputs: Sequence[str]) -> str | None:
        return self.cache.get(self._key(step, inputs))

    def perform(self, step: Step, inputs: Sequence[str], output: Output) -> str:
        self.running += 1
        try:
            return self._perform(self._key(step, inputs), output)
        finally:
            self.running -= 1

    def _perform(self, key: str, output: Output) -> str:
        self.performed.append(key)
        output(1, key.encode())
        if self.meeting and key.startswith("meet"):
            self.meeting.wait(30)
        if key.startswith("fail"):
            raise Invalid("it failed")
        if key.startswith("interrupt"):
            raise KeyboardInterrupt
        if key.startswith("hang"):
            assert self.cancelled.wait(30)
            raise Invalid("cancelled")
        self.cache[key] = key
        return key

    def cancel(self) -> None:
        self.cancelled.set()


def test_everything_is_performed_once_and_the_second_time_not_at_all() -> None:
    fake, base = Fake(), Scratch()
    target = run(run(base, "a"), "b")
    assert solve(target, fake, quiet) == "b(a(Scratch()))"
    assert fake.performed == ["Scratch()", "a(Scratch())", "b(a(Scratch()))"]
    fake.performed.clear()
    assert solve(target, fake, quiet) == "b(a(Scratch()))"
    assert fake.performed == []


def test_what_changed_and_what_follows_is_performed_again() -> None:
    fake, base = Fake(), Scratch()
    solve(run(run(run(base, "a"), "b"), "c"), fake, quiet)
    fake.performed.clear()
    solve(run(run(run(base, "a"), "B"), "c"), fake, quiet)
    assert fake.performed == ["B(a(Scratch()))", "c(B(a(Scratch())))"]


def test_a_step_whose_inputs_turn_out_known_is_taken_from_the_cache() -> None:
    """b changes, but leads to the same result: what follows need not be performed."""
    fake, base = Fake(), Scratch()
    fake.cache["c(same)"] = "c"

    class Same(Fake):
        def perform(self, step: Step, inputs: Sequence[str], output: Output) -> str:
            super().perform(step, inputs, output)
            return "same"

    same = Same()
    same.cache = fake.cache
    assert solve(run(run(base, "b"), "c"), same, quiet) == "c"
    assert same.performed == ["Scratch()", "b(same)"]


def test_steps_that_say_the_same_are_one() -> None:
    fake = Fake()
    one, two = (run(run(Scratch(stage=stage), "a"), "b", line=line) for stage, line in (("x", 1), ("y", 9)))
    target = Copy(one, ("/f",), two, "/f")
    assert [type(step).__name__ for step in distinct(target)] == ["Scratch", "Run", "Run", "Copy"]
    solve(target, fake, quiet)
    assert len(fake.performed) == 4


def test_steps_that_differ_are_not_one() -> None:
    base = Scratch()
    other = PlainContext("/elsewhere")
    steps = [
        Copy(base, ("a",), CONTEXT, "/a"), Copy(base, ("a",), CONTEXT, "/a/"), Copy(base, ("a",), other, "/a"),
        Copy(base, ("a",), base, "/a"), Copy(base, ("a",), CONTEXT, "/a", chown="1"),
        Run(base, ("a",), (), "", "/"), Run(base, ("a",), (), "", "/", args=(("A", "1"),)),
        Run(base, ("a",), (), "", "/", network="none"), MakeDirectory(base, "/a"), MakeDirectory(base, "/a", "1"),
    ]  # fmt: skip
    target: Step = base
    for step in steps:
        target = Copy(target, ("/",), step, "/")
    assert len(distinct(target)) == 1 + 2 * len(steps)


def test_several_targets_share_what_is_the_same() -> None:
    fake = Fake()
    one, two = (run(run(Scratch(), "shared"), own) for own in ("one", "two"))
    assert solve_all([one, two, one], fake, quiet) == [f"{own}(shared(Scratch()))" for own in ("one", "two", "one")]
    assert len(fake.performed) == 4


def test_independent_steps_run_side_by_side() -> None:
    fake, base = Fake(), Scratch()
    fake.meeting = threading.Barrier(2)  # neither gets past it alone
    target = Copy(run(base, "meet-1"), ("/f",), run(base, "meet-2"), "/f")
    solve(target, fake, quiet, jobs=2)
    assert len(fake.performed) == 4


def test_no_more_steps_at_once_than_jobs() -> None:
    fake, base = Fake(), Scratch()
    lock = threading.Lock()

    class Exclusive(Fake):
        def perform(self, step: Step, inputs: Sequence[str], output: Output) -> str:
            assert lock.acquire(blocking=False)
            try:
                return super().perform(step, inputs, output)
            finally:
                lock.release()

    target: Step = run(base, "0")
    for number in range(1, 8):
        target = Copy(target, ("/",), run(base, str(number)), "/")
    fake = Exclusive()
    solve(target, fake, quiet, jobs=1)
    assert len(fake.performed) == 16


def test_a_failure_shows_its_place_and_ends_the_others() -> None:
    fake, base = Fake(), Scratch()
    target = Copy(run(base, "hang"), ("/f",), run(base, "fail", line=2), "/f")
    (line,) = lines.parse(b"\nRUN fail", "File").lines
    with pytest.raises(Invalid) as caught:
        solve(target, fake, quiet, places={2: line})
    assert caught.value.message == "File:2: it failed\n    2 | RUN fail\n      | ^^^^^^^^"
    assert caught.value.__cause__
    assert fake.cancelled.is_set()
    assert fake.running == 0


def test_an_interrupt_ends_the_others() -> None:
    fake, base = Fake(), Scratch()
    with pytest.raises(KeyboardInterrupt):
        solve(Copy(run(base, "hang"), ("/f",), run(base, "interrupt"), "/f"), fake, quiet)
    assert fake.cancelled.is_set()
    assert fake.running == 0


def test_what_a_failed_build_had_done_is_kept() -> None:
    fake, base = Fake(), Scratch()
    with pytest.raises(Invalid):
        solve(run(run(base, "a"), "fail"), fake, quiet)
    fake.performed.clear()
    solve(run(run(base, "a"), "b"), fake, quiet)
    assert fake.performed == ["b(a(Scratch()))"]


def test_events() -> None:
    fake, base = Fake(), Scratch(stage="s")
    target = run(run(base, "a"), "b")
    solve(run(base, "a"), fake, quiet)
    events: list[Event] = []
    solve(target, fake, events.append)
    assert isinstance(events[-1], StepFinished)
    assert events[:-1] == [
        StepStarted(1, 3, "s", "FROM scratch"),
        StepCached(1),
        StepStarted(2, 3, "", "a"),
        StepCached(2),
        StepStarted(3, 3, "", "b"),
        StepOutput(3, 1, b"b(a(Scratch()))"),
    ]
    assert events[-1].number == 3


def test_a_graph_with_a_myriad_of_paths_is_solved() -> None:
    target: Step = Scratch()
    for number in range(100):
        target = Copy(target, ("/",), target, f"/{number}")
    assert len(distinct(target)) == 101
