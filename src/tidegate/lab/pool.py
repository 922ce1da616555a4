"""Makes independent runs side by side on a process pool, with progress, and ends cleanly on Ctrl-C."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TYPE_CHECKING, Any, TypeVar

from tidegate.forecast.processes import (
    POLL_SECONDS,
    interrupts_held,
    leave_interrupts_to_the_parent,
    workers,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Given = TypeVar("Given")
Run = TypeVar("Run")
Result = TypeVar("Result")

_worker: dict[str, Any] = {}
"""What one worker process was given at its start; empty in the parent."""


def run_all(
    work: Callable[[Given, Run, Callable[[int], None]], Result],
    given: Given,
    runs: Sequence[Run],
    *,
    processes: int | None = None,
    progress: Callable[[Sequence[int]], None] = lambda _: None,
) -> list[Result]:
    """Make every run and return the results in the order of ``runs``.

    ``work`` is a function of a module, called with ``given`` (which every process gets once), one of the
    runs, and where to note how much of it is done; ``progress`` gets what was noted of each run. One
    process, or one run, stays in this process.
    """
    count = min(len(runs), processes or os.cpu_count() or 1)
    if count <= 1:
        return _one_by_one(work, given, runs, progress)
    done = multiprocessing.get_context("spawn").Array("q", len(runs), lock=False)
    with workers(count, _start_worker, work, given, done) as pool:
        with interrupts_held():
            futures = [pool.submit(_run_in_worker, at, run) for at, run in enumerate(runs)]
        _follow(futures, lambda: progress(list(done)))
    progress(list(done))
    return [future.result() for future in futures]


def _one_by_one(
    work: Callable[[Given, Run, Callable[[int], None]], Result],
    given: Given,
    runs: Sequence[Run],
    progress: Callable[[Sequence[int]], None],
) -> list[Result]:
    done = [0] * len(runs)
    results = []
    for at, run in enumerate(runs):

        def note(much: int, at: int = at) -> None:
            done[at] = much
            progress(done)

        results.append(work(given, run, note))
    return results


def _follow(futures: Sequence[Future[Any]], report: Callable[[], None]) -> None:
    """Report progress until every run is done; raises what a run raised."""
    pending = set(futures)
    while pending:
        finished, pending = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        for future in finished:
            future.result()
        report()


def _start_worker(work: Any, given: Any, done: Any) -> None:  # noqa: ANN401
    leave_interrupts_to_the_parent()
    _worker.update(work=work, given=given, done=done)


def _run_in_worker(at: int, run: Any) -> Any:  # noqa: ANN401
    def note(much: int) -> None:
        _worker["done"][at] = much

    return _worker["work"](_worker["given"], run, note)
