"""The graph as a value: what a step needs, and in which order."""

from sampan.build.graph import Copy, MakeDirectory, Run, Scratch, Step, ordered
from trees import PlainContext

CONTEXT = PlainContext("/nowhere")


def run(parent: Step, *argv: str) -> Run:
    return Run(parent, argv, (), "", "/")


def test_inputs_come_first_and_in_the_order_written() -> None:
    base = Scratch()
    tools = run(base, "make", "tools")
    first = run(base, "first")
    second = MakeDirectory(first, "/w")
    target = Copy(second, ("/t",), tools, "/t")
    assert ordered(target) == [base, first, second, tools, target]


def test_a_context_is_no_input() -> None:
    base = Scratch()
    step = Copy(base, ("a",), CONTEXT, "/a")
    assert step.inputs == (base,)
    assert ordered(step) == [base, step]


def test_a_shared_ancestor_is_walked_once() -> None:
    step: Step = Scratch()
    for _ in range(200):
        # 2^200 paths lead from the last step to the first.
        step = Copy(step, ("/",), step, "/")
    assert len(ordered(step)) == 201
