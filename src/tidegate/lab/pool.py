"""Runs replays side by side on a process pool, with progress, and ends cleanly on Ctrl-C."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TYPE_CHECKING, Any

from tidegate.forecast.processes import (
    POLL_SECONDS,
    interrupts_held,
    leave_interrupts_to_the_parent,
    workers,
)
from tidegate.lab.replay import Run, RunResult, replay

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tidegate.lab.replay import ReplaySettings
    from tidegate.model.trace import Trace

_worker: dict[str, Any] = {}
"""What one worker process was given at its start; empty in the parent."""


def replay_all(
    trace: Trace,
    runs: Sequence[Run],
    settings: ReplaySettings,
    *,
    processes: int | None = None,
    progress: Callable[[Sequence[int]], None] = lambda _: None,
) -> list[RunResult]:
    """Make every run and return the results in the order of ``runs``.

    ``progress`` gets the ticks done of each run. One process, or one run, stays in this process.
    """
    count = min(len(runs), processes or os.cpu_count() or 1)
    if count <= 1:
        return _one_by_one(trace, runs, settings, progress)
    done = multiprocessing.get_context("spawn").Array("q", len(runs), lock=False)
    with workers(count, _start_worker, trace, settings, done) as pool:
        with interrupts_held():
            futures = [pool.submit(_replay_in_worker, at, run) for at, run in enumerate(runs)]
        _follow(futures, lambda: progress(list(done)))
    progress(list(done))
    return [future.result() for future in futures]


def _one_by_one(
    trace: Trace,
    runs: Sequence[Run],
    settings: ReplaySettings,
    progress: Callable[[Sequence[int]], None],
) -> list[RunResult]:
    done = [0] * len(runs)
    results = []
    for at, run in enumerate(runs):

        def note(ticks: int, at: int = at) -> None:
            done[at] = ticks
            progress(done)

        results.append(replay(trace, run, settings, note))
    return results


def _follow(futures: Sequence[Future[RunResult]], report: Callable[[], None]) -> None:
    """Report progress until every run is done; raises what a run raised."""
    pending = set(futures)
    while pending:
        finished, pending = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        for future in finished:
            future.result()
        report()


def _start_worker(trace: Trace, settings: ReplaySettings, done: Any) -> None:  # noqa: ANN401
    leave_interrupts_to_the_parent()
    _worker.update(trace=trace, settings=settings, done=done)


def _replay_in_worker(at: int, run: Run) -> RunResult:
    def note(ticks: int) -> None:
        _worker["done"][at] = ticks

    return replay(_worker["trace"], run, _worker["settings"], note)
