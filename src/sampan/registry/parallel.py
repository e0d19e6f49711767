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


def in_turn(report: Report) -> Report:
    """``report``, for use from several threads: one event at a time."""
    from threading import Lock

    guard = Lock()

    def one(event: Event) -> None:
        with guard:
            report(event)

    return one
