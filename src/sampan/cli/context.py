"""What a verb is given besides its arguments: the engine, and the ways to say something."""

import sys

from sampan.errors import SampanError, unwritten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    from sampan.cli.flags import Command
    from sampan.engine import Engine

    _T = TypeVar("_T")


_WATCHING = ("attach", "events", "logs", "stats", "wait")
"""Verbs that are ended by Ctrl-C in good order, and say nothing then."""


class Context:
    """One invocation. ``root``, ``debug`` and ``runtime`` are the global flags; ``quiet`` is set by a verb's own
    ``--quiet``, ``warned`` once there was a warning.
    """

    __slots__ = ("_engine", "command", "debug", "quiet", "root", "runtime", "verb", "warned")

    def __init__(self, root: str | None = None, *, debug: bool = False) -> None:
        self.root = root
        self.debug = debug
        self.quiet = False
        self.warned = False
        self.runtime = ""
        self.verb = ""
        self.command: Command | None = None
        self._engine: Engine | None = None

    @property
    def engine(self) -> "Engine":
        """The engine for ``root``, opened on first use."""
        if self._engine is None:
            from sampan.engine import open_engine

            self._engine = open_engine(self.root)
        return self._engine

    def close(self) -> None:
        """Closes what was opened. May be called again."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def print(self, text: str = "") -> None:
        """A line of the result, on standard output."""
        try:
            sys.stdout.write(f"{text}\n")
        except OSError as error:
            raise _unwritten(error) from None

    def flush(self) -> None:
        """Has everything printed arrive now."""
        try:
            sys.stdout.flush()
        except OSError as error:
            raise _unwritten(error) from None

    def say(self, text: str = "") -> None:
        """A line for people, on standard output; left out with ``--quiet``."""
        if not self.quiet:
            self.print(text)

    def note(self, text: str) -> None:
        """A line for people beside the result, on standard error; left out with ``--quiet``."""
        if not self.quiet:
            _complain(text)

    def warn(self, sentence: str) -> None:
        """Something the user should know, on standard error."""
        self.warned = True
        _complain(f"WARNING: {sentence}")

    def tell(self, error: BaseException) -> int:
        """Says what went wrong, once, on standard error, and gives the exit code for it."""
        from sampan.cli import failures

        failure = failures.explain(error)
        if self.debug:
            import traceback

            traceback.print_exception(error)
        if failure.message and not (isinstance(error, KeyboardInterrupt) and self.verb in _WATCHING):
            _complain(f"sampan: {failure.message}")
        if failure.hint:
            _complain(f"hint: {failure.hint}")
        if failure.usage:
            self._show_usage()
        elif failure.exit_code == 1 and self.command:
            return self.command.error_exit
        return failure.exit_code

    def each(self, names: "Iterable[str]", action: "Callable[[str], object]") -> int:
        """Does ``action`` for every name, also after one of them failed, and gives the exit code for all."""
        worst = 0
        for name in names:
            try:
                action(name)
            except SampanError as error:
                sys.stdout.flush()  # both streams may be one terminal: keep the order
                worst = max(worst, self.tell(error))
        return worst

    def together(
        self,
        names: "Iterable[str]",
        find: "Callable[[str], _T]",
        act: "Callable[[list[_T]], Iterator[SampanError | None]]",
    ) -> int:
        """Does something to all that has these names at once, and prints each name when that is done.

        ``act`` gets what ``find`` gives for each, and tells what went wrong with each, in their order.
        """
        found: list[tuple[str, _T]] = []
        code = self.each(names, lambda name: found.append((name, find(name))))
        outcomes = act([thing for _, thing in found])

        def tell(name: str) -> None:
            if error := next(outcomes):
                raise error
            self.print(name)
            self.flush()

        return max(code, self.each([name for name, _ in found], tell))

    def _show_usage(self) -> None:
        from sampan.cli import help

        if self.command:
            _complain(f"\n{help.usage(self.verb, self.command)}")
        _complain(f"\nRun '{f'sampan {self.verb}'.rstrip()} --help' for more information")


def _unwritten(error: OSError) -> OSError | SampanError:
    """What is told of output that nobody took; of a reader that went away (``| head``), nothing."""
    return error if isinstance(error, BrokenPipeError) else unwritten("standard output", error)


def _complain(text: str) -> None:
    # What is told may come from an image or a server: nothing in it may steer the terminal.
    shown = "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text)
    try:
        sys.stderr.write(f"{shown}\n")
    except OSError:
        return  # there is nobody left to be told
