"""Several transfers at once, which end together."""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from sampan.events import Event, Report


def run_all(tasks: Iterable[Callable[[], None]], jobs: int, stop: Callable[[], None]) -> None:
    """Runs the tasks in at most ``jobs`` threads and returns when all are done.

    When one of them fails, or the user interrupts, ``stop`` is called, which must make the others end soon; those not
    begun are dropped, the running ones waited for, and the first error is raised.
    """
    with ThreadPoolExecutor(jobs) as executor:
        futures = [executor.submit(task) for task in tasks]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            failed = [error for future in futures if future in done and (error := future.exception())]
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            stop()
            raise
        if failed:
            executor.shutdown(wait=False, cancel_futures=True)
            stop()
            raise failed[0]


class Beside:
    """Runs ``action`` in a thread of its own during a ``with`` block, whose end waits for it and raises what it raised.

    What the block itself raises comes first; ``action`` must notice by itself that there is no more to wait for.
    ``error`` is what it has raised so far.
    """

    __slots__ = ("_action", "_thread", "error")

    def __init__(self, action: Callable[[], object]) -> None:
        from threading import Thread

        self._action = action
        self.error: BaseException | None = None
        self._thread = Thread(target=self._run, name="beside", daemon=True)

    def __enter__(self) -> "Beside":
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        self._thread.join()
        if error is None and self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            self._action()
        except BaseException as error:
            self.error = error


def in_turn(report: Report) -> Report:
    """``report``, for use from several threads: one event at a time."""
    from threading import Lock

    guard = Lock()

    def one(event: Event) -> None:
        with guard:
            report(event)

    return one
