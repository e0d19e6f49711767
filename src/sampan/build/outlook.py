"""Which cache a build comes further with: this store's own, or the one that the user pointed to (--cache-from).

A key holds what a step stands on, to the byte. So where two machines performed the same RUN, each one's cache goes on
from its own result, and a step that one of them has is not found upon what the other has below it. Nothing is fetched,
unpacked or remembered to find out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from sampan.build.graph import Copy, Scratch, Source, Step
from sampan.build.solve import look
from sampan.build.state import Dated, State
from sampan.errors import SampanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.build.cache import Built
    from sampan.build.perform import Build


def is_better_elsewhere(targets: Sequence[Step], work: Build) -> bool:
    """Whether more of the steps that ``targets`` need are found if what is elsewhere goes first."""
    here, missing = _reach(targets, work, lambda key: work.cache.peek(key, elsewhere=False))
    return missing and _reach(targets, work, lambda key: work.cache.peek(key, elsewhere=True))[0] > here


def _reach(targets: Sequence[Step], work: Build, find: Callable[[str], Built | None]) -> tuple[int, bool]:
    """How many steps are found, and whether there are others."""
    outlook = _Outlook(work, find)
    found = [result is not None for target in targets for _, result, _ in look(target, outlook)]
    return sum(found), not all(found)


class _Outlook:
    """A ``solve.Lookup`` that fetches nothing."""

    def __init__(self, work: Build, find: Callable[[str], Built | None]) -> None:
        self._work = work
        self._find = find

    def recall(self, step: Step, inputs: Sequence[State]) -> State | None:
        if isinstance(step, Scratch | Source):
            return self._work.recall(step, inputs)
        try:
            found = (self._find(key) for key in self._keys(step, inputs))
            built = next((each for each in found if each), None)
        except SampanError:
            return None  # it is told when the step's turn comes
        return State(built.chain, (*inputs[0].layers, Dated(built.layer, built.created))) if built else None

    def _keys(self, step: Step, inputs: Sequence[State]) -> Iterator[str]:
        """As far as they can be told without the files of steps that are not unpacked."""
        if self._work.is_fresh(step):
            return iter(())
        keys = self._work.keys.make(step, inputs)
        if all(self._work.is_unpacked(each) for each in inputs[1:]):
            return keys
        return islice(keys, isinstance(step, Copy))
