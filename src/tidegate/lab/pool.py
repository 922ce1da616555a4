"""Runs replays side by side on a process pool, with progress, and ends cleanly on Ctrl-C."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tidegate.lab.replay import Run, RunResult, replay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tidegate.lab.replay import ReplaySettings
    from tidegate.model.trace import Trace

POLL_SECONDS = 0.2
"""How often progress is read."""

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
    context = multiprocessing.get_context("spawn")
    done = context.Array("q", len(runs), lock=False)
    with ProcessPoolExecutor(
        count, mp_context=context, initializer=_start_worker, initargs=(trace, settings, done)
    ) as pool:
        try:
            with _interrupts_held():
                futures = [pool.submit(_replay_in_worker, at, run) for at, run in enumerate(runs)]
            _follow(futures, lambda: progress(list(done)))
        except BaseException:
            _end(pool)  # before the shutdown, which forgets who they are
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    progress(list(done))
    return [future.result() for future in futures]


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back while workers start: none is lost sight of, and no half-sent trace reaches one.

    Workers inherit that it is blocked. That alone would not hold it back here, where threads of numpy and
    polars may take the signal, so what Python does on it waits as well.
    """
    held: list[int] = []
    here = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, lambda number, _: held.append(number)) if here else None
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if here:
            signal.signal(signal.SIGINT, handler)
    if held:
        signal.raise_signal(signal.SIGINT)


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


def _end(pool: ProcessPoolExecutor) -> None:
    """End the workers of our own pool; they hold nothing that needs saving."""
    for process in list((pool._processes or {}).values()):  # noqa: SLF001 - no public way before 3.14
        process.terminate()


def _start_worker(trace: Trace, settings: ReplaySettings, done: Any) -> None:  # noqa: ANN401
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker.update(trace=trace, settings=settings, done=done)


def _replay_in_worker(at: int, run: Run) -> RunResult:
    def note(ticks: int) -> None:
        _worker["done"][at] = ticks

    return replay(_worker["trace"], run, _worker["settings"], note)
